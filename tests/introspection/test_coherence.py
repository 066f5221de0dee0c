from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from longtail import CoOccurrence, CountMatrix, topic_coherence, topic_diversity
from tests.introspection.handmade import letters

tables = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.integers(1, 5)),
    elements=st.sampled_from([0.0, 0.0, 1.0, 3.0]),
)


def counts(dense):
    dense = np.asarray(dense, dtype=float)
    return CountMatrix.from_any(dense, vocabulary=letters(dense.shape[1]))


def npmi_by_counting(dense, a, b):
    n = len(dense)
    fa, fb = (sum(row[f] > 0 for row in dense) for f in (a, b))
    both = sum(row[a] > 0 and row[b] > 0 for row in dense)
    if fa == 0 or fb == 0:
        return math.nan
    if both == 0:
        return -1.0
    if both == n:
        return 1.0
    return math.log((both / n) / (fa / n * fb / n)) / -math.log(both / n)


@given(tables)
def test_npmi_against_counting(dense):
    rows = counts(dense)
    names = letters(dense.shape[1])
    found = CoOccurrence(rows).npmi(names, names)
    each = range(len(names))
    expected = np.array([[npmi_by_counting(dense, a, b) for b in each] for a in each])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    known = found[~np.isnan(found)]
    assert (np.abs(known) <= 1 + 1e-12).all()


@given(tables)
def test_coherence_is_the_mean_over_pairs(dense):
    names = letters(dense.shape[1])
    pairs = [npmi_by_counting(dense, a, b) for b in range(len(names)) for a in range(b)]
    known = [x for x in pairs if not math.isnan(x)]
    expected = np.mean(known) if known else math.nan
    found = topic_coherence([names, names[:1], []], counts(dense))
    np.testing.assert_allclose(found, [expected, math.nan, math.nan], atol=1e-12)


def test_limits():
    #                      a  b  c  d  e  f
    rows = counts([[1, 2, 0, 1, 1, 0], [3, 1, 0, 1, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0]])
    together = CoOccurrence(rows)
    assert together.npmi(["a"], ["b"]) == pytest.approx(1)  # always together
    assert together.npmi(["a"], ["c"]) == -1  # never
    assert together.npmi(["a"], ["e"]) == pytest.approx(0)  # independent
    assert together.npmi(["d"], ["d"]) == 1  # in every row
    assert together.npmi(["a"], ["d"]) == pytest.approx(0)
    assert np.isnan(together.npmi(["a", "f"], ["f"])).all()


def test_unknown_features_are_unknown_on_either_side():
    together = CoOccurrence(counts([[1, 1], [1, 0]]))
    found = together.npmi(["zebra", "a"], ["a", "zebra"])
    assert np.isnan(found).tolist() == [[True, True], [False, True]]
    assert math.isnan(together.coherence(["a", "zebra"]))
    assert together.coherence(["a", "b", "zebra"]) == together.coherence(["a", "b"])


def test_only_presence_counts():
    dense = np.random.default_rng(0).poisson(0.7, (30, 6))
    names = letters(6)
    np.testing.assert_array_equal(
        CoOccurrence(counts(dense)).npmi(names, names),
        CoOccurrence(counts(dense > 0)).npmi(names, names),
    )


def test_the_rows_are_left_as_they_are():
    rows = counts([[2, 0], [5, 1]])
    CoOccurrence(rows).npmi(["a"], ["b"])
    np.testing.assert_array_equal(rows.csr.toarray(), [[2, 0], [5, 1]])


def test_diversity():
    assert topic_diversity([["a", "b"], ["c", "d"]]) == 1
    assert topic_diversity([["a", "b"], ["b", "a"]]) == 0.5
    assert topic_diversity([["a", "b", "c"], ["a"]]) == 0.75
    assert math.isnan(topic_diversity([]))
    assert math.isnan(topic_diversity([[], []]))
