"""Splits by time: nothing lost, nothing on both sides, nothing from the future observed."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import split_by_time
from longtail.errors import DataError, DataWarning, ParameterError

shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 10**6)


@st.composite
def interactions(draw):
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(seeds))
    return pl.DataFrame(
        {
            "user": rng.integers(0, 5, n),
            "item": [f"i{i}" for i in rng.integers(0, 6, n)],
            "when": rng.integers(0, 10, n),
            "plays": rng.integers(1, 5, n),
        }
    )


COLUMNS = {"row_column": "user", "feature_column": "item", "time_column": "when"}


def split_quietly(frame, **options):
    """The split, and how many interactions the notice says were left out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = split_by_time(frame, **COLUMNS, **options)
    assert all(w.category is DataWarning for w in caught)
    return parts, sum(int(str(w.message).split()[0]) for w in caught)


@given(interactions(), st.one_of(shares, st.integers(1, 9)))
def test_time_splits_lose_no_pair_and_put_none_on_both_sides(frame, where):
    option = {"cutoff": where} if isinstance(where, int) else {"share": where}
    try:
        (observed, held_out), repeats = split_quietly(frame, **option)
    except DataError as error:
        assert "Nothing would be" in str(error)  # noqa: PT017
        return
    assert observed.row_ids.equals(held_out.row_ids)
    assert observed.vocabulary == held_out.vocabulary
    pairs = [
        {
            (matrix.row_ids[int(i)], matrix.vocabulary[int(j)])
            for i, j in zip(*matrix.csr.nonzero(), strict=True)
        }
        for matrix in (observed, held_out)
    ]
    assert not pairs[0] & pairs[1]
    assert pairs[0] | pairs[1] == set(frame.select("user", "item").iter_rows())
    assert observed.csr.sum() + held_out.csr.sum() + repeats == frame.height
    first = frame.group_by("user", "item").agg(pl.col("when").min())
    time_of = {(u, i): t for u, i, t in first.iter_rows()}
    for user in {u for u, _ in pairs[1]}:
        held = [time_of[p] for p in pairs[1] if p[0] == user]
        seen = [time_of[p] for p in pairs[0] if p[0] == user]
        if "cutoff" in option:
            assert min(held) >= where
            assert max(seen, default=-1) < where
        else:
            assert len(held) <= where * (len(held) + len(seen)) + 1e-6
            assert seen
            assert max(seen) <= min(held)


def test_dates_and_values():
    frame = pl.DataFrame(
        {
            "user": ["a", "a", "a", "b", "b"],
            "item": ["x", "y", "x", "x", "z"],
            "when": [dt.date(2020, 1, d) for d in (1, 5, 6, 2, 9)],
            "plays": [2, 3, 4, 5, 6],
        }
    )
    options = {**COLUMNS, "value_column": "plays"}
    with pytest.warns(DataWarning, match="1 of 5 interactions come after the split"):
        observed, held_out = split_by_time(frame, **options, cutoff="2020-01-05")
    np.testing.assert_array_equal(observed.csr.toarray(), [[2, 0, 0], [5, 0, 0]])
    np.testing.assert_array_equal(held_out.csr.toarray(), [[0, 3, 0], [0, 0, 6]])
    assert observed.row_ids.to_list() == ["a", "b"]
    assert observed.vocabulary.names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({}, ParameterError, "one of the two"),
        ({"share": 0.2, "cutoff": 1}, ParameterError, "one of the two"),
        ({"share": 1.0}, ParameterError, "between 0 and 1"),
        ({"share": 0.5, "time_column": "hour"}, DataError, "No column 'hour' among 'user', 'item'"),
        ({"share": 0.5, "time_column": "item"}, DataError, "holds text"),
        ({"share": 0.5, "time_column": "gap"}, DataError, "1 missing value.*line 1"),
        ({"cutoff": "soon"}, ParameterError, "comparable with the times"),
        ({"cutoff": 0}, DataError, "Nothing would be observed"),
        ({"cutoff": 99}, DataError, "Nothing would be held out.*from 1 to 2"),
    ],
)
def test_time_refusals(change, error, message):
    frame = pl.DataFrame({"user": [1, 1], "item": ["x", "y"], "when": [1, 2], "gap": [1, None]})
    with pytest.raises(error, match=message):
        split_by_time(frame, **(COLUMNS | change))
