"""Options on how DATA are read, in the commands that read new data for a model."""

from __future__ import annotations

import json

import anndata
import numpy as np
import polars as pl
import pytest
import scipy.io
import scipy.sparse as sp

from longtail import load, read_counts
from tests.cli.test_recommend import FIT
from tests.data.test_read_10x import write_10x
from tests.estimator.models import small
from tests.test_cells import cells

SMALL = FIT[: FIT.index("--row-column")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of the layer "counts" of cells, and new cells with their counts elsewhere."""
    folder = tmp_path_factory.mktemp("reading")
    adata = cells(30)
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(folder / "train.h5ad")
    rows = read_counts(folder / "train.h5ad", layer="counts")
    small(epochs=1).fit(rows).save(folder / "model")
    new = cells(12, seed=1)
    new.raw = new.copy()
    new.X = np.log1p(new.X)
    new.write_h5ad(folder / "raw.h5ad")
    plain = cells(12, seed=1)
    plain.write_h5ad(folder / "plain.h5ad")
    sp.save_npz(folder / "x.npz", sp.csr_array(plain.X))
    pl.DataFrame({"text": ["gene0 gene1"]}).write_csv(folder / "x.csv")
    return folder


COMMANDS = {
    "transform": ["--refine-steps", 0, "--out", "z.parquet"],
    "evaluate": ["--samples", 1, "--refine-steps", 0],
    "recommend": ["-k", 2, "--include-seen", "--refine-steps", 0],
    "rank": ["--cutoff", 2, "--refine-steps", 0],
    "spectrum": ["--samples", 2],
    "directions": ["--samples", 2],
    "report": ["--out", "r.html", "--samples", 1, "--refine-steps", 0],
    "update": ["--epochs", 0, "--out", "updated"],
}
# Those that only read and pass on: the others do all of their work.
READING = ["transform", "evaluate", "recommend", "rank", "spectrum", "directions", "update"]


@pytest.mark.parametrize("command", READING)
def test_the_layer_of_new_data_may_be_another(folder, run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    model, options = folder / "model", COMMANDS[command]
    code, _, err = run(command, model, folder / "plain.h5ad", *options)
    assert code == 2
    assert "has no layer 'counts'. It has no layers. If X holds the counts, pass" in err
    assert "(--layer X)" in err
    for data, layer in (("plain.h5ad", "X"), ("raw.h5ad", "raw")):
        code, _, err = run(command, model, folder / data, *options, "--layer", layer)
        assert code == 0, err
    code, _, err = run(command, model, folder / "raw.h5ad", *options, "--layer", "X")
    assert code == 2
    assert "Whole numbers are in 'raw': pass layer='raw' (--layer raw)" in err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "X"], "layer does not apply to"),
        (["--layer", ""], "layer must be the name of a layer"),
        (["--exposure-column", "years"], "exposure_column does not apply to"),
        (["--exposure-column", ""], "exposure_column must be a column name"),
    ],
)
def test_options_that_do_nothing_are_refused(
    folder, run, tmp_path, monkeypatch, command, options, message
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(command, folder / "model", folder / "x.npz", *COMMANDS[command], *options)
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["spectrum", "directions", "report", "explore"])
@pytest.mark.parametrize("option", ["--layer", "--exposure-column"])
def test_options_on_rows_that_are_not_given_are_refused(folder, run, command, option):
    code, _, err = run(command, folder / "model", option, "x")
    assert code == 2
    assert f"{option}: for reading ROWS, but none are given" in err


@pytest.mark.parametrize("command", ["transform", "evaluate", "recommend"])
def test_block_by_block_there_are_no_layers(folder, run, tmp_path, command):
    arguments = [command, folder / "model", folder / "x.csv", "--out", tmp_path / "parts"]
    code, _, err = run(*arguments, "--layer", "X")
    assert code == 2
    assert "--layer is for AnnData, which is not scored block by block" in err


@pytest.mark.parametrize(
    "option", [["--layer", "counts"], ["--transpose"], ["--index-base", "0"], ["--id-column", "x"]]
)
def test_fit_refuses_what_does_nothing(folder, run, tmp_path, option):
    table = tmp_path / "long.csv"
    table.write_text("u,i\na,b\n")
    columns = ["--row-column", "u", "--feature-column", "i"]
    code, _, err = run("fit", table, *columns, *option, "--out", tmp_path / "model")
    assert code == 2
    assert "does not apply to" in err or "No such option: --index-base" in err
    assert not (tmp_path / "model").exists()


def test_fit_of_a_transposed_matrix(run, tmp_path):
    counts = np.random.default_rng(0).poisson(1.0, (30, 8)) + 1
    scipy.io.mmwrite(tmp_path / "x.mtx", sp.coo_array(counts.T))
    out = tmp_path / "model"
    code, _, err = run("fit", tmp_path / "x.mtx", "--transpose", "--out", out, *SMALL)
    assert code == 0, err
    assert load(out).n_features_in_ == 8
    code, printed, err = run("evaluate", out, tmp_path / "x.mtx", "--json")
    assert code == 0, err
    assert json.loads(printed)["rows"] == 30
    scipy.io.mmwrite(tmp_path / "x.mtx", sp.coo_array(counts))
    code, _, err = run("evaluate", out, tmp_path / "x.mtx")
    assert code == 2
    assert "looks transposed" in err


def test_a_10x_folder_from_fit_to_transform(run, tmp_path):
    genes = ["actin", "myosin", "opsin", "tubulin"]
    folder = write_10x(tmp_path / "x", genes=genes)
    out = tmp_path / "model"
    code, _, err = run("fit", folder, "--out", out, *SMALL)
    assert code == 0, err
    assert load(out).vocabulary_.names == tuple(genes)
    adata = anndata.AnnData(np.ones((2, 4), dtype=np.float32))
    adata.var_names = genes[::-1]
    adata.write_h5ad(tmp_path / "new.h5ad")
    for data, n in ((folder, 3), (folder / "matrix.mtx.gz", 3), (tmp_path / "new.h5ad", 2)):
        code, _, err = run("transform", out, data, "--out", tmp_path / "z.parquet")
        assert code == 0, err
        assert len(pl.read_parquet(tmp_path / "z.parquet")) == n
