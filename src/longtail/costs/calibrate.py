"""Measuring the constants of this machine: a few seconds of small loops."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from longtail.costs.machine import Machine
from longtail.ops.fused import blocks

__all__ = ["calibrate"]

_ROWS, _WIDTH = 500, 400
# Of a network between machines, which cannot be measured on one: 10 Gbit/s.
_NETWORK, _LATENCY = 1.25e9, 5e-5


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
    h, weight = torch.rand(_ROWS, _WIDTH, device=device), torch.rand(65_536, _WIDTH, device=device)
    start, stop = next(iter(blocks(_ROWS, weight)))
    part = weight[start:stop]
    out = torch.empty(_ROWS, stop - start, device=device)

    def products() -> None:
        torch.mm(h, part.T, out=out)
        torch.mm(out, part)

    def softmax() -> None:
        # As `log_normaliser` does to a block.
        out.add_(part[:, 0])
        top = out.amax(1, keepdim=True)
        out.sub_(top).exp_().sum(1, keepdim=True)

    source, target = torch.rand(n, device=device), torch.empty(n, device=device)
    table = source[: n // 256 * 256].view(-1, 256)
    places = torch.randint(len(table), (20_000,), device=device)
    offsets = torch.arange(0, 20_000, 50, device=device)
    tiny = torch.ones(4, device=device)

    def gather() -> None:
        F.embedding_bag(places, table, offsets, mode="sum")

    def calls() -> None:
        for _ in range(200):
            tiny.add_(1)

    def best(function: Callable[[], object]) -> float:
        return _best(function, seconds, device)

    return Machine(
        name="this machine",
        flops=4 * _ROWS * _WIDTH * (stop - start) / best(products),
        softmax=out.numel() / best(softmax),
        stream=2 * 4 * n / best(lambda: target.copy_(source)),
        gather=4 * 256 * len(places) / best(gather),
        call=best(calls) / 200,
        memory=_memory(device),
        network=network,
        latency=latency,
        disk=_disk(megabytes, folder),
    )


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
