"""Commands that score rows: evaluate, transform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.cli.blocks import BlockOptions, in_words, score_blocks, summary
from longtail.cli.options import (
    AddressOption,
    BlockTimeoutOption,
    DatasetArgument,
    EngineOption,
    ExposureColumnOption,
    JsonOption,
    LayerOption,
    ModelArgument,
    OverwriteOption,
    SeedOption,
    SkipCorruptOption,
    WorkerCpusOption,
    WorkersOption,
    is_folder,
    parse_latents_path,
    parse_path,
    parse_table_path,
    reading_like,
)
from longtail.cli.output import (
    check_outputs,
    log,
    log_new_data,
    print_json,
    progress_bar,
    result,
)
from longtail.errors import ParameterError
from longtail.output_files import write_table

if TYPE_CHECKING:
    from longtail.data import CountMatrix
    from longtail.data.counts import Unseen
    from longtail.estimator import NonlinearFactorAnalysis
    from longtail.evaluation import Evaluation

__all__ = ["evaluate", "transform"]


def evaluate(
    model: ModelArgument,
    data: DatasetArgument,
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
    out: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="Folder for the figures of rows that are scored block by block.",
        ),
    ] = None,
    rows_out: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            parser=parse_path,
            callback=parse_table_path,
            help="Write per-row figures (.parquet, .csv).",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(parser=parse_path, help="Write the ladder as a figure (.png, .svg, .html)."),
    ] = None,
    seed: SeedOption = 0,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    worker_cpus: WorkerCpusOption = None,
    block_timeout: BlockTimeoutOption = None,
    skip_corrupt: SkipCorruptOption = False,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Score held-out rows: the ladder of bounds, the unigram floor, document completion.

    Example: longtail evaluate model/ held_out.parquet --json

    DATA are read as the training data were, and aligned by feature name. Parquet that does not
    fit in memory is scored block by block, into a folder named by --out.
    """
    check_outputs([rows_out], plot=plot)
    blocks = BlockOptions(
        engine, address, workers, worker_cpus, block_timeout, skip_corrupt, overwrite
    )
    if blocks.apply(data, out, layer):
        assert out is not None
        if rows_out is not None:
            raise ParameterError(f"The figures of rows are written to {out}: leave out --rows.")
        settings = (samples, refine_steps, completion, full_covariance, seed)
        evaluation, scoring = _evaluate_blocks(model, data, out, settings, blocks, exposure_column)
        _show(evaluation, plot, json, scoring=scoring)
        return
    if out is not None:
        raise ParameterError(
            f"--out is a folder, for rows that are scored block by block; got {out}. Give a name "
            "without an ending, or write the figures of rows at once with --rows."
        )
    fitted, rows, unseen = _open(model, data, layer=layer, exposure_column=exposure_column)
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
    _show(evaluation, plot, json)
    if rows_out is not None:
        write_table(evaluation.per_row, rows_out)
        log(f"per-row figures: {rows_out}")


def _evaluate_blocks(
    model: Path,
    data: str,
    out: Path,
    settings: tuple[Any, ...],
    blocks: BlockOptions,
    exposure_column: str | None,
) -> tuple[Evaluation, dict[str, Any]]:
    from longtail.scoring import Evaluate

    _, found = score_blocks(model, data, out, Evaluate(*settings), blocks, exposure_column)
    assert found.evaluation is not None
    log(f"per-row figures: {out} ({in_words(found)})")
    return found.evaluation, summary(found)


def _show(evaluation: Evaluation, plot: Path | None, json: bool, **facts: Any) -> None:
    from longtail.displays import save_plot

    # First: they are not lost when a file cannot be written.
    if json:
        print_json(evaluation.to_dict() | facts)
    else:
        result(str(evaluation))
    if plot is not None:
        log(f"figure: {save_plot(evaluation.plot(), plot)}")


def transform(
    model: ModelArgument,
    data: DatasetArgument,
    out: Annotated[
        Path,
        typer.Option(
            parser=parse_path,
            callback=parse_latents_path,
            help="Table to write (.parquet, .csv), DATA with annotations (.h5ad), or a folder.",
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
    exposure_column: ExposureColumnOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    worker_cpus: WorkerCpusOption = None,
    block_timeout: BlockTimeoutOption = None,
    skip_corrupt: SkipCorruptOption = False,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Write the latent vector (posterior mean) of every row.

    Example: longtail transform model/ new.parquet --out z.parquet

    Example: longtail transform model/ cells.h5ad --out annotated.h5ad

    With an .h5ad as --out, DATA is an AnnData file too, and is written with the latent vectors of
    its cells in obsm["X_longtail"], the embeddings of its genes in varm["longtail"], and the
    model's settings in uns["longtail"].

    With a folder as --out, DATA is Parquet and need not fit in memory: it is transformed block by
    block, and goes on where it stopped.
    """
    check_outputs([] if is_folder(out) else [out])
    blocks = BlockOptions(
        engine, address, workers, worker_cpus, block_timeout, skip_corrupt, overwrite
    )
    if blocks.apply(data, out, layer):
        settings = (refine_steps, seed, scale)
        _transform_blocks(model, data, out, settings, blocks, exposure_column, json)
        return
    if out.suffix == ".h5ad":
        changed = {"layer": layer, "exposure_column": exposure_column}
        _annotate(model, data, out, refine_steps, seed, changed, json)
        return
    import polars as pl

    fitted, rows, unseen = _open(model, data, layer=layer, exposure_column=exposure_column)
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
    if empty and _silent_if_empty(fitted):
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


def _transform_blocks(
    model: Path,
    data: str,
    out: Path,
    settings: tuple[Any, ...],
    blocks: BlockOptions,
    exposure_column: str | None,
    json: bool,
) -> None:
    from longtail.scoring import Transform

    fitted, found = score_blocks(model, data, out, Transform(*settings), blocks, exposure_column)
    k = int(fitted.parameters_["n_components"])
    if json:
        print_json(summary(found, components=k))
    else:
        result(f"{found.rows:,} rows × {k} components: {out} ({in_words(found)})")


def _annotate(
    model: Path,
    data: str,
    out: Path,
    refine_steps: int | None,
    seed: int | None,
    changed: dict[str, str | None],
    json: bool,
) -> None:
    """Transform cells into a copy of their own file."""
    from longtail.cells import annotate_rows, read_anndata, write_h5ad

    fitted, rows, unseen = _open(model, data, **changed)
    adata = read_anndata(Path(data))
    with progress_bar() as progress:
        annotation = annotate_rows(
            fitted,
            adata,
            rows,
            unseen,
            layer=reading_like(fitted, data, **changed).layer,
            refine_steps=refine_steps,
            seed=seed,
            progress=lambda done: progress("transform", done, rows.n_rows),
        )
    write_h5ad(adata, out)
    if annotation.missing_genes:
        log(f"notice: {annotation.missing_genes:,} of the model's genes are not in {data}.")
    if annotation.empty_cells and _silent_if_empty(fitted):
        log(f"notice: {annotation.empty_cells} empty cells have the prior's mean, 0.")
    if json:
        print_json({"out": str(out), **annotation.to_dict()})
    else:
        result(f"{annotation.cells:,} cells × {annotation.components} components: {out}")


def _open(
    path: Path, data: str, **changed: str | None
) -> tuple[NonlinearFactorAnalysis, CountMatrix, Unseen]:
    """A saved model, and data read the way its training data were, but for what is changed."""
    from longtail.data import read_like
    from longtail.estimator import load

    fitted = load(path)
    rows, unseen = read_like(data, reading_like(fitted, data, **changed), fitted.vocabulary_)
    log_new_data(rows, unseen)
    return fitted, rows, unseen


def _silent_if_empty(fitted: NonlinearFactorAnalysis) -> bool:
    """Whether rows without counts say nothing: not where they have an exposure all the same."""
    return fitted.network_.generative.likelihood.exposed == "total"
