"""Results on standard output, all else on standard error, and checks of files to be written."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from longtail.errors import WriteError
from longtail.output_files import check_output_file, check_output_folder
from longtail.terminal import console, json_line, printable

if TYPE_CHECKING:
    from longtail.data.counts import CountMatrix, Unseen

__all__ = [
    "Interrupted",
    "check_outputs",
    "flush_results",
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
]

_QUIET_SECONDS = 10.0


class Interrupted(BaseException):
    """The user, or the system, wants the command to end: SIGINT or SIGTERM."""


def log(message: str) -> None:
    """Tell the user what is going on."""
    # Made when used: tests and shells may replace the stream.
    console(stderr=True).print(message, soft_wrap=True)


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
    with _writing_results():
        console().print(text, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """Print a result for programs: one JSON object."""
    # At once: a reader may wait for the line while the command goes on.
    with _writing_results():
        print(json_line(value, sys.stdout.encoding or "utf-8"), flush=True)


def flush_results() -> None:
    """Write what is still buffered, while an error can be told."""
    with _writing_results():
        sys.stdout.flush()


@contextmanager
def _writing_results() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # no fault: the reader needs no more
        raise
    except OSError as error:
        raise WriteError(
            f"Results could not be written to standard output: {error.strerror or error}."
        ) from error


def check_outputs(
    files: Iterable[Path | None] = (),
    *,
    folder: Path | None = None,
    model: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Check all that a command will write, before it reads or computes anything.

    Raises
    ------
    ParameterError
        If a file or folder cannot be written.
    ArchiveError
        If something other than a model would be replaced by one.
    MissingExtraError
        If plots cannot be made.
    """
    for file in files:
        if file is not None:
            check_output_file(file)
    if folder is not None:
        check_output_folder(folder)
    if model is not None:
        from longtail.archive import check_replaceable

        check_output_folder(model, replaced=True)
        check_replaceable(model)
    if plot is not None:
        from longtail.displays import check_plot_path

        check_plot_path(plot)


@contextmanager
def muted(quiet: bool) -> Iterator[None]:
    """Say nothing within, if quiet: another process speaks for this one. Errors pass through."""
    if not quiet:
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,  # which has every sign
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
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
    shown = console(stderr=True)
    # A stage may be called by names of features, which are no markup.
    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=shown, disable=not shown.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(printable(stage), total=total)
            progress.update(tasks[stage], completed=done)

        yield report


@contextmanager
def rows_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A display for (rows done, rows in all) of a long run, with the time that is left.

    On a terminal, one live line; elsewhere a line every ten seconds at most.
    """
    shown = console(stderr=True)
    columns = (TextColumn(label), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("rows"))
    live = shown.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=shown, disable=not live) as progress:
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
