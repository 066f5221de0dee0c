"""Time, memory and network of a fit on so many workers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from longtail.costs.counting import FLOAT, after_epoch, update_work
from longtail.costs.machine import Machine
from longtail.costs.memory import worker_memory
from longtail.costs.work import Work
from longtail.costs.workload import Workload

__all__ = ["CostEstimate", "Shards", "estimate"]

# Of the memory: the rest is for what is not counted.
_USABLE = 0.9
_FOR_TABLES = 0.7
_COPIES = 5  # value, gradient, two moments, best epoch


@dataclass(frozen=True)
class Shards:
    """The tables of V rows split by features over workers. A design: the library does not do it.

    Each of a group of workers holds V/T rows of W and of the encoder's first layer. For every
    evaluation they exchange, a row of the batch, the largest logit, Σ exp and softmax·W: a
    softmax over all features from the parts. Each keeps gradients and moments of its rows alone.

    Attributes
    ----------
    of
        T, workers a group.
    groups
        Groups, which share the batches.
    memory
        Bytes a worker at the peak.
    network
        Bytes that a worker sends in an update.
    seconds
        Of an epoch.
    """

    of: int
    groups: int
    memory: float
    network: float
    seconds: float


@dataclass(frozen=True)
class CostEstimate:
    """What a fit costs on some workers.

    Attributes
    ----------
    load, machine, workers
        Of what, on what, how many. Each worker has the machine's constants.
    update, epoch
        Work of each part of an update, and of what comes once an epoch; each worker's.
    memory
        Bytes of each part at the peak; each worker's.
    shards
        What to do where a worker has not the memory; None where it has.
    """

    load: Workload
    machine: Machine
    workers: int
    update: dict[str, Work]
    epoch: dict[str, Work]
    memory: dict[str, float]
    shards: Shards | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds an epoch, by part."""
        updates = self.load.updates
        parts = {name: updates * w.seconds(self.machine) for name, w in self.update.items()}
        return parts | {name: w.seconds(self.machine) for name, w in self.epoch.items()}

    @property
    def update_seconds(self) -> float:
        """Seconds an update."""
        return sum(work.seconds(self.machine) for work in self.update.values())

    @property
    def epoch_seconds(self) -> float:
        """Seconds an epoch, with what follows it."""
        return sum(self.seconds.values())

    @property
    def bottleneck(self) -> str:
        """The part that takes longest."""
        seconds = self.seconds
        return max(seconds, key=lambda name: seconds[name])

    @property
    def peak_bytes(self) -> float:
        """Memory of a worker at the peak."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a worker has that memory, with a tenth to spare."""
        return self.peak_bytes <= _USABLE * self.machine.memory

    @property
    def network_bytes(self) -> float:
        """Bytes that a worker sends in an epoch."""
        return self.load.updates * sum(work.network for work in self.update.values())

    def frame(self) -> pl.DataFrame:
        """A line for each part: seconds an epoch and their share, and amounts of work an epoch."""
        updates, total = self.load.updates, self.epoch_seconds
        works = {n: w * updates for n, w in self.update.items()} | self.epoch
        lines = [
            {
                "part": name,
                "seconds": self.seconds[name],
                "share": self.seconds[name] / total,
                "tera_flops": work.flops / 1e12,
                "memory_gb": (work.stream + work.gather) / 1e9,
                "network_gb": work.network / 1e9,
                "disk_gb": work.disk / 1e9,
            }
            for name, work in works.items()
        ]
        return pl.DataFrame(lines).sort("seconds", descending=True, maintain_order=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        shards = self.shards
        return {
            "workers": self.workers,
            "update_seconds": self.update_seconds,
            "epoch_seconds": self.epoch_seconds,
            "updates": self.load.updates,
            "bottleneck": self.bottleneck,
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "memory": self.memory,
            "fits": self.fits,
            "network_bytes": self.network_bytes,
            "shards": None if shards is None else vars(shards).copy(),
        }


def estimate(load: Workload, machine: Machine, workers: int = 1) -> CostEstimate:
    """What a fit costs on so many workers, who share every batch."""
    found = CostEstimate(
        load,
        machine,
        workers,
        update_work(load, workers),
        after_epoch(load),
        worker_memory(load, workers),
    )
    return found if found.fits else replace(found, shards=_sharded(load, machine, workers))


def _sharded(load: Workload, machine: Machine, workers: int) -> Shards | None:
    """Tables over as few workers as have the memory; None if there are not enough of them."""
    tables = load.parameters["output layer"] + load.parameters["encoder's first layer"]
    of = max(2, math.ceil(_COPIES * FLOAT * tables / (_FOR_TABLES * machine.memory)))
    if of > workers:
        return None
    groups = workers // of
    part = replace(
        load,
        features=math.ceil(load.features / of),
        refine_features=math.ceil(load.refine_features / of),
        theta_features=math.ceil(load.theta_features / of),
        non_zeros=load.non_zeros / of,
    )
    work = sum(update_work(part, groups).values(), Work())
    # For each row of the group's part of a batch: floats that every worker must have the sum of.
    evaluations, d = load.refine_steps + 1, load.output_width
    floats = evaluations * (d + 2) + 2 * load.draws + load.hidden
    ring = 2 * (of - 1) / of
    rounds = math.ceil(load.refine_steps / 2) + 3
    work += Work(
        network=ring * FLOAT * floats * load.batch_size / groups, messages=2 * (of - 1) * rounds
    )
    rest = sum(after_epoch(part).values(), Work())
    return Shards(
        of=of,
        groups=groups,
        memory=sum(worker_memory(part, groups).values()),
        network=work.network,
        seconds=load.updates * work.seconds(machine) + rest.seconds(machine),
    )
