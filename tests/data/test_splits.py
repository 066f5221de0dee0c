from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, drop_duplicates, duplicate_groups, split_rows
from longtail.errors import DataError, ParameterError
from tests.data.strategies import dense_counts


@given(dense_counts)
def test_groups_are_equal_rows(dense):
    groups = duplicate_groups(CountMatrix.from_any(dense))
    contents = [row.tobytes() for row in dense]
    order = list(dict.fromkeys(contents))
    assert groups.dtype == np.int64
    assert groups.tolist() == [order.index(content) for content in contents]


@given(dense_counts, st.integers(0, 1))
def test_groups_are_exact_when_hashes_collide(dense, kept_bits):
    counts = CountMatrix.from_any(dense)
    exact = duplicate_groups(counts)
    with pytest.MonkeyPatch.context() as patch:
        keys = counts.row_keys() & np.uint64(kept_bits)  # one or two values for all rows
        patch.setattr(CountMatrix, "row_keys", lambda self: keys)
        np.testing.assert_array_equal(duplicate_groups(counts), exact)


@given(dense_counts)
def test_drop_duplicates_keeps_the_first(dense):
    kept, dropped = drop_duplicates(CountMatrix.from_any(dense))
    firsts = sorted({row.tobytes(): i for i, row in reversed(list(enumerate(dense)))}.values())
    assert kept.row_ids.to_list() == firsts
    assert dropped == len(dense) - len(firsts)


@given(
    st.integers(0, 10**6),
    st.lists(st.one_of(st.integers(1, 5), st.floats(0.05, 0.2)), min_size=1, max_size=3),
    st.integers(20, 60),
)
def test_splits_are_disjoint_complete_and_keep_duplicates_together(seed, sizes, n_rows):
    rows = np.random.default_rng(seed).integers(0, 8, size=(n_rows, 2))
    counts = CountMatrix.from_any(rows)
    try:
        parts = split_rows(counts, sizes, seed=seed)
    except DataError as error:
        assert "duplicates" in str(error)  # noqa: PT017
        return
    assert len(parts) == len(sizes) + 1
    ids = [part.row_ids.to_list() for part in parts]
    assert sorted(row for part in ids for row in part) == list(range(n_rows))
    assert all(part == sorted(part) for part in ids)
    contents = [set(part.row_keys().tolist()) for part in parts]
    assert len(set().union(*contents)) == sum(map(len, contents))
    for size, part in zip(sizes, parts[1:], strict=True):
        assert 1 <= len(part) <= (size if isinstance(size, int) else max(1, round(size * n_rows)))
    for part, again in zip(parts, split_rows(counts, sizes, seed=seed), strict=True):
        assert part.row_ids.equals(again.row_ids)


def test_sizes_are_exact_without_duplicates_and_seeds_matter():
    counts = CountMatrix.from_any(np.arange(1, 201).reshape(100, 2))
    rest, validation, test = split_rows(counts, [10, 0.25], seed=0)
    assert (len(rest), len(validation), len(test)) == (65, 10, 25)
    assert not split_rows(counts, [10], seed=1)[1].row_ids.equals(validation.row_ids)


def test_sizes_are_exact_beside_one_big_group():
    rows = np.vstack([np.zeros((50, 1)), np.arange(1, 51)[:, None]])
    for seed in range(20):
        _, part = split_rows(CountMatrix.from_any(rows), [10], seed=seed)
        assert len(part) == 10


@pytest.mark.parametrize(
    ("sizes", "seed", "message"),
    [
        ([10], 0, "take 10 rows, but there are 10"),
        ([0.5, 0.5], 0, "take 10 rows"),
        ([0], 0, "1 or more, but got 0"),
        ([1.0], 0, "between 0 and 1, but got 1.0"),
        ([-0.1], 0, "between 0 and 1"),
        ([True], 0, "must be a number, but got True"),
        (["5"], 0, "must be a number"),
        ([1], -1, "seed must be a whole number ≥ 0"),
    ],
)
def test_refused_sizes(sizes, seed, message):
    counts = CountMatrix.from_any(np.arange(1, 11)[:, None])
    with pytest.raises(ParameterError, match=message):
        split_rows(counts, sizes, seed=seed)


def test_too_many_duplicates():
    counts = CountMatrix.from_any(np.ones((10, 1)))
    with pytest.raises(DataError, match="duplicates stay together"):
        split_rows(counts, [3], seed=0)
