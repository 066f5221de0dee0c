from __future__ import annotations

import json
import math
import sys

import polars as pl
import pytest
from altair.utils.schemapi import validate_jsonschema
from altair.vegalite import v6

from longtail import save_plot
from longtail.displays import NeighborhoodDisplay
from longtail.errors import MissingExtraError


def neighbors(names):
    ranks = range(1, len(names) + 1)
    similarity = [1 / r for r in ranks]
    schema = {"rank": pl.Int64, "feature": pl.String, "similarity": pl.Float64}
    return pl.DataFrame(
        {"rank": ranks, "feature": list(names), "similarity": similarity}, schema=schema
    )


def display(**lists):
    return NeighborhoodDisplay("kernel", {k: neighbors(v) for k, v in lists.items()})


def drawn(shown, tmp_path):
    chart = shown.plot()
    spec = json.loads(json.dumps(chart.to_dict(), allow_nan=False))
    validate_jsonschema(spec, v6.schema.core.load_schema())
    svg = save_plot(chart, tmp_path / "figure.svg").read_text()
    assert "NaN" not in svg
    return spec, svg


def test_what_it_shows(tmp_path):
    spec, svg = drawn(display(cuda=["thread", "gpu"], svm=["gpu", "margin"]), tmp_path)
    for words in ("Neighbours of “kernel”", "cuda", "svm", "thread", "margin", "in grey"):
        assert words in svg
    assert svg.count(">gpu<") == 2
    values = {(v["context"], v["feature"]): v["shared"] for v in spec["data"]["values"]}
    assert values == {
        ("cuda", "thread"): False,
        ("cuda", "gpu"): True,
        ("svm", "gpu"): True,
        ("svm", "margin"): False,
    }


def test_contexts_stay_in_their_order(tmp_path):
    spec, _ = drawn(display(z=["a"], y=["b"], x=["c"]), tmp_path)
    assert spec["encoding"]["x"]["sort"] == ["z", "y", "x"]


def test_one_context_has_nothing_to_share(tmp_path):
    _, svg = drawn(display(cuda=["thread", "gpu"]), tmp_path)
    assert "in grey" not in svg


@pytest.mark.parametrize("lists", [{"cuda": []}, {"cuda": [], "svm": ["gpu"]}])
def test_empty_lists(lists, tmp_path):
    assert display(**lists).frame().height == sum(map(len, lists.values()))
    drawn(display(**lists), tmp_path)


def test_table():
    frame = display(cuda=["thread", "gpu"], svm=["margin"]).frame()
    assert frame.columns == ["context", "rank", "feature", "similarity"]
    assert frame["context"].to_list() == ["cuda", "cuda", "svm"]
    assert frame["feature"].to_list() == ["thread", "gpu", "margin"]


def test_overlap():
    assert display(a=["x", "y"], b=["y", "z"]).overlap() == 0.5
    assert display(a=["x"], b=["x"], c=["z"]).overlap() == pytest.approx(1 / 3)
    assert display(a=["x", "y", "z", "w"], b=["x"]).overlap() == 0.25
    assert display(a=[], b=[]).overlap() == 0
    assert math.isnan(display(a=["x"]).overlap())


def test_without_the_extra_there_is_a_table(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    shown = display(cuda=["gpu"])
    assert shown.frame().height == 1
    with pytest.raises(MissingExtraError, match=r"longtail\[plot\]"):
        shown.plot()
