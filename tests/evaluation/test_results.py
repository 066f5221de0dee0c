from __future__ import annotations

import numpy as np
import pytest

from longtail.evaluation import ActiveDims, Bound, Completion, Floor, Gap

LOG_PROB = np.array([-2.0, -6.0, -20.0])
TOTALS = np.array([1.0, 2.0, 5.0])
# Per token 2, 3 and 4: their mean is 3, their sum over tokens 28 of 8.
PER_DOC, PER_WORD = np.exp(3.0), np.exp(28 / 8)


def assert_summary(result):
    assert result.per_doc == pytest.approx(PER_DOC)
    assert result.per_word == pytest.approx(PER_WORD)
    assert result.nats_per_row == pytest.approx(-28 / 3)
    variance = ((28 / 3 - 2) ** 2 + (28 / 3 - 6) ** 2 + (28 / 3 - 20) ** 2) / 2
    assert result.se == pytest.approx(np.sqrt(variance / 3))
    assert result.per_doc_se == pytest.approx(PER_DOC * 1.0 / np.sqrt(3))


def test_floor():
    assert_summary(Floor.from_rows(LOG_PROB, TOTALS))


def test_bound():
    bound = Bound.from_rows(LOG_PROB, np.array([0.5, 0.25, 0.25]), TOTALS, samples=7, steps=9)
    assert_summary(bound)
    # Of a mean of three rows with independent errors.
    assert bound.mc_se == pytest.approx(np.sqrt(1.0) / 3)
    assert (bound.samples, bound.steps) == (7, 9)


def test_completion():
    result = Completion.from_rows(LOG_PROB, TOTALS, skipped_rows=4, samples=7, steps=9)
    assert_summary(result)
    assert (result.rows, result.skipped_rows, result.tokens) == (3, 4, 8)


def test_the_standard_errors_are_those_of_the_means():
    rng = np.random.default_rng(0)
    totals = rng.poisson(20, (400, 50)) + 1.0
    log_prob = -totals * rng.gamma(20, 0.25, (400, 50))
    results = [Floor.from_rows(*pair) for pair in zip(log_prob, totals, strict=True)]
    for value, error in [("nats_per_row", "se"), ("per_doc", "per_doc_se")]:
        spread = np.std([getattr(r, value) for r in results], ddof=1)
        claimed = np.mean([getattr(r, error) for r in results])
        assert spread == pytest.approx(claimed, rel=0.15), value


def test_gap():
    gap = Gap.from_rows(np.array([1.0, 2.0, 3.0, 6.0]))
    assert gap.nats_per_row == 3.0
    assert gap.se == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / 3 / 4))
    assert gap.median == 2.5
    assert gap.p90 == pytest.approx(5.1)


def test_active_dims():
    kl = np.array([[0.04, 0.2, 0.0], [0.08, 0.0, 0.0]])  # means 0.06, 0.1, 0
    mean = np.array([[0.0, 1.0, 5.0], [0.0, 1.3, 5.1]])  # variances 0, 0.0225, 0.0025
    dims = ActiveDims.from_rows(kl, mean)
    assert (dims.kl, dims.variance, dims.of) == (2, 1, 3)
    assert (dims.kl_threshold, dims.variance_threshold) == (0.05, 0.01)


def test_one_row_has_no_standard_error():
    one = Bound.from_rows(np.array([-3.0]), np.array([0.1]), np.array([2.0]), samples=2, steps=0)
    assert np.isnan(one.se)
    assert np.isnan(one.per_doc_se)
    assert np.isnan(Gap.from_rows(np.array([1.0])).se)
