"""The application: commands, and what happens when something goes wrong.

Exit codes: 0 done; 1 failed; 2 bad usage or bad input.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from types import FrameType
from typing import Annotated, NoReturn

import typer

from longtail.cli import commands, introspect, recommend, scoring
from longtail.cli.explore import explore
from longtail.cli.fit import fit
from longtail.cli.output import Interrupted, log, show_notices
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

__all__ = ["app", "main"]

app = typer.Typer(
    name="longtail",
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
        print(f"longtail {version('longtail')}")
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
    show_notices()
    # Not KeyboardInterrupt: Typer would swallow it, and its message, and exit with 130.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory could not be had: torch has no error of its own for that of the CPU."""
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_named or "allocate memory" in str(error)


def _leave(message: str, code: int) -> NoReturn:
    # A launcher tells the other processes to end once one has failed: this one is about to.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    log(message)
    sys.exit(code)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise Interrupted
