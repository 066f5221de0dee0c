from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, read_counts, read_like
from longtail.data.cells import numbered
from longtail.errors import DataError, DataWarning, MissingExtraError
from tests.data.strategies import dense_counts

COUNTS = np.array([[0, 2, 0], [0, 0, 0], [3, 0, 1]], dtype=np.float32)


def put(group, name, matrix):
    """Write a matrix as AnnData does."""
    if not sp.issparse(matrix):
        group.create_dataset(name, data=matrix).attrs["encoding-type"] = "array"
        return
    stored = group.create_group(name)
    stored.attrs["encoding-type"] = f"{matrix.format}_matrix"
    stored.attrs["shape"] = matrix.shape
    for part in ("data", "indices", "indptr"):
        stored.create_dataset(part, data=getattr(matrix, part))


def put_names(file, name, names, *, nullable=False):
    frame = file.create_group(name)
    frame.attrs["_index"] = "_index"
    values = np.array(names, dtype=h5py.string_dtype())
    if nullable:
        index = frame.create_group("_index")
        index.create_dataset("values", data=values)
        index.create_dataset("mask", data=np.zeros(len(names), dtype=bool))
    else:
        frame.create_dataset("_index", data=values)


def write_h5ad(path, X, *, layers=None, uns=(), nullable=False):
    with h5py.File(path, "w") as file:
        if X is not None:
            put(file, "X", X)
        for name, matrix in (layers or {}).items():
            put(file.require_group("layers"), name, matrix)
        for name in uns:
            file.require_group("uns").create_group(name)
        n, v = (X if X is not None else next(iter(layers.values()))).shape
        put_names(file, "obs", [f"cell{i}" for i in range(n)], nullable=nullable)
        put_names(file, "var", [f"gene{i}" for i in range(v)], nullable=nullable)
    return path


def in_memory(X, *, layers=None, uns=()):
    n, v = X.shape
    return SimpleNamespace(
        X=X,
        layers=layers or {},
        uns=dict.fromkeys(uns),
        obs_names=[f"cell{i}" for i in range(n)],
        var_names=[f"gene{i}" for i in range(v)],
    )


@given(dense_counts.map(np.floor), st.sampled_from(["csr", "csc", "dense"]), st.booleans())
def test_round_trip(tmp_path_factory, dense, kind, nullable):
    X = dense if kind == "dense" else sp.csr_array(dense).asformat(kind)
    path = write_h5ad(tmp_path_factory.mktemp("h") / "x.h5ad", X, nullable=nullable)
    for counts in (read_counts(path), CountMatrix.from_any(in_memory(X))):
        np.testing.assert_array_equal(counts.csr.toarray(), dense)
        assert counts.row_ids.to_list() == [f"cell{i}" for i in range(len(dense))]
        assert counts.vocabulary.names == tuple(f"gene{i}" for i in range(dense.shape[1]))


def test_a_layer_of_counts(tmp_path):
    logged = np.log1p(COUNTS)
    layers = {"counts": sp.csr_array(COUNTS)}
    path = write_h5ad(tmp_path / "x.h5ad", logged, layers=layers, uns=["log1p"])
    adata = in_memory(logged, layers=layers, uns=["log1p"])
    counts = read_counts(path, layer="counts")
    assert counts.csr.toarray().tolist() == COUNTS.tolist()
    assert counts.settings.layer == "counts"
    assert read_like(path, counts.settings, counts.vocabulary)[0].nnz == counts.nnz
    assert CountMatrix.from_any(adata, layer="counts").nnz == counts.nnz
    for read in (lambda **k: read_counts(path, **k), lambda **k: CountMatrix.from_any(adata, **k)):
        with pytest.raises(DataError, match=r"log-transformed.*uns\['log1p'\].*layer='counts'"):
            read()
        with pytest.raises(DataError, match=r"has no layer 'raw'. Its layers: 'counts'"):
            read(layer="raw")


def test_normalised_values_are_refused(tmp_path):
    scaled = sp.csr_array(COUNTS / COUNTS.sum(axis=1, keepdims=True).clip(1) * 4)
    path = write_h5ad(tmp_path / "x.h5ad", COUNTS, layers={"cpm": sp.csr_array(COUNTS / 4)})
    message = r"layer 'cpm' of .* is normalised.*3 of its 3 stored values .*the first is 0.5"
    with pytest.raises(DataError, match=message):
        read_counts(path, layer="cpm")
    with pytest.raises(DataError, match=r"X of this AnnData is normalised.*It has no layers"):
        CountMatrix.from_any(in_memory(scaled / 3))
    assert CountMatrix.from_any(scaled / 3).nnz == 3  # the matrix itself may be fractional
    with_holes = in_memory(np.array([[np.nan, 1.0]]))
    with pytest.raises(DataError, match=r"NaN or inf in data.*feature 'gene0'"):
        CountMatrix.from_any(with_holes)


def test_x_may_be_missing(tmp_path):
    path = write_h5ad(tmp_path / "x.h5ad", None, layers={"counts": COUNTS})
    assert read_counts(path, layer="counts").shape == (3, 3)
    with pytest.raises(DataError, match=r"x.h5ad' has no X. Its layers: 'counts'. Name .*--layer"):
        read_counts(path)
    adata = in_memory(COUNTS, layers={"counts": COUNTS})
    adata.X = None
    with pytest.raises(DataError, match=r"This AnnData has no X. Its layers: 'counts'"):
        CountMatrix.from_any(adata)


def test_layers_belong_to_anndata():
    with pytest.raises(DataError, match="layer='counts' is for AnnData, but got a ndarray"):
        CountMatrix.from_any(COUNTS, layer="counts")


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "other", "no index", "indptr"])
def test_damaged_files(tmp_path, kind):
    path = write_h5ad(tmp_path / "x.h5ad", sp.csr_array(COUNTS))
    if kind == "text":
        path.write_text("cell,gene\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:700])
    else:
        with h5py.File(path, "a") as file:
            if kind == "other":
                file.move("X", "matrix")
            elif kind == "no index":
                del file["obs"].attrs["_index"]
            else:
                file["X/indptr"][...] = [0, 9, 1, 3]
    with pytest.raises(DataError, match=r"Cannot read '.*x.h5ad'.*AnnData 0.7|is damaged"):
        read_counts(path)


def test_without_h5py(tmp_path, monkeypatch):
    path = write_h5ad(tmp_path / "x.h5ad", COUNTS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'longtail\[cells\]'"):
        read_counts(path)


# --- .raw, and X by name --------------------------------------------------------------------------

RAW = np.array([[0, 2, 0, 4], [0, 0, 0, 1], [3, 0, 1, 0]], dtype=np.float32)  # one more gene


def with_raw(tmp_path, X, raw, *, layers=None, uns=()):
    """The same cells as a file and in memory."""
    path = write_h5ad(tmp_path / "x.h5ad", X, layers=layers, uns=uns)
    names = [f"raw{i}" for i in range(raw.shape[1])]
    with h5py.File(path, "a") as file:
        group = file.create_group("raw")
        put(group, "X", raw)
        put_names(group, "var", names)
    adata = in_memory(X, layers=layers, uns=uns)
    adata.raw = SimpleNamespace(X=raw, var_names=names)
    return (
        lambda **k: read_counts(path, **k),
        lambda **k: CountMatrix.from_any(adata, **k),
    )


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("uns", [(), ("log1p",)])
def test_counts_in_raw_are_named_and_read(tmp_path, sparse, uns):
    raw = sp.csr_array(RAW) if sparse else RAW
    for read in with_raw(tmp_path, np.log1p(COUNTS), raw, uns=uns):
        with pytest.raises(DataError, match=r"Whole numbers are in 'raw': .*\(--layer raw\)"):
            read()
        counts = read(layer="raw")
        assert counts.vocabulary.names == ("raw0", "raw1", "raw2", "raw3")
        np.testing.assert_array_equal(counts.csr.toarray(), RAW)


def test_only_what_holds_counts_is_suggested(tmp_path):
    layers = {"lognorm": np.log1p(COUNTS), "counts": sp.csr_array(COUNTS), "scaled": COUNTS - 1}
    for read in with_raw(tmp_path, np.log1p(COUNTS), np.log1p(RAW), layers=layers):
        with pytest.raises(DataError, match=r"Whole numbers are in 'counts': pass layer='counts'"):
            read()
        with pytest.raises(DataError, match=r"^raw of .* is normalised.*in 'counts'"):
            read(layer="raw")
    (tmp_path / "x.h5ad").unlink()
    for read in with_raw(tmp_path, np.log1p(COUNTS), np.log1p(RAW)):
        with pytest.raises(DataError, match=r"Its layers: 'raw'. None of them holds whole"):
            read()


def test_a_layer_comes_before_what_else_its_name_means(tmp_path):
    layers = {"raw": COUNTS * 2, "X": COUNTS * 3}
    for read in with_raw(tmp_path, COUNTS, RAW, layers=layers):
        assert read(layer="raw").totals.sum() == 2 * COUNTS.sum()
        assert read(layer="X").totals.sum() == 3 * COUNTS.sum()
        assert read().totals.sum() == COUNTS.sum()


def test_the_layer_of_the_training_data_can_be_switched_off(tmp_path):
    train = write_h5ad(tmp_path / "x.h5ad", np.log1p(COUNTS), layers={"counts": COUNTS})
    counts = read_counts(train, layer="counts")
    new = write_h5ad(tmp_path / "new.h5ad", COUNTS)
    with pytest.raises(DataError, match=r"has no layer 'counts'.*layer='X' \(--layer X\)"):
        read_like(new, counts.settings, counts.vocabulary)
    plain = replace(counts.settings, layer="X")
    assert read_like(new, plain, counts.vocabulary)[0].nnz == counts.nnz
    assert CountMatrix.from_any(in_memory(COUNTS), layer="X").nnz == counts.nnz


# --- names that occur again -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Suffix used")  # anndata's, on names that end so already
@given(st.lists(st.sampled_from(["a", "b", "a-1", "a-1-1", "b-2"]), max_size=12))
def test_names_are_numbered_as_by_anndata(names):
    expected = anndata.utils.make_index_unique(pd.Index(names, dtype=object)).tolist()
    assert numbered(names) == expected


@pytest.mark.parametrize("layer", [None, "raw"])
def test_repeated_names_are_numbered_with_a_notice(tmp_path, layer):
    names, cells = ["actin", "opsin", "actin"], ["AC-1", "AC-1", "AG-1"]
    path = tmp_path / "x.h5ad"
    with h5py.File(path, "w") as file:
        put(file, "X", COUNTS)
        put_names(file, "obs", cells)
        put_names(file, "var", names)
        raw = file.create_group("raw")
        put(raw, "X", COUNTS)
        put_names(raw, "var", names)
    adata = SimpleNamespace(X=COUNTS, layers={}, uns={}, obs_names=cells, var_names=names)
    adata.raw = SimpleNamespace(X=COUNTS, var_names=names)
    for read in (lambda: read_counts(path, layer=layer), lambda: in_cells(adata, layer)):
        with pytest.warns(DataWarning) as told:
            counts = read()
        assert sorted(str(w.message).split(" of ")[0] for w in told) == ["1", "1"]
        assert {"genes", "cells"} == {str(w.message).split()[3] for w in told}
        assert counts.vocabulary.names == ("actin", "opsin", "actin-1")
        assert counts.row_ids.to_list() == ["AC-1", "AC-1-1", "AG-1"]


def in_cells(adata, layer):
    return CountMatrix.from_any(adata, layer=layer)
