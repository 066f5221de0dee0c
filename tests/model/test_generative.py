from __future__ import annotations

import pytest
import torch

from tests.builders import as_rows, small_network, topic_counts


@pytest.mark.parametrize("layers", [0, 2])
def test_log_likelihood_scores_the_decoders_logits(layers):
    dense = topic_counts(6, 9, empty=[2])
    model = small_network(9, decoder_layers=layers, skip=True).double().generative
    x = as_rows(dense, dtype=torch.float64).counts
    z = torch.randn(6, 3, dtype=torch.float64)
    expected = (torch.tensor(dense) * torch.log_softmax(model.decoder(z), 1)).sum(1)
    torch.testing.assert_close(model.log_likelihood(z, x), expected)
    torch.testing.assert_close(model.log_likelihood(z, x, model.data_term(x)), expected)


def test_frozen_gives_the_parameters_no_gradient():
    model = small_network(9, decoder_layers=2).generative
    x = as_rows(topic_counts(6, 9)).counts
    z = torch.randn(6, 3, requires_grad=True)
    (warm,) = torch.autograd.grad(model.log_likelihood(z, x).sum(), z)
    model.log_likelihood(z, x, frozen=True).sum().backward()
    torch.testing.assert_close(z.grad, warm)
    assert all(p.grad is None for p in model.parameters())
    model.log_likelihood(z, x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
