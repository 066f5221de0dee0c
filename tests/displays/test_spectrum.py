from __future__ import annotations

import json
import re
import sys

import polars as pl
import pytest
from altair.utils.schemapi import validate_jsonschema
from altair.vegalite import v6

from longtail import save_plot
from longtail.displays import SpectrumDisplay
from longtail.errors import MissingExtraError


def table(name="", rms=(2.0, 0.5, 0.01), mean=(1.8, 0.3, 0.0), threshold=0.1):
    n = len(rms)
    return pl.DataFrame(
        {
            "model": [name] * n,
            "rank": range(1, n + 1),
            "mean": mean,
            "rms": rms,
            "threshold": [threshold] * n,
            "noise": [0.02] * n,
            "live": [sum(x > threshold for x in rms)] * n,
        }
    )


def drawn(tmp_path, *tables):
    chart = SpectrumDisplay(pl.concat(tables), "how it was measured").plot()
    spec = json.loads(json.dumps(chart.to_dict(), allow_nan=False))
    validate_jsonschema(spec, v6.schema.core.load_schema())
    svg = save_plot(chart, tmp_path / "figure.svg").read_text()
    assert "NaN" not in svg
    return spec, svg


def test_what_it_shows(tmp_path):
    _, svg = drawn(tmp_path, table())
    for words in (
        "Latent directions in use",
        "how it was measured",
        "singular values of E[J]",
        "root eigenvalues of E[JᵀJ]",
        "direction, strongest first",
        "2 live",
    ):
        assert words in svg
    assert "(2 live)" not in svg


def test_several_models_have_a_name_a_colour_and_a_threshold(tmp_path):
    tables = [table("plain"), table("hybrid", rms=(2.0, 0.5, 0.3, 0.2), mean=(1.0,) * 4)]
    _, svg = drawn(tmp_path, *tables)
    assert "plain (2 live)" in svg
    assert "hybrid (4 live)" in svg
    spec, _ = drawn(tmp_path, table("a"), table("b", threshold=0.3))
    layers = [layer for panel in spec["hconcat"] for layer in panel["layer"]]
    rules = [la for la in layers if la["mark"]["type"] == "rule"]
    assert [r["encoding"]["color"]["field"] for r in rules] == ["label"] * 2


def test_more_models_than_colours(tmp_path):
    spec, svg = drawn(tmp_path, *(table(f"m{i}") for i in range(11)))
    line = next(la for la in spec["hconcat"][0]["layer"] if la["mark"]["type"] == "line")
    scale = line["encoding"]["color"]["scale"]
    assert len(scale["domain"]) == len(scale["range"]) == 11
    assert "m10 (2 live)" in svg


def test_both_panels_have_one_scale(tmp_path):
    spec, _ = drawn(tmp_path, table())
    assert len(spec["hconcat"]) == 2
    assert spec["resolve"]["scale"]["y"] == "shared"


@pytest.mark.parametrize(
    "dead",
    [
        table(rms=(2.0, 0.0, 0.0), mean=(1e-30, 0.0, 0.0)),
        table(rms=(0.0, 0.0), mean=(0.0, 0.0)),
        table(rms=(0.0, 0.0), mean=(0.0, 0.0), threshold=0.0),
        table(rms=(1.0,), mean=(1.0,)),
    ],
)
def test_zeros_on_a_log_scale(dead, tmp_path):
    _, svg = drawn(tmp_path, dead)
    assert not re.search(r"Infinity|undefined", svg)


def test_without_the_extra_there_is_a_table(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    display = SpectrumDisplay(table(), "")
    assert display.frame().equals(table())
    with pytest.raises(MissingExtraError, match=r"longtail\[plot\]"):
        display.plot()
