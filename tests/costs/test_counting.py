"""Work is what the kernels do: matrix products are counted while they run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from longtail import CountMatrix, NonlinearFactorAnalysis
from longtail.costs import Workload
from longtail.costs.counting import after_epoch, update_work
from longtail.costs.memory import worker_memory
from longtail.estimator.network import network_for, unigram_frequencies
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.features import FeatureTransform
from longtail.inference import RefineSettings, Rows
from longtail.ops import fused
from longtail.training.optimizer import optimizer_of
from longtail.training.step import step_terms
from tests.builders import topic_counts


def _addmm(self, a, b, *args, out_shape=None, **kwargs):
    return 2 * a[0] * a[1] * b[1]


ADDMM = {torch.ops.aten.addmm_: _addmm}  # torch knows only the one that makes a new array

CASES = {
    "plain": {"refine_steps": 0},
    "plain, log-linear": {"refine_steps": 0, "decoder_layers": 0},
    "hybrid": {"refine_steps": 4},
    "hybrid, elbo": {"refine_steps": 4, "importance_samples": 1},
    "hybrid, log-linear": {"refine_steps": 4, "decoder_layers": 0},
    "hybrid, skip": {"refine_steps": 4, "skip": True, "encoder_layers": 3, "decoder_layers": 3},
    "sampled refinement": {"refine_steps": 4, "refine_features": 60},
    "sampled": {"refine_steps": 4, "refine_features": 60, "theta_features": 60},
    "sampled theta": {"refine_steps": 0, "theta_features": 60},
    "bernoulli": {"refine_steps": 4, "likelihood": "bernoulli"},
    "poisson": {"refine_steps": 4, "likelihood": "poisson"},
    "dirichlet-multinomial": {"refine_steps": 4, "likelihood": "dirichlet_multinomial"},
    "negative binomial": {"refine_steps": 4, "likelihood": "negative_binomial"},
}


def setting(changes, n_features=300, n_rows=40):
    parameters = {"n_components": 6, "n_hidden": 24, "batch_size": n_rows, "epochs": 1} | changes
    model = NonlinearFactorAnalysis(**parameters)
    dense = topic_counts(n_rows, n_features)
    counts = CountMatrix.from_any(
        np.minimum(dense, 1) if "bernoulli" in changes.values() else dense
    )
    all_parameters = model.get_params(deep=False)
    transform = FeatureTransform.fit("tfidf", counts.csr)
    network = network_for(
        all_parameters, counts, unigram_frequencies(counts.csr), transform, seed=0
    )
    load = Workload.of(
        all_parameters,
        rows=n_rows,
        features=n_features,
        non_zeros=counts.nnz / n_rows,
    )
    return load, network, counts, transform


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_matrix_products_of_an_update(changes):
    load, network, counts, transform = setting(changes)
    rows = Rows.from_batch(next(make_batches(counts, transform, counts.n_rows).ordered()))
    steps = RefineSettings(int(load.refine_steps))
    with FlopCounterMode(display=False, custom_mapping=ADDMM) as counter:
        terms = step_terms(
            network, rows, steps, kl_weight=1.0, key=rows.noise_key(0), samples=int(load.draws)
        )
        terms.loss.backward()
    counted = sum(work.flops for work in update_work(load).values())
    assert counter.get_total_flops() == pytest.approx(counted, rel=0.05)


def test_logits_that_are_not_kept_are_computed_again(monkeypatch):
    load, *_ = setting({"refine_steps": 0})
    once = update_work(load)["decoder"]
    big = replace(load, batch_size=fused._KEEP // load.features + 1)
    again = update_work(big)["decoder"]
    scale = big.batch_size / load.batch_size
    logits = 2 * big.batch_size * load.features * load.output_width
    assert again.flops == pytest.approx(scale * once.flops + logits)
    assert again.softmax == pytest.approx(2 * scale * once.softmax)


def test_matrix_products_of_validation():
    load, network, counts, transform = setting({"refine_steps": 4, "refine_features": 60})
    load = replace(load, valid_rows=counts.n_rows)
    with FlopCounterMode(display=False, custom_mapping=ADDMM) as counter:
        row_bounds(
            network,
            make_batches(counts, transform, counts.n_rows).ordered(),
            refine=RefineSettings(load.valid_steps),
            samples=5,
            seed=0,
        )
    counted = after_epoch(load)["validation"].flops
    # The encoder's own layers, and the hidden ones of the scored draws, are left out.
    assert counter.get_total_flops() == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize(
    "changes", [{}, {"skip": True}, {"decoder_layers": 0}, {"likelihood": "nb"}]
)
def test_parameters_are_those_of_the_network(changes):
    changes = {k: "negative_binomial" if v == "nb" else v for k, v in changes.items()}
    load, network, *_ = setting(changes)
    assert load.n_parameters == sum(p.numel() for p in network.parameters())
    moments = worker_memory(load)["moments"]
    optimizer = optimizer_of(network, 1e-3, 1.0, 1e-8)
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    held = sum(
        t.numel() * t.element_size()
        for state in optimizer.state.values()
        for name, t in state.items()
        if name != "step"
    )
    assert held == moments
