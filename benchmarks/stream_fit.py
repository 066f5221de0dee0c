"""Fitting from Parquet without holding the rows: peak memory, share of reading, and the bound.

Summaries of Python packages, exact copies left out, words in 5 summaries or more; one plain epoch
(M = 0), or its first batches, which the order of blocks spreads over the file. With ``--copies``
the same rows are written to disk so many times under new names, one row group at a time; words then
must be in so many times as many summaries, which keeps the vocabulary. Each fit runs in a process
of its own.

``peak_rss_gb`` is the peak resident memory of the whole process, interpreter and libraries
included, less the parameters and the optimiser's two moments of them (12 bytes a parameter). Not
taken off, and stated beside it: what the process held before it read anything. Gradients, the best
epoch's parameters and the rows of the two windows of each lane are in it.

``--compare`` fits the same rows in memory, too, and scores 2,000 rows that neither fit had.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import longtail as lt
from benchmarks.memory import peak_gb
from benchmarks.rows import ROOT, data_file, metric_rows, write_rows

NAME = "stream_fit"
DATA = ("pypi_summaries.parquet",)
N_TEST, TEST_SEED, MIN_DF = 2_000, 0, 5


class StopAfter(lt.Callback):
    """Ends training in good order after some batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_end(self, epoch: int, rows_done: int) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            raise lt.StopTraining("enough batches")


# --- the data on disk --------------------------------------------------------------------------


def write_rows_of(args: argparse.Namespace, folder: Path) -> int:
    """Write training rows and test rows; return how many training rows there are of one copy."""
    table = pl.read_parquet(data_file(DATA[0]), columns=["name", "summary"])
    table = table.unique("summary", maintain_order=True).head(args.rows or len(table))
    is_test = np.zeros(len(table), dtype=bool)
    chosen = np.random.default_rng(TEST_SEED).permutation(len(table))
    is_test[chosen[: min(N_TEST, len(table) // 10)]] = True
    table.filter(is_test).write_parquet(folder / "test.parquet")
    train = folder / "train"
    train.mkdir()
    first = train / "copy-00.parquet"
    table.filter(~is_test).write_parquet(first, row_group_size=args.rows_per_group)
    for copy in range(1, args.copies):
        _copy(first, train / f"copy-{copy:02d}.parquet", copy)
    return int((~is_test).sum())


def _copy(source: Path, target: Path, number: int) -> None:
    """Write a file again under new names, one row group at a time."""
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(source)
    with pq.ParquetWriter(target, rows.schema_arrow) as writer:
        for group in range(rows.num_row_groups):
            frame = pl.from_arrow(rows.read_row_group(group))
            named = frame.with_columns(pl.format("{}#{}", "name", pl.lit(number)))
            writer.write_table(named.to_arrow().cast(rows.schema_arrow))


# --- one fit, in a process of its own ----------------------------------------------------------


def fit_once(args: argparse.Namespace, folder: Path, how: str) -> dict[str, Any]:
    """Fit the rows of a folder, streamed or in memory; what it took and how it scores."""
    model = lt.NonlinearFactorAnalysis(epochs=1, refine_steps=0, random_state=0)
    before = peak_gb()
    fields = {"text_column": "summary", "id_column": "name", "min_df": MIN_DF * args.copies}
    more = {"buffer_rows": args.buffer_rows, "lanes": args.lanes}
    rows: Any = lt.open_stream(folder / "train", **fields, **more)
    if how == "memory":
        rows = lt.read_counts(folder / "train" / "copy-00.parquet", **fields)
    model.fit(rows, callbacks=[StopAfter(args.batches)] if args.batches else [])
    parameters = sum(p.numel() for p in model.network_.parameters())
    held = parameters * 4 * 3 / 1e9  # values and two moments, float32
    found: dict[str, Any] = {
        "peak_rss_gb": peak_gb() - held,
        "rss_gb": {"whole": peak_gb(), "held": held, "before_reading": before},
        "rows": model.fit_info_["train_rows"],
        "features": model.n_features_in_,
        "rows_per_second": model.history_[0].rows_per_second,
        "valid_nats_per_row": model.history_[0].valid_nats_per_row,
    }
    if how == "stream":
        facts = model.fit_info_["stream"]
        found["reading_share"] = facts["reading_share"]
        found["scan_seconds"] = facts["scan_seconds"]
    if args.compare:
        # After the peaks have been taken.
        test = lt.read_like(folder / "test.parquet", model.read_settings_, model.vocabulary_)[0]
        found["scores"] = model.score_samples(test.drop_empty()[0]).tolist()
    return found


def fit_apart(argv: Sequence[str], folder: Path, how: str) -> dict[str, Any]:
    """`fit_once` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks", NAME, *argv, "--only", how, str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# --- rows --------------------------------------------------------------------------------------


def report(case: str, found: dict[str, Any]) -> None:
    """Write the rows of one fit."""
    scores = np.array(found.pop("scores", []))
    bound = found.pop("valid_nats_per_row")
    rss = {"peak_rss_gb": found.pop("peak_rss_gb"), "rss_gb": found.pop("rss_gb")}
    common: dict[str, Any] = {"benchmark": NAME, "case": case, "seed": 0}
    rows = metric_rows(rss, unit="GB", split="train", **common)
    rows += metric_rows(found, unit="", split="train", **common)
    if bound is not None:
        rows += metric_rows(
            {"elbo_refined": {"nats_per_row": bound}}, unit="nats", split="valid", **common
        )
    if len(scores):
        elbo = {"nats_per_row": scores.mean(), "se": scores.std(ddof=1) / np.sqrt(len(scores))}
        rows += metric_rows({"elbo_refined": elbo}, unit="nats", split="test", **common)
    for row in rows:
        print(f"{row.case}: {row.metric} {row.value:.6g} {row.unit}")
    write_rows(NAME, rows)


def report_difference(case: str, stream: list[float], memory: list[float]) -> None:
    """Write how the two fits differ on the test rows, row by row."""
    differs = np.array(stream) - np.array(memory)
    found = {
        "stream_minus_memory": {
            "nats_per_row": differs.mean(),
            "se": differs.std(ddof=1) / np.sqrt(len(differs)),
        }
    }
    print(case, found)
    write_rows(
        NAME, metric_rows(found, benchmark=NAME, case=case, unit="nats", seed=0, split="test")
    )


def run(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Write the data, fit, and write the rows."""
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = Path(temporary)
        n = write_rows_of(args, folder)
        length = f"{args.batches}batches" if args.batches else "1epoch"
        case = f"pypi_summaries-{n}x{args.copies}/plain-{length}"
        streamed = fit_apart(argv, folder, "stream")
        scores = list(streamed.get("scores", []))
        report(f"{case}-stream", streamed)
        if args.compare:
            in_memory = fit_apart(argv, folder, "memory")
            report_difference(case, scores, in_memory["scores"])
            report(f"{case}-memory", in_memory)


def main(argv: Sequence[str] | None = None) -> None:
    """Run as asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--copies", type=int, default=1, help="of every row, on disk")
    parser.add_argument("--batches", type=int, help="stop after so many; default: one epoch")
    parser.add_argument("--compare", action="store_true", help="with a fit in memory")
    parser.add_argument("--rows", type=int, help="take only so many rows")
    parser.add_argument("--rows-per-group", type=int, default=20_000)
    parser.add_argument("--buffer-rows", type=int, default=50_000)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--folder", help="for the temporary copies; default: the system's")
    parser.add_argument("--only", nargs=2, metavar=("HOW", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.compare and args.copies > 1:
        parser.error("--compare reads all rows into memory: use it with one copy")
    if args.only:
        how, folder = args.only
        print(json.dumps(fit_once(args, Path(folder), how)))
        return
    run(args, sys.argv[2:] if argv is None else list(argv))


if __name__ == "__main__":
    main()
