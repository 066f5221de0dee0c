from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import longtail as lt
from longtail.inference import (
    GaussianPosterior,
    NoiseKey,
    RefineSettings,
    RowObjective,
    Stream,
    elbo,
    normal_noise,
    refine,
    row_curvature,
)
from longtail.inference.continuation import MANY_COUNTS, refine_by_continuation
from longtail.model.likelihoods import LIKELIHOODS
from longtail.ops import FeatureSampler
from tests.builders import as_rows, small_network, topic_counts

B, V, K = 8, 15, 3
SCORING = RefineSettings(50, converge=True)


def setup(factor, *, dtype=torch.float64, sampler=None, **kwargs):
    model = small_network(V, K, **{"decoder_layers": 2, "scale": 2.0} | kwargs).to(dtype)
    rows = as_rows(topic_counts(B, V) * factor, dtype=dtype)
    return RowObjective.of(model.generative, rows.counts, sampler=sampler), model, rows


def only(objective, rows, d):
    return refine_by_continuation(objective.row(d), NoiseKey(rows.keys[d : d + 1], 0))


def mean_elbo(objective, psi, key, samples=50):
    draws = [
        elbo(
            objective.model,
            psi,
            objective.counts,
            normal_noise(key, K, Stream.BOUND, s).to(psi.mean),
        ).bound()
        for s in range(samples)
    ]
    return torch.stack(draws).mean(0).detach()


@pytest.mark.parametrize("beta", [0.3, 1.0])
@pytest.mark.parametrize("factor", [10, 1_000, 100_000])
def test_without_hidden_layers_it_is_the_optimum(factor, beta):
    """There f is convex: near the only zero of the slope, in units of the posterior's width."""
    objective, _, rows = setup(factor, decoder_layers=0)
    objective = replace(objective, kl_weight=beta)
    for d in range(B):
        psi = only(objective, rows, d)
        own = objective.row(d)
        offsets = psi.scale * normal_noise(NoiseKey(torch.arange(4_000), 0), K, Stream.BOUND, 0)
        z = torch.cat([psi.mean + offsets, psi.mean - offsets])[:, None]
        _, gradient = own.log_likelihood(z, 0)
        slope = beta * psi.mean[0] - gradient.mean((0, 1))
        hessian = beta * torch.eye(K) + row_curvature(own, psi.mean, 0)[0]
        assert slope @ torch.linalg.solve(hessian, slope) < 0.15**2 * K
        torch.testing.assert_close(psi.scale[0] ** 2, beta / hessian.diagonal())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_it_has_a_better_bound_than_many_small_steps(likelihood):
    objective, model, rows = setup(1_000, likelihood=likelihood)
    if likelihood == "bernoulli":
        rows = as_rows((topic_counts(B, V) > 0).astype(int), dtype=torch.float64)
        objective = RowObjective.of(model.generative, rows.counts)
    key = rows.noise_key(0)
    start = model.amortized(rows.features)
    small = mean_elbo(objective, refine(objective, start, key, RefineSettings(200)), key)
    parts = [only(objective, rows, d) for d in range(B)]
    mean, log_var = (torch.cat([getattr(p, name) for p in parts]) for name in ("mean", "log_var"))
    gain = mean_elbo(objective, GaussianPosterior(mean, log_var), key) - small
    assert gain.median() > -0.5
    assert gain.mean() > -0.5


def test_the_likelihood_that_overflows_is_no_obstacle():
    """Poisson rates of e^100 and more stand in the way of the first steps."""
    objective, _, rows = setup(
        1_000, dtype=torch.float32, likelihood="poisson", decoder_layers=0, scale=30.0
    )
    for d in range(B):
        psi = only(objective, rows, d)
        assert psi.mean.isfinite().all()
        assert psi.log_var.isfinite().all()


def test_sampled_features_serve_the_curvature_alone():
    sampler = FeatureSampler(torch.arange(1, V + 1).double(), 10)
    exact, _, rows = setup(10_000, decoder_layers=0)
    sampled, _, _ = setup(10_000, decoder_layers=0, sampler=sampler)
    for d in range(B):
        a, b = only(exact, rows, d), only(sampled, rows, d)
        assert ((a.mean - b.mean).abs() < 3 * a.scale).all()


@pytest.mark.parametrize("likelihood", [n for n in LIKELIHOODS if n != "bernoulli"])
def test_a_row_of_many_counts_is_bitwise_the_same_in_any_batch(likelihood):
    X = topic_counts(8, V, tokens=30)
    X[::2] *= 2_000
    model = lt.NonlinearFactorAnalysis(
        K, likelihood=likelihood, n_hidden=16, epochs=2, batch_size=20, random_state=0
    ).fit(topic_counts(60, V, seed=1))
    if likelihood == "dirichlet_multinomial":
        # Otherwise repeats say so little that no row has many effective counts.
        with torch.no_grad():
            model.network_.generative.likelihood.log_concentration.fill_(12.0)
    if likelihood == "negative_binomial":
        with torch.no_grad():
            model.network_.generative.likelihood.log_dispersion.fill_(12.0)
    whole = model.posterior(X)
    backwards = model.posterior(X[::-1].copy())
    np.testing.assert_array_equal(whole.mean[::2], backwards.mean[::-1][::2])
    for d in (0, 6):
        alone = model.posterior(X[[d]])
        np.testing.assert_array_equal(alone.mean[0], whole.mean[d])
        np.testing.assert_array_equal(alone.scale[0], whole.scale[d])
    np.testing.assert_allclose(whole.mean[1::2], backwards.mean[::-1][1::2], atol=1e-4)


def test_other_rows_are_left_to_the_usual_method():
    objective, model, rows = setup(20, dtype=torch.float32)
    assert objective.data.totals.max() < MANY_COUNTS
    key = rows.noise_key(0)
    start = model.amortized(rows.features)
    usual = refine(objective, start, key, RefineSettings(50))
    scoring = refine(objective, start, key, SCORING)
    assert torch.equal(usual.mean, scoring.mean)
    assert torch.equal(usual.log_var, scoring.log_var)


def test_no_steps_leave_rows_of_many_counts_to_the_encoder():
    objective, model, rows = setup(100_000, dtype=torch.float32)
    start = model.amortized(rows.features)
    star = refine(objective, start, rows.noise_key(0), RefineSettings(0, converge=True))
    assert torch.equal(star.mean, start.mean)
