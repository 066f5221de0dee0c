from __future__ import annotations

import numpy as np
import pytest
import torch

from longtail.inference import (
    GaussianPosterior,
    RefineSettings,
    RowObjective,
    Stream,
    elbo,
    normal_noise,
    refine,
)
from longtail.inference.refine import _negative_elbo_gradient
from tests.builders import as_rows, small_network, topic_counts

B, V, K = 24, 15, 3
METHODS = pytest.mark.parametrize("method", ["natural", "adam"])


def setup(*, dtype=torch.float64, empty=(), **kwargs):
    model = small_network(V, K, decoder_layers=2, scale=2.0, **kwargs).to(dtype)
    rows = as_rows(topic_counts(B, V, empty=empty), dtype=dtype)
    return model, rows, model.amortized(rows.features).detach()


def expected_elbo(model, rows, psi, samples=400):
    draws = [
        elbo(
            model.generative,
            psi,
            rows.counts,
            normal_noise(rows.noise_key(0), K, Stream.BOUND, s).to(psi.mean),
        ).bound()
        for s in range(samples)
    ]
    return torch.stack(draws).mean(0).detach()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_closed_form_gradient(weight):
    model, rows, psi = setup(empty=[1])
    q = GaussianPosterior(psi.mean.clone().requires_grad_(), psi.log_var.clone().requires_grad_())
    eps = torch.randn(B, K, dtype=torch.float64)
    bound = elbo(model.generative, q, rows.counts, eps).bound(weight)
    expected = torch.stack(torch.autograd.grad(-bound.sum(), (q.mean, q.log_var)))
    objective = RowObjective.of(model.generative, rows.counts, weight)
    found = _negative_elbo_gradient(objective, torch.stack([psi.mean, psi.log_var]), eps, 0)
    torch.testing.assert_close(found, expected)


def by_torch_adam(model, rows, start, seed, settings, weight):
    """The same steps by torch's Adam and automatic differentiation."""
    mean, log_var = start.mean.clone().requires_grad_(), start.log_var.clone().requires_grad_()
    optimizer = torch.optim.Adam([mean, log_var], lr=settings.learning_rate)
    for step in range(settings.steps):
        eps = normal_noise(rows.noise_key(seed), K, Stream.REFINE, step).double()
        psi = GaussianPosterior(mean, log_var)
        loss = -elbo(model.generative, psi, rows.counts, eps).bound(weight).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return mean.detach(), log_var.detach()


def refined(model, rows, start, seed, settings, weight=1.0):
    return model.refined(rows.counts, start, rows.noise_key(seed), settings, weight)


@pytest.mark.parametrize("weight", [0.2, 1.0])
@pytest.mark.parametrize("settings", [RefineSettings.published(m, 0.05) for m in (1, 15)])
def test_the_published_method_is_adam_on_each_rows_elbo(settings, weight):
    model, rows, start = setup()
    star = refined(model, rows, start, 5, settings, weight)
    mean, log_var = by_torch_adam(model, rows, start, 5, settings, weight)
    torch.testing.assert_close(star.mean, mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(star.log_var, log_var, rtol=0, atol=1e-6)


def test_the_published_settings():
    assert RefineSettings.published() == RefineSettings(100, "adam", 8e-3)


@METHODS
def test_it_raises_the_elbo(method):
    model, rows, start = setup()
    bounds = [expected_elbo(model, rows, start)]
    for steps in (10, 50):
        star = refined(model, rows, start, 0, RefineSettings(steps, method, 0.05))
        bounds.append(expected_elbo(model, rows, star))
    assert (bounds[1] > bounds[0]).double().mean() > 0.9
    assert bounds[0].mean() < bounds[1].mean() < bounds[2].mean()


@METHODS
def test_the_kl_weight_is_used(method):
    model, rows, start = setup()
    kl = []
    for weight in (0.0, 0.5, 1.0, 20.0):
        star = refined(model, rows, start, 0, RefineSettings(60, method, 0.05), weight)
        kl.append(model.generative.prior.kl(star.mean, star.log_var).sum().item())
    assert kl == sorted(kl, reverse=True)
    assert kl[-1] < 0.2 * kl[0]


def test_no_steps_change_nothing():
    model, rows, start = setup(empty=[0])
    star = refined(model, rows, start, 0, RefineSettings(0))
    assert torch.equal(star.mean, start.mean)
    assert torch.equal(star.log_var, start.log_var)


def test_empty_rows_get_the_prior():
    model, rows, start = setup(dtype=torch.float32, empty=[0, 7])
    start = GaussianPosterior(start.mean + 1, start.log_var - 1)
    star = refined(model, rows, start, 0, RefineSettings(3))
    is_prior = (star.mean == 0).all(1) & (star.log_var == 0).all(1)
    assert is_prior.nonzero().flatten().tolist() == [0, 7]


def test_it_does_not_depend_on_the_company():
    dense = topic_counts(B, V, empty=[3])
    model = small_network(V, K, decoder_layers=2, scale=2.0)

    def star_of(part):
        # The transform is fitted on all rows, whatever the part.
        features = as_rows(dense).features.to_dense()[torch.as_tensor(part)]
        rows = as_rows(dense[part])
        start = GaussianPosterior(features[:, :K] * 3, features[:, K : 2 * K] - 1)
        psi = refined(model, rows, start, 9, RefineSettings(50))
        return torch.stack([psi.mean, psi.log_var], 1)

    whole = star_of(np.arange(B))
    order = np.random.default_rng(0).permutation(B)
    torch.testing.assert_close(star_of(order), whole[order], rtol=0, atol=1e-4)
    for part in (np.arange(1), np.arange(5, 12)):
        torch.testing.assert_close(star_of(part), whole[part], rtol=0, atol=1e-4)


def test_the_seed_matters_little_on_average():
    model, rows, start = setup()
    stars = [refined(model, rows, start, s, RefineSettings(50)) for s in (0, 1)]
    assert not torch.equal(stars[0].mean, stars[1].mean)
    before, first, second = (expected_elbo(model, rows, q).mean() for q in (start, *stars))
    assert abs(first - second) < 0.05 * (first - before)


@pytest.mark.parametrize("grad", [True, False])
def test_the_model_is_left_alone(grad):
    model, rows, _ = setup()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.set_grad_enabled(grad):
        start = model.amortized(rows.features)
        star = model.refined(rows.counts, start, rows.noise_key(0), RefineSettings(4))
    assert not star.mean.requires_grad
    assert not star.log_var.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@METHODS
@pytest.mark.parametrize("steps", [0, 1, 6, 7])
def test_the_way_can_be_watched(method, steps):
    model, rows, start = setup()
    objective = RowObjective.of(model.generative, rows.counts)
    seen = []

    def watch(evaluations, psi):
        seen.append((evaluations, psi.mean.clone(), psi.log_var.clone()))

    settings = RefineSettings(steps, method)
    end = refine(objective, start, rows.noise_key(0), settings, watch=watch)
    unseen = refine(objective, start, rows.noise_key(0), settings)
    torch.testing.assert_close(end.mean, unseen.mean)
    at = [n for n, _, _ in seen]
    assert at[0] == 0
    assert at[-1] == steps
    assert at == sorted(set(at))
    torch.testing.assert_close(seen[0][1], start.mean)
    torch.testing.assert_close(seen[-1][1], end.mean)
    torch.testing.assert_close(seen[-1][2], end.log_var)


@METHODS
def test_a_short_run_is_the_beginning_of_a_longer_one(method):
    model, rows, start = setup()
    objective = RowObjective.of(model.generative, rows.counts)
    seen = {}

    def watch(evaluations, psi):
        seen[evaluations] = psi.mean.clone()

    refine(objective, start, rows.noise_key(0), RefineSettings(10, method), watch=watch)
    short = refine(objective, start, rows.noise_key(0), RefineSettings(4, method))
    torch.testing.assert_close(seen[4], short.mean)
