"""A plan: what a fit costs on several numbers of workers, and which settings make it cheaper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from longtail.costs.estimate import CostEstimate, estimate
from longtail.costs.machine import Machine, find_machine
from longtail.costs.workload import Workload
from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.inputs import MOST, is_whole
from longtail.estimator.network import feature_sample_size

__all__ = ["Choice", "CostPlan", "plan_cost"]

# Updates of a whole fit below which larger batches are not worth their speed: see docs/training.md.
_LEAST_UPDATES = 10_000
_BATCHES = (500, 1_000, 2_000, 5_000, 10_000, 20_000)


@dataclass(frozen=True)
class Choice:
    """Settings that were weighed.

    Attributes
    ----------
    batch_size, theta_features
        Of the estimator; the latter as a number, V for "all".
    epoch_seconds, peak_bytes
        On the largest number of workers asked for.
    allowed
        Whether a worker has the memory, every worker a row, and the fit enough updates.
    """

    batch_size: int
    theta_features: int
    epoch_seconds: float
    peak_bytes: float
    allowed: bool


@dataclass(frozen=True)
class CostPlan:
    """What a fit costs.

    Attributes
    ----------
    load, machine
        Of what, on what.
    estimates
        One for each number of workers.
    choices
        Settings that were weighed, if the plan was to choose: the first was taken.
    """

    load: Workload
    machine: Machine
    estimates: tuple[CostEstimate, ...]
    choices: tuple[Choice, ...] = ()

    def frame(self) -> pl.DataFrame:
        """A line for each number of workers."""
        lines = [
            {
                "workers": e.workers,
                "update_seconds": e.update_seconds,
                "epoch_hours": e.epoch_seconds / 3600,
                "speedup": self.estimates[0].epoch_seconds / e.epoch_seconds,
                "bottleneck": e.bottleneck,
                "peak_gb": e.peak_bytes / 1e9,
                "fits": e.fits,
                "network_gb_epoch": e.network_bytes / 1e9,
                "shards": None if e.shards is None else e.shards.of,
                "sharded_epoch_hours": None if e.shards is None else e.shards.seconds / 3600,
                "sharded_peak_gb": None if e.shards is None else e.shards.memory / 1e9,
            }
            for e in self.estimates
        ]
        return pl.DataFrame(lines, infer_schema_length=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "machine": self.machine.to_dict(),
            "load": vars(self.load) | {"parameters": self.load.parameters},
            "estimates": [e.to_dict() for e in self.estimates],
            "choices": [vars(c) for c in self.choices],
        }


def plan_cost(
    rows: float,
    features: int,
    non_zeros: float,
    *,
    machine: Machine | str | Path = "laptop",
    workers: Sequence[int] = (1,),
    streamed: bool = False,
    choose: bool = False,
    **parameters: Any,
) -> CostPlan:
    """Estimate time, memory and network of a fit.

    Parameters
    ----------
    rows, features, non_zeros
        n; V; features that a row has, on average.
    machine
        A worker's constants: `calibrate()` measures them; a file of such; or the name of a nominal
        machine, see `MACHINES`.
    workers
        Numbers of workers to estimate for.
    streamed
        Whether rows are read from disk in each epoch.
    choose
        Weigh batch sizes, and samples of features for the decoder, and take the fastest.
    **parameters
        Of `NonlinearFactorAnalysis`; its defaults where not given.

    Raises
    ------
    ParameterError
        If a size, parameter or machine is out of range.

    Examples
    --------
    >>> import longtail as lt
    >>> plan = lt.plan_cost(1e6, 20_000, 50, workers=(1, 4))
    >>> plan.estimates[0].bottleneck
    'decoder'
    """
    _check_workers(workers)
    unknown = parameters.keys() - NonlinearFactorAnalysis().get_params(deep=False).keys()
    if unknown:
        raise ParameterError(
            f"NonlinearFactorAnalysis has no parameter {', '.join(sorted(unknown))}."
        )
    all_parameters = NonlinearFactorAnalysis(**parameters).get_params(deep=False)
    load = Workload.of(
        all_parameters, rows=rows, features=features, non_zeros=non_zeros, streamed=streamed
    )
    found = find_machine(machine)
    choices: tuple[Choice, ...] = ()
    if choose:
        choices = _choices(load, found, max(workers))
        load = replace(
            load, batch_size=choices[0].batch_size, theta_features=choices[0].theta_features
        )
    return CostPlan(load, found, tuple(estimate(load, found, n) for n in workers), choices)


def _check_workers(workers: Sequence[int]) -> None:
    if not isinstance(workers, Iterable):
        raise ParameterError(f"workers must be a list of whole numbers; got {workers!r}.")
    right = [is_whole(n, 1, MOST) for n in workers]
    if isinstance(workers, bytes) or not right or not all(right):
        raise ParameterError(
            f"workers must be whole numbers ≥ 1 and ≤ {MOST:,}, one or more; got {list(workers)!r}."
        )


def _choices(load: Workload, machine: Machine, workers: int) -> tuple[Choice, ...]:
    """Settings from the fastest that is allowed to the slowest; the load's own are among them."""
    samples = {load.theta_features, load.features, feature_sample_size(load.features, "auto")}
    found = []
    for batch_size in sorted({load.batch_size, *_BATCHES}):
        for theta_features in sorted(samples):
            tried = replace(load, batch_size=batch_size, theta_features=theta_features)
            cost = estimate(tried, machine, workers)
            # The load's own batches stand, however few they are.
            enough = tried.updates * load.epochs >= _LEAST_UPDATES or batch_size <= load.batch_size
            allowed = enough and cost.fits and batch_size >= workers
            found.append(
                Choice(batch_size, theta_features, cost.epoch_seconds, cost.peak_bytes, allowed)
            )
    return tuple(sorted(found, key=lambda c: (not c.allowed, c.epoch_seconds)))
