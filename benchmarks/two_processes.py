"""Training rows a second of two processes with one thread each, against one process with one.

Synthetic rows of 20,000 features with 100 non-zeros each, drawn by a Zipf-like law; the default
network (2 layers of 400, K = 100). ``plain`` has no refinement; ``hybrid`` is the default while the
KL weight rises (M = 6), ``hybrid_late`` the default afterwards (M = 2). Processes are started by
torchrun on this machine and talk through gloo.

Each run trains from the start, leaves some batches out of the clock and takes the median of the
others: ``rows_per_second`` of one process and of two, for batches of B and of 2B rows in all, over
several runs in turn. ``speed_up.same_global_batch`` divides the rates of two and one for B,
``speed_up.same_global_batch_doubled`` for 2B, and ``speed_up.same_batch_per_process`` that of two
with 2B by that of one with B. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import torch

import longtail as lt
from benchmarks.memory import zipf_counts
from benchmarks.rows import ROOT, metric_rows, quantiles, write_rows
from longtail.training import Processes

NAME = "two_processes"
KINDS = {"plain": 0, "hybrid": 6, "hybrid_late": 2}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


class Clock(lt.Callback):
    """Seconds of each batch, and an end after enough of them."""

    def __init__(self, warm_up: int, batches: int) -> None:
        self.left_out = warm_up
        self.wanted = warm_up + batches
        self.seconds: list[float] = []

    def on_fit_begin(self, *arguments: object) -> None:
        """Start."""
        self._since = time.perf_counter()

    def on_batch_end(self, epoch: int, rows_done: int) -> None:
        """Note the time."""
        now = time.perf_counter()
        self.seconds.append(now - self._since)
        self._since = now
        if len(self.seconds) == self.wanted:
            raise lt.StopTraining


def train(args: argparse.Namespace, processes: Processes) -> float:
    """Rows a second of these processes."""
    torch.set_num_threads(1)
    n_rows = args.batch_size * (args.warm_up + args.batches)
    counts = zipf_counts(n_rows, args.features, args.per_row, seed=0)
    clock = Clock(args.warm_up, args.batches)
    model = lt.NonlinearFactorAnalysis(
        batch_size=args.batch_size,
        refine_steps=KINDS[args.kind],
        validation_fraction=0,
        device="cpu",
        random_state=0,
    )
    model.fit(counts, callbacks=[clock], processes=processes)
    seconds = clock.seconds[clock.left_out :]
    return args.batch_size / statistics.median(seconds) if processes.is_first else 0.0


def measure(args: argparse.Namespace, kind: str, processes: int, batch_size: int) -> float:
    """The same in processes of their own."""
    words = [sys.executable, *(TORCHRUN if processes == 2 else ())]
    words += ["-m", "benchmarks", NAME, "--worker", "--kind", kind]
    for name in ("features", "per_row", "warm_up", "batches"):
        words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    words += ["--batch-size", str(batch_size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
    rate: float = json.loads(done.stdout.splitlines()[-1])
    return rate


def run(args: argparse.Namespace, kind: str) -> None:
    """Measure one kind of training; write its rows."""
    one_batch, two_batches = args.batch_size, 2 * args.batch_size
    cases = {
        "one": (1, one_batch),
        "two": (2, one_batch),
        "one_doubled": (1, two_batches),
        "two_doubled": (2, two_batches),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(args.repeats):
        for name, (processes, batch_size) in cases.items():
            rates[name].append(measure(args, kind, processes, batch_size))
            print(f"{kind} {name}: {rates[name][-1]:.1f} rows/s", flush=True)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    ratios = {
        "same_global_batch": middle["two"] / middle["one"],
        "same_global_batch_doubled": middle["two_doubled"] / middle["one_doubled"],
        "same_batch_per_process": middle["two_doubled"] / middle["one"],
    }
    print(kind, {name: round(ratio, 2) for name, ratio in ratios.items()}, flush=True)
    torch.set_num_threads(1)  # what the rows say
    case = f"zipf-V{args.features}-nnz{args.per_row}/H400-K100-B{args.batch_size}/{kind}"
    common = {"benchmark": NAME, "case": case, "seed": 0, "split": "train"}
    packages = ("lightning-fabric",)
    speeds = {"rows_per_second": {name: quantiles(found) for name, found in rates.items()}}
    write_rows(
        NAME,
        metric_rows(speeds, unit="rows/s", packages=packages, **common)
        + metric_rows({"speed_up": ratios}, unit="", packages=packages, **common),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the kinds asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: all")
    parser.add_argument("--features", type=int, default=20_000)
    parser.add_argument("--per-row", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=500, help="B")
    parser.add_argument("--warm-up", type=int, default=3, help="batches left out")
    parser.add_argument("--batches", type=int, default=12, help="batches a run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        (args.kind,) = args.kind
        processes = lt.join_processes("cpu")
        rate = train(args, processes)
        if processes.is_first:
            print(json.dumps(rate))
        return
    for kind in args.kind or KINDS:
        run(args, kind)


if __name__ == "__main__":
    main()
