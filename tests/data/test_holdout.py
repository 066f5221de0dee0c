"""Holding out parts of rows: nothing lost, nothing on both sides, seeded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import (
    CountMatrix,
    split_edges,
    split_fold_in,
    split_items,
)
from longtail.errors import DataError, ParameterError
from tests.data.strategies import dense_counts

shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 10**6)


def check_parts(X, observed, held_out):
    assert observed.row_ids.equals(X.row_ids)
    assert held_out.row_ids.equals(X.row_ids)
    assert observed.vocabulary == held_out.vocabulary == X.vocabulary
    np.testing.assert_array_equal((observed.csr + held_out.csr).toarray(), X.csr.toarray())
    assert observed.nnz + held_out.nnz == X.nnz  # no entry on both sides


@given(dense_counts, shares, seeds)
def test_items_are_split_without_loss_and_every_row_keeps_one(dense, share, seed):
    X = CountMatrix.from_any(dense)
    observed, held_out = split_items(X, share, seed=seed)
    check_parts(X, observed, held_out)
    m = np.diff(X.csr.indptr)
    held = np.diff(held_out.csr.indptr)
    assert (np.diff(observed.csr.indptr)[m > 0] >= 1).all()
    assert (held <= share * m + 1e-6).all()
    assert (held >= np.minimum(np.floor(share * m), m - 1)).all()


@given(dense_counts, seeds)
def test_a_rows_split_depends_on_its_content_and_the_seed_alone(dense, seed):
    X = CountMatrix.from_any(dense)
    held_out = split_items(X, 0.5, seed=seed)[1]
    order = np.random.default_rng(seed).permutation(X.n_rows)
    again = split_items(X[order], 0.5, seed=seed)[1]
    np.testing.assert_array_equal(again.csr.toarray(), held_out.csr.toarray()[order])


def test_other_seeds_hold_out_other_items():
    X = CountMatrix.from_any(np.ones((1, 50)))
    parts = {tuple(split_items(X, 0.2, seed=s)[1].csr.indices) for s in range(20)}
    assert len(parts) == 20
    assert all(len(part) == 10 for part in parts)


@given(seeds, shares)
def test_fold_in_rows_are_not_among_the_training_rows(seed, share):
    dense = np.random.default_rng(seed).integers(1, 100, size=(30, 6))
    X = CountMatrix.from_any(dense)
    train, parts = split_fold_in(X, [5, 0.2], share=share, seed=seed)
    ids = [train.row_ids.to_list()]
    for observed, held_out in parts:
        ids.append(observed.row_ids.to_list())
        check_parts(X[np.array(ids[-1])], observed, held_out)
    assert sorted(row for part in ids for row in part) == list(range(30))
    assert [len(part) for part in ids[1:]] == [5, 6]


@given(seeds, st.integers(3, 12), shares)
def test_edges_are_hidden_from_both_ends(seed, n, share):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.integers(0, 3, size=(n, n)))
    upper[0, 1] = upper[1, 2] = 1
    X = CountMatrix.from_any(np.maximum(upper, upper.T))
    observed, held_out = split_edges(X, share, seed=seed)
    check_parts(X, observed, held_out)
    for part in (observed, held_out):
        np.testing.assert_array_equal(part.csr.toarray(), part.csr.toarray().T)
    assert not held_out.csr.diagonal().any()
    edges = np.count_nonzero(np.triu(X.csr.toarray(), 1))
    assert held_out.nnz == 2 * max(1, min(int(share * edges + 1e-9), edges - 1))
    again = split_edges(X, share, seed=seed)[1]
    np.testing.assert_array_equal(again.csr.toarray(), held_out.csr.toarray())


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([[0, 1]], {}, "1 rows and 2 features"),
        ([[0, 1], [0, 0]], {}, r"entry \(0, 1\) is 1 and entry \(1, 0\) is 0"),
        ([[1, 1], [1, 1]], {}, "has 1 edge"),
        (
            [[0, 1], [1, 0]],
            {"row_ids": ["a", "b"], "vocabulary": ["b", "a"]},
            "position 0 the row is 'a' and the feature 'b'",
        ),
    ],
)
def test_graphs_that_cannot_be_split(table, options, message):
    with pytest.raises(DataError, match=message):
        split_edges(CountMatrix.from_any(table, **options), seed=0)


@pytest.mark.parametrize("split", [split_items, split_edges])
@pytest.mark.parametrize(
    ("share", "seed", "message"),
    [(0, 0, "share"), (1, 0, "share"), (True, 0, "share"), ("x", 0, "share"), (0.5, -1, "seed")],
)
def test_refused_shares_and_seeds(split, share, seed, message):
    with pytest.raises(ParameterError, match=message):
        split(CountMatrix.from_any([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), share, seed=seed)
