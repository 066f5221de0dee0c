"""Commands that open a model up: neighbors, spectrum, directions, embed."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from longtail.errors import DataError

if TYPE_CHECKING:
    from longtail.data import CountMatrix, Vocabulary
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["directions", "embed", "load_model", "neighbors", "read_rows", "spectrum"]

_Kind = Literal["probabilities", "log_probabilities", "logits", "root_probabilities", "mean"]
_Metric = Literal["cosine", "dot", "euclidean"]

_RowsArgument = Annotated[
    Path | None,
    typer.Argument(
        parser=parse_path,
        help="Rows of data, best held-out ones; read as for the fit.",
        metavar="[ROWS]",
    ),
]
_KindOption = Annotated[
    _Kind | None, typer.Option("--of", help="What is differentiated with respect to z.")
]
_MetricOption = Annotated[_Metric | None, typer.Option(help="How vectors are compared.")]
_SamplesOption = Annotated[
    int | None, typer.Option(min=1, help="Draws of z that the Jacobian is averaged over.")
]
_ContextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        help="Features of a context, with commas between; repeat it for several. A name with a "
        "comma goes into double quotes.",
    ),
]
_CountOption = Annotated[
    float, typer.Option(min=0.0, help="Count of each context feature in its bag.")
]
_PlotOption = Annotated[
    Path | None,
    typer.Option(parser=parse_path, help="Write the figure (.png, .svg, .html, .json)."),
]


def neighbors(
    model: ModelArgument,
    feature: Annotated[str, typer.Argument(help="Whose neighbours.", metavar="FEATURE")],
    context: _ContextOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours to show.")] = 10,
    count: _CountOption = 10.0,
    metric: _MetricOption = None,
    of: _KindOption = None,
    samples: _SamplesOption = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Search an index; for very large vocabularies.")
    ] = False,
    plot: _PlotOption = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """List the features nearest to one: overall, or in one or several contexts.

    Example: longtail neighbors model/ kernel --context cuda,thread --context svm,gaussian
    """
    from longtail.displays import save_plot
    from longtail.introspection import neighborhoods

    check_outputs(plot=plot)
    fitted = load_model(model)
    asked = (tuple(_words(text, fitted.vocabulary_)) for text in context or [])
    contexts = [list(words) for words in dict.fromkeys(asked)]
    with progress_bar() as progress:
        display = neighborhoods(
            fitted,
            feature,
            contexts,
            k=k,
            overall=not contexts,
            approximate=approximate,
            seed=seed,
            progress=progress,
            of=of,
            metric=metric,
            count=count,
            samples=samples,
        )
    if json:
        print_json(
            {
                "feature": feature,
                "seed": seed,
                "neighbors": [
                    {"context": words, "list": table.to_dicts()}
                    for words, table in zip(contexts or [[]], display.lists.values(), strict=True)
                ],
            }
        )
    else:
        result("\n\n".join(_listed(display.feature, c, t) for c, t in display.lists.items()))
    if plot is not None:
        log(f"figure: {save_plot(display.plot(), plot)}")


def spectrum(
    model: ModelArgument,
    rows: _RowsArgument = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against",
            parser=parse_path,
            help="Another saved model for the same picture; may be repeated.",
        ),
    ] = None,
    of: Annotated[
        _Kind, typer.Option("--of", help="What is differentiated with respect to z.")
    ] = "root_probabilities",
    at: Annotated[
        Literal["prior", "rows"], typer.Option(help="Over what z: the prior, or ROWS' posterior.")
    ] = "prior",
    samples: Annotated[
        int, typer.Option(min=1, help="Draws of z that the Jacobian is averaged over.")
    ] = 200,
    plot: _PlotOption = None,
    seed: SeedOption = 0,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    json: JsonOption = False,
) -> None:
    """Tell which latent directions live, and whether there are too many or too few.

    Example: longtail spectrum model/ held_out.parquet --plot spectrum.png
    """
    from longtail.displays import save_plot
    from longtail.introspection import spectrum as measure

    check_outputs(plot=plot)
    paths = [model, *(against or [])]
    models = {_label(p, paths): load_model(p) for p in paths}
    first = next(iter(models.values()))
    counts = read_rows(first, rows, layer, exposure_column)
    with progress_bar() as progress:
        spectra = measure(
            models, counts, of=of, at=at, samples=samples, seed=seed, progress=progress
        )
    if json:
        print_json(spectra.to_dict())
    else:
        result(str(spectra))
    if plot is not None:
        log(f"figure: {save_plot(spectra.plot(), plot)}")


def directions(
    model: ModelArgument,
    rows: _RowsArgument = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Directions to show; all live ones if not given.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Features at each end.")] = 10,
    by: Annotated[
        Literal["varimax", "singular", "dimension"],
        typer.Option(
            help="Live singular directions rotated to simple structure; or as they are; or the "
            "latent dimensions themselves."
        ),
    ] = "varimax",
    of: Annotated[
        _Kind, typer.Option("--of", help="What is differentiated with respect to z.")
    ] = "root_probabilities",
    samples: Annotated[
        int, typer.Option(min=1, help="Draws of z that the Jacobian is averaged over.")
    ] = 200,
    seed: SeedOption = 0,
    layer: LayerOption = None,
    exposure_column: ExposureColumnOption = None,
    json: JsonOption = False,
) -> None:
    """Read each latent direction from both ends, as topics are read from their words.

    Example: longtail directions model/ held_out.parquet --top 12

    With ROWS: coherence (NPMI) of the lists, and the rows furthest along each direction.
    """
    from longtail.introspection import directions as find

    fitted = load_model(model)
    counts = read_rows(fitted, rows, layer, exposure_column)
    with progress_bar() as progress:
        found = find(
            fitted,
            counts,
            top=top,
            words=words,
            by=by,
            of=of,
            samples=samples,
            seed=seed,
            progress=partial(progress, "directions"),
        )
    if json:
        print_json(found.to_dict())
    else:
        result(str(found))


def embed(
    model: ModelArgument,
    out: Annotated[
        Path,
        typer.Option(
            parser=parse_path,
            help="File to write: .parquet, .csv; word2vec text: .txt, .vec, .w2v.",
        ),
    ],
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            help="Features of a context, with commas between; a name with a comma goes into double "
            "quotes.",
        ),
    ] = None,
    count: _CountOption = 10.0,
    of: _KindOption = None,
    samples: _SamplesOption = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Write a vector for every feature, overall or in a context.

    Example: longtail embed model/ --out vectors.parquet
    """
    from longtail.introspection import embeddings
    from longtail.introspection.feature_vectors import check_embeddings_path

    check_embeddings_path(out)
    check_outputs([out])
    fitted = load_model(model)
    with progress_bar() as progress:
        vectors = embeddings(
            fitted,
            None if context is None else _words(context, fitted.vocabulary_),
            of=of,
            count=count,
            samples=samples,
            seed=seed,
            progress=partial(progress, "embed"),
        )
    vectors.save(out)
    if json:
        print_json(
            {
                "out": str(out),
                "features": len(vectors),
                "components": vectors.vectors.shape[1],
                "metric": vectors.metric,
                "context": list(vectors.context),
                "seed": seed,
            }
        )
    else:
        result(
            f"{len(vectors):,} features × {vectors.vectors.shape[1]} components, best compared by "
            f"{vectors.metric}: {out}"
        )


def load_model(path: Path) -> NonlinearFactorAnalysis:
    """Open a saved model."""
    from longtail.estimator import load

    return load(path)


def read_rows(
    fitted: NonlinearFactorAnalysis,
    path: Path | None,
    layer: str | None = None,
    exposure_column: str | None = None,
) -> CountMatrix | None:
    """Rows read the way the model's training data were; None if there are none."""
    from longtail.data import read_like

    check_rows_given(path, layer, exposure_column)
    if path is None:
        return None
    settings = reading_like(fitted, path, layer=layer, exposure_column=exposure_column)
    counts, unseen = read_like(path, settings, fitted.vocabulary_)
    log_new_data(counts, unseen)
    return counts


def _words(text: str, vocabulary: Vocabulary) -> list[str]:
    """The features of a context, between commas.

    A feature's own comma is written as backslash, comma, or the name stands in double quotes. If
    not all parts are features, but the whole text is one, it is that one.
    """
    words = [part.replace("\0", ",").strip() for part in text.replace("\\,", "\0").split(",")]
    if any(word not in vocabulary for word in words):
        words = [text] if text in vocabulary else _quoted(text)
    if not all(words):
        raise typer.BadParameter(f"expected features with commas between; got {text!r}")
    for word in words:
        try:
            vocabulary.index(word)
        except DataError as error:
            hint = " A name with a comma goes into double quotes: --context '\"a, b\",c'."
            raise DataError(f"{error}{hint if ',' in text else ''}") from None
    return words


def _quoted(text: str) -> list[str]:
    """Cut at commas, but for those within double quotes and after a backslash."""
    try:
        parts = next(csv.reader([text.replace("\\,", "\0")], skipinitialspace=True), [])
    except csv.Error as error:
        raise typer.BadParameter(f"expected features with commas between; {error}") from None
    return [part.replace("\0", ",").strip() for part in parts or [""]]


def _label(path: Path, paths: list[Path]) -> str:
    """A short name for a model among others."""
    if len(paths) == 1:
        return ""
    same_name = [p for p in paths if p.name == path.name]
    return path.name if len(same_name) == 1 and path.name else str(path)


def _listed(feature: str, context: str, table: Any) -> str:
    from longtail.data.vocabulary import feature_label

    title = feature if context == "no context" else f"{feature} in the context of {context}"
    described = table["description"] if "description" in table.columns else [None] * table.height
    labels = [feature_label(*named) for named in zip(table["feature"], described, strict=True)]
    width = max(map(len, labels), default=0)
    lines = [
        f"  {rank:>3}  {label:<{width}}  {similarity:.3g}"
        for rank, label, similarity in zip(table["rank"], labels, table["similarity"], strict=True)
    ]
    return "\n".join([title, *lines])
