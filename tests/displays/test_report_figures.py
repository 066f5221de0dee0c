"""The figures of the report: long tail, gap, maps, rows, ranking; and what all figures share."""

from __future__ import annotations

import base64
import json
import sys

import numpy as np
import polars as pl
import pytest
from altair.utils.schemapi import validate_jsonschema
from altair.vegalite import v6
from hypothesis import given
from hypothesis import strategies as st

from longtail import save_plot
from longtail.data import Vocabulary
from longtail.displays import (
    GapDisplay,
    LongTailDisplay,
    MapDisplay,
    RankingDisplay,
    RowScoresDisplay,
    project,
)
from longtail.displays.base import cell_text, drawn, shortened, table_html
from longtail.errors import MissingExtraError, ParameterError

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "datum.x; signal('search')",
    "a.b[0]",
    "a\\.b['c']",
    "Kernel",
    "kernel",
    "KERNEL",
    "🦄👩‍👩‍👧",
    "שלום \u202eevil",
    "مرحبا",
    " ",
    "",
    "x" * 10_000,
    "x" * 9_999 + "y",
    "line\nbreak\ttab\u2028",
    "{{ 7*7 }}",
    "</script><b>",
]


def scattered(names=NASTY, **kwargs):
    n = len(names)
    rng = np.random.default_rng(0)
    places = rng.normal(size=(n, 2)).astype(np.float32)
    groups = [names[i % 5] for i in range(n)]
    options = {"title": "Map"} | kwargs
    return MapDisplay(places, names, groups, rng.random(n), list(reversed(names)), **options)


def row_scores(n=12, ids=None):
    rng = np.random.default_rng(0)
    table = {
        "row_id": ids or list(range(n)),
        "counts": rng.integers(1, 9, n).astype(float),
        "model": rng.normal(7, 1, n),
        "floor": rng.normal(7, 1, n),
        "features": ["a, b"] * n,
    }
    return RowScoresDisplay(pl.DataFrame(table), "IW, S = 5, M = 10")


def ranking(**changes):
    lines = [
        {"recommender": r, "metric": m, "k": k, "mean": 0.1 * k, "se": se}
        for r, se in (("the model", 0.01), ("popularity", None))
        for m in ("recall", "ndcg", "hit_rate", "coverage", "mrr")
        for k in (5, 10)
    ]
    return RankingDisplay(pl.DataFrame(lines))


def gaps(n=50):
    rng = np.random.default_rng(0)
    return GapDisplay(rng.gamma(2, 1, n), rng.integers(1, 99, n).astype(float), rng.random(n))


def tail(names=NASTY, counts=None):
    counts = np.arange(len(names), 0.0, -1) if counts is None else np.asarray(counts)
    return LongTailDisplay(counts, Vocabulary.saved(names), "count")


DISPLAYS = {
    "long tail": tail,
    "one feature": lambda: tail(["a"]),
    "features that never come": lambda: tail(["a", "b", "c"], [3.0, 0.0, 0.0]),
    "gap": gaps,
    "gap of one row": lambda: gaps(1),
    "gap of three rows": lambda: gaps(3),
    "map": scattered,
    "map without labels": lambda: scattered(labels=0),
    "map of one point": lambda: scattered(["a"]),
    "map of many groups": lambda: scattered([f"name{i}" for i in range(40)]),
    "rows": row_scores,
    "one row": lambda: row_scores(1),
    "rows with names": lambda: row_scores(len(NASTY), NASTY),
    "ranking": ranking,
}


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_every_figure_is_valid_and_can_be_drawn(make, tmp_path):
    display = make()
    spec = json.loads(json.dumps(display.plot().to_dict(), allow_nan=False))
    validate_jsonschema(spec, v6.schema.core.load_schema())
    svg = save_plot(display.plot(), tmp_path / "figure.svg").read_text()
    assert "NaN" not in svg
    assert "<script" not in svg
    assert "<img" not in svg
    assert isinstance(display.frame(), pl.DataFrame)


@pytest.mark.parametrize("make", DISPLAYS.values(), ids=DISPLAYS)
def test_in_notebooks(make, monkeypatch):
    display = make()
    html = display._repr_html_()
    assert html.startswith("<img alt=")
    assert "<script" not in html
    assert "http" not in html
    assert len(html) < 400_000
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingExtraError):
        display.plot()
    assert display._repr_html_().startswith("<table>")


def test_names_are_data_and_no_part_of_an_expression():
    spec = scattered().plot().to_dict()
    spec.pop("data", None)
    for layer in spec["layer"]:
        layer.pop("data", None)
    # Groups are named in the domain of a scale, as values.
    for layer in spec["layer"]:
        color = layer["encoding"].get("color", {})
        color.pop("scale", None)
    rest = json.dumps(spec)
    assert not [name for name in NASTY if len(name) > 3 and name in rest]


def test_equal_looking_names_stay_apart():
    table = scattered().frame()
    assert table["name"].to_list() == NASTY


def svg_of(display):
    url = drawn(display.plot())
    return base64.b64decode(url.removeprefix("data:image/svg+xml;base64,")).decode()


def test_the_map_in_a_picture_shows_names_as_text():
    svg = svg_of(scattered())
    assert "x" * 100 not in svg
    assert "xxxx…" in svg


def test_labels_have_room():
    n = 400
    rng = np.random.default_rng(0)
    places = rng.random((n, 2)).astype(np.float32)
    names = [f"a long name {i}" for i in range(n)]
    display = MapDisplay(places, names, ["g"] * n, np.ones(n), [""] * n, title="")
    chosen = display.frame().filter("labelled")
    assert 5 < chosen.height <= 60
    assert display.frame()["labelled"][0]  # ties: the first


def test_a_map_of_unequal_columns():
    with pytest.raises(ParameterError, match="columns alike"):
        MapDisplay(np.zeros((2, 2), np.float32), ["a"], ["g"], np.ones(1), [""], title="")


def test_few_groups_keep_their_colours_and_others_are_one():
    groups = scattered([f"n{i}" for i in range(30)]).frame()["group"].unique()
    assert len(groups) == 5
    n = 60
    names = [f"n{i}" for i in range(n)]
    display = MapDisplay(
        np.zeros((n, 2), np.float32),
        names,
        [f"g{i % 12}" for i in range(n)],
        np.ones(n),
        names,
        title="",
    )
    assert display.frame()["group"].n_unique() == 8
    assert "other" in display.frame()["group"].to_list()


@pytest.mark.parametrize("n", [1, 2, 5, 11, 12, 40])
def test_projections_are_finite_and_repeatable(n):
    vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    first, second = project(vectors, seed=1), project(vectors, seed=1)
    assert first.shape == (n, 2)
    assert np.isfinite(first).all()
    assert np.array_equal(first, second)


@pytest.mark.parametrize("vectors", [np.zeros((20, 3)), np.ones((20, 3)), np.eye(20)[:, :1]])
def test_projections_of_vectors_that_are_alike(vectors):
    assert np.isfinite(project(vectors.astype(np.float32))).all()


def test_projections_keep_clusters_together():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3), 20, axis=0) * 5
    places = project((centres + rng.normal(0, 0.3, (60, 3))).astype(np.float32))
    group = np.repeat(range(3), 20)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(1)] == group).mean() > 0.95


def test_gap_groups():
    n = 40
    totals = np.arange(1.0, n + 1)
    frame = GapDisplay(2 * totals, totals, np.ones(n)).frame()
    length = frame.filter(pl.col("view") == "length")
    assert length["rows"].to_list() == [5] * 8
    assert length["gap"].to_list() == pytest.approx([6 + 10 * i for i in range(8)])
    assert frame.filter(pl.col("view") == "rarity")["gap"].to_list() == pytest.approx([2] * 8)
    assert length["se"][0] == pytest.approx(np.std([2, 4, 6, 8, 10], ddof=1) / np.sqrt(5))
    assert gaps(1).frame()["se"].to_list() == [None, None]


def test_how_many_features_reach_a_share():
    display = tail(["a", "b", "c", "d"], [1.0, 5.0, 3.0, 1.0])
    assert display.frame()["feature"].to_list() == ["b", "c", "a", "d"]
    assert display.reaching(0.5) == 1
    assert display.reaching(0.6) == 2
    assert display.reaching(1.0) == 4


def test_rows_come_worst_first():
    gain = row_scores().frame()["gain"].to_list()
    assert gain == sorted(gain)


@given(st.text(max_size=300), st.integers(2, 60))
def test_shortened_text_is_one_short_line(text, width):
    line = shortened(text, width)
    assert line
    assert len(line) <= width + 2
    assert len(line.splitlines()) == 1
    if text.isprintable() and text.strip() == text and 0 < len(text) <= width and "  " not in text:
        assert line == " ".join(text.split())


def test_tables_are_escaped():
    html = table_html(pl.DataFrame({"<b>": NASTY, "n": range(len(NASTY))}), 30)
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<bdi>") == 2 * len(NASTY)
    assert "x" * 600 not in html
    assert html.count("<tr>") == len(NASTY) + 1
    assert table_html(pl.DataFrame({"a": range(50)}), 3).count("<tr>") == 4


def test_cells():
    assert cell_text(None) == cell_text(float("nan")) == ""
    assert cell_text(12345) == "12,345"
    assert cell_text(0.123456) == "0.1235"
    assert cell_text(True) == "yes"
    assert cell_text(["a", "b"]) == "a, b"


def test_drawn_is_an_image_of_the_chart():
    svg = svg_of(ranking())
    assert svg.startswith("<svg")
    assert "aria-label" not in svg
    assert ">0.2<" in svg  # numbers that are read stay as they are
    assert svg_of(ranking()) == svg
