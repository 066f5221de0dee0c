"""What commands print: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from longtail.errors import WriteError

if TYPE_CHECKING:
    from longtail.data.counts import CountMatrix, Unseen

__all__ = [
    "Interrupted",
    "log",
    "log_new_data",
    "log_summary",
    "log_unseen",
    "muted",
    "print_json",
    "progress_bar",
    "result",
    "rows_progress",
    "show_notices",
    "write_table",
]

_QUIET_SECONDS = 10.0


class Interrupted(BaseException):
    """The user, or the system, wants the command to end: SIGINT or SIGTERM."""


def _stderr() -> Console:
    # Made when used: tests and shells may replace the stream.
    return Console(stderr=True, highlight=False, soft_wrap=True)


def log(message: str) -> None:
    """Tell the user what is going on."""
    _stderr().print(message, markup=False)


def log_unseen(unseen: Unseen) -> None:
    """Tell what the model's vocabulary lacks, if anything."""
    if unseen.n_features:
        log(
            f"notice: {unseen.n_features:,} features are not in the model's vocabulary: "
            f"{unseen.mass:.1%} of the mass, in {unseen.rows:.1%} of the rows "
            f"(most frequent: {', '.join(unseen.examples)}).{unseen.hint}"
        )


def log_new_data(rows: CountMatrix, unseen: Unseen) -> None:
    """Tell what reading new data for a model added up and left out."""
    _log_repeated(rows)
    log_unseen(unseen)


def log_summary(path: Path, rows: CountMatrix) -> None:
    """Tell what was read."""
    s = rows.summary()
    log(
        f"{path}: {s['rows']:,} rows × {s['features']:,} features, {s['nnz']:,} non-zeros "
        f"(density {s['density']:.2%}), {s['tokens']:,.0f} tokens, median row "
        f"{s['median_row_total']:,.0f}; {s['empty_rows']:,} empty and {s['duplicate_rows']:,} "
        "duplicate rows"
    )
    _log_repeated(rows)
    described = len(rows.vocabulary.descriptions)
    if described:
        log(f"descriptions of {described:,} of {rows.n_features:,} features")


def _log_repeated(rows: CountMatrix) -> None:
    if rows.n_repeated:
        log(f"notice: {rows.n_repeated:,} duplicate (row, feature) pairs were summed")


def result(text: str) -> None:
    """Print a result for people."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def print_json(value: dict[str, Any]) -> None:
    """Print a result for programs: one JSON object."""
    # At once: a reader may wait for the line while the command goes on.
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


@contextmanager
def muted(quiet: bool) -> Iterator[None]:
    """Say nothing within, if quiet: another process speaks for this one. Errors pass through."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def show_notices() -> None:
    """Show warnings as plain notices, without file names and source lines."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log(f"notice: {message}")

    warnings.showwarning = show


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A display for (stage, done, in all); silent when standard error is no terminal."""
    console = _stderr()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done)

        yield report


@contextmanager
def rows_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A display for (rows done, rows in all) of a long run, with the time that is left.

    On a terminal, one live line; elsewhere a line every ten seconds at most.
    """
    console = _stderr()
    columns = (TextColumn(label), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("rows"))
    live = console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not live) as progress:
        task = progress.add_task(label)
        started, before = time.monotonic(), -1
        told = started

        def report(done: int, total: int) -> None:
            nonlocal before, told
            before = done if before < 0 else before
            progress.update(task, completed=done, total=total)
            now = time.monotonic()
            if live or now - told < _QUIET_SECONDS or done == before:
                return
            told = now
            left = (total - done) * (now - started) / (done - before)
            log(f"{label}: {done:,} of {total:,} rows, about {_duration(left)} left")

        yield report


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def write_table(table: Any, path: Path) -> None:
    """Write a Polars table as Parquet or CSV, by extension.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    try:
        if path.suffix == ".csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error}.") from error
