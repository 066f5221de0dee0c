"""Densities and accuracies of the benchmark of single cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import nbinom

import longtail as lt
from benchmarks._cells import Cells, accuracy, disagreement, log_prob, principal_components
from tests.builders import topic_counts


def counts(n: int, seed: int) -> lt.CountMatrix:
    ids = [f"{seed}-{i}" for i in range(n)]
    return lt.CountMatrix.from_any(topic_counts(n, 20, tokens=30, seed=seed), row_ids=ids)


def test_the_shared_density_is_the_negative_binomial() -> None:
    x = topic_counts(5, 20, tokens=30).astype(np.float64)
    rng = np.random.default_rng(0)
    mean, r = rng.gamma(1.0, 2.0, (3, 5, 20)), rng.gamma(1.0, 1.0, 20)
    expected = nbinom.logpmf(x, r, r / (r + mean)).sum(-1)
    found = log_prob(torch.from_numpy(x), torch.from_numpy(mean), torch.from_numpy(r))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_models_density_is_the_shared_one() -> None:
    model = lt.NonlinearFactorAnalysis(
        3,
        likelihood="negative_binomial",
        n_hidden=8,
        epochs=2,
        random_state=0,
        device="cpu",
        eval_refine_steps=3,
    )
    model.fit(counts(60, 0))
    assert disagreement(model, counts(10, 1)) < 1e-5
    model.network_.generative.likelihood.log_dispersion += 0.1
    assert disagreement(model, counts(10, 1)) < 1e-5


def test_types_are_those_of_the_nearest_training_cells() -> None:
    train, test = counts(40, 0), counts(10, 1)
    types = {name: i % 2 for part in (train, test) for i, name in enumerate(part.row_ids)}
    cells = Cells(train, test, test, types)
    place = np.array([[0.0], [9.0]])
    assert accuracy(np.tile(place, (20, 1)), np.tile(place, (5, 1)), cells) == 1.0
    assert accuracy(np.tile(place, (20, 1)), np.tile(place[::-1], (5, 1)), cells) == 0.0


def test_principal_components_do_not_see_library_sizes() -> None:
    train, test = counts(40, 0), counts(10, 1)
    doubled = lt.CountMatrix.from_any(test.csr * 2, row_ids=test.row_ids)
    found = [principal_components(Cells(train, t, t, {}), 3, 0)[1] for t in (test, doubled)]
    assert found[0].shape == (10, 3)
    np.testing.assert_allclose(found[0], found[1])
    assert found[0].std() == pytest.approx(found[1].std())
