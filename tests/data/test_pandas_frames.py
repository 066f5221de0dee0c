from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix
from longtail.errors import DataError
from tests.data.strategies import dense_counts

KINDS = {
    "plain": lambda column: column,
    "float32": lambda column: column.astype(np.float32),
    "nullable": lambda column: pd.array(column, dtype="Float64"),
    "sparse": pd.arrays.SparseArray,
    "sparse of ones": lambda column: pd.arrays.SparseArray(column, fill_value=1.0),
    "sparse of nothing": lambda column: pd.arrays.SparseArray(column, fill_value=np.nan),
    "blocks": lambda column: pd.arrays.SparseArray(column, fill_value=0.0, kind="block"),
}


@given(dense_counts, st.data())
def test_sparse_columns_are_read_like_dense_ones(dense, data):
    kinds = [data.draw(st.sampled_from(list(KINDS))) for _ in range(dense.shape[1])]
    columns = {f"f{v}": KINDS[kind](dense[:, v]) for v, kind in enumerate(kinds)}
    counts = CountMatrix.from_any(pd.DataFrame(columns))
    np.testing.assert_array_equal(counts.csr.toarray(), dense)
    assert counts.csr.has_canonical_format
    assert counts.vocabulary.names == tuple(columns)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float32])
def test_types_of_sparse_columns(dtype):
    column = pd.arrays.SparseArray(np.array([0, 1, 1], dtype=dtype))
    frame = pd.DataFrame({"a": column, "b": [3, 0, 0]})
    assert CountMatrix.from_any(frame).csr.toarray().tolist() == [[0, 3], [1, 0], [1, 0]]


@pytest.mark.parametrize("fill", [np.nan, 0.0])
def test_missing_values_of_sparse_columns(fill):
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([np.nan, 2.0, 1.0], fill_value=fill)})
    with pytest.raises(DataError, match=r"NaN or inf in data.*'a'"):
        CountMatrix.from_any(frame)
    assert CountMatrix.from_any(frame.fillna(0)).csr.toarray().tolist() == [[0], [2], [1]]


def test_missing_fills_are_counted():
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([np.nan, 2.0, np.nan])})
    with pytest.raises(DataError, match=r"2 of its 3 values are missing.*X.fillna\(0\)"):
        CountMatrix.from_any(frame)


@pytest.mark.parametrize("plain", [0, 1])
def test_memory_is_that_of_the_entries(plain):
    n_rows, n_features = 4000, 500
    dense_bytes = n_rows * n_features * 8
    held = sp.random_array((n_rows, n_features), density=0.001, rng=np.random.default_rng(0))
    frame = pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(held))
    frame.columns = [f"f{v}" for v in range(n_features)]
    if plain:
        frame["f0"] = frame["f0"].sparse.to_dense()
    tracemalloc.start()
    try:
        counts = CountMatrix.from_any(frame)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counts.nnz == held.nnz
    assert peak < dense_bytes / 10
