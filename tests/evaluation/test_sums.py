from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from longtail.evaluation.sums import LogProbSums, Moments

numbers = st.floats(-1e3, 1e3)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=numbers), st.data()
)
def test_moments_add_up(values, data):
    at = data.draw(st.integers(0, len(values)))
    whole, parts = Moments.of(values), Moments.of(values[:at]) + Moments.of(values[at:])
    assert parts.n == whole.n
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(parts.squares, whole.squares, atol=1e-6)


def test_deviations_survive_a_large_mean():
    values = 1e9 + np.array([0.0, 1.0, 2.0, 3.0])
    parts = Moments.of(values[:1]) + Moments.of(values[1:])
    assert parts.se == pytest.approx(values.std(ddof=1) / 2)


def test_nothing_adds_nothing():
    nothing = Moments.of(np.empty(0))
    assert (nothing + nothing).n == 0
    assert (nothing + Moments.of(np.array([2.0]))).mean == 2.0
    assert np.isnan(Moments.of(np.array([2.0])).se)


def test_log_probabilities_add_up():
    log_prob, totals = np.array([-2.0, -6.0, -20.0]), np.array([1.0, 2.0, 5.0])
    for counted in (totals, None):
        first, second = (
            LogProbSums.of(log_prob[rows], None if counted is None else counted[rows])
            for rows in (slice(1), slice(1, 3))
        )
        both = (first + second).summary()
        assert both == pytest.approx(LogProbSums.of(log_prob, counted).summary())
