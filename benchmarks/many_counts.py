"""Rows with many counts: does ψ* depend on the batch, what is gained by converging, and its time.

A model of 20 Newsgroups (default settings, 20 epochs); documents held out from its fit, with their
counts multiplied. For each factor: the largest difference between the posterior mean of a row
alone and in the batch, in posterior standard deviations; the ELBO at ψ* above that of M = 50 steps
for all rows, nats per count; seconds a row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

import longtail as lt
from benchmarks.rows import data_file, metric_rows, write_rows
from longtail.evaluation.bounds import score_posterior
from longtail.evaluation.evaluate import make_batches
from longtail.inference import RefineSettings, Rows, refine

NAME = "many_counts"
DATA = ("20news_miao/train.feat.gz",)
FACTORS = (1, 10, 100, 1_000, 10_000)
M, S = 50, 64


def measure(model: lt.NonlinearFactorAnalysis, counts: lt.CountMatrix) -> dict[str, float]:
    """The figures of some rows."""
    alone = [counts[[d]] for d in range(counts.n_rows)]
    started = time.perf_counter()
    whole = model.posterior(counts, refine_steps=M)
    seconds = time.perf_counter() - started
    singles = np.concatenate([model.posterior(row, refine_steps=M).mean for row in alone])
    differences = (np.abs(singles - whole.mean) / whole.scale).max(1)

    network = model.network_
    rows = Rows.from_batch(next(make_batches(counts, model.transform_, counts.n_rows).ordered()))
    objective, key = network.objective(rows.counts), rows.noise_key(model.seed_)
    with torch.no_grad():
        start = network.amortized(rows.features)
    usual = RefineSettings(M)
    bounds = [
        score_posterior(objective, refine(objective, start, key, settings), key, S).elbo
        for settings in (usual, replace(usual, converge=True))
    ]
    gain = (bounds[1] - bounds[0]) / rows.counts.totals()
    return {
        "counts.median": float(np.median(counts.totals)),
        "alone_or_in_batch.max": float(differences.max()),
        "alone_or_in_batch.median": float(np.median(differences)),
        "elbo_gain_per_count": float(gain.mean()),
        "seconds_per_row": seconds / counts.n_rows,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, then measure each factor."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--rows", type=int, default=40)
    args = parser.parse_args(argv)
    fit, held_out = lt.split_rows(lt.read_counts(data_file(DATA[0])), [0.2], seed=0)
    model = lt.NonlinearFactorAnalysis(epochs=20, random_state=0, verbose=1).fit(fit)
    some = held_out[np.arange(args.rows)]
    for factor in FACTORS:
        found = measure(
            model, lt.CountMatrix.from_any(some.csr * factor, vocabulary=some.vocabulary)
        )
        print(f"× {factor:,}: " + ", ".join(f"{k} {v:.3g}" for k, v in found.items()))
        rows = metric_rows(
            found, unit="", benchmark=NAME, case=f"20news_miao/x{factor}", seed=0, split="valid"
        )
        write_rows(NAME, rows)


if __name__ == "__main__":
    main()
