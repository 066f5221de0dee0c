"""The command that serves the explorer."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from longtail.cli.introspect import load_model, read_rows
from longtail.cli.options import (
    ExposureColumnOption,
    JsonOption,
    LayerOption,
    ModelArgument,
    check_rows_given,
    parse_path,
)
from longtail.cli.output import Interrupted, log, print_json, progress_bar

__all__ = ["explore"]


def explore(
    model: ModelArgument,
    rows: Annotated[
        Path | None,
        typer.Argument(
            parser=parse_path,
            help="Rows of data to show near what is asked; read as for the fit.",
            metavar="[ROWS]",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to serve at. Any but this machine's own opens it to others."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes any free one.")
    ] = 8765,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the browser.")
    ] = False,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    json: JsonOption = False,
) -> None:
    """Explore a model in the browser: neighbours, posteriors, directions, recommendations.

    Example: longtail explore model/ held_out.parquet

    Runs until it is interrupted. With --json, one line with the address when it is ready. The API
    is described at /docs there.
    """
    from longtail.explorer import bind, load_server, serve

    check_rows_given(rows, layer, exposure_column)
    load_server()  # a missing extra is told before the long work

    def ready(url: str) -> None:
        if json:
            print_json({"url": url})
        else:
            log(f"Explore {model} at {url} (Ctrl-C stops it; the API is described at {url}docs).")
        if not no_browser:
            webbrowser.open(url)

    with bind(host, port) as bound:
        fitted = load_model(model)
        counts = read_rows(fitted, rows, layer, exposure_column)
        from longtail.explorer.desk import Desk

        with progress_bar() as progress:
            desk = Desk(fitted, counts, name=model.resolve().name, progress=progress)
        try:
            serve(desk, bound, ready)
        except Interrupted:
            log("Stopped.")
