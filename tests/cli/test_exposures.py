"""Exposures on the command line: --exposure-column and --exposure given."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest

import longtail as lt
from longtail.errors import DataError

RATES = np.array([[6, 3, 1, 1, 0.5], [0.5, 1, 1, 3, 9]])
READING = [
    *("--row-column", "who", "--feature-column", "what", "--value-column", "n"),
    *("--exposure-column", "years"),
]
MODEL = [
    *("--likelihood", "poisson", "--exposure", "given", "--n-components", "2"),
    *("--n-hidden", "8", "--epochs", "3", "--eval-refine-steps", "5", "--eval-samples", "3"),
]


def table(n=80, seed=0):
    """A long table of rows with years of observation."""
    rng = np.random.default_rng(seed)
    years = rng.gamma(2.0, 2.0, n) + 0.1
    counts = rng.poisson(years[:, None] * RATES[np.arange(n) % 2])
    counts[counts.sum(1) == 0, 2] = 1
    d, v = np.nonzero(counts)
    return pl.DataFrame(
        {
            "who": [f"p{i}" for i in d],
            "what": [f"w{j}" for j in v],
            "n": counts[d, v],
            "years": years[d],
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exposures")
    table().write_csv(folder / "train.csv")
    new = table(20, seed=1)
    new.write_csv(folder / "new.csv")
    new.rename({"years": "time"}).write_csv(folder / "renamed.csv")
    new.drop("years").write_csv(folder / "plain.csv")
    return folder


@pytest.fixture
def model(data, run):
    out = data / "model"
    if not out.exists():
        code, _, err = run("fit", data / "train.csv", *READING, *MODEL, "--out", out)
        assert code == 0, err
    return out


def test_new_data_are_read_alike(data, model, run, tmp_path):
    fitted = lt.load(model)
    assert fitted.read_settings_.exposure_column == "years"
    rows, _ = lt.read_like(data / "new.csv", fitted.read_settings_, fitted.vocabulary_)
    expected = fitted.transform(rows)
    for name, more in (("new", []), ("renamed", ["--exposure-column", "time"])):
        code, _, err = run(
            "transform", model, data / f"{name}.csv", "--out", tmp_path / "z.csv", *more
        )
        assert code == 0, err
        z = pl.read_csv(tmp_path / "z.csv")
        np.testing.assert_allclose(z.select("z0", "z1").to_numpy(), expected, atol=1e-6)
    for command in (
        ["evaluate", model, data / "renamed.csv"],
        ["recommend", model, data / "renamed.csv", "--k", 2],
        ["rank", model, data / "renamed.csv", "--cutoff", 2],
        ["spectrum", model, data / "renamed.csv", "--samples", 5],
        ["directions", model, data / "renamed.csv", "--samples", 5],
        ["report", model, data / "renamed.csv", "--out", tmp_path / "report.html"],
        ["update", model, data / "renamed.csv", "--out", tmp_path / "updated", "--epochs", 1],
    ):
        code, out, err = run(*command, "--exposure-column", "time", "--json")
        assert code == 0, err
        assert json.loads(out)
    assert "median exposure" in (tmp_path / "report.html").read_text()
    # Items to be found need no exposures.
    hidden = pl.col("what") == "w2"
    table(20, seed=1).filter(~hidden).write_csv(tmp_path / "seen.csv")
    table(20, seed=1).filter(hidden).drop("years").write_csv(tmp_path / "hidden.csv")
    found = ["--held-out", tmp_path / "hidden.csv", "--cutoff", 2]
    code, _, err = run("rank", model, tmp_path / "seen.csv", *found)
    assert code == 0, err


def test_data_without_exposures(data, model, run, tmp_path):
    code, _, err = run("transform", model, data / "plain.csv", "--out", tmp_path / "z.csv")
    assert code == 2
    assert "no column 'years' (from exposure_column)" in err
    plain = [option for option in READING if option not in ("--exposure-column", "years")]
    code, _, err = run("fit", data / "plain.csv", *plain, *MODEL, "--out", tmp_path / "m")
    assert code == 2
    assert "exposure='given' needs an exposure for each row" in err
    assert "--exposure-column NAME" in err


@pytest.mark.filterwarnings("default:.*are not used")
def test_exposures_that_are_not_used_are_told(data, run, tmp_path):
    options = [*MODEL, "--exposure", "unit"]
    code, _, err = run("fit", data / "train.csv", *READING, *options, "--out", tmp_path / "m")
    assert code == 0
    assert "exposures of the rows are not used" in err


def test_parquet_in_blocks(model, run, tmp_path):
    listed = (
        table(30, seed=2)
        .group_by("who", maintain_order=True)
        .agg("what", "n", pl.col("years").first())
    )
    (tmp_path / "rows").mkdir()
    listed[:20].write_parquet(tmp_path / "rows" / "a.parquet", row_group_size=7)
    listed[20:].write_parquet(tmp_path / "rows" / "b.parquet")
    listed.write_parquet(tmp_path / "all.parquet")
    code, _, err = run("transform", model, tmp_path / "rows", "--out", tmp_path / "parts")
    assert code == 0, err
    z = tmp_path / "z.parquet"
    code, _, err = run("transform", model, tmp_path / "all.parquet", "--out", z)
    assert code == 0, err
    a, b = (pl.read_parquet(path).select("z0", "z1") for path in (tmp_path / "parts", z))
    np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), atol=1e-5)
    code, _, err = run("evaluate", model, tmp_path / "rows", "--out", tmp_path / "scores")
    assert code == 0, err
    code, _, err = run(
        "fit", tmp_path / "rows", *READING, *MODEL, "--out", tmp_path / "m", "--stream"
    )
    assert code == 2
    assert "Training does not take exposures from a stream" in err
    code, _, err = run(
        "fit", tmp_path / "rows", *READING, *MODEL, "--out", tmp_path / "m", "--no-stream"
    )
    assert code == 0, err
    assert lt.load(tmp_path / "m").running_.exposure > 0


def test_cells(run, tmp_path):
    rng = np.random.default_rng(0)
    size = rng.gamma(4.0, 0.25, 60)
    counts = rng.poisson(size[:, None] * 5 * RATES[np.arange(60) % 2]).astype(np.float32)
    counts[counts.sum(1) == 0, 0] = 1
    obs = pd.DataFrame({"size_factor": size}, index=[f"c{i}" for i in range(60)])
    adata = anndata.AnnData(counts, obs, pd.DataFrame(index=[f"g{i}" for i in range(5)]))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    options = [*MODEL, "--likelihood", "negative_binomial", "--exposure-column", "size_factor"]
    code, _, err = run("fit", tmp_path / "cells.h5ad", *options, "--out", tmp_path / "m")
    assert code == 0, err
    code, _, err = run(
        "transform", tmp_path / "m", tmp_path / "cells.h5ad", "--out", tmp_path / "z.h5ad"
    )
    assert code == 0, err
    fitted = lt.load(tmp_path / "m")
    written = anndata.read_h5ad(tmp_path / "z.h5ad").obsm["X_longtail"]
    lt.annotate(fitted, adata, exposure="size_factor", samples=5)
    np.testing.assert_allclose(adata.obsm["X_longtail"], written, atol=1e-6)
    with pytest.raises(DataError, match="these 60 rows have none"):
        lt.annotate(fitted, adata, samples=5)
