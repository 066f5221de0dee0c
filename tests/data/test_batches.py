from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import Batches, CountMatrix, Part
from longtail.errors import DataError, ParameterError
from longtail.features import FeatureTransform


def make(n_rows, batch_size, kind="log1p"):
    dense = np.random.default_rng(n_rows).poisson(0.5, size=(n_rows, 4))
    counts = CountMatrix.from_any(dense)
    features = FeatureTransform.fit(kind, counts.csr).apply(counts.csr)
    return Batches(counts.csr, features, counts.row_keys(), batch_size), counts, features


@given(st.integers(1, 60), st.integers(1, 25), st.integers(0, 2**32), st.integers(0, 1000))
def test_an_epoch_yields_every_row_once(n_rows, batch_size, seed, epoch):
    batches, counts, features = make(n_rows, batch_size)
    seen = list(batches.epoch(seed, epoch))
    assert len(seen) == len(batches) == -(-n_rows // batch_size)
    assert sorted(np.concatenate([batch.rows for batch in seen]).tolist()) == list(range(n_rows))
    sizes = [len(batch) for batch in seen]
    assert max(sizes) <= batch_size
    assert len(sizes) == 1 or min(sizes) >= batch_size / 2
    for batch in seen:
        assert batch.rows.dtype == np.int64
        assert batch.counts.shape == batch.features.shape == (len(batch), 4)
        assert (batch.counts != counts.csr[batch.rows]).nnz == 0
        assert (batch.features != features[batch.rows]).nnz == 0
        np.testing.assert_array_equal(batch.keys, counts.row_keys()[batch.rows])


@given(st.integers(1, 60), st.integers(1, 25))
def test_ordered_keeps_the_order(n_rows, batch_size):
    batches, _, _ = make(n_rows, batch_size)
    seen = list(batches.ordered())
    assert np.concatenate([batch.rows for batch in seen]).tolist() == list(range(n_rows))
    assert all(len(batch) == batch_size for batch in seen[:-1])


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    batches, _, _ = make(50, 7)

    def order(seed, epoch):
        return np.concatenate([batch.rows for batch in batches.epoch(seed, epoch)]).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(st.integers(8, 60), st.integers(4, 25), st.integers(1, 2), st.integers(0, 3))
def test_parts_make_up_the_batches(n_rows, batch_size, parts, start):
    batches, _, _ = make(n_rows, batch_size)
    whole = list(batches.epoch(1, 2))[start:]
    shared = zip(
        *(batches.epoch(1, 2, start=start, part=Part(i, parts)) for i in range(parts)), strict=True
    )
    for batch, own in zip(whole, shared, strict=True):
        assert [b.global_size for b in own] == [len(batch)] * parts
        assert min(map(len, own)) > 0
        assert np.concatenate([b.rows for b in own]).tolist() == batch.rows.tolist()


def test_more_parts_than_rows_of_a_batch_are_refused():
    batches, _, _ = make(5, 2)
    with pytest.raises(ParameterError, match="2 rows cannot be shared by 3 processes"):
        next(batches.epoch(0, 0, part=Part(0, 3)))
    with pytest.raises(ParameterError, match="part 3 of 3"):
        Part(3, 3)


def test_batches_can_be_written_to_and_the_source_is_safe():
    batches, counts, _ = make(5, 5)
    batch = next(batches.ordered())
    batch.counts.data[:] = 9  # PyTorch shares memory with writeable arrays without a copy
    assert counts.csr.data.max() < 9


def test_counts_as_features_are_gathered_once():
    counts = CountMatrix.from_any(np.eye(4))
    batch = next(Batches(counts.csr, counts.csr, counts.row_keys(), 2).ordered())
    assert batch.features is batch.counts


def test_refused_parts():
    _, counts, features = make(5, 2)
    keys = counts.row_keys()
    with pytest.raises(DataError, match=r"same rows.*\(5, 4\), \(4, 4\) and \(5,\)"):
        Batches(counts.csr, features[:4], keys, 2)
    with pytest.raises(DataError, match=r"and \(4,\)"):
        Batches(counts.csr, features, keys[:4], 2)
    with pytest.raises(DataError, match="at least one row"):
        Batches(counts.csr[:0], features[:0], keys[:0], 2)
    for size, message in [(0, "1 or more"), (2.0, "whole number"), (True, "whole number")]:
        with pytest.raises(ParameterError, match=message):
            Batches(counts.csr, features, keys, size)
    with pytest.raises(ParameterError, match="seed=-1"):
        next(Batches(counts.csr, features, keys, 2).epoch(-1, 0))
