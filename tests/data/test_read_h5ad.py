from __future__ import annotations

import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, read_counts, read_like
from longtail.errors import DataError, MissingExtraError
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
