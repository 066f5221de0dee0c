"""Data that `fit` does not hold in memory: what is streamed, its options, and what is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.cli.output import log, progress_bar

if TYPE_CHECKING:
    from longtail.data import CountMatrix, CountStream, ReadSettings

__all__ = [
    "BufferRowsOption",
    "LanesOption",
    "SkipCorruptOption",
    "StreamOption",
    "open_rows",
    "pass_progress",
    "streamed",
]

_STREAMING = "Data larger than memory"
StreamOption = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help="Read Parquet row group by row group, in every epoch, instead of holding all rows. "
        "Without either: if DATA is a folder of Parquet files or a URL.",
        rich_help_panel=_STREAMING,
    ),
]
BufferRowsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Rows that are shuffled together, at least.",
        show_default="50000",
        rich_help_panel=_STREAMING,
    ),
]
LanesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Streams side by side of which a batch is made; a multiple of the processes.",
        show_default="2",
        rich_help_panel=_STREAMING,
    ),
]
SkipCorruptOption = Annotated[
    bool,
    typer.Option(
        "--skip-corrupt",
        help="Leave out row groups that cannot be read.",
        rich_help_panel=_STREAMING,
    ),
]


def streamed(data: str, options: Mapping[str, Any]) -> bool:
    """Whether DATA is streamed: because it is asked for, or is a folder of Parquet or a URL.

    Raises
    ------
    typer.BadParameter
        If options of streaming are given for data that are not streamed.
    """
    asked = options["stream"]
    wanted = _needs_blocks(data, options) if asked is None else bool(asked)
    given = {
        "--buffer-rows": options["buffer_rows"] is not None,
        "--lanes": options["lanes"] is not None,
        "--skip-corrupt": options["skip_corrupt"],
    }
    idle = [name for name, is_given in given.items() if is_given]
    if idle and not wanted:
        raise typer.BadParameter(
            f"{', '.join(idle)}: these rows are read into memory at once. Add --stream."
        )
    return wanted


def _needs_blocks(data: str, options: Mapping[str, Any]) -> bool:
    """Whether only what reads row groups reads such data at all."""
    from longtail.data.stream.files import ENDINGS, is_url

    if is_url(data):
        return True
    folder = Path(data)
    if options["format"] not in ("auto", "parquet") or not folder.is_dir():
        return False
    return any(file.name.lower().endswith(ENDINGS) for file in folder.rglob("*"))


def open_rows(
    data: str,
    valid: str | None,
    options: Mapping[str, Any],
    settings: ReadSettings,
    progress: Callable[[str, int, int], None],
    n_processes: int = 1,
) -> tuple[CountStream | CountMatrix, CountMatrix | None] | None:
    """DATA and validation rows, block by block; None where neither is streamed nor has to be.

    With ``--no-stream`` the blocks of a folder or a URL are read into memory.
    """
    from longtail.data import Part, open_stream
    from longtail.data.stream import LANES, lanes_of

    in_blocks = streamed(data, options)
    if not in_blocks and not _needs_blocks(data, options):
        return None
    if in_blocks:  # before the long pass
        lanes_of(Part(0, n_processes), options["lanes"] or LANES)
    log(f"{data}: going through it to find its features")
    chosen = {name: options[name] for name in ("buffer_rows", "lanes") if options[name] is not None}
    stream = open_stream(
        data,
        settings=settings,
        vocabulary=options["vocabulary"],
        descriptions=options["descriptions"],
        on_corrupt="skip" if options["skip_corrupt"] else "error",
        progress=progress,
        **chosen,
    )
    log(
        f"{data}: {stream.n_rows:,} rows in {stream.dataset.n_blocks:,} row groups × "
        f"{stream.n_features:,} features"
    )
    held_out = None if valid is None else _valid_rows(valid, stream, options)
    return (stream if in_blocks else stream.load()), held_out


def _valid_rows(path: str, stream: CountStream, options: Mapping[str, Any]) -> CountMatrix:
    from longtail.cli.output import log_new_data
    from longtail.data import open_stream, read_like

    if _needs_blocks(path, options):
        like = open_stream(path, settings=stream.settings, vocabulary=stream.vocabulary)
        return like.load()
    held_out, unseen = read_like(path, stream.settings, stream.vocabulary)
    log_new_data(held_out, unseen)
    return held_out


@contextmanager
def pass_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A display for passes over the rows, each of which closes its own: training has another."""
    with ExitStack() as every:
        bars: dict[str, tuple[ExitStack, Callable[[str, int, int], None]]] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                own = every.enter_context(ExitStack())
                bars[stage] = own, own.enter_context(progress_bar())
            own, bar = bars[stage]
            bar(stage, done, total)
            if done >= total:
                own.close()
                del bars[stage]

        yield report
