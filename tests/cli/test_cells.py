"""Annotated AnnData from the command line."""

from __future__ import annotations

import json

import anndata
import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array, save_npz

import longtail as lt
from tests.cli.test_cli import SMALL, run
from tests.test_cells import cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    train, new = cells(60), cells(20, seed=1)
    for adata in (train, new):
        adata.layers["counts"] = adata.X.copy()
        adata.X = np.log1p(adata.X)
    train.write_h5ad(folder / "train.h5ad")
    new[:, 1:].write_h5ad(folder / "new.h5ad")
    done = run(
        "fit", folder / "train.h5ad", "--layer", "counts", "--likelihood", "negative_binomial",
        "--out", folder / "model", *SMALL, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_transform_writes_annotated_cells(folder):
    out = folder / "annotated.h5ad"
    done = run("transform", folder / "model", folder / "new.h5ad", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["out"] == str(out)
    assert (report["cells"], report["genes"], report["missing_genes"]) == (20, 19, 1)
    assert "1 of the model's genes are not in" in done.stderr
    adata, before = anndata.read_h5ad(out), anndata.read_h5ad(folder / "new.h5ad")
    expected = lt.load(folder / "model").posterior(lt.CountMatrix.from_any(before, layer="counts"))
    np.testing.assert_array_equal(adata.obsm["X_longtail"], expected.mean)
    np.testing.assert_array_equal(adata.obsm["X_longtail_scale"], expected.scale)
    assert adata.varm["longtail"].shape == (19, 3)
    assert adata.uns["longtail"]["layer"] == "counts"
    assert abs(adata.X - before.X).max() == 0
    assert not list(folder.glob(".*tmp"))


def test_the_same_cells_as_a_table_and_from_another_layer(folder):
    adata = anndata.read_h5ad(folder / "new.h5ad")
    adata.layers["raw"] = adata.layers.pop("counts")
    adata.write_h5ad(folder / "raw.h5ad")
    out = folder / "z.parquet"
    done = run("transform", folder / "model", folder / "raw.h5ad", "--out", out)
    assert done.returncode == 2
    assert "no layer 'counts'. Its layers: 'raw'" in done.stderr
    done = run("transform", folder / "model", folder / "raw.h5ad", "--out", out, "--layer", "raw")
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(out).shape == (20, 4)
    again = folder / "again.h5ad"
    done = run("transform", folder / "model", folder / "raw.h5ad", "--out", again, "--layer", "raw")
    assert done.returncode == 0, done.stderr
    assert "20 cells × 3 components" in done.stdout
    assert anndata.read_h5ad(again).uns["longtail"]["layer"] == "raw"


def test_only_cells_are_annotated(folder):
    table = folder / "table.npz"
    save_npz(table, csr_array(np.ones((3, 20))))
    done = run("transform", folder / "model", table, "--out", folder / "x.h5ad")
    assert done.returncode == 2
    assert "AnnData file (.h5ad), but the data are" in done.stderr
    done = run("transform", folder / "model", folder / "new.h5ad", "--out", folder / "x.txt")
    assert done.returncode == 2
    assert ".parquet, .csv or .h5ad" in done.stderr
    done = run("transform", folder / "model", folder / "new.h5ad", "--out", table / "x.h5ad")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
