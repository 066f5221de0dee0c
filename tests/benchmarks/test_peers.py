"""Completion by topics, and rarity of words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

import longtail as lt
from benchmarks._lda import Halves, fold_in
from benchmarks.rarity import by_group, rarity

PHI = np.array([[0.5, 0.4, 0.05, 0.05], [0.05, 0.05, 0.5, 0.4]])
ALPHA = np.full(2, 0.1)


def test_fold_in_finds_the_topic_of_a_row() -> None:
    theta = fold_in((PHI, ALPHA), csr_array(np.array([[5, 5, 0, 0], [0, 0, 5, 5]])))
    np.testing.assert_allclose(theta.sum(1), 1)
    assert theta[0, 0] > 0.95
    assert theta[1, 1] > 0.95


def test_topics_are_scored_by_the_mixture_of_the_observed_half() -> None:
    observed = csr_array(np.array([[5, 5, 0, 0], [0, 0, 5, 5]]))
    held_out = csr_array(np.array([[2, 1, 0, 0], [0, 0, 1, 3]]))
    p = fold_in((PHI, ALPHA), observed) @ PHI
    expected = np.exp(-np.sum(held_out.toarray() * np.log(p)) / 7)
    found = Halves(observed, held_out).by_topics((PHI, ALPHA))
    assert found == pytest.approx(expected)


def test_rarity_is_the_mean_over_tokens() -> None:
    vocabulary = lt.Vocabulary(["a", "b", "c"])
    train = lt.CountMatrix.from_any(
        csr_array(np.array([[1, 0, 0], [2, 1, 0]])), vocabulary=vocabulary
    )
    rows = lt.CountMatrix.from_any(
        csr_array(np.array([[3, 1, 0], [0, 0, 2]])), vocabulary=vocabulary
    )
    np.testing.assert_allclose(rarity(train, rows), [np.log(2) / 4, np.log(2)])


def test_groups_go_from_frequent_to_rare() -> None:
    rare = np.arange(100.0)[::-1].copy()
    lines = by_group("c", rare, {"gain": rare / 2})
    assert [line["group"] for line in lines] == list(range(10))
    assert float(lines[0]["nats_per_token"]) == pytest.approx(2.25)
    assert float(lines[-1]["nats_per_token"]) == pytest.approx(47.25)
