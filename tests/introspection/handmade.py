"""Decoders with known Jacobians, and fitted models around them."""

from __future__ import annotations

import string
from functools import cache

import numpy as np
import torch

from longtail import CountMatrix, NonlinearFactorAnalysis
from longtail.data import Vocabulary
from longtail.estimator.network import build_network
from longtail.model import Decoder
from longtail.training import History
from tests.builders import prepared
from tests.estimator.models import names, small, words

KINDS = ("probabilities", "log_probabilities", "logits", "root_probabilities")


def random_decoder(k, v, *, layers=1, hidden=6, skip=False, scale=1.0, seed=0, dead=()):
    """A decoder in float64 with weights and biases of every size; `dead` units never answer."""
    generator = torch.Generator().manual_seed(seed)
    net = Decoder(k, v, n_layers=layers, n_hidden=hidden, skip=skip).double()
    with torch.no_grad():
        for p in net.parameters():
            size = scale * p.shape[-1] ** -0.5 if p.ndim == 2 else 0.3
            p.normal_(0, size, generator=generator)
        for layer in net.hidden_layers:
            layer.bias[list(dead)] = -1e3
    return net.requires_grad_(False)


def points(n, k, seed=0):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def output(decoder, of):
    """What is differentiated, of one z (K,)."""

    def g(z):
        logits = decoder(z[None])[0]
        log_p = torch.log_softmax(logits, 0)
        return {
            "logits": logits,
            "log_probabilities": log_p,
            "probabilities": log_p.exp(),
            "root_probabilities": 2 * (log_p / 2).exp(),
        }[of]

    return g


def by_autodiff(decoder, z, of, mode=torch.func.jacrev):
    """(S, K) → (S, V, K)."""
    return torch.func.vmap(mode(output(decoder, of)))(z)


def model_of(weight, hidden=(), *, bias=None, skip=False, tokens=50.0, vocabulary=None, **options):
    """A fitted model whose decoder has this output layer (V, H) and these layers [(W, c), ...].

    The inference network is whatever it starts as: refinement makes up for it.
    """
    weight = torch.as_tensor(np.asarray(weight), dtype=torch.float32)
    v = len(weight)
    layers = [(torch.as_tensor(np.asarray(w), dtype=torch.float32), c) for w, c in hidden]
    k = layers[0][0].shape[1] if layers else weight.shape[1]
    shape = {
        "n_components": k,
        "n_hidden": layers[0][0].shape[0] if layers else 1,
        "decoder_layers": len(layers),
        "encoder_layers": 1,
        "skip": skip,
    }
    model = small(**({"eval_refine_steps": 20, "device": "cpu"} | shape | options))
    counts, transform, _ = prepared(np.random.default_rng(0).poisson(1.0, (10, v)))
    unigram = np.full(v, 1 / v)
    network = build_network(model.get_params(deep=False), unigram, input_scale=1.0, mean_total=1.0, seed=0)
    decoder = network.generative.decoder
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(torch.as_tensor(np.zeros(v) if bias is None else bias))
        for layer, (w, c) in zip(decoder.hidden_layers, layers, strict=True):
            layer.weight.copy_(w)
            layer.bias.copy_(torch.as_tensor(c))
    model.set_fitted(
        network=network,
        vocabulary=vocabulary or Vocabulary(letters(v)),
        transform=transform,
        unigram=unigram,
        history=History([]),
        read_settings=None,
        seed=0,
        fit_info={"median_total": tokens, "train_rows": counts.n_rows},
    )
    return model


def letters(n):
    """A, b, …, z, aa, ab, …: names without a number to sort by."""
    abc = string.ascii_lowercase
    return [(abc[i // 26 - 1] if i >= 26 else "") + abc[i % 26] for i in range(n)]


def even_model(strength=2.0):
    """Logit of feature 0 is strength·|z_0|: relu(z_0) and relu(−z_0) with equal weights."""
    weight = np.zeros((6, 2))
    weight[0] = strength
    return model_of(weight, [([[1.0, 0.0], [-1.0, 0.0]], np.zeros(2))])


def named_words(n_rows=80, **kwargs):
    return CountMatrix.from_any(words(n_rows, **kwargs), vocabulary=names(20))


@cache
def learned() -> NonlinearFactorAnalysis:
    """A small model fitted to named topics."""
    return small(epochs=25, learning_rate=0.03, eval_refine_steps=20).fit(named_words(150))
