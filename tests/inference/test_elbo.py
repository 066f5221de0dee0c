from __future__ import annotations

import numpy as np
import torch
from torch.distributions import Normal

from longtail.inference import ElboTerms, GaussianPosterior, elbo, log_weight
from tests.builders import as_rows, small_network, topic_counts


def setup(k=3, v=9, b=5, **kwargs):
    model = small_network(v, k, **kwargs).double().generative
    x = as_rows(topic_counts(b, v), dtype=torch.float64).counts
    q = GaussianPosterior(*torch.randn(2, b, k, dtype=torch.float64))
    return model, x, q


def test_a_model_that_ignores_z_has_a_closed_form():
    model, x, q = setup()
    with torch.no_grad():
        model.decoder.weight.zero_()
    unigram = torch.softmax(model.decoder.bias, 0)
    terms = elbo(model, q, x, torch.randn(5, 3, dtype=torch.float64))
    floor = model.likelihood.floor(unigram, 1.0, x)
    kl = torch.distributions.kl_divergence(Normal(q.mean, q.scale), Normal(0.0, 1.0)).double()
    torch.testing.assert_close(terms.log_likelihood, floor)
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.bound(), floor - kl.sum(1))
    torch.testing.assert_close(terms.bound(0.25), floor - 0.25 * kl.sum(1))


def test_its_mean_is_the_integral():
    model, x, q = setup(k=1, decoder_layers=2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    expected = torch.zeros(5, dtype=torch.float64)
    for node, weight in zip(nodes, weights / np.sqrt(2 * np.pi), strict=True):
        noise = torch.full((5, 1), node, dtype=torch.float64)
        expected += weight * elbo(model, q, x, noise).log_likelihood
    n = 4000
    draws = torch.stack(
        [elbo(model, q, x, torch.randn(5, 1, dtype=torch.float64)).log_likelihood for _ in range(n)]
    )
    error = (draws.mean(0) - expected).abs()
    # A kinked integrand: 80 nodes leave an error of their own.
    assert (error < 4 * draws.std(0) / n**0.5 + 0.01).all()


def test_log_weight():
    model, x, q = setup()
    z = q.sample(torch.randn(5, 3, dtype=torch.float64))
    log_p = model.log_likelihood(z, x)
    expected = log_p + (Normal(0.0, 1.0).log_prob(z) - Normal(q.mean, q.scale).log_prob(z)).sum(1)
    torch.testing.assert_close(log_weight(model, q, z, log_p), expected)


def test_the_mean_log_weight_is_the_elbo():
    model, x, q = setup()
    noise = torch.randn(2000, 5, 3, dtype=torch.float64)
    difference = []
    for eps in noise:
        terms = elbo(model, q, x, eps)
        weight = log_weight(model, q, q.sample(eps), terms.log_likelihood)
        difference.append(weight - terms.bound())
    d = torch.stack(difference)
    assert (d.mean(0).abs() < 4 * d.std(0) / len(d) ** 0.5).all()


def test_frozen_teaches_the_posterior_only():
    model, x, q = setup()
    q = GaussianPosterior(q.mean.requires_grad_(), q.log_var.requires_grad_())
    noise = torch.randn(5, 3, dtype=torch.float64)
    elbo(model, q, x, noise).bound().sum().backward()
    expected = q.mean.grad.clone(), q.log_var.grad.clone()
    model.zero_grad(set_to_none=True)
    q.mean.grad = q.log_var.grad = None
    terms = ElboTerms(
        model.log_likelihood(q.sample(noise), x, frozen=True),
        model.prior.kl(q.mean, q.log_var),
    )
    terms.bound().sum().backward()
    torch.testing.assert_close((q.mean.grad, q.log_var.grad), expected)
    assert all(p.grad is None for p in model.parameters())


def test_terms_are_reduced_late():
    terms = ElboTerms(torch.tensor([-3.0, -5.0]), torch.tensor([[1.0, 0.5], [0.0, 0.25]]))
    assert terms.bound().tolist() == [-4.5, -5.25]
    assert terms.bound(0).tolist() == [-3.0, -5.0]
