from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from longtail.errors import ParameterError
from longtail.estimator.network import (
    build_network,
    resolve_device,
    typical_norm,
    unigram_frequencies,
)
from tests.estimator.models import small


def test_unigram_frequencies_are_smoothed():
    X = csr_array(np.array([[2.0, 0, 1], [1, 0, 0]]))
    np.testing.assert_allclose(unigram_frequencies(X), np.array([3.5, 0.5, 1.5]) / 5.5)


def test_typical_norm():
    X = csr_array(np.array([[3.0, 4.0], [0, 0], [0, 1]]))
    assert typical_norm(X) == pytest.approx(np.sqrt(26 / 3))


def test_the_network_described():
    unigram = np.array([0.5, 0.3, 0.1, 0.1])
    parameters = small(decoder_layers=2, encoder_layers=3, skip=True).get_params()
    network = build_network(parameters, unigram, input_scale=2.0, mean_total=1.0, seed=1)
    assert network.generative.decoder.weight.shape == (4, 8 + 3)
    assert len(network.generative.decoder.hidden_layers) == 2
    assert len(network.encoder.hidden_layers) == 2
    torch.testing.assert_close(
        network.generative.decoder.bias.detach().double(), torch.log(torch.tensor(unigram))
    )
    again = build_network(parameters, unigram, input_scale=2.0, mean_total=1.0, seed=1)
    other = build_network(parameters, unigram, input_scale=2.0, mean_total=1.0, seed=2)
    for p, q, r in zip(*(n.state_dict().values() for n in (network, again, other)), strict=True):
        assert torch.equal(p, q)
        assert p.ndim == 1 or not torch.equal(p, r)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    build_network(small().get_params(), np.full(4, 0.25), input_scale=1.0, mean_total=1.0, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ParameterError, match="Use 'auto' or 'cpu'"):
        resolve_device("abacus")


@pytest.mark.parametrize(
    ("features", "n_features", "drawn"),
    [
        ("auto", 4999, None),
        ("auto", 5000, 1000),
        ("auto", 40_000, 2000),
        ("all", 40_000, None),
        (300, 4000, 300),
        (4000, 4000, None),
    ],
)
@pytest.mark.parametrize("which", ["refine", "theta"])
def test_how_many_features_take_part(which, features, n_features, drawn):
    unigram = np.full(n_features, 1 / n_features)
    parameters = small(**{f"{which}_features": features}).get_params()
    network = build_network(parameters, unigram, input_scale=1.0, mean_total=1.0, seed=0)
    sampler = getattr(network, f"{which}_sampler")
    if drawn is None:
        assert sampler is None
    else:
        assert sampler.inclusion.sum().item() == pytest.approx(drawn)
        assert not any("sampler" in name for name in network.state_dict())
