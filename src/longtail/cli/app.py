"""The application: commands, and what happens when something goes wrong.

Exit codes: 0 done; 1 failed; 2 bad usage or bad input. A path that cannot be used is bad input; a
disk that is full, also behind standard output, is a failure.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from longtail.cli import commands, introspect, recommend, scoring
from longtail.cli.explore import explore
from longtail.cli.fit import fit
from longtail.cli.output import Interrupted, flush_results, log, result, show_notices
from longtail.cli.plan import plan
from longtail.cli.report import report
from longtail.cli.tune import tune
from longtail.cli.update import update
from longtail.errors import (
    LongtailError,
    NonFiniteError,
    ProcessError,
    ScoringError,
    WriteError,
)
from longtail.terminal import prepare_streams, printable

__all__ = ["app", "main"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Group(TyperGroup):
    """Commands whose usage errors may quote what was typed without printing it raw."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _printable_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _printable_errors():
            return super().invoke(ctx)


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Of whichever Click this Typer brings along.
        if hasattr(error, "format_message"):
            error.message = printable(error.message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="longtail",
    cls=_Group,
    help="Deep generative models of sparse, long-tailed counts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(commands.demo)
app.command()(fit)
app.command()(update)
app.command()(tune)
app.command()(plan)
app.command()(scoring.evaluate)
app.command()(scoring.transform)
app.command()(commands.info)
app.command(rich_help_panel="Recommend")(recommend.recommend)
app.command(rich_help_panel="Recommend")(recommend.rank)
for _command in (
    report,
    introspect.neighbors,
    introspect.spectrum,
    introspect.directions,
    introspect.embed,
    explore,
):
    app.command(rich_help_panel="Open a model up")(_command)


def _version(show: bool) -> None:
    if show:
        result(f"longtail {version('longtail')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit."""
    prepare_streams()
    show_notices()
    # Not KeyboardInterrupt: Typer would swallow it, and its message, and exit with 130.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run()
    except (NonFiniteError, ProcessError, ScoringError, WriteError) as error:
        _leave(f"failed: {error}", 1)
    except LongtailError as error:
        _leave(f"error: {error}", 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [""])[0]
        _leave(
            f"failed: memory does not suffice. Ask for fewer samples, smaller batches or a smaller "
            f"model. {reason}".rstrip(),
            1,
        )
    except Interrupted as interrupt:
        _leave(f"interrupted. {interrupt}".rstrip(), 1)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to tell it.
        sys.exit(1)
    except OSError as error:
        if error.filename is None or error.errno in _FULL:
            at = "" if error.filename is None else f"'{error.filename}': "
            _leave(f"failed: {at}{error.strerror or error}.", 1)
        _leave(f"error: Cannot use '{error.filename}': {error.strerror}.", 2)
    finally:
        _discard_unwritten()


def _run() -> None:
    try:
        app()
    except SystemExit:
        flush_results()
        raise


def _discard_unwritten() -> None:
    """Keep the interpreter from writing, at its end, what could not be written before."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory could not be had: torch has no error of its own for that of the CPU."""
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_named or "allocate memory" in str(error)


def _leave(message: str, code: int) -> NoReturn:
    # A launcher tells the other processes to end once one has failed: this one is about to.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # standard error may be what cannot be written
        log(message)
    sys.exit(code)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise Interrupted
