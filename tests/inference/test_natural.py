from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from longtail.inference import (
    GaussianPosterior,
    RefineSettings,
    RowObjective,
    Stream,
    elbo,
    evaluate_pair,
    normal_noise,
    pair_elbo,
    refine,
    sign_noise,
)
from longtail.ops import FeatureSampler
from tests.builders import as_rows, small_network, topic_counts

B, V, K = 24, 15, 3


def setup(weight=1.0, *, dtype=torch.float64, empty=(), **kwargs):
    model = small_network(V, K, scale=2.0, **{"decoder_layers": 2} | kwargs).to(dtype)
    rows = as_rows(topic_counts(B, V, empty=empty), dtype=dtype)
    start = model.amortized(rows.features).detach()
    return RowObjective.of(model.generative, rows.counts, weight), start, rows.noise_key(0)


def mean_elbo(objective, psi, key, samples=300):
    draws = [
        elbo(
            objective.model,
            psi,
            objective.counts,
            normal_noise(key, K, Stream.BOUND, s).to(psi.mean),
        ).bound(objective.kl_weight)
        for s in range(samples)
    ]
    return torch.stack(draws).mean().item()


def gaussian_mean(objective, psi, samples=4000, seed=0):
    """E_q[∇f] and E_q of the Hessian's diagonal, by Stein's lemma E[∂²f] = E[ε ∂f]/σ."""
    generator = torch.Generator().manual_seed(seed)
    gradient, hessian = torch.zeros_like(psi.mean), torch.zeros_like(psi.mean)
    for _ in range(samples):
        eps = torch.randn(psi.mean.shape, generator=generator, dtype=psi.mean.dtype)
        pair = torch.stack([psi.mean + psi.scale * eps, psi.mean - psi.scale * eps])
        plus, minus = -objective.log_likelihood(pair, 0)[1]
        gradient += (plus + minus) / 2 / samples
        hessian += (plus - minus) * eps / (2 * psi.scale) / samples
    return gradient, hessian


@dataclass(frozen=True, eq=False)
class Counting(RowObjective):
    calls: list = field(default_factory=list)

    def log_likelihood(self, z, number):
        self.calls.append(z.shape[0] if z.ndim == 3 else 1)
        return super().log_likelihood(z, number)


@pytest.mark.parametrize("weight", [0.2, 1.0])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_it_ends_where_the_elbo_is_stationary(layers, weight):
    objective, start, key = setup(weight, decoder_layers=layers)
    star = refine(objective, start, key, RefineSettings(2000))
    gradient, hessian = gaussian_mean(objective, star)
    curvature = weight + hessian
    # In posterior standard deviations. Not 0: pairs of signs integrate as q does to third order,
    # and with three dimensions and ReLUs there is more to it.
    miss = (gradient + weight * star.mean) / curvature.clamp(min=weight).sqrt()
    assert miss.abs().mean() < 0.2
    expected = (curvature.clamp(min=weight) / weight).log()
    assert (-star.log_var - expected).abs().mean() < 0.3


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_a_tenth_of_the_published_evaluations_is_enough(layers):
    objective, start, key = setup(decoder_layers=layers)
    natural = refine(objective, start, key, RefineSettings(10))
    published = refine(objective, start, key, RefineSettings.published())
    bounds = [mean_elbo(objective, q, key) for q in (start, published, natural)]
    assert bounds[0] < bounds[1]
    assert bounds[0] < bounds[2]
    assert bounds[2] > bounds[1] - 0.1 * (bounds[1] - bounds[0])


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_it_makes_as_many_evaluations_as_it_is_given(steps):
    objective, start, key = setup()
    counting = Counting(objective.model, objective.counts, objective.data)
    refine(counting, start, key, RefineSettings(steps))
    assert sum(counting.calls) == steps


@pytest.mark.parametrize("steps", [1, 3])
def test_an_odd_evaluation_moves_the_mean(steps):
    objective, start, key = setup()
    odd, even = (refine(objective, start, key, RefineSettings(m)) for m in (steps, steps - 1))
    assert torch.equal(odd.log_var, even.log_var)
    _, gradient = objective.log_likelihood(even.mean, 0)
    ascent = gradient - even.mean
    # Momentum may carry single coordinates elsewhere.
    assert (((odd.mean - even.mean) * ascent).sum(1) > 0).double().mean() > 0.8


@pytest.mark.parametrize("steps", [2, 7, 20])
def test_a_first_pair_made_before_changes_nothing_but_the_cost(steps):
    objective, start, key = setup(0.4)
    counting = Counting(objective.model, objective.counts, objective.data, 0.4)
    pair = evaluate_pair(objective, start, key, 0)
    held = refine(counting, start, key, RefineSettings(steps), pair)
    fresh = refine(objective, start, key, RefineSettings(steps))
    assert torch.equal(held.mean, fresh.mean)
    assert torch.equal(held.log_var, fresh.log_var)
    assert sum(counting.calls) == steps - 2


def test_pair_elbo_is_the_mean_of_two_elbos_with_their_gradient():
    objective, start, key = setup()
    psi = GaussianPosterior(
        start.mean.clone().requires_grad_(), start.log_var.clone().requires_grad_()
    )
    found = pair_elbo(objective, psi, evaluate_pair(objective, psi.detach(), key, 3))
    eps = sign_noise(key, K, Stream.REFINE, 3).double()
    both = [elbo(objective.model, psi, objective.counts, e).bound() for e in (eps, -eps)]
    expected = (both[0] + both[1]) / 2
    torch.testing.assert_close(found.bound(), expected)
    upstream = torch.randn(B, dtype=torch.float64)
    parts = (psi.mean, psi.log_var)
    for a, b in zip(
        torch.autograd.grad(found.bound(), parts, upstream),
        torch.autograd.grad(expected, parts, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("weight", [0.0, 1e-4, 0.5])
def test_small_kl_weights_and_far_starts_stay_finite(weight):
    objective, start, key = setup(weight, dtype=torch.float32, empty=[2])
    for far in (
        start,
        GaussianPosterior(start.mean * 100, start.log_var + 6),
        GaussianPosterior(start.mean, start.log_var - 20),
    ):
        star = refine(objective, far, key, RefineSettings(30))
        assert star.mean.isfinite().all()
        assert star.log_var.isfinite().all()
        assert (star.log_var[2] == 0).all()
        assert (star.mean[2] == 0).all()


def test_a_bad_start_is_mended():
    objective, start, key = setup()
    good = mean_elbo(objective, refine(objective, start, key, RefineSettings(300)), key)
    far = GaussianPosterior(torch.full_like(start.mean, 4.0), torch.full_like(start.mean, 1.0))
    found = mean_elbo(objective, refine(objective, far, key, RefineSettings(300)), key)
    assert found > good - 0.05 * abs(good - mean_elbo(objective, far, key))


def test_a_sample_of_all_features_changes_nothing():
    objective, start, key = setup()
    frequencies = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(V)))
    sampled = RowObjective.of(
        objective.model, objective.counts, 1.0, FeatureSampler(frequencies, V)
    )
    full, part = (refine(o, start, key, RefineSettings(20)) for o in (objective, sampled))
    torch.testing.assert_close(full.mean, part.mean)
    torch.testing.assert_close(full.log_var, part.log_var)
