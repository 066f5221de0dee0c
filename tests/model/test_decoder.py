from __future__ import annotations

import pytest
import torch

from longtail.model import Decoder

CASES = [(layers, skip) for layers in range(4) for skip in (False, True)]


def decoder(layers, skip, **kwargs):
    generator = torch.Generator().manual_seed(0)
    options = {"n_layers": layers, "n_hidden": 7, "skip": skip, "generator": generator}
    return Decoder(3, 11, **(options | kwargs))


@pytest.mark.parametrize(("layers", "skip"), CASES)
def test_shapes_and_definition(layers, skip):
    net, z = decoder(layers, skip), torch.randn(5, 3)
    h = z
    for layer in net.hidden_layers:
        h = torch.relu(layer(h))
    assert len(net.hidden_layers) == layers
    assert h.shape == (5, 7 if layers else 3)
    seen = torch.cat([h, z], 1) if skip and layers else h
    torch.testing.assert_close(net.hidden(z), seen)
    assert net(z).shape == (5, 11)
    torch.testing.assert_close(net(z), seen @ net.weight.T + net.bias)


@pytest.mark.parametrize(("layers", "skip"), CASES)
def test_frozen_teaches_z_and_not_the_parameters(layers, skip):
    net, z = decoder(layers, skip), torch.randn(5, 3, requires_grad=True)
    warm = net.hidden(z)
    frozen = net.hidden(z, frozen=True)
    torch.testing.assert_close(warm, frozen, rtol=0, atol=0)
    upstream = torch.randn_like(warm)
    (expected,) = torch.autograd.grad(warm, z, upstream)
    frozen.backward(upstream)
    torch.testing.assert_close(z.grad, expected)
    assert all(p.grad is None for p in net.parameters())


def test_no_layers_is_log_linear():
    net = decoder(0, skip=True)
    z = torch.randn(5, 3)
    assert net.hidden(z) is z
    assert net.weight.shape == (11, 3)


def test_it_starts_near_the_unigram():
    frequencies = torch.rand(11) + 0.1
    log_unigram = (frequencies / frequencies.sum()).log()
    net = decoder(2, False, bias=log_unigram)
    p = torch.softmax(net(torch.randn(200, 3)), 1)
    torch.testing.assert_close(p.mean(0).log(), log_unigram, rtol=0, atol=0.3)
    with torch.no_grad():
        net.bias.add_(1)
    assert torch.equal(log_unigram, (frequencies / frequencies.sum()).log())


def test_the_generator_decides_the_weights():
    first, second = decoder(2, True), decoder(2, True)
    other = decoder(2, True, generator=torch.Generator().manual_seed(1))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.weight, other.weight)
