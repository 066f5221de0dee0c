"""Peak memory of training follows the non-zeros, not rows × features.

Trains on 100,000 rows × 100,000 features with 100 non-zeros a row (synthetic, Zipf-distributed),
H = 400: 50 plain batches, then 2 hybrid ones (M = 10). Nothing is measured but peak resident
memory, so what the rows say does not matter.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import longtail as lt
from benchmarks._fits import FIRST
from benchmarks.rows import metric_rows, write_rows
from longtail.training import Callback

NAME = "memory"


class EnoughError(Exception):
    """Enough batches."""


class StopAfter(Callback):
    """Ends training after some batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_end(self, epoch: int, rows_done: int) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            raise EnoughError


def zipf_counts(n_rows: int, n_features: int, per_row: int, seed: int) -> csr_array:
    """Rows with `per_row` non-zeros each, at features drawn from a Zipf-like distribution."""
    rng = np.random.default_rng(seed)
    indices = np.empty((n_rows, per_row), dtype=np.int32)
    for start in range(0, n_rows, 10_000):
        block = indices[start : start + 10_000]
        # Inverse of the distribution function of p(v) ∝ 1/(v + 1), in distinct strata a row:
        # no feature comes twice.
        u = (np.arange(per_row) + rng.random(block.shape)) / per_row
        block[:] = np.minimum((n_features + 1.0) ** u - 1, n_features - 1)
        block[:] = np.maximum.accumulate(block + 0, axis=1)
        for _ in range(per_row):
            same = block[:, 1:] <= block[:, :-1]
            if not same.any():
                break
            block[:, 1:][same] = block[:, :-1][same] + 1
    data = rng.integers(1, 4, indices.size).astype(np.float32)
    indptr = np.arange(0, indices.size + 1, per_row)
    return csr_array((data, indices.ravel(), indptr), shape=(n_rows, n_features))


def peak_gb() -> float:
    """Peak resident memory of this process so far, GB (1e9 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says includes the parent at the time of the fork
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run(n_rows: int, n_features: int, per_row: int, batch_size: int) -> None:
    """Train for some batches; write the peaks."""
    counts = zipf_counts(n_rows, n_features, per_row, seed=0)
    after_data = peak_gb()
    peaks = {"data": after_data}
    for kind, steps, batches in (("plain", 0, 50), ("hybrid", 10, 2)):
        model = lt.NonlinearFactorAnalysis(
            n_hidden=400,
            batch_size=batch_size,
            refine_steps=steps,
            **{**FIRST, "epochs": 1},
            validation_fraction=0,
            random_state=0,
        )
        try:
            model.fit(counts, callbacks=[StopAfter(batches)])
        except EnoughError:
            peaks[kind] = peak_gb()
            print(f"{kind}: {batches} batches, peak {peaks[kind]:.2f} GB")
    case = f"zipf-{n_rows}x{n_features}-nnz{per_row}/H400-K100-B{batch_size}"
    write_rows(
        NAME,
        metric_rows(
            {"peak_rss_gb": peaks}, benchmark=NAME, case=case, seed=0, split="train", unit="GB"
        ),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run with the sizes asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--per-row", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=500)
    args = parser.parse_args(argv)
    run(args.rows, args.features, args.per_row, args.batch_size)


if __name__ == "__main__":
    main()
