"""Small data and networks that the tests share."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array

from longtail.data import CountMatrix
from longtail.estimator.network import build_network, unigram_frequencies
from longtail.evaluation.evaluate import make_batches
from longtail.features import FeatureTransform
from longtail.inference import Rows
from longtail.ops import SparseRows


def topic_counts(n_rows=60, n_features=20, *, tokens=12, seed=0, empty=()):
    """Rows drawn from a few sparse topics, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(99).dirichlet(np.full(n_features, 0.1), size=3)
    weights = rng.dirichlet(np.full(3, 0.2), size=n_rows)
    totals = rng.poisson(tokens, n_rows) + 1
    totals[list(empty)] = 0
    return np.stack([rng.multinomial(n, w @ topics) for n, w in zip(totals, weights, strict=True)])


def small_network(
    unigram_or_width,
    k=3,
    *,
    n_hidden=8,
    encoder_layers=1,
    decoder_layers=1,
    skip=False,
    scale=1.0,
    seed=0,
    refine_features="all",
    theta_features="all",
    likelihood="multinomial",
):
    """A hybrid model with weights large enough for z to matter (`scale` standard deviations).

    How the library starts its networks is under trial, and tests should not hang on it: all
    weights are drawn anew, and biases but that of the output are 0.
    """
    unigram = unigram_or_width
    if isinstance(unigram, int):
        unigram = np.full(unigram, 1 / unigram)
    parameters = {
        "n_components": k,
        "n_hidden": n_hidden,
        "encoder_layers": encoder_layers,
        "decoder_layers": decoder_layers,
        "skip": skip,
        "likelihood": likelihood,
        "exposure": "auto",
        "refine_features": refine_features,
        "theta_features": theta_features,
    }
    network = build_network(parameters, unigram, input_scale=1.0, mean_total=12.0, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    output = network.generative.decoder
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 1 and p is not output.bias:
                p.zero_()
            elif p.ndim == 2:
                p.normal_(0, p.shape[1] ** -0.5, generator=generator)
        output.weight.mul_(scale)
        network.encoder.input_weight.normal_(0, 1, generator=generator)
        network.encoder.log_var.weight.mul_(0.1)
    return network


def as_rows(dense, transform=None, *, dtype=torch.float32):
    """Rows of counts with their tf-idf, as the network takes them."""
    counts = CountMatrix.from_any(dense)
    transform = transform or FeatureTransform.fit("tfidf", counts.csr)
    batch = next(make_batches(counts, transform, counts.n_rows).ordered())
    rows = Rows.from_batch(batch)
    return Rows(
        SparseRows.from_scipy(batch.counts, dtype=dtype),
        SparseRows.from_scipy(batch.features, dtype=dtype),
        rows.keys,
    )


def prepared(dense):
    """Counts, their tf-idf transform and their frequencies."""
    counts = CountMatrix.from_any(dense)
    return counts, FeatureTransform.fit("tfidf", counts.csr), unigram_frequencies(counts.csr)


def sparse(dense, dtype=torch.float64):
    return SparseRows.from_scipy(csr_array(np.asarray(dense, dtype=np.float64)), dtype=dtype)
