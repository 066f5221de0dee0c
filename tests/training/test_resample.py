from __future__ import annotations

import math

import pytest
import torch

from longtail.inference import (
    GaussianPosterior,
    NoiseKey,
    RefineSettings,
    RowObjective,
    Stream,
    elbo,
    log_weight,
    normal_noise,
)
from longtail.ops import FeatureSampler
from longtail.training.resample import choose_draw
from longtail.training.schedules import draws_at
from longtail.training.step import step_terms
from tests.builders import as_rows, small_network, topic_counts
from tests.training.runs import run, same_weights

B, V, K = 8, 12, 3


@pytest.fixture
def setup():
    model = small_network(V, K, decoder_layers=1, scale=2.0).double()
    rows = as_rows(topic_counts(B, V), dtype=torch.float64)
    return model, rows, rows.noise_key(4)


def objective_of(model, rows, weight=1.0, sampler=None):
    return RowObjective.of(model.generative, rows.counts, weight, sampler)


def log_weights(objective, psi, key, samples):
    """log p(x | z), log w and ε of all draws, one by one: (S, B), (S, B), (S, B, K)."""
    noise = [normal_noise(key, K, Stream.TRAIN_DECODER, s).double() for s in range(samples)]
    log_p, log_w = [], []
    for eps in noise:
        z = psi.sample(eps)
        log_p.append(objective.model.log_likelihood(z, objective.counts))
        prior_over_q = log_weight(objective.model, psi, z, torch.zeros(B))
        log_w.append(log_p[-1] + objective.kl_weight * prior_over_q)
    return torch.stack(log_p), torch.stack(log_w), torch.stack(noise)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_draws_are_chosen_by_their_weight(setup, weight):
    model, rows, key = setup
    objective = objective_of(model, rows, weight)
    psi = model.amortized(rows.features).detach()
    excess = []
    for n in range(400):
        now = key.folded(n)
        log_p, log_w, noise = log_weights(objective, psi, now, 4)
        chosen = choose_draw(objective, psi, now, 4, 0)
        match = (noise == chosen.noise).all(2)
        assert (match.sum(0) == 1).all()
        torch.testing.assert_close(chosen.log_likelihood, log_p.mean(0))
        excess.append((match.double() - log_w.softmax(0)).detach())
    excess = torch.stack(excess)
    error = excess.mean(0) / (excess.std(0) / math.sqrt(len(excess)))
    assert error.abs().max() < 4


def test_theta_ascends_the_importance_weighted_bound(setup):
    model, rows, key = setup
    samples, found = 5, []
    weight = model.generative.decoder.weight
    expected = torch.zeros_like(weight)
    star = model.amortized(rows.features).detach()
    for n in range(400):
        now = key.folded(n)
        terms = step_terms(model, rows, RefineSettings(0), kl_weight=1.0, key=now, samples=samples)
        found.append(torch.autograd.grad(-terms.loss, weight)[0])
        _, log_w, _ = log_weights(objective_of(model, rows), star, now, samples)
        bound = (torch.logsumexp(log_w, 0) - math.log(samples)).mean()
        expected += torch.autograd.grad(bound, weight)[0] / 400
    found = torch.stack(found)
    error = (found.mean(0) - expected) / (found.std(0) / math.sqrt(len(found)))
    assert error.abs().max() < 4.5


def test_many_draws_come_from_the_posterior():
    """With K = 1 the posterior is known on a grid, and q may be far from it."""
    model = small_network(V, 1, decoder_layers=1, scale=3.0).double()
    rows = as_rows(topic_counts(B, V), dtype=torch.float64)
    objective = objective_of(model, rows)
    grid = torch.linspace(-10, 10, 4001, dtype=torch.float64)[:, None]
    log_p = rows.counts.to_dense() @ torch.log_softmax(model.generative.decoder(grid), 1).T
    posterior = torch.softmax(log_p + model.generative.prior.log_prob(grid), 1).detach()
    prior = GaussianPosterior(torch.zeros(B, 1).double(), torch.zeros(B, 1).double())
    key = rows.noise_key(0)
    draws = torch.stack(
        [choose_draw(objective, prior, key.folded(n), 300, 0).noise for n in range(400)]
    ).squeeze(2)
    for power in (1, 2):
        expected = posterior @ grid.squeeze(1) ** power
        values = draws**power
        error = (values.mean(0) - expected) / (values.std(0) / math.sqrt(len(values)))
        assert error.abs().max() < 4.5


def test_the_encoder_learns_as_before(setup):
    model, rows, key = setup
    psi = model.amortized(rows.features)
    eps = normal_noise(key, K, Stream.TRAIN_ENCODER, 0).double()
    plain = elbo(model.generative, psi, rows.counts, eps)
    parameters = list(model.encoder.parameters())
    expected = torch.autograd.grad(-plain.bound(0.5).mean(), parameters)
    terms = step_terms(model, rows, RefineSettings(0), kl_weight=0.5, key=key, samples=4)
    found = torch.autograd.grad(terms.loss, parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    for samples in (1, 4):
        terms = step_terms(model, rows, RefineSettings(2), kl_weight=0.5, key=key, samples=samples)
        found = torch.autograd.grad(terms.loss, parameters)
        if samples == 1:
            expected = found
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_the_bound_that_is_reported_is_not_that_of_the_chosen(setup):
    model, rows, key = setup

    def reported(samples):
        found = [
            step_terms(
                model, rows, RefineSettings(2), kl_weight=1.0, key=key.folded(n), samples=samples
            ).refined.bound()
            for n in range(200)
        ]
        return torch.stack(found).detach().mean(1)

    one, many = reported(1), reported(8)
    assert abs(one.mean() - many.mean()) < 4 * math.hypot(one.std(), many.std()) / 200**0.5
    assert many.std() < one.std()


def test_rows_choose_alone(setup):
    model, rows, key = setup
    psi = model.amortized(rows.features).detach()
    together = choose_draw(objective_of(model, rows), psi, key, 6, 0)
    dense = topic_counts(B, V)
    alone = as_rows(dense[2:3], dtype=torch.float64)
    single = GaussianPosterior(psi.mean[2:3], psi.log_var[2:3])
    found = choose_draw(objective_of(model, alone), single, NoiseKey(key.rows[2:3], key.seed), 6, 0)
    assert torch.equal(found.noise, together.noise[2:3])


def test_features_are_drawn_anew_at_each_update(setup):
    model, rows, key = setup
    psi = model.amortized(rows.features).detach()
    sampler = FeatureSampler(torch.ones(V, dtype=torch.float64), 6)
    sampled = objective_of(model, rows, sampler=sampler)
    shares = torch.stack(
        [choose_draw(sampled, psi, key, 4, number).log_likelihood for number in range(300)]
    )
    assert shares.std(0).min() > 0.01
    exact = choose_draw(objective_of(model, rows), psi, key, 4, 0).log_likelihood
    # The logarithm of an unbiased normaliser is biased downwards: log p is a little too high.
    assert (shares.mean(0) > exact - 3 * shares.std(0) / 300**0.5).all()
    assert (shares.mean(0) < exact + 0.1 * exact.abs()).all()


def test_auto_leaves_epochs_without_refinement_plain():
    assert draws_at(0, "auto") == 1
    assert draws_at(2, "auto") == 8
    assert draws_at(0, 5) == draws_at(2, 5) == 5
    plain, _ = run(refine_schedule=((0, 0),), importance_samples="auto")
    same, _ = run(refine_schedule=((0, 0),), importance_samples=1)
    other, _ = run(refine_schedule=((0, 0),), importance_samples=8)
    assert same_weights(plain, same)
    assert not same_weights(plain, other)
