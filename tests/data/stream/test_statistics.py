from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtail.data import read_counts
from longtail.data.stream.held_out import RowLottery
from longtail.data.stream.row_totals import RowTotals
from longtail.features import FeatureTransform
from tests.data.stream.streams import random_texts, statistics_of, stream_of, write_texts
from tests.profiles import examples

KINDS = ("tfidf", "l1", "log1p", "binary")
repeated = settings(
    max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@repeated
@given(n=st.integers(5, 60), rows_a_group=st.integers(1, 20), n_valid=st.integers(0, 12))
def test_sums_are_those_of_the_rows_in_memory(tmp_path, n, rows_a_group, n_valid):
    texts = random_texts(n, 12, seed=n)
    stream = stream_of(tmp_path / "t.parquet", texts, rows_a_group)
    _, found = statistics_of(stream, n_valid=n_valid)
    every = read_counts(tmp_path / "t.parquet")
    filled, n_empty = every.drop_empty()
    train = filled
    if found.valid is not None:
        assert found.valid.rows.n_rows <= n_valid
        is_valid = np.isin(filled.row_keys(), found.valid.keys)
        held_out, train = filled[is_valid], filled[~is_valid]
        assert found.valid.rows.row_ids.to_list() == held_out.row_ids.to_list()
        assert (found.valid.rows.csr != held_out.csr).nnz == 0
    assert found.n_empty == n_empty
    assert found.n_rows == train.n_rows
    assert found.total == train.totals.sum()
    numbers = train.row_ids.to_numpy() // rows_a_group
    expected = np.bincount(numbers, minlength=stream.dataset.n_blocks)
    np.testing.assert_array_equal(found.block_rows, expected)
    rows_with = np.bincount(train.csr.indices, minlength=train.n_features)
    np.testing.assert_array_equal(found.rows_with, rows_with)
    np.testing.assert_array_equal(found.totals, train.csr.sum(0))
    if train.n_rows:
        assert found.row_totals.median() == np.median(train.totals)
        for kind in KINDS:
            features = FeatureTransform.fit(kind, train.csr).apply(train.csr)
            expected = np.sqrt(np.square(features.data).sum() / train.n_rows)
            assert found.typical_norm(kind) == pytest.approx(expected, rel=1e-6)


def test_what_the_vocabulary_lacks(tmp_path):
    stream = stream_of(tmp_path / "t.parquet", ["fox fox hen", "hen", "fox"], 2, vocabulary=["fox"])
    _, found = statistics_of(stream)
    assert found.unknown_mass == 2 / 5
    assert found.unknown_rows == 2 / 3
    assert found.n_empty == 1


def test_copies_stay_on_one_side(tmp_path):
    texts = random_texts(60, 12, longest=4) * 5
    stream = stream_of(tmp_path / "t.parquet", texts, 7)
    _, found = statistics_of(stream, n_valid=40)
    assert 30 < found.valid.rows.n_rows <= 40
    assert len(found.valid.keys) <= found.valid.rows.n_rows / 5
    np.testing.assert_array_equal(np.unique(found.valid.rows.row_keys()), found.valid.keys)
    _, other = statistics_of(stream, n_valid=40, seed=1)
    assert set(found.valid.keys) != set(other.valid.keys)


def test_rows_with_more_copies_than_fit(tmp_path):
    texts = ["common words"] * 500 + random_texts(30, 12, longest=9)
    for seed in range(5):
        stream = stream_of(tmp_path / "t.parquet", texts, 50)
        _, found = statistics_of(stream, n_valid=10, seed=seed)
        assert found.valid.rows.n_rows > 5
        assert found.n_rows >= 500
    stream = stream_of(tmp_path / "t.parquet", ["common words"] * 500, 50)
    _, found = statistics_of(stream, n_valid=10)
    assert found.valid is None


def test_few_candidates_are_in_memory(tmp_path):
    texts = random_texts(2000, 300, longest=9)
    counts = read_counts(write_texts(tmp_path / "t.parquet", texts, 2000)).drop_empty()[0]
    lottery = RowLottery(20, 0)
    for start in range(0, counts.n_rows, 50):
        rows = counts[start : start + 50]
        lottery.add(rows, rows.row_keys(), start)
        assert sum(part.shape[0] for part in lottery._parts) <= 4 * 20
    found = lottery.draw(20, counts)
    assert found.rows.n_rows == 20


@given(
    st.lists(st.floats(0.5, 1e6), min_size=1, max_size=60),
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(1, 70),
)
def test_totals(values, taken, most):
    values, taken = np.array(values), np.array(taken, dtype=float)
    totals = RowTotals()
    totals.add(np.concatenate([values, taken]))
    totals.add(taken, times=-1)
    assert totals.median() == pytest.approx(np.median(values), rel=1e-9)
    sizes, means = totals.groups(most)
    groups = np.array_split(np.sort(values), min(most, len(values)))
    np.testing.assert_array_equal(sizes, [len(g) for g in groups])
    np.testing.assert_allclose(means, [g.mean() for g in groups], rtol=1e-6)


def test_totals_of_many_kinds():
    values = np.random.default_rng(0).lognormal(3, 1, 300_000)
    totals = RowTotals()
    for part in np.array_split(values, 10):
        totals.add(part)
    assert len(totals._keys) < 10_000
    assert totals.median() == pytest.approx(np.median(values), rel=2e-3)
