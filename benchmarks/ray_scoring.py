"""Transforming Parquet on a Ray cluster of this machine, against one process with as many cores.

Summaries of Python packages in row groups; a plain model of one epoch (K = 100, H = 400, words in
5 summaries or more); M = 5 local steps a row. Four ways to use W cores, each in processes of its
own, in turn:

* ``process``: one process, PyTorch with W threads;
* ``thread``: one process, one thread (one core, for comparison);
* ``processes``: W processes side by side, one thread each, each with every W-th block. The time of
  the slowest, once all have opened the model;
* ``ray``: the Ray engine with W workers of one CPU each, in a cluster that it starts here.

Interpreters, imports and the model opened are not on the clock of the first three. For Ray,
``start.cluster`` are the seconds until there is a cluster, ``start.workers`` those that the engine
takes for a data set with one row for each worker: their start with imports and model. ``seconds``
of ray are those of the engine for all rows, workers' start included; ``steady`` are without it.
``overhead.over_…`` divides ``steady`` by the seconds of the other way, less one, and
``overhead_with_start.over_…`` does the same with start of workers. ``max_abs_difference`` is that
of latent vectors between Ray and the other way. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import longtail as lt
from benchmarks._fits import fitted
from benchmarks.rows import ROOT, data_file, metric_rows, quantiles, write_rows
from longtail.data.stream import ParquetDataset
from longtail.scoring import RayEngine, Transform, score_dataset

NAME = "ray_scoring"
DATA = ("pypi_summaries.parquet",)
STEPS, MIN_DF = 5, 5
FIELDS = {"text_column": "summary", "id_column": "name"}
PEERS = ("process", "thread", "processes")


# --- data and model ----------------------------------------------------------------------------


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """Write rows, the shares of the processes, a row for each worker, and the model."""
    table = pl.read_parquet(data_file(DATA[0]), columns=["name", "summary"])
    table = table.unique("summary", maintain_order=True).head(args.rows)
    (folder / "rows").mkdir()
    groups = list(table.iter_slices(args.rows_per_group))
    for share in range(args.workers):
        (folder / f"share-{share}").mkdir()
    for number, group in enumerate(groups):
        name = f"{number:05d}.parquet"
        group.write_parquet(folder / "rows" / name, row_group_size=args.rows_per_group)
        share = folder / f"share-{number % args.workers}" / name
        share.symlink_to(folder / "rows" / name)
    (folder / "few").mkdir()
    for number in range(args.workers):
        table[number : number + 1].write_parquet(folder / "few" / f"{number}.parquet")
    table.write_parquet(folder / "all.parquet")
    counts = lt.read_counts(folder / "all.parquet", min_df=MIN_DF, **FIELDS)
    counts = counts.drop_empty()[0]
    model = fitted(
        f"pypi-{args.rows}-scoring",
        counts[: args.train_rows],
        counts[:0],
        epochs=1,
        kl_anneal=0.0,
        refine_steps=0,
        device="cpu",
        random_state=0,
    )
    model.save(folder / "model")


# --- one way, in a process of its own ------------------------------------------------------------


def score(folder: Path, data: str, out: str, engine: RayEngine | None = None) -> float:
    """Seconds to transform a data set."""
    model = lt.load(folder / "model")
    dataset = ParquetDataset.open(folder / data, **FIELDS)
    # Every process waits for the others to come so far.
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    task = Transform(refine_steps=STEPS)
    score_dataset(model, dataset, folder / out, task, engine=engine, overwrite=True)
    return time.perf_counter() - start


def score_on_ray(folder: Path, workers: int) -> dict[str, float]:
    """Seconds until there is a cluster, for its workers' start, and for all rows."""
    import ray

    start = time.perf_counter()
    ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    cluster = time.perf_counter() - start
    engine = RayEngine(workers=workers)
    few = score(folder, "few", "out-few", engine)
    seconds = score(folder, "rows", "out-ray", engine)
    return {"cluster": cluster, "workers": few, "seconds": seconds}


def child(how: str, folder: Path, workers: int) -> None:
    """Measure one way; print what was found."""
    torch.set_num_threads(workers if how == "process" else 1)
    found: dict[str, float]
    if how == "ray":
        found = score_on_ray(folder, workers)
    else:
        data = how if how.startswith("share-") else "rows"
        found = {"seconds": score(folder, data, f"out-{how}")}
    print(json.dumps(found), flush=True)


def measure(args: argparse.Namespace, how: str, folder: Path) -> dict[str, float]:
    """One way, in processes of its own that start together."""
    names = [f"share-{i}" for i in range(args.workers)] if how == "processes" else [how]
    threads = str(args.workers if how == "process" else 1)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "RAY_USAGE_STATS_ENABLED": "0"}
    running = []
    for name in names:
        words = [sys.executable, "-m", "benchmarks", NAME, "--child", name, str(folder)]
        words += ["--workers", str(args.workers)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(words, cwd=ROOT, env=environment, **pipes))
    for process in running:
        while process.stdout.readline() != "ready\n":
            if process.poll() is not None:
                raise RuntimeError(f"{how}: a process ended with {process.returncode}.")
    # Of Ray, the second line is for the second run.
    printed = [process.communicate("\n\n")[0] for process in running]
    found = [json.loads(text.splitlines()[-1]) for text in printed]
    return max(found, key=lambda each: each["seconds"])


# --- results -----------------------------------------------------------------------------------


def latent(folder: Path, out: str) -> pl.DataFrame:
    """Latent vectors by row, whatever the order of the parts."""
    parts = [pl.read_parquet(path) for path in sorted(folder.glob(f"{out}/*.parquet"))]
    return pl.concat(parts).sort("row_id")


def largest_difference(folder: Path, how: str, workers: int) -> float:
    """Between the latent vectors that Ray has left and those of another way."""
    theirs = "out-share-*" if how == "processes" else f"out-{how}"
    ours, other = latent(folder, "out-ray"), latent(folder, theirs)
    if not ours["row_id"].equals(other["row_id"]):
        raise RuntimeError(f"ray and {how} did not score the same rows")
    z = [table.select("^z.*$").to_numpy() for table in (ours, other)]
    return float(np.abs(z[0] - z[1]).max())


def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure all ways in turn; write the rows."""
    prepare(args, folder)
    found: dict[str, list[dict[str, float]]] = {how: [] for how in ("ray", *PEERS)}
    for _ in range(args.repeats):
        for how, results in found.items():
            results.append(measure(args, how, folder))
            print(how, results[-1], flush=True)
    seconds = {how: [each["seconds"] for each in results] for how, results in found.items()}
    started = {name: [each[name] for each in found["ray"]] for name in ("cluster", "workers")}
    steady = [each["seconds"] - each["workers"] for each in found["ray"]]
    middle = {how: statistics.median(values) for how, values in seconds.items()}
    ratios = {
        "overhead": {f"over_{p}": statistics.median(steady) / middle[p] - 1 for p in PEERS},
        "overhead_with_start": {f"over_{p}": middle["ray"] / middle[p] - 1 for p in PEERS},
    }
    differs = {f"from_{p}": largest_difference(folder, p, args.workers) for p in PEERS}
    times = {how: quantiles(values) for how, values in seconds.items()}
    times |= {"ray_steady": quantiles(steady)}
    starts = {name: quantiles(values) for name, values in started.items()}
    case = f"pypi_summaries-{args.rows}/M{STEPS}-W{args.workers}-blocks{args.rows_per_group}"
    common: dict[str, Any] = {"benchmark": NAME, "case": case, "seed": 0, "split": "train"}
    common["packages"] = ("ray",)
    torch.set_num_threads(args.workers)  # what the rows say
    rows = metric_rows({"seconds": times, "start": starts}, unit="s", **common)
    rows += metric_rows(ratios, unit="", **common)
    rows += metric_rows({"max_abs_difference": differs}, unit="", **common)
    for row in rows:
        print(f"{row.metric} {row.value:.6g} {row.unit}")
    if not args.dry:
        write_rows(NAME, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Run with the sizes asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--train-rows", type=int, default=20_000)
    parser.add_argument("--rows-per-group", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print, write no rows")
    parser.add_argument("--child", nargs=2, metavar=("HOW", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        how, folder = args.child
        child(how, Path(folder), args.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


if __name__ == "__main__":
    main()
