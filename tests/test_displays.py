from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pytest
from altair.utils.schemapi import validate_jsonschema
from altair.vegalite import v6

from longtail import save_plot
from longtail.displays import (
    EvaluationDisplay,
    HistoryDisplay,
    ImportanceDisplay,
    TrialsDisplay,
)
from longtail.errors import MissingExtraError, ParameterError
from longtail.evaluation import Bound, Floor
from longtail.training import History
from tests.training.test_history import record


def history(valid=True):
    return History([record(e, valid) for e in (1, 2, 3)])


def rungs(n_rows=5, **extra):
    log_prob, totals = -np.arange(3.0, 3.0 + n_rows), np.full(n_rows, 2.0)
    bound = Bound.from_rows(log_prob, np.ones(n_rows), totals, samples=2, steps=3)
    floor = Floor.from_rows(log_prob - 1, totals)
    return [
        {"figure": f, "estimator": f.upper(), **{k: getattr(r, k, None) for k in KEYS}, **extra}
        for f, r in [("floor", floor), ("iw", bound), ("completion", bound)]
    ]


KEYS = ("per_doc", "per_doc_se", "per_word", "nats_per_row", "se", "mc_se", "samples", "steps")
TRIALS = pl.DataFrame(
    {
        "trial": [0, 1, 2, 3],
        "state": ["complete", "pruned", "complete", "interrupted"],
        "value": [-3.0, -9.0, -4.0, None],
        "features": ["binary", "l1", "l1", None],
    }
)
CHARTS = {
    "history": lambda: history().plot(),
    "history without validation": lambda: history(valid=False).plot(),
    "two runs": lambda: HistoryDisplay(
        {"plain": history().frame(), "hybrid": history(valid=False).frame()}
    ).plot(),
    "evaluation": lambda: EvaluationDisplay(rungs()).plot(),
    "one row": lambda: EvaluationDisplay(rungs(1)).plot(),
    "trials": lambda: TrialsDisplay(TRIALS, "nats", "maximize").plot(),
    "importance": lambda: ImportanceDisplay(
        pl.DataFrame({"parameter": ["a", "b"], "importance": [0.7, 0.3]}), "nats"
    ).plot(),
    "two models": lambda: EvaluationDisplay(rungs(model="a") + rungs(model="b")).plot(),
}


@pytest.mark.parametrize("make", CHARTS.values(), ids=CHARTS)
def test_every_figure_is_valid_and_can_be_drawn(make, tmp_path):
    chart = make()
    spec = json.loads(json.dumps(chart.to_dict(), allow_nan=False))
    validate_jsonschema(spec, v6.schema.core.load_schema())
    svg = save_plot(chart, tmp_path / "figure.svg").read_text()
    assert svg.startswith("<svg")
    assert "NaN" not in svg


def test_what_the_figures_show(tmp_path):
    svg = save_plot(CHARTS["two models"](), tmp_path / "figure.svg").read_text()
    assert "FLOOR" in svg
    assert "IW" in svg
    assert "COMPLETION" not in svg
    svg = save_plot(CHARTS["history"](), tmp_path / "figure.svg").read_text()
    for words in ("ELBO at ψ(x)", "ELBO at ψ*", "KL weight", "latent dimensions in use"):
        assert words in svg


@pytest.mark.parametrize("kind", ["png", "svg", "html", "json", "PNG"])
def test_files_without_a_network(kind, tmp_path):
    path = save_plot(CHARTS["evaluation"](), tmp_path / f"figure.{kind}")
    data = path.read_bytes()
    start = {"png": b"\x89PNG", "svg": b"<svg", "html": b"<!DOCTYPE html>", "json": b"{"}
    assert data.lstrip().startswith(start[kind.lower()])
    if kind == "html":
        assert b'src="http' not in data


def test_scale_is_pixels_per_unit(tmp_path):
    def width(scale):
        path = save_plot(CHARTS["evaluation"](), tmp_path / "figure.png", scale=scale)
        return int.from_bytes(path.read_bytes()[16:20], "big")

    assert width(2.0) == pytest.approx(2 * width(1.0), abs=2)


@pytest.mark.parametrize("name", ["figure.pdf", "figure", "figure.tar.gz"])
def test_other_extensions(name, tmp_path):
    with pytest.raises(ParameterError, match=f"png, svg, html, json, by extension; got '{name}'"):
        save_plot(CHARTS["evaluation"](), tmp_path / name)


@pytest.mark.parametrize("module", ["altair", "vl_convert"])
def test_without_the_extra_there_are_tables(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    for display in (history().display(), EvaluationDisplay(rungs())):
        assert display.frame().height == 3
        with pytest.raises(MissingExtraError, match=r"pip install longtail\[plot\]"):
            display.plot()


def test_tables():
    runs = {"plain": history().frame(), "hybrid": history(valid=False).frame()}
    frame = HistoryDisplay(runs).frame()
    assert frame.columns == [*history().frame().columns, "run"]
    assert frame["run"].to_list() == ["plain"] * 3 + ["hybrid"] * 3
    table = EvaluationDisplay(rungs()).frame()
    assert table.columns == ["figure", "estimator", *KEYS]
    assert table.schema["per_doc"] == pl.Float64


def test_the_best_trial_so_far():
    assert TrialsDisplay(TRIALS, "", "maximize").frame()["best"].to_list() == [-3, -3, -3, -3]
    assert TrialsDisplay(TRIALS, "", "minimize").frame()["best"].to_list() == [-3, -3, -4, -4]
