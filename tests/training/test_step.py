from __future__ import annotations

import pytest
import torch

from longtail.inference import (
    ElboTerms,
    RefineSettings,
    Stream,
    elbo,
    normal_noise,
    sign_noise,
)
from longtail.training.step import step_terms
from tests.builders import as_rows, small_network, topic_counts

B, V, K = 10, 12, 3


@pytest.fixture
def setup():
    model = small_network(V, K, decoder_layers=1, scale=2.0).double()
    rows = as_rows(topic_counts(B, V), dtype=torch.float64)
    return model, rows, rows.noise_key(4).folded(17)


def gradients(module, loss):
    names = dict(module.named_parameters())
    found = torch.autograd.grad(loss, names.values(), retain_graph=True, allow_unused=True)
    return dict(zip(names, found, strict=True))


def noise(key, stream):
    return normal_noise(key, K, stream, 0).double()


@pytest.mark.parametrize("weight", [0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("method", ["natural", "adam"])
def test_each_network_ascends_its_own_bound(setup, method, steps, weight):
    model, rows, key = setup
    settings = RefineSettings(steps, method, 0.05)
    terms = step_terms(model, rows, settings, kl_weight=weight, key=key)

    psi = model.amortized(rows.features)
    eps = sign_noise(key, K, Stream.REFINE, 0).double()
    pair = [elbo(model.generative, psi, rows.counts, e) for e in (eps, -eps)]
    at_start = ElboTerms((pair[0].log_likelihood + pair[1].log_likelihood) / 2, pair[0].kl)
    star = model.refined(rows.counts, psi, key, settings, weight)
    at_end = elbo(model.generative, star, rows.counts, noise(key, Stream.TRAIN_DECODER))
    found = gradients(model, terms.loss)
    encoder = gradients(model.encoder, -at_start.bound(weight).mean())
    theta = gradients(model.generative, -at_end.bound(weight).mean())
    for name, value in encoder.items():
        torch.testing.assert_close(found[f"encoder.{name}"], value)
    for name, value in theta.items():
        torch.testing.assert_close(found[f"generative.{name}"], value)
    torch.testing.assert_close(terms.psi.mean, star.mean)
    torch.testing.assert_close(terms.amortized.bound(), at_start.bound())
    torch.testing.assert_close(terms.refined.bound(), at_end.bound())


def test_nothing_flows_through_the_refinement(setup):
    model, rows, key = setup

    def encoder_gradient(steps):
        terms = step_terms(model, rows, RefineSettings(steps), kl_weight=1.0, key=key)
        assert not terms.psi.mean.requires_grad
        return gradients(model.encoder, terms.loss)

    few, many = encoder_gradient(1), encoder_gradient(20)
    assert all(torch.equal(few[name], many[name]) for name in few)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_without_steps_it_is_a_plain_vae(setup, weight):
    model, rows, key = setup
    terms = step_terms(model, rows, RefineSettings(0), kl_weight=weight, key=key)
    psi = model.amortized(rows.features)
    vae = elbo(model.generative, psi, rows.counts, noise(key, Stream.TRAIN_ENCODER))
    found, expected = gradients(model, terms.loss), gradients(model, -vae.bound(weight).mean())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert terms.refined is terms.amortized
    assert torch.equal(terms.psi.mean, psi.mean)


def test_one_backward_pass_reaches_every_parameter(setup):
    model, rows, key = setup
    step_terms(model, rows, RefineSettings(2), kl_weight=1.0, key=key).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
