"""Running counts: what is counted, added, forgotten, and worked out afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from longtail.errors import ParameterError
from longtail.estimator.network import unigram_frequencies
from longtail.estimator.running import RunningCounts
from longtail.features import FeatureTransform
from tests.data.strategies import dense_counts


def same(a, b, **tolerance):
    assert a.rows == pytest.approx(b.rows)
    np.testing.assert_allclose(a.df, b.df, **tolerance)
    np.testing.assert_allclose(a.totals, b.totals, **tolerance)


def test_closed_case():
    found = RunningCounts.of(csr_array(np.array([[2.0, 0, 1], [3, 0, 0]])))
    assert found.rows == 2
    assert found.df.tolist() == [2, 0, 1]
    assert found.totals.tolist() == [5, 0, 1]
    assert found.mean_total == 3
    np.testing.assert_allclose(found.unigram(), np.array([5.5, 0.5, 1.5]) / 7.5)
    wide = found.widened(4).plus(RunningCounts(2.0, np.ones(4), np.full(4, 2.0)), forget=0.5)
    assert wide.rows == 3
    assert wide.df.tolist() == [2, 1, 1.5, 1]
    assert wide.totals.tolist() == [4.5, 2, 2.5, 2]


@given(dense_counts, st.data())
def test_parts_add_up_to_the_whole(dense, data):
    cut = data.draw(st.integers(0, len(dense)))
    whole = RunningCounts.of(csr_array(dense))
    parts = [RunningCounts.of(csr_array(part)) for part in (dense[:cut], dense[cut:])]
    same(parts[0].plus(parts[1]), whole, rtol=1e-12)
    np.testing.assert_array_equal(whole.idf(), FeatureTransform.fit("tfidf", csr_array(dense)).idf)
    np.testing.assert_array_equal(whole.unigram(), unigram_frequencies(csr_array(dense)))


@given(dense_counts)
def test_what_is_worked_out_is_what_was_counted(dense):
    csr = csr_array(dense)
    counted = RunningCounts.of(csr)
    idf = FeatureTransform.fit("tfidf", csr).idf
    facts = {"rows": len(dense), "tokens": float(dense.sum())}
    found = RunningCounts.recover(counted.unigram(), idf, **facts)
    same(found, counted, atol=1e-6)
    assert "approximate" not in found.recovered
    without = RunningCounts.recover(counted.unigram(), None, **facts)
    np.testing.assert_allclose(without.totals, counted.totals, atol=1e-6)
    assert (without.df <= len(dense)).all()
    assert "at most" in without.recovered


def test_what_float32_cannot_tell_apart_is_said():
    df = np.array([3.0, 40_000_000.0])
    counts = RunningCounts(1e8, df, df)
    found = RunningCounts.recover(counts.unigram(), counts.idf(), rows=10**8, tokens=df.sum())
    assert found.df[0] == 3
    assert found.df[1] == pytest.approx(df[1], rel=1e-6)
    assert "of 1 features are approximate" in found.recovered


def test_saved_and_opened():
    counts = RunningCounts(2.5, np.array([1.0, 2.5]), np.array([4.0, 3.0]), "said")
    again = RunningCounts.from_saved(counts.facts(), counts.tensors(), 2)
    same(again, counts)
    assert again.recovered == "said"
    assert RunningCounts.from_saved(None, {}, 2) is None


@pytest.mark.parametrize(
    ("rows", "change"),
    [
        (2.5, {"running.df": np.array([1.0])}),
        (2.5, {"running.df": np.array([1.0, 3.0])}),
        (2.5, {"running.totals": np.array([1.0, -1.0])}),
        (2.5, {"running.totals": np.array([1, 1])}),
        (np.inf, {}),
        (0.0, {}),
    ],
)
def test_what_does_not_fit_is_refused(rows, change):
    counts = RunningCounts(2.5, np.array([1.0, 2.0]), np.array([4.0, 3.0]))
    with pytest.raises(ParameterError):
        RunningCounts.from_saved({"rows": rows, "recovered": ""}, counts.tensors() | change, 2)
