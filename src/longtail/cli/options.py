"""Options that several commands share, and how text on the command line becomes values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from longtail.cli.output import log
from longtail.presets import find_preset

if TYPE_CHECKING:
    from longtail.data import ReadSettings
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = [
    "READING",
    "AddressOption",
    "BinarizeOption",
    "BlockTimeoutOption",
    "DataArgument",
    "DatasetArgument",
    "EngineOption",
    "ExposureColumnOption",
    "JsonOption",
    "LayerOption",
    "MinValueOption",
    "ModelArgument",
    "OverwriteOption",
    "SeedOption",
    "SelfLinksOption",
    "SeparatorOption",
    "SkipCorruptOption",
    "StripDotsOption",
    "SymmetricOption",
    "TaskOption",
    "TransposeOption",
    "WorkerCpusOption",
    "WorkersOption",
    "check_rows_given",
    "is_folder",
    "number_or",
    "parse_address",
    "parse_df",
    "parse_latents_path",
    "parse_ngrams",
    "parse_parts_path",
    "parse_path",
    "parse_refine_steps",
    "parse_table_path",
    "reading_like",
    "task_settings",
]


def parse_path(text: Any) -> Path:
    """A path, which is not empty: Path("") would be the working directory."""
    return Path(parse_address(text))


def parse_address(text: Any) -> str:
    """A path or a URL, which is not empty."""
    if not str(text):
        raise typer.BadParameter("expected the name of a file or folder; got an empty text")
    return str(text)


ModelArgument = Annotated[
    Path, typer.Argument(parser=parse_path, help="Folder of a saved model.", metavar="MODEL")
]
DataArgument = Annotated[
    Path,
    typer.Argument(
        parser=parse_path,
        help="File or folder of data; see `longtail fit --help`.",
        metavar="DATA",
    ),
]
DatasetArgument = Annotated[
    str,
    typer.Argument(
        parser=parse_address,
        help="File or folder of data; see `longtail fit --help`. A folder of Parquet files, or a "
        "URL of Parquet, is scored block by block.",
        metavar="DATA",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.")
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        help="Kind of data: documents, recommendation, plays, codes, cells or network. Sets the "
        "options of the model that are not given."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]

READING = "How to read DATA"
SeparatorOption = Annotated[
    str | None,
    typer.Option(
        help="Between the codes of a cell, or the items of a .basket line.",
        rich_help_panel=READING,
    ),
]
StripDotsOption = Annotated[
    bool,
    typer.Option(
        "--strip-dots", help="Codes without full stops: 250.00 is 25000.", rich_help_panel=READING
    ),
]
SymmetricOption = Annotated[
    bool,
    typer.Option(
        "--symmetric",
        help="Long tables: lines are edges of an undirected graph.",
        rich_help_panel=READING,
    ),
]
SelfLinksOption = Annotated[
    bool,
    typer.Option(
        "--self-links",
        help="Graphs: every node is a neighbour of its own.",
        rich_help_panel=READING,
    ),
]
MinValueOption = Annotated[
    float | None,
    typer.Option(help="Leave out entries with a smaller value.", rich_help_panel=READING),
]
BinarizeOption = Annotated[
    bool,
    typer.Option(
        "--binarize", help="Presence: every positive count is 1.", rich_help_panel=READING
    ),
]
LayerOption = Annotated[
    str | None,
    typer.Option(
        help="AnnData: the layer that holds counts; 'raw' for .raw, 'X' for X.",
        rich_help_panel=READING,
    ),
]
TransposeOption = Annotated[
    bool,
    typer.Option("--transpose", help=".mtx and .npz: rows are features.", rich_help_panel=READING),
]

ExposureColumnOption = Annotated[
    str | None,
    typer.Option(
        help="Column with each row's exposure, such as person-years; .h5ad: of obs.",
        rich_help_panel=READING,
    ),
]

BLOCKS = "Block by block: DATA is Parquet, and --out a folder"
EngineOption = Annotated[
    Literal["local", "ray"] | None,
    typer.Option(help="This process, or a Ray cluster (longtail[ray]).", rich_help_panel=BLOCKS),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray: of a running cluster, 'auto' or HOST:PORT; else one is started here.",
        rich_help_panel=BLOCKS,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Ray: processes; as many as its CPUs allow.", rich_help_panel=BLOCKS),
]
WorkerCpusOption = Annotated[
    int | None,
    typer.Option(min=1, help="Ray: CPUs of a worker; 1.", rich_help_panel=BLOCKS),
]
BlockTimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Ray: end a worker that is at one block for longer, and try again.",
        rich_help_panel=BLOCKS,
    ),
]
SkipCorruptOption = Annotated[
    bool,
    typer.Option(
        "--skip-corrupt", help="Leave out blocks that cannot be read.", rich_help_panel=BLOCKS
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Begin anew, whatever --out has.", rich_help_panel=BLOCKS),
]


def reading_like(
    fitted: NonlinearFactorAnalysis,
    data: str | Path | None,
    *,
    layer: str | None = None,
    exposure_column: str | None = None,
) -> ReadSettings:
    """How the model's training data were read, but for settings that are given for DATA.

    Raises
    ------
    DataError
        If such a setting does not apply to the format of DATA; not looked at where that is None.
    """
    from longtail.data import ReadSettings
    from longtail.data.read import check_given

    settings = fitted.read_settings_ or ReadSettings()
    options = {"layer": layer, "exposure_column": exposure_column}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if given and data is not None:
        check_given(data, settings, ReadSettings(**given))
    return replace(settings, **given)


def check_rows_given(rows: Path | None, layer: str | None, exposure_column: str | None) -> None:
    """Refuse options on how to read ROWS where there are none."""
    given = {"--layer": layer, "--exposure-column": exposure_column}
    idle = [name for name, value in given.items() if value is not None]
    if rows is None and idle:
        raise typer.BadParameter(f"{', '.join(idle)}: for reading ROWS, but none are given")


def parse_df(text: str | int | float) -> int | float:
    """A number of rows ("5") or a share of them ("0.5")."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"expected a number of rows such as 5, or a share such as 0.5; got {text!r}"
        ) from None


def parse_ngrams(text: Any) -> Any:
    """Shortest and longest: "1,2" stays as it is, "2" becomes "1,2"."""
    try:
        parts = [int(p) for p in str(text).split(",")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        return f"1,{parts[0]}"
    if len(parts) != 2:
        raise typer.BadParameter(
            f"expected the longest n-gram, or 'shortest,longest'; got {text!r}"
        )
    return f"{parts[0]},{parts[1]}"


def number_or(*words: str) -> Callable[[Any], int | str]:
    """A parser of whole numbers that also lets some words through."""
    allowed = " or ".join(repr(word) for word in words)

    def number(text: Any) -> int | str:
        if text in words:
            return str(text)
        try:
            return int(text)
        except ValueError:
            raise typer.BadParameter(
                f"expected a whole number or {allowed}; got {text!r}"
            ) from None

    return number


def parse_refine_steps(text: str) -> int | list[tuple[int, int]] | Literal["auto"]:
    """One number ("10"), "auto", or pairs: "0:0,20:10" → [(0, 0), (20, 10)]."""
    if text == "auto":
        return "auto"
    try:
        if ":" not in text:
            return int(text)
        pairs = [pair.split(":") for pair in text.split(",")]
        return [(int(epoch), int(steps)) for epoch, steps in pairs]
    except ValueError:
        raise typer.BadParameter(
            f"expected a number of steps such as 10, 'auto', or pairs such as 0:0,20:10; "
            f"got {text!r}"
        ) from None


def parse_table_path(path: Path | None) -> Path | None:
    """A path that ends in .parquet or .csv."""
    return _with_suffix(path, ".parquet", ".csv")


def parse_latents_path(path: Path | None) -> Path | None:
    """A path that ends in .parquet, .csv or .h5ad, or that of a folder."""
    return path if is_folder(path) else _with_suffix(path, ".parquet", ".csv", ".h5ad")


def parse_parts_path(path: Path | None) -> Path | None:
    """A path that ends in .parquet or .csv, or that of a folder."""
    return path if is_folder(path) else _with_suffix(path, ".parquet", ".csv")


def is_folder(path: Path | None) -> bool:
    """Whether a path is that of a folder, there or to be made: its name has no ending."""
    return path is not None and (path.is_dir() or not path.suffix)


def _with_suffix(path: Path | None, *allowed: str) -> Path | None:
    if path is not None and path.suffix not in allowed:
        *first, last = allowed
        raise typer.BadParameter(
            f"expected a name ending in {', '.join(first)} or {last}; got {path.name!r}"
        )
    return path


def task_settings(ctx: typer.Context, task: str | None) -> dict[str, Any]:
    """What the task sets, of the options that are not on the command line; it is told.

    Raises
    ------
    ParameterError
        If there is no such task.
    """
    if task is None:
        return {}
    settings = find_preset(task).settings
    free = {n: s for n, s in settings.items() if not _is_given(ctx, n)}
    for name, setting in free.items():
        log(f"{task}: --{name.replace('_', '-')} {setting.value} ({setting.why})")
    return {name: setting.value for name, setting in free.items()}


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
