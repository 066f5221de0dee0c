"""Measuring the constants of this machine: a few seconds of small loops."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from longtail.costs.counting import update_work
from longtail.costs.machine import Machine
from longtail.costs.workload import Workload
from longtail.data import CountMatrix
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.network import network_for, unigram_frequencies
from longtail.evaluation.evaluate import make_batches
from longtail.features import FeatureTransform
from longtail.inference import RefineSettings, Rows
from longtail.ops.ambient import neutral_torch
from longtail.ops.fused import blocks
from longtail.training.optimizer import optimizer_of
from longtail.training.step import step_terms

__all__ = ["calibrate"]

_ROWS, _WIDTH = 500, 400
# Of a network between machines, which cannot be measured on one: 10 Gbit/s.
_NETWORK, _LATENCY = 1.25e9, 5e-5


@neutral_torch()
def calibrate(
    *,
    device: torch.device | str = "cpu",
    seconds: float = 0.3,
    megabytes: int = 256,
    network: float = _NETWORK,
    latency: float = _LATENCY,
    folder: str | Path | None = None,
) -> Machine:
    """Measure what this machine can do, with as many threads as PyTorch uses now.

    Parameters
    ----------
    device
        Of the computations.
    seconds
        For each constant, at least; the best of the runs counts.
    megabytes
        Of the tables that are read and copied: well above the processor's caches.
    network, latency
        Taken as given: one machine cannot measure them.
    folder
        Where a file is written and read; the folder for temporary files if not given.
    """
    device = torch.device(device)
    n = megabytes * 2**20 // 4
    made: dict[str, Any] = {"device": device, "dtype": torch.float32}
    h, weight = torch.rand(_ROWS, _WIDTH, **made), torch.rand(65_536, _WIDTH, **made)
    start, stop = next(iter(blocks(_ROWS, weight)))
    part = weight[start:stop]
    out = torch.empty(_ROWS, stop - start, **made)

    def products() -> None:
        torch.mm(h, part.T, out=out)
        torch.mm(out, part)

    def softmax() -> None:
        # As `log_normaliser` does to a block.
        out.add_(part[:, 0])
        top = out.amax(1, keepdim=True)
        out.sub_(top).exp_().sum(1, keepdim=True)

    source, target = torch.rand(n, **made), torch.empty(n, **made)
    table = source[: n // 256 * 256].view(-1, 256)
    places = torch.randint(len(table), (20_000,), device=device)
    offsets = torch.arange(0, 20_000, 50, device=device)

    def gather() -> None:
        F.embedding_bag(places, table, offsets, mode="sum")

    update, n_calls = _tiny_update(device)

    def best(function: Callable[[], object]) -> float:
        return _best(function, seconds, device)

    return Machine(
        name="this machine",
        flops=4 * _ROWS * _WIDTH * (stop - start) / best(products),
        softmax=out.numel() / best(softmax),
        stream=2 * 4 * n / best(lambda: target.copy_(source)),
        gather=4 * 256 * len(places) / best(gather),
        call=best(update) / n_calls,
        memory=_memory(device),
        network=network,
        latency=latency,
        disk=_disk(megabytes, folder),
    )


def _tiny_update(device: torch.device) -> tuple[Callable[[], None], float]:
    """An update so small that starting its operations is all it costs, and how many they are."""
    n, v = 4, 16
    parameters = NonlinearFactorAnalysis(2, n_hidden=4, batch_size=n, refine_steps=4).get_params()
    counts = CountMatrix.from_any(np.eye(n, v) + np.ones((n, v)))
    transform = FeatureTransform.fit("tfidf", counts.csr)
    network = network_for(parameters, counts, unigram_frequencies(counts.csr), transform, seed=0)
    network = network.to(device)
    optimizer = optimizer_of(network, 1e-3, 1.0, 1e-8)
    batch = next(make_batches(counts, transform, n).ordered())

    def update() -> None:
        rows = Rows.from_batch(batch, device)
        terms = step_terms(
            network, rows, RefineSettings(4), kl_weight=1.0, key=rows.noise_key(0), samples=8
        )
        optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    load = Workload.of(parameters, rows=n, features=v, non_zeros=v)
    return update, sum(work.calls for work in update_work(load).values())


def _best(function: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Seconds of the fastest run, of three or as many as fit into some seconds."""
    fastest, spent, runs = float("inf"), 0.0, 0
    function()
    while runs < 3 or spent < seconds:
        started = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took = time.perf_counter() - started
        fastest, spent, runs = min(fastest, took), spent + took, runs + 1
    return max(fastest, 1e-9)


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _disk(megabytes: int, folder: str | Path | None) -> float:
    """Bytes a second written through to the disk: reading is as fast, or faster from the cache."""
    content = os.urandom(2**20)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        for _ in range(megabytes):
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return megabytes * 2**20 / (time.perf_counter() - started)
