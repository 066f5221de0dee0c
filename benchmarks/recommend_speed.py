"""Gowalla: time and memory of an epoch, and of recommending to 10,000 users.

Two epochs of the model that the benchmark of recommenders fits; the second is timed. Then ten
places each for 10,000 users, folded in with that model's number of refinement steps. Peak memory
is that of the process, the interpreter included. What the model says does not matter here.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

import torch
from threadpoolctl import threadpool_limits

import longtail as lt
from benchmarks._recommenders import PRESETS
from benchmarks.memory import peak_gb
from benchmarks.recommend import gowalla
from benchmarks.rows import metric_rows, write_rows

DATA = ("gowalla.parquet",)
NAME = "recommend_speed"
USERS, LENGTH = 10_000, 10


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, recommend, write the rows."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    train = gowalla().train
    (settings,) = PRESETS["log-linear"]["gowalla"]
    model = lt.NonlinearFactorAnalysis(random_state=0, **{**settings, "epochs": 2}).fit(train)
    epoch = model.history_.frame()["seconds"][-1]
    peak = peak_gb()
    started = time.perf_counter()
    model.recommend(train[:USERS], LENGTH)
    seconds = time.perf_counter() - started
    case = f"gowalla/log-linear-M{model.eval_refine_steps}"
    common = {"benchmark": NAME, "case": case, "seed": 0, "split": "train"}
    rows = metric_rows({"seconds": {"epoch": epoch, "recommend_10k": seconds}}, unit="s", **common)
    peaks = {"training": peak, "recommending": peak_gb()}
    rows += metric_rows({"peak_rss_gb": peaks}, unit="GB", **common)
    write_rows(NAME, rows)
    print(f"epoch {epoch:.1f} s, {peak:.2f} GB; {USERS:,} users {seconds:.1f} s")


if __name__ == "__main__":
    main()
