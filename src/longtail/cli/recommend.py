"""Commands that recommend: recommend, rank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.cli.blocks import BlockOptions, in_words, score_blocks, summary
from longtail.cli.options import (
    AddressOption,
    BlockTimeoutOption,
    DataArgument,
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
    parse_parts_path,
    parse_path,
    parse_table_path,
    reading_like,
)
from longtail.cli.output import (
    check_outputs,
    log,
    log_unseen,
    print_json,
    progress_bar,
    result,
)
from longtail.errors import DataError, ParameterError
from longtail.output_files import write_table

if TYPE_CHECKING:
    import polars as pl

    from longtail.data import CountMatrix, ReadSettings
    from longtail.data.counts import Unseen
    from longtail.estimator import NonlinearFactorAnalysis, Recommendations

__all__ = ["rank", "recommend"]

_SHOWN = 3

_StepsOption = Annotated[
    int | None, typer.Option(min=0, help="M, local steps; 0: the inference network alone.")
]
_NetworkOption = Annotated[
    bool,
    typer.Option(
        "--network",
        help="DATA has a row for every item, as the people of a network have: score links from "
        "both ends.",
    ),
]


def recommend(
    model: ModelArgument,
    data: DatasetArgument,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Items for each row.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            callback=parse_parts_path,
            help="Table to write (.parquet, .csv), or a folder.",
        ),
    ] = None,
    filter_items: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="File with one item a line: recommend only these. Unknown ones are counted.",
        ),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items that the row has already.")
    ] = False,
    explain: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Say which N of the row's own items speak for each; slower."
        ),
    ] = None,
    network: _NetworkOption = False,
    refine_steps: _StepsOption = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the local steps' noise; that of the fit if not given."),
    ] = None,
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
    """Recommend items to each row of DATA, known to the model or new, without training.

    Example: longtail recommend model/ histories.parquet --k 10 --out recs.parquet

    Scores are probabilities under the posterior predictive. Without --out, --json holds the
    recommendations themselves. With a folder as --out, DATA is Parquet and need not fit in
    memory: it is gone through block by block, and a row's items are lists on its line.
    """
    check_outputs([] if is_folder(out) else [out])
    names = None if filter_items is None else _names(filter_items)
    blocks = BlockOptions(
        engine, address, workers, worker_cpus, block_timeout, skip_corrupt, overwrite
    )
    if blocks.apply(data, out, layer):
        assert out is not None
        for name, given in (("--explain", explain is not None), ("--network", network)):
            if given:
                raise ParameterError(f"{name} is for rows at once: leave it out, or the folder.")
        settings = (k, not include_seen, names, refine_steps, seed)
        _recommend_blocks(model, data, out, settings, blocks, exposure_column, json)
        return
    fitted, rows, unseen = _open(model, data, layer, exposure_column)
    allowed = _known(names, fitted)
    with progress_bar() as progress:
        found = fitted.recommend(
            rows,
            k,
            exclude_seen=not include_seen,
            filter_items=allowed,
            refine_steps=refine_steps,
            seed=seed,
            network=rows if network else None,
            unseen=unseen,
            progress=lambda done: progress("recommend", done, rows.n_rows),
        )
        because = None
        if explain is not None:
            because = _reasons(fitted, rows, found, explain, refine_steps, seed, progress)
    if out is not None:
        write_table(_with_reasons(found.frame(), because, flat=out.suffix == ".csv"), out)
    if json:
        print_json(_as_json(found, because, out))
    else:
        result(str(found))
        if because is not None:
            result(_first_reasons(found, because))
        if out is not None:
            result(f"{len(found):,} rows × {found.indices.shape[1]} recommendations: {out}")


def _recommend_blocks(
    model: Path,
    data: str,
    out: Path,
    settings: tuple[Any, ...],
    blocks: BlockOptions,
    exposure_column: str | None,
    json: bool,
) -> None:
    from longtail.scoring import Recommend

    k, exclude_seen, names, *others = settings

    def task_for(fitted: NonlinearFactorAnalysis) -> Recommend:
        return Recommend(k, exclude_seen, _known(names, fitted), *others)

    _, found = score_blocks(model, data, out, task_for, blocks, exposure_column)
    if json:
        facts = {"no_history": found.empty_rows, "short": found.short_rows}
        print_json(summary(found, k=k, **facts))
    else:
        result(f"{found.rows:,} rows × {k} recommendations: {out} ({in_words(found)})")


def _names(path: Path) -> list[str]:
    """The items of a file, one a line; blank lines and repeats are passed over."""
    from longtail.data.files import numbered_lines, read_text

    lines = (line for _, line in numbered_lines(read_text(path, "utf-8")))
    return list(dict.fromkeys(line for line in lines if line.strip()))


def _known(names: list[str] | None, fitted: NonlinearFactorAnalysis) -> list[str] | None:
    """The items of a catalogue that the model knows; a notice counts the others.

    Raises
    ------
    DataError
        If it knows none of them.
    """
    if names is None:
        return None
    items = fitted.vocabulary_
    unknown = [name for name in names if name not in items]
    shown = ", ".join(map(repr, unknown[:_SHOWN])) + (", …" if len(unknown) > _SHOWN else "")
    if len(unknown) == len(names):
        similar = items.suggest(names[0], 1) or items.names[:_SHOWN]
        raise DataError(
            f"None of the {len(names):,} items of --filter-items (such as {shown}) is among the "
            f"{len(items):,} of the model (such as {', '.join(map(repr, similar))}). Both must be "
            "written alike, one item a line."
        )
    if unknown:
        log(
            f"notice: {len(unknown):,} of {len(names):,} items of --filter-items are not among the "
            f"model's and cannot be recommended ({shown})."
        )
    return [name for name in names if name in items]


def rank(
    model: ModelArgument,
    data: DataArgument,
    held_out: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="Data with the items to be found, of rows with the same ids. Otherwise a share "
            "of each row of DATA is held out, or of the edges of a graph, from both ends.",
        ),
    ] = None,
    share: Annotated[
        float, typer.Option(help="Share of each row's items to hold out, at random.")
    ] = 0.2,
    cutoff: Annotated[
        list[int] | None,
        typer.Option(
            "--cutoff",
            "-k",
            min=1,
            help="Length of the lists; may be repeated. 20, 50 and 100 if not given, as far as "
            "there are so many items.",
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
    network: _NetworkOption = False,
    refine_steps: _StepsOption = None,
    seed: SeedOption = 0,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    json: JsonOption = False,
) -> None:
    """Judge recommendations by items held out of each row: recall, NDCG, MRR, coverage, novelty.

    Example: longtail rank model/ held_out_users.parquet --cutoff 20 --cutoff 100 --json

    DATA should be rows that the model was not fitted to: their held-out items would be known.
    """
    check_outputs([rows_out])
    from longtail.data import split_edges, split_items

    fitted, rows, _ = _open(model, data, layer, exposure_column)
    if held_out is None:
        settings = fitted.read_settings_
        split = split_edges if settings is not None and settings.symmetric else split_items
        observed, wanted = split(rows, share, seed=seed)
    else:
        # Items to be found are not inferred from: their table needs no exposures.
        plain = replace(reading_like(fitted, None, layer=layer), exposure_column=None)
        observed, (wanted, _) = rows, _read(fitted, held_out, plain)
    with progress_bar() as progress:
        found = fitted.rank(
            observed,
            wanted,
            cutoffs=cutoff,
            refine_steps=refine_steps,
            seed=seed,
            network=observed if network else None,
            progress=lambda done: progress("rank", done, rows.n_rows),
        )
    # First: they are not lost when the file cannot be written.
    if json:
        print_json(found.to_dict() | {"seed": seed})
    else:
        result(str(found))
    if rows_out is not None:
        write_table(found.per_row, rows_out)
        log(f"per-row figures: {rows_out}")


def _open(
    path: Path, data: str | Path, layer: str | None, exposure_column: str | None
) -> tuple[NonlinearFactorAnalysis, CountMatrix, Unseen]:
    from longtail.estimator import load

    fitted = load(path)
    settings = reading_like(fitted, data, layer=layer, exposure_column=exposure_column)
    return fitted, *_read(fitted, data, settings)


def _read(
    fitted: NonlinearFactorAnalysis, data: str | Path, settings: ReadSettings
) -> tuple[CountMatrix, Unseen]:
    from longtail.data import read_like

    rows, unseen = read_like(data, settings, fitted.vocabulary_)
    log_unseen(unseen)
    return rows, unseen


def _reasons(
    fitted: NonlinearFactorAnalysis,
    rows: CountMatrix,
    found: Recommendations,
    n: int,
    refine_steps: int | None,
    seed: int | None,
    progress: Any,
) -> list[list[list[str]]]:
    """The own items that speak for each recommendation of each row, strongest first."""
    from longtail.introspection.explanations import supporting_items

    reasons: list[list[list[str]]] = []
    for d in range(len(found)):
        items = found.items(d)
        told = []
        if items and not found.no_history[d]:
            told = supporting_items(
                fitted, rows[[d]], items, n, refine_steps=refine_steps, seed=seed
            )
        # What speaks against an item is no reason to recommend it.
        for_it = [own.filter(own["influence"] > 0)["item"].to_list() for own in told]
        reasons.append(for_it or [[] for _ in items])
        progress("explain", d + 1, len(found))
    return reasons


def _with_reasons(
    table: pl.DataFrame, because: list[list[list[str]]] | None, *, flat: bool
) -> pl.DataFrame:
    """With a column of reasons; in CSV, which has no lists, as text."""
    import polars as pl

    if because is None:
        return table
    k = table.height // len(because)
    cells = [r for row in because for r in [*row, *[None] * (k - len(row))]]
    column = pl.Series("because", cells, dtype=pl.List(pl.String))
    return table.with_columns(column.list.join("; ") if flat else column)


def _as_json(
    found: Recommendations, because: list[list[list[str]]] | None, out: Path | None
) -> dict[str, Any]:
    report = found.to_dict()
    if out is not None:
        del report["recommendations"]
        return {"out": str(out)} | report
    for line, reasons in zip(report["recommendations"], because or [], strict=False):
        line["because"] = reasons
    return report


def _first_reasons(found: Recommendations, because: list[list[list[str]]]) -> str:
    lines = ["", "first recommendation, and the row's own items that speak for it:"]
    for d in range(min(5, len(found))):
        items = found.items(d)
        if items and because[d][0]:
            named = found.vocabulary.listed
            first, own = named(items[:1]), named(because[d][0])
            lines.append(f"  {found.row_ids[d]}: {first}, because of {own}")
    return "\n".join(lines)
