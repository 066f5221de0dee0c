"""What features mean: a table of feature and description, such as the texts of codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.files import as_path
from longtail.data.formats import FORMATS, resolve_format
from longtail.data.tables import TableFile, open_table
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["describe", "described_features", "read_descriptions"]

_SHOWN = 3


def read_descriptions(
    path: str | Path, *, strip_dots: bool = False, encoding: str = "utf-8"
) -> dict[str, str]:
    """Read what features mean from a table.

    Parameters
    ----------
    path
        CSV, TSV, JSON lines or Parquet. Features stand in the column called feature, else in the
        first; descriptions in the column called description, else in the second. Other columns
        are not read, and lines without a description are passed over.
    strip_dots
        Remove full stops from features, as `ReadSettings.strip_dots` does from those of the data.
    encoding
        Of the text formats.

    Returns
    -------
    dict
        Descriptions by feature.

    Raises
    ------
    DataError
        If the file is no such table, or describes a feature twice and not alike.
    """
    path = as_path(path)
    table = _open(path, encoding)
    pair = table.load(list(_columns(table)))
    features, texts = pair.to_series(0).cast(pl.String), pair.to_series(1).cast(pl.String)
    found: dict[str, str] = {}
    for row, (feature, text) in enumerate(zip(features, texts, strict=True)):
        if feature is None or text is None or not text.strip():
            continue
        name = feature.replace(".", "") if strip_dots else feature
        if found.setdefault(name, text) != text:
            raise DataError(
                f"'{path}' describes {name!r} twice: as {found[name]!r}, and on {table.place(row)} "
                f"as {text!r}. Keep one of them."
            )
    return found


def describe(
    counts: CountMatrix, descriptions: Mapping[str, str] | str | Path, *, strip_dots: bool = False
) -> CountMatrix:
    """Give the features of counts descriptions; see `described_features`."""
    described = described_features(counts.vocabulary, descriptions, strip_dots=strip_dots)
    return replace(counts, vocabulary=described)


def described_features(
    vocabulary: Vocabulary,
    descriptions: Mapping[str, str] | str | Path,
    *,
    strip_dots: bool = False,
) -> Vocabulary:
    """Give features descriptions, from a mapping or a file.

    Raises
    ------
    DataError
        If the file cannot be read, columns have no names, or no feature is described.
    """
    from_file = isinstance(descriptions, str | Path)
    known = (
        read_descriptions(descriptions, strip_dots=strip_dots)
        if isinstance(descriptions, str | Path)
        else descriptions
    )
    described = vocabulary.described(known)
    if not described.descriptions:
        source = f"'{descriptions}'" if from_file else "The descriptions"
        raise DataError(
            f"{source} describes none of the {len(vocabulary):,} features: those of the data are "
            f"such as {_some(vocabulary.names)}, those described such as "
            f"{_some(tuple(known)) or 'none'}. Both must be written alike."
        )
    return described


def _open(path: Path, encoding: str) -> TableFile:
    format = resolve_format(path)
    if format is None or FORMATS[format].holds != "table":
        raise DataError(
            f"Descriptions are read from a table (.csv, .tsv, .jsonl or .parquet); got "
            f"'{path.name}'."
        )
    return open_table(path, format, encoding)


def _columns(table: TableFile) -> tuple[str, str]:
    """The columns of features and of descriptions."""
    columns = table.columns
    if len(columns) < 2:
        raise DataError(
            f"'{table.path}' has one column, {columns[0]!r}; expected two, feature and description."
        )
    text = "description" if "description" in columns else columns[1]
    feature = "feature" if "feature" in columns else columns[0]
    if feature == text:
        raise DataError(
            f"'{table.path}' begins with the column 'description', so nothing says which column "
            f"holds features; call that one 'feature'. Its columns: {', '.join(columns)}."
        )
    return feature, text


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:_SHOWN]))
