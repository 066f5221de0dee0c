"""Reading: one million rows of a long Parquet table to a CountMatrix.

The table is synthetic: user, item and count, both names strings, items Zipf-distributed, in no
order. The file is read five times after one warm-up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

import longtail as lt
from benchmarks.rows import metric_rows, quantiles, write_rows

NAME = "reading"


def write_table(path: Path, n_rows: int, seed: int) -> None:
    """Write a long table of `n_rows` lines."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, n_rows // 50, n_rows)
    items = np.minimum(rng.zipf(1.3, n_rows), 40_000)
    frame = pl.DataFrame({"user": users, "item": items, "count": rng.integers(1, 20, n_rows)})
    frame = frame.with_columns(
        user=pl.format("user-{}", "user"),
        item=pl.format("item-{}", "item"),
    )
    frame.write_parquet(path)


def run(n_rows: int, repeats: int) -> None:
    """Time the reader; write rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        write_table(path, n_rows, seed=0)
        seconds = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            counts = lt.read_counts(
                path, row_column="user", feature_column="item", value_column="count"
            )
            seconds.append(time.perf_counter() - started)
    print(f"{counts}\n{quantiles(seconds[1:])} seconds")
    write_rows(
        NAME,
        metric_rows(
            {"read_seconds": quantiles(seconds[1:])},
            benchmark=NAME,
            case=f"long-parquet-{n_rows}",
            seed=0,
            split="",
            unit="s",
        ),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run with the sizes asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks reading", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(argv)
    run(args.rows, args.repeats)


if __name__ == "__main__":
    main()
