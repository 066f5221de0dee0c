"""Estimated seconds and memory of an update beside measured ones.

A grid of small sizes: each of V, K, H, B and M is moved from a middle case, and the samples of
features are turned on and off. The machine's constants are calibrated first. Each case trains in a
process of its own on synthetic rows (Zipf-distributed features), and its median update, without
the first ones, and its peak resident memory are compared with the estimate: ratios are estimated
over measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import longtail as lt
from benchmarks.memory import EnoughError, peak_gb, zipf_counts
from benchmarks.rows import ROOT, metric_rows, write_rows
from longtail.costs import Machine, calibrate
from longtail.training import Callback

NAME = "cost_model"
NON_ZEROS = 50
MIDDLE: dict[str, Any] = {
    "features": 20_000,
    "n_components": 50,
    "n_hidden": 200,
    "batch_size": 500,
    "refine_steps": 4,
}
# What is moved, one at a time, from the middle.
MOVES: dict[str, Sequence[Any]] = {
    "features": (2_000, 100_000),
    "n_components": (20, 100),
    "n_hidden": (100, 400),
    "batch_size": (100, 2_000),
    "refine_steps": (0, 2, 10),
    "theta_features": ("auto",),
    "refine_features": ("all",),
    "decoder_layers": (0,),
    "importance_samples": (1,),
}
TINY = {"features": 500, "n_components": 4, "n_hidden": 16, "batch_size": 50, "refine_steps": 2}


class Clock(Callback):
    """Seconds of each update; ends training after some of them."""

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def on_fit_begin(self, config: Any, n_rows: int, first_epoch: int) -> None:
        """Start."""
        self._last = time.perf_counter()

    def on_batch_end(self, epoch: int, rows_done: int) -> None:
        """Stop one update's watch and start the next one's."""
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now
        if len(self.seconds) >= self.updates:
            raise EnoughError


def cases() -> dict[str, dict[str, Any]]:
    """Settings by name."""
    found = {"middle": MIDDLE}
    for name, values in MOVES.items():
        found |= {f"{name}={value}": MIDDLE | {name: value} for value in values}
    return found


def measure(setting: dict[str, Any], updates: int) -> dict[str, float]:
    """Train for some updates in this process."""
    parameters = dict(setting)
    features = parameters.pop("features")
    n_rows = parameters["batch_size"] * updates
    counts = lt.CountMatrix.from_any(zipf_counts(n_rows, features, NON_ZEROS, seed=0))
    clock = Clock(updates)
    model = lt.NonlinearFactorAnalysis(
        **parameters, epochs=2, validation_fraction=0, random_state=0, verbose=0
    )
    with contextlib.suppress(EnoughError):
        model.fit(counts, callbacks=[clock])
    peak = peak_gb()
    settled = clock.seconds[len(clock.seconds) // 4 :]
    return {
        "update_seconds": statistics.median(settled),
        "peak_gb": peak,
        "non_zeros": counts.nnz / counts.n_rows,
        "rows": counts.n_rows,
    }


def _measured_apart(setting: dict[str, Any], updates: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks", NAME, "--updates", str(updates)]
    argv += ["--only", json.dumps(setting)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, setting: dict[str, Any], machine: Machine, updates: int) -> dict[str, float]:
    """Estimated and measured figures of a case, and their ratios."""
    measured = _measured_apart(setting, updates)
    parameters = dict(setting)
    cost = lt.plan_cost(
        measured["rows"],
        parameters.pop("features"),
        measured["non_zeros"],
        machine=machine,
        epochs=2,
        validation_fraction=0.0,
        **parameters,
    ).estimates[0]
    estimated = {"update_seconds": cost.update_seconds, "peak_gb": cost.peak_bytes / 1e9}
    found = {f"{k}.measured": measured[k] for k in estimated}
    found |= {f"{k}.estimated": v for k, v in estimated.items()}
    found |= {f"{k}.ratio": v / measured[k] for k, v in estimated.items()}
    print(f"{name:24}", {k: round(v, 4) for k, v in found.items()}, cost.bottleneck, flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Calibrate, then run all cases."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--case", choices=cases(), action="append", help="default: all")
    parser.add_argument("--updates", type=int, default=24, help="of each case")
    parser.add_argument("--machine", type=Path, help="constants to use instead of measuring them")
    parser.add_argument("--tiny", action="store_true", help="one very small case; no rows written")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.only:
        print(json.dumps(measure(json.loads(args.only), args.updates)))
        return
    machine = Machine.open(args.machine) if args.machine else calibrate()
    if args.tiny:
        compare("tiny", TINY, machine, args.updates)
        return
    chosen = {name: s for name, s in cases().items() if args.case is None or name in args.case}
    ratios = []
    for name, setting in chosen.items():
        found = compare(name, setting, machine, args.updates)
        ratios.append(found["update_seconds.ratio"])
        common = {"benchmark": NAME, "case": name, "seed": 0, "split": "train"}
        write_rows(NAME, metric_rows(found, unit="", **common))
    if args.case is None:
        constants = {k: v for k, v in machine.to_dict().items() if k != "name"}
        spread = {
            "update_seconds.ratio": {
                "min": min(ratios),
                "median": statistics.median(ratios),
                "max": max(ratios),
            }
        }
        common = {"benchmark": NAME, "case": "all", "seed": 0, "split": "train"}
        write_rows(NAME, metric_rows(spread | {"machine": constants}, unit="", **common))


if __name__ == "__main__":
    main()
