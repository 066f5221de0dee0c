"""The fit command: every setting of reading, model and training is an option of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.cli.options import (
    READING as _READING,
)
from longtail.cli.options import (
    BinarizeOption,
    ExposureColumnOption,
    JsonOption,
    LayerOption,
    MinValueOption,
    SeedOption,
    SelfLinksOption,
    SeparatorOption,
    StripDotsOption,
    SymmetricOption,
    TaskOption,
    TransposeOption,
    number_or,
    parse_address,
    parse_df,
    parse_ngrams,
    parse_path,
    parse_refine_steps,
    task_settings,
)
from longtail.cli.output import (
    Interrupted,
    check_outputs,
    log,
    log_new_data,
    log_summary,
    muted,
    print_json,
    result,
)
from longtail.cli.stream import (
    BufferRowsOption,
    LanesOption,
    SkipCorruptOption,
    StreamOption,
    open_rows,
    pass_progress,
)

if TYPE_CHECKING:
    from longtail.data import CountMatrix, ReadSettings
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["fit", "read_rows"]

_MODEL = "Model"
_TRAINING = "Training"


def fit(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            parser=parse_address,
            metavar="DATA",
            help="Texts: .txt (one a line), .csv/.jsonl/.parquet with a text column, or a folder "
            "of files. Long tables: .csv/.parquet with row and feature columns. Records: .basket. "
            "Graphs: .edges. Matrices: .npz, .mtx, .svmlight, .feat, docword.*.txt, .h5ad, a 10x "
            "folder. Larger than memory: a folder of .parquet files, or a URL such as s3://bucket/folder.",
        ),
    ],
    out: Annotated[Path, typer.Option(parser=parse_path, help="Folder for the fitted model.")],
    valid: Annotated[
        str | None,
        typer.Option(
            parser=parse_address, help="Validation data; otherwise a share of DATA is held out."
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="Reader; 'auto' goes by extension.", rich_help_panel=_READING)
    ] = "auto",
    text_column: Annotated[
        str | None, typer.Option(help="Column with the text.", rich_help_panel=_READING)
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column with row identifiers.", rich_help_panel=_READING)
    ] = None,
    row_column: Annotated[
        str | None, typer.Option(help="Long tables: whose count.", rich_help_panel=_READING)
    ] = None,
    feature_column: Annotated[
        str | None, typer.Option(help="Long tables: of what.", rich_help_panel=_READING)
    ] = None,
    value_column: Annotated[
        str | None,
        typer.Option(help="Long tables: how many; 1 if not given.", rich_help_panel=_READING),
    ] = None,
    exposure_column: ExposureColumnOption = None,
    feature_separator: SeparatorOption = None,
    strip_dots: StripDotsOption = False,
    symmetric: SymmetricOption = False,
    self_links: SelfLinksOption = False,
    min_value: MinValueOption = None,
    binarize: BinarizeOption = False,
    layer: LayerOption = None,
    transpose: TransposeOption = False,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="File with one feature a line: use these.",
            rich_help_panel=_READING,
        ),
    ] = None,
    descriptions: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            help="Table of feature and description: what codes mean, shown wherever they are.",
            rich_help_panel=_READING,
        ),
    ] = None,
    lowercase: Annotated[
        bool, typer.Option(help="Lowercase texts.", rich_help_panel=_READING)
    ] = True,
    stop_words: Annotated[
        str | None,
        typer.Option(help="'english': leave out its commonest words.", rich_help_panel=_READING),
    ] = None,
    ngrams: Annotated[
        str,
        typer.Option(
            "--ngram-range",
            help="Shortest,longest run of words.",
            parser=parse_ngrams,
            rich_help_panel=_READING,
        ),
    ] = "1,1",
    token_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression of a word.", rich_help_panel=_READING),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Of text and CSV files.", rich_help_panel=_READING)
    ] = "utf-8",
    min_df: Annotated[
        Any,
        typer.Option(
            parser=parse_df,
            metavar="N|SHARE",
            help="Leave out features in fewer rows.",
            rich_help_panel=_READING,
        ),
    ] = "1",
    max_df: Annotated[
        Any,
        typer.Option(
            parser=parse_df,
            metavar="N|SHARE",
            help="Leave out features in more rows.",
            rich_help_panel=_READING,
        ),
    ] = "1.0",
    max_features: Annotated[
        int | None,
        typer.Option(min=2, help="Keep the most frequent features.", rich_help_panel=_READING),
    ] = None,
    counts: Annotated[
        str,
        typer.Option(
            help="'strict' refuses values that are not whole numbers.", rich_help_panel=_READING
        ),
    ] = "fractional",
    n_components: Annotated[
        int, typer.Option(help="K, latent dimensions.", rich_help_panel=_MODEL)
    ] = 100,
    likelihood: Annotated[
        str,
        typer.Option(
            help="multinomial, dirichlet_multinomial (counts that repeat, such as plays), "
            "bernoulli (0 and 1), poisson or negative_binomial.",
            rich_help_panel=_MODEL,
        ),
    ] = "multinomial",
    exposure: Annotated[
        str,
        typer.Option(
            help="Poisson: 'unit', or 'total' to divide out a row's total. Poisson and negative "
            "binomial: 'given', to divide out what --exposure-column has.",
            rich_help_panel=_MODEL,
        ),
    ] = "auto",
    features: Annotated[
        str,
        typer.Option(
            help="What the encoder sees: tfidf, l1, log1p or binary.", rich_help_panel=_MODEL
        ),
    ] = "tfidf",
    n_hidden: Annotated[
        int, typer.Option(help="Width of hidden layers.", rich_help_panel=_MODEL)
    ] = 400,
    encoder_layers: Annotated[
        int, typer.Option(help="Hidden layers of the encoder.", rich_help_panel=_MODEL)
    ] = 2,
    decoder_layers: Annotated[
        int,
        typer.Option(help="Hidden layers of the decoder; 0: log-linear.", rich_help_panel=_MODEL),
    ] = 2,
    skip: Annotated[
        bool, typer.Option("--skip", help="Linear path from z to logits.", rich_help_panel=_MODEL)
    ] = False,
    epochs: Annotated[
        int, typer.Option(help="Passes over the rows, at most.", rich_help_panel=_TRAINING)
    ] = 60,
    batch_size: Annotated[
        int, typer.Option(help="Rows an update.", rich_help_panel=_TRAINING)
    ] = 500,
    learning_rate: Annotated[
        float, typer.Option(help="Peak step size of Adam.", rich_help_panel=_TRAINING)
    ] = 2e-3,
    lr_schedule: Annotated[
        str, typer.Option(help="'cosine' or 'constant'.", rich_help_panel=_TRAINING)
    ] = "cosine",
    weight_decay: Annotated[
        float, typer.Option(help="Decay of weight matrices.", rich_help_panel=_TRAINING)
    ] = 2.0,
    output_epsilon: Annotated[
        float,
        typer.Option(
            help="Adam's ε for the output weights: larger holds rare features back.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1e-8,
    feature_dropout: Annotated[
        float,
        typer.Option(help="Share of features hidden from the encoder.", rich_help_panel=_TRAINING),
    ] = 0.0,
    kl_weight: Annotated[
        float,
        typer.Option(
            help="Of the KL; below 1 often ranks better. Reported bounds have 1.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1.0,
    kl_anneal: Annotated[
        float,
        typer.Option(
            help="Share of training over which the KL weight rises.", rich_help_panel=_TRAINING
        ),
    ] = 0.5,
    refine_steps: Annotated[
        Any,
        typer.Option(
            parser=parse_refine_steps,
            metavar="M|auto|EPOCH:M,…",
            help="Local steps a batch in training; 0: plain VAE.",
            rich_help_panel=_TRAINING,
        ),
    ] = "auto",
    refine_method: Annotated[
        str, typer.Option(help="'natural' or 'adam'.", rich_help_panel=_TRAINING)
    ] = "natural",
    importance_samples: Annotated[
        Any,
        typer.Option(
            parser=number_or("auto"),
            metavar="S|auto",
            help="Draws of which one, by importance weight, teaches the decoder; 1: the ELBO.",
            rich_help_panel=_TRAINING,
        ),
    ] = "auto",
    refine_features: Annotated[
        Any,
        typer.Option(
            parser=number_or("auto", "all"),
            metavar="N|auto|all",
            help="Features in a local step.",
            rich_help_panel=_TRAINING,
        ),
    ] = "auto",
    theta_features: Annotated[
        Any,
        typer.Option(
            parser=number_or("auto", "all"),
            metavar="N|auto|all",
            help="Features in an update of the decoder.",
            rich_help_panel=_TRAINING,
        ),
    ] = "all",
    eval_refine_steps: Annotated[
        int,
        typer.Option(help="Local steps when transforming and scoring.", rich_help_panel=_TRAINING),
    ] = 50,
    eval_samples: Annotated[
        int, typer.Option(help="Draws a row when scoring.", rich_help_panel=_TRAINING)
    ] = 20,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of DATA held out.", rich_help_panel=_TRAINING)
    ] = 0.05,
    patience: Annotated[
        int,
        typer.Option(
            help="Epochs without a better validation bound before stopping; 0: never.",
            rich_help_panel=_TRAINING,
        ),
    ] = 10,
    device: Annotated[
        str, typer.Option(help="'auto', 'cpu', 'cuda' …", rich_help_panel=_TRAINING)
    ] = "auto",
    stream: StreamOption = None,
    buffer_rows: BufferRowsOption = None,
    lanes: LanesOption = None,
    skip_corrupt: SkipCorruptOption = False,
    process_timeout: Annotated[
        float,
        typer.Option(
            help="Several processes: seconds to wait for one that is silent.",
            rich_help_panel=_TRAINING,
        ),
    ] = 600.0,
    task: TaskOption = None,
    seed: SeedOption = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted fit of the same data.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Fit a model to rows of counts.

    Example: longtail fit reviews.parquet --text-column text --min-df 5 --out model/

    A checkpoint is kept beside the model after every epoch and every ten minutes; an interrupted
    fit goes on with --resume, to bitwise the same model. A saved model at --out is replaced. With
    --task, options that are not given take the values of that kind of data. Parquet that does not
    fit in memory is read row group by row group: see --stream. Started by torchrun or srun,
    several processes share every batch, and the first one saves the model.
    """
    options = dict(locals())
    check_outputs(model=out)
    from longtail.training import join_processes
    from longtail.training.checkpoint import CheckpointStore
    from longtail.training.fit import locked_by_first

    model = _estimator(options | task_settings(ctx, task))
    processes = join_processes(device, timeout=process_timeout)
    checkpoint = out.with_name(out.name + ".checkpoint")
    store = CheckpointStore(checkpoint, "")
    # Until the model is saved: another fit with this --out would take the checkpoint away.
    with locked_by_first(store, processes):
        with muted(not processes.is_first), pass_progress() as progress:
            if store.exists() and not resume:
                log(
                    f"notice: {checkpoint} is from an unfinished fit. The first epoch, or its "
                    "first ten minutes, replaces it; to go on with it, interrupt now and add "
                    "--resume."
                )
            reading = _read_settings(options)
            found = open_rows(data, valid, options, reading, progress, processes.world)
            if found is None:
                found = read_rows(Path(data), None if valid is None else Path(valid), options)
            rows, held_out = found
            started = time.perf_counter()
            try:
                model.fit(
                    rows, valid=held_out, checkpoint=checkpoint, resume=resume, processes=processes
                )
                if processes.is_first:
                    model.save(out)
            except Interrupted:
                raise Interrupted(
                    f"What was done is kept in {checkpoint}: repeat the command with --resume."
                ) from None
        if processes.is_first:
            store.clear()
    if processes.is_first:
        _report_fit(model, out, time.perf_counter() - started, json)


def read_rows(
    data: Path, valid: Path | None, options: Mapping[str, Any]
) -> tuple[CountMatrix, CountMatrix | None]:
    """DATA, and validation rows if they are given, read as the options say; they are described."""
    from longtail.data import read_counts

    rows = read_counts(
        data,
        settings=_read_settings(options),
        vocabulary=options["vocabulary"],
        descriptions=options["descriptions"],
    )
    log_summary(data, rows)
    return rows, None if valid is None else _read_valid(valid, rows)


def _read_settings(options: Mapping[str, Any]) -> ReadSettings:
    from longtail.data import ReadSettings

    fields = {
        f.name: options[f.name] for f in dataclasses.fields(ReadSettings) if f.name in options
    }
    if fields["token_pattern"] is None:
        del fields["token_pattern"]
    shortest, longest = map(int, options["ngrams"].split(","))
    return ReadSettings(ngram_range=(shortest, longest), **fields)


def _estimator(options: dict[str, Any]) -> NonlinearFactorAnalysis:
    from longtail.estimator import NonlinearFactorAnalysis

    names = set(NonlinearFactorAnalysis().get_params(deep=False))
    parameters = {name: value for name, value in options.items() if name in names}
    parameters |= {"patience": options["patience"] or None}
    model = NonlinearFactorAnalysis(**parameters, random_state=options["seed"], verbose=1)
    model.check_parameters()
    return model


def _read_valid(path: Path, rows: CountMatrix) -> CountMatrix:
    from longtail.data import read_like

    assert rows.settings is not None
    held_out, unseen = read_like(path, rows.settings, rows.vocabulary)
    log_new_data(held_out, unseen)
    return held_out


def _report_fit(model: NonlinearFactorAnalysis, out: Path, seconds: float, json: bool) -> None:
    record = model.history_[model.fit_info_["best_epoch"] - 1]
    if json:
        print_json(
            {
                "model": str(out),
                "features": model.n_features_in_,
                **model.fit_info_,
                "epochs": len(model.history_),
                "seconds": seconds,
                "valid_per_doc_amortized": record.valid_per_doc_amortized,
                "valid_per_doc_refined": record.valid_per_doc_refined,
                "valid_nats_per_row": record.valid_nats_per_row,
                "active_dims": record.active_kl,
            }
        )
        return
    lines = [f"fitted in {seconds:.0f} s; parameters of epoch {record.epoch}"]
    rows = f"{model.fit_info_['valid_rows']} rows"
    if record.valid_per_doc_refined is None and record.valid_nats_per_row is not None:
        lines.append(f"validation ELBO at ψ*: {record.valid_nats_per_row:.1f} nats a row ({rows})")
    if record.valid_per_doc_refined is not None:
        lines.append(
            f"validation perplexity per document: {record.valid_per_doc_amortized:.1f} at ψ(x), "
            f"{record.valid_per_doc_refined:.1f} at ψ* (ELBO; {rows})"
        )
    if "stream" in model.fit_info_:
        read = model.fit_info_["stream"]
        lines.append(
            f"reading: {read['scan_seconds']:.0f} s before training, and "
            f"{read['reading_share']:.1%} of the time of training"
        )
    lines.append(
        f"latent dimensions in use: {record.active_kl} of {model.parameters_['n_components']}"
    )
    lines.append(f"model: {out}")
    result("\n".join(lines))
