from __future__ import annotations

import numpy as np
import pytest
import torch

from longtail.inference import Encoder
from tests.builders import as_rows, small_network, sparse, topic_counts


def encoder(layers=2, **kwargs):
    generator = torch.Generator().manual_seed(0)
    return Encoder(9, 3, n_layers=layers, n_hidden=7, generator=generator, **kwargs)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_agrees_with_a_dense_network(layers):
    net = encoder(layers)
    dense = torch.rand(5, 9) * (torch.rand(5, 9) < 0.4)
    dense[2] = 0
    h = torch.relu(dense @ net.input_weight + net.input_bias)
    for layer in net.hidden_layers:
        h = torch.relu(layer(h))
    psi = net(sparse(dense, torch.float32))
    assert len(net.hidden_layers) == layers - 1
    torch.testing.assert_close(psi.mean, net.mean(h))
    torch.testing.assert_close(psi.log_var, net.log_var(h))
    upstream = torch.randn(5, 3)
    found = torch.autograd.grad(psi.mean, net.input_weight, upstream)
    expected = torch.autograd.grad(net.mean(h), net.input_weight, upstream)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [0.01, 40.0])
def test_the_start_does_not_depend_on_the_scale_of_the_features(scale):
    dense = np.random.default_rng(0).random((50, 9))
    expected = encoder()(sparse(dense, torch.float32))
    found = encoder(input_scale=scale)(sparse(dense * scale, torch.float32))
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.log_var, expected.log_var)


def test_it_starts_with_codes_that_differ():
    generator = torch.Generator().manual_seed(0)
    net = Encoder(300, 20, n_layers=2, n_hidden=100, generator=generator)
    rows = np.random.default_rng(0).random((200, 300)) * (
        np.random.default_rng(1).random(300) < 0.3
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    psi = net(sparse(rows, torch.float32))
    assert 0.1 < psi.mean.std() < 10
    assert psi.scale.max() < 3


def test_the_generator_decides_the_weights():
    for a, b in zip(encoder().parameters(), encoder().parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_hybrid_model_asks_its_encoder():
    model = small_network(9)
    rows = as_rows(topic_counts(4, 9))
    psi, expected = model.amortized(rows.features), model.encoder(rows.features)
    assert torch.equal(psi.mean, expected.mean)
    assert torch.equal(psi.log_var, expected.log_var)
    assert torch.equal(rows.noise_key(3).rows, rows.keys)
    assert rows.noise_key(3).seed == 3
