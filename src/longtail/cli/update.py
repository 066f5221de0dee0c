"""The update command: a saved model goes on with new rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from longtail.cli.options import (
    ExposureColumnOption,
    JsonOption,
    LayerOption,
    ModelArgument,
    parse_address,
    parse_path,
    reading_like,
)
from longtail.cli.output import Interrupted, check_outputs, log, log_summary, print_json, result
from longtail.cli.stream import StreamOption, streamed

if TYPE_CHECKING:
    from longtail.data import CountMatrix, ReadSettings
    from longtail.data.stream import CountStream
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["update"]


def update(
    model: ModelArgument,
    data: Annotated[
        str,
        typer.Argument(
            parser=parse_address,
            metavar="DATA",
            help="File, folder or URL; see `longtail fit --help`.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=parse_path, help="Folder for the updated model; MODEL itself to replace it."
        ),
    ],
    retain: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="Old data to rehearse with; a part of them measures what is forgotten.",
        ),
    ] = None,
    stream: StreamOption = None,
    grow: Annotated[bool, typer.Option(help="Take in features that the model does not know.")] = (
        True
    ),
    max_new: Annotated[
        int | None, typer.Option(min=1, help="Take in at most so many, the most frequent.")
    ] = None,
    min_df: Annotated[int, typer.Option(min=1, help="New rows that a new feature must be in.")] = 5,
    epochs: Annotated[
        int, typer.Option(min=0, help="Passes over the rows; 0: take in counts and features only.")
    ] = 10,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak step size; half of the fit's if not given.")
    ] = None,
    idf: Annotated[
        Literal["keep", "update"],
        typer.Option(help="Of known features: left as it was, or that of all rows so far."),
    ] = "keep",
    forget: Annotated[
        float, typer.Option(help="Share of the earlier counts that frequencies forget.")
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the update; it follows from the model's if not given."),
    ] = None,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    json: JsonOption = False,
) -> None:
    """Go on with a saved model on new rows.

    Example: longtail update model/ new.parquet --out model/ --retain old.parquet

    DATA are read as the training data were. Features that are new, and common enough in DATA, get
    parameters of their own. What changed is printed: features, frequencies, how far latent vectors
    moved, bounds before and after. A model at --out is replaced when all is done, and not before.
    """
    check_outputs(model=out)
    from longtail.estimator import load

    fitted = load(model)
    fitted.set_params(verbose=1)
    plain = {"format": "auto", "buffer_rows": None, "lanes": None, "skip_corrupt": False}
    in_blocks = streamed(data, {"stream": stream, **plain})
    settings = reading_like(
        fitted, None if in_blocks else data, layer=layer, exposure_column=exposure_column
    )
    if in_blocks:
        rows: CountMatrix | CountStream = _open_stream(settings, data, min_df)
    else:
        rows = _read(fitted, Path(data), settings)
    old = None if retain is None else _read(fitted, retain, settings)
    try:
        fitted.partial_fit(
            rows,
            retain=old,
            epochs=epochs,
            learning_rate=learning_rate,
            grow=max_new if grow and max_new is not None else grow,
            min_df=min_df,
            idf=idf,
            forget=forget,
            seed=seed,
        )
    except Interrupted:
        raise Interrupted(f"Nothing was written: {model} is as it was.") from None
    fitted.save(out)
    report = fitted.update_report_
    assert report is not None
    if json:
        print_json({"model": str(out), **report.to_dict()})
    else:
        result(f"{report}\nmodel: {out}")


def _read(fitted: NonlinearFactorAnalysis, path: Path, settings: ReadSettings) -> CountMatrix:
    from longtail.data import read_new

    rows = read_new(path, settings, fitted.vocabulary_)
    log_summary(path, rows)
    return rows


def _open_stream(settings: ReadSettings, path: str, min_df: int) -> CountStream:
    from longtail.data.stream import open_stream

    # What the first data were limited to is looked at when features are taken in.
    settings = replace(settings, min_df=min_df, max_df=1.0, max_features=None)
    rows = open_stream(path, settings=settings)
    log(f"{path}: {rows.n_rows:,} rows in {rows.dataset.n_blocks:,} row groups")
    return rows
