"""The command that writes a page about a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longtail.cli.options import (
    ExposureColumnOption,
    JsonOption,
    LayerOption,
    ModelArgument,
    SeedOption,
    check_rows_given,
    parse_path,
    reading_like,
)
from longtail.cli.output import check_outputs, log, log_new_data, print_json, progress_bar, result

__all__ = ["report"]


def report(
    model: ModelArgument,
    rows: Annotated[
        Path | None,
        typer.Argument(
            parser=parse_path,
            help="Held-out rows of data, read as for the fit; without them the page says less.",
            metavar="[ROWS]",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(parser=parse_path, help="Page to write (.html).")] = Path(
        "report.html"
    ),
    title: Annotated[
        str | None, typer.Option(help="Title of the page; the model's folder if not given.")
    ] = None,
    max_rows: Annotated[
        int, typer.Option(min=1, help="Score and map at most so many rows, drawn at random.")
    ] = 1000,
    samples: Annotated[
        int | None, typer.Option(min=1, help="S, draws for every expectation.")
    ] = None,
    refine_steps: Annotated[
        int | None, typer.Option(min=0, help="M, local steps from ψ(x) to ψ*.")
    ] = None,
    recommend: Annotated[
        bool | None,
        typer.Option(
            "--recommend/--no-recommend",
            help="Judge recommendations too; by default for models of presence.",
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path, help="Folder for every figure as SVG, with its table as Parquet."
        ),
    ] = None,
    seed: SeedOption = 0,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    json: JsonOption = False,
) -> None:
    """Write a page about a model: one HTML file to look at, offline, and to send.

    Example: longtail report model/ held_out.parquet --out report.html
    """
    from longtail.data import read_like
    from longtail.estimator import load
    from longtail.report import check_report_path, make_report

    check_report_path(out)
    check_outputs([out], folder=figures)
    check_rows_given(rows, layer, exposure_column)
    fitted = load(model)
    counts, unseen = None, None
    if rows is not None:
        settings = reading_like(fitted, rows, layer=layer, exposure_column=exposure_column)
        counts, unseen = read_like(rows, settings, fitted.vocabulary_)
        log_new_data(counts, unseen)
    with progress_bar() as progress:
        made = make_report(
            fitted,
            counts,
            title=title or model.resolve().name,
            max_rows=max_rows,
            samples=samples,
            refine_steps=refine_steps,
            recommend=recommend,
            seed=seed,
            unseen=unseen,
            progress=progress,
        )
        progress("page", 0, 1)
        written = made.save(out)
        progress("page", 1, 1)
    files = [] if figures is None else made.save_figures(figures)
    if files:
        log(f"figures: {len(files)} in {figures}")
    size = written.stat().st_size
    if json:
        print_json(
            {
                "out": str(written),
                "bytes": size,
                "sections": [section.name for section in made.sections],
                "figures": [str(path) for path in files],
                **made.key_figures,
            }
        )
    else:
        result(
            f"{written}: {size / 1e6:.1f} MB, {len(made.sections)} sections; open it in a browser"
        )
