"""Files → CountMatrix: one table of formats, and the two ways to read.

`read_counts` reads training data; `read_like` reads new data the way training data were read, and
`read_new` does so with the features that are new, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from longtail.data.counts import CountMatrix, Unseen
from longtail.data.descriptions import describe
from longtail.data.docword import read_docword
from longtail.data.entries import NothingToCountError
from longtail.data.files import as_path
from longtail.data.formats import FORMATS, known_formats, resolve_format
from longtail.data.h5ad import read_h5ad
from longtail.data.interactions import count_long_table
from longtail.data.limits import has_limits, limit_features
from longtail.data.lines import read_baskets, read_edges
from longtail.data.matrices import read_bow, read_mtx, read_npz, read_svmlight, widen
from longtail.data.settings import ReadSettings, check_field_names
from longtail.data.tables import TableFile, open_table
from longtail.data.tenx import read_10x
from longtail.data.text import count_text_table, read_directory, read_lines
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning

__all__ = [
    "as_vocabulary",
    "check_applicable",
    "check_given",
    "count_part",
    "read_counts",
    "read_like",
    "read_new",
]

Reader = Callable[[Path, ReadSettings], CountMatrix]


def _read_table(path: Path, settings: ReadSettings) -> CountMatrix:
    return _count_table(open_table(path, settings.format, settings.encoding), settings)


def _count_table(table: TableFile, settings: ReadSettings) -> CountMatrix:
    count = count_long_table if settings.is_long_table else count_text_table
    return count(table, settings)


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "directory": read_directory,
        "txt": read_lines,
        "csv": _read_table,
        "tsv": _read_table,
        "jsonl": _read_table,
        "parquet": _read_table,
        "docword": read_docword,
        "basket": read_baskets,
        "edges": read_edges,
        "npz": read_npz,
        "mtx": read_mtx,
        "10x": read_10x,
        "h5ad": read_h5ad,
        "svmlight": read_svmlight,
        "bow": read_bow,
    }
)
"""The reader of each of `longtail.data.formats.FORMATS`."""


def read_counts(
    path: str | Path,
    *,
    settings: ReadSettings | None = None,
    vocabulary: Vocabulary | Sequence[str] | str | Path | None = None,
    descriptions: Mapping[str, str] | str | Path | None = None,
    **fields: Any,
) -> CountMatrix:
    """Read counts from a file or a folder.

    Parameters
    ----------
    path
        A folder of text files, a ``.txt`` with one document a line, a CSV, TSV, JSON lines or
        Parquet table (of texts, or with `row_column` and `feature_column` a long table of
        entries), a ``.basket`` file with one list of items a line, an ``.edges`` file with one
        edge a line, a scipy ``.npz``, a MatrixMarket, svmlight or ``.feat`` file, a UCI
        ``docword`` file, an AnnData ``.h5ad``, or a 10x folder (``matrix.mtx`` beside
        ``features.tsv`` and ``barcodes.tsv``).
    settings
        How to read; the defaults if left out.
    vocabulary
        Keep exactly these features, in this order: a `Vocabulary`, names, or the path of a file
        with one a line. The limits min_df, max_df and max_features then do not apply. Features
        outside it are reported in a `DataWarning`. It names the columns of a matrix without names.
    descriptions
        What features mean, such as the texts of codes: a mapping, or the path of a table with
        the columns feature and description; see `longtail.data.read_descriptions`.
    **fields
        Fields of `ReadSettings` to set, such as ``text_column="body"``.

    Returns
    -------
    CountMatrix
        Rows in the order of the file (of first appearance, in a long table). Its ``settings``
        say how it was read, with the format that was found.

    Raises
    ------
    DataError
        If the file cannot be read as counts with these settings.
    """
    chosen = _settings_with(settings, fields)
    path = as_path(path)
    chosen = replace(chosen, format=_format_for(path, chosen))
    counts = _read(path, chosen)
    if vocabulary is None:
        kept = replace(_limited(counts, path), n_repeated=counts.n_repeated)
        return _described(kept, descriptions, chosen)
    wanted = as_vocabulary(vocabulary)
    _check_orientation(counts, wanted, path)
    whole = _widened(counts, wanted)
    if not whole.vocabulary.named and whole.n_features == len(wanted):
        whole = replace(whole, vocabulary=wanted)  # given to name these columns
    aligned, unseen = whole.align(wanted)
    if unseen.n_features:
        warnings.warn(
            f"{unseen.n_features:,} features of '{path}' are outside the vocabulary given and are "
            f"left out: {unseen.mass:.2%} of the total count, in {unseen.rows:.2%} of the rows "
            f"(such as {', '.join(map(repr, unseen.examples))}).{unseen.hint}",
            DataWarning,
            stacklevel=2,
        )
    kept = replace(aligned, n_repeated=counts.n_repeated)
    return _described(kept, descriptions, chosen)


def read_like(
    path: str | Path, settings: ReadSettings, vocabulary: Vocabulary
) -> tuple[CountMatrix, Unseen]:
    """Read new data the way training data were read.

    The format is found from the new path, so a model of a Parquet table can be given a CSV
    table or a text file; column names and tokens follow `settings`.

    Parameters
    ----------
    path
        The new file or folder.
    settings
        The ``settings`` of the training data.
    vocabulary
        Theirs too; the result has exactly these columns.

    Returns
    -------
    counts : CountMatrix
        Every row of the file, those without a known feature included.
    unseen : Unseen
        What was left out because the vocabulary does not have it.

    Raises
    ------
    DataError
        If the file cannot be read, is of another kind (texts, long table, matrix) than the
        training data, or is a matrix that has no feature in common with them.
    """
    counts = read_new(path, settings, vocabulary)
    aligned, unseen = counts.align(vocabulary)
    return replace(aligned, n_repeated=counts.n_repeated), unseen


def read_new(path: str | Path, settings: ReadSettings, vocabulary: Vocabulary) -> CountMatrix:
    """Read new data the way training data were read, with all the features that they have.

    For a model that goes on with them: see `NonlinearFactorAnalysis.partial_fit`.

    Parameters
    ----------
    path, settings
        As for `read_like`.
    vocabulary
        That of the training data: how many columns there are, where the format does not say.

    Raises
    ------
    DataError
        If the file cannot be read, or is of another kind than the training data.
    """
    path = as_path(path)
    settings = replace(settings, format=_format_like(path, settings))
    try:
        counts = _read(path, settings)
    except NothingToCountError as nothing:
        # Rows are not refused for being without others that hold something.
        counts = _finished(nothing.counts, settings)
    _check_orientation(counts, vocabulary, path)
    return replace(_widened(counts, vocabulary), n_repeated=counts.n_repeated)


def _settings_with(settings: ReadSettings | None, fields: Mapping[str, Any]) -> ReadSettings:
    check_field_names(fields)
    return replace(settings or ReadSettings(), **fields)


def _described(
    counts: CountMatrix,
    descriptions: Mapping[str, str] | str | Path | None,
    settings: ReadSettings,
) -> CountMatrix:
    if descriptions is None:
        return counts
    return describe(counts, descriptions, strip_dots=settings.strip_dots)


def as_vocabulary(given: Vocabulary | Sequence[str] | str | Path) -> Vocabulary:
    """Make a vocabulary of names, or read it from a file with one a line."""
    if isinstance(given, Vocabulary):
        return given
    return Vocabulary.from_file(given) if isinstance(given, str | Path) else Vocabulary(given)


def _format_for(path: Path, settings: ReadSettings) -> str:
    found = resolve_format(path)
    if settings.format != "auto":
        _check_shape(path, settings.format)
        found = settings.format
    if found is None:
        raise DataError(
            f"The ending of '{path.name}' says nothing about its format. Known formats: "
            f"{known_formats()}. Rename the file, or pass format=."
        )
    if settings.is_long_table and FORMATS[found].holds != "table":
        raise DataError(
            f"row_column and feature_column apply to tables, but '{path}' is read as {found} "
            f"({FORMATS[found].about}). Leave them out, or pass another format=."
        )
    check_applicable(path, found, settings)
    return found


def check_applicable(
    path: Path | str, found: str, settings: ReadSettings, *, is_new: bool = True
) -> None:
    """Refuse settings that would change nothing in data of this format.

    Those of a model may have been made by a version that did not look at all of them: with
    `is_new` False they are not.
    """
    held = FORMATS[found]
    is_long = settings.is_long_table
    is_text = held.holds == "texts" or (held.holds == "table" and not is_long)
    entries = is_long or held.holds == "records"
    at_once = found in ("parquet", "npz", "mtx", "h5ad", "docword")
    tokens = (is_text, "texts: it is for documents")
    named = (
        held.holds == "table" and not is_long,
        "column of that kind: it is for tables of texts",
    )
    applies = {
        "min_value": (not (is_text or held.holds == "records"), "values: it is for counts"),
        "symmetric": (is_long or held.holds == "graph", "edges: it is for long tables"),
        "self_links": (
            settings.symmetric or held.holds == "graph",
            "edges of an undirected graph: it is for symmetric long tables",
        ),
        "feature_separator": (
            entries,
            "cells of codes: it is for the feature column of a long table and for baskets",
        ),
        "strip_dots": (entries, "codes: it is for long tables and baskets"),
        "exposure_column": (
            held.holds == "table" or found == "h5ad",
            "columns: it is for tables and .h5ad files; give exposures with counts.with_exposure",
        ),
        "layer": (found == "h5ad", "layers: it is for .h5ad files"),
    }
    if is_new:
        applies |= {
            "transpose": (found in ("npz", "mtx"), "axes to exchange: it is for .npz and .mtx"),
            "text_column": named,
            "id_column": named,
            "lowercase": tokens,
            "stop_words": tokens,
            "ngram_range": tokens,
            "token_pattern": tokens,
            "index_base": (found == "svmlight", "choice of a first id: it is for svmlight files"),
            "encoding": (not at_once, "text in an encoding of choice: it is for text files"),
        }
    usual = ReadSettings()
    for name, (does_apply, reason) in applies.items():
        if getattr(settings, name) != getattr(usual, name) and not does_apply:
            raise DataError(
                f"{name} does not apply to '{path}', which is read as {found} "
                f"({held.about}) and has no {reason}. Leave it out."
            )


def check_given(path: str | Path, settings: ReadSettings, given: ReadSettings) -> None:
    """Refuse what was `given` for new data, beside a model's `settings`, and does not apply."""
    check_applicable(path, _format_like(Path(path), settings), given)


def _check_shape(path: Path, format: str) -> None:
    """Refuse a folder where the format is of files, and the other way round."""
    if format == "10x":
        return  # a folder or a file: its reader says what is missing
    if path.is_dir() != (format == "directory"):
        raise DataError(
            f"'{path}' is a {'folder' if path.is_dir() else 'file'}, which cannot be read as "
            f"{format} ({FORMATS[format].about})."
        )


def _format_like(path: Path, settings: ReadSettings) -> str:
    """Find the format of new data: by the path where that fits the training data's kind."""
    if settings.format == "auto":
        return _format_for(path, settings)
    found = resolve_format(path)
    wanted = _kind(settings.format, settings)
    if found == "10x" and settings.format == "mtx" and not path.is_dir():
        return "mtx"  # training read the matrix alone, too
    if found is not None and _kind(found, settings) == wanted:
        return found
    # An ending that is unknown, or as vague as .txt, does not contradict the saved format.
    if found in (None, "txt") and settings.format != "directory":
        return settings.format
    if found is None:
        return _format_for(path, replace(settings, format="auto"))  # words the refusal
    raise DataError(
        f"'{path}' is read as {found} ({FORMATS[found].about}), but the model's data were "
        f"{wanted} ({settings.format}). Give data of the same kind, or read this file with "
        "read_counts and align it with .align(vocabulary)."
    )


def _kind(format: str, settings: ReadSettings) -> str:
    holds = FORMATS[format].holds
    if holds == "matrix":
        return "a matrix"
    if holds in ("records", "graph"):
        return {"records": "records", "graph": "a graph"}[holds]
    if settings.is_long_table:
        return "a long table" if holds == "table" else "texts"
    return "texts"


def _read(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read every feature and check the counts; the result has its settings."""
    return _finished(READERS[settings.format](path, settings), settings)


def count_part(table: TableFile, settings: ReadSettings) -> CountMatrix:
    """Count a part of a table as the whole would be: every feature, sorted by name.

    Raises
    ------
    DataError
        If it cannot be counted with these settings, or its lines are not whole rows.
    """
    return _finished(_count_table(table, settings), settings)


def _finished(counts: CountMatrix, settings: ReadSettings) -> CountMatrix:
    if settings.exposure_column is not None and counts.exposure is None:
        # New data may be of another format than those that the settings were checked for.
        raise DataError(
            f"exposure_column={settings.exposure_column!r} is for tables and .h5ad files, and data "
            f"of the format {settings.format} have no columns. Give a table."
        )
    if counts.settings is None:
        counts = replace(counts, settings=settings)
    if settings.binarize:
        counts = counts.binarized()
    if settings.counts == "strict" and counts.nnz:
        CountMatrix.from_any(counts, counts="strict")
    return counts


def _limited(counts: CountMatrix, path: Path) -> CountMatrix:
    settings = counts.settings
    assert settings is not None
    if FORMATS[settings.format].holds != "matrix":
        return limit_features(counts, settings)
    if has_limits(settings):
        raise DataError(
            "min_df, max_df and max_features apply to texts and long tables, but "
            f"'{path}' is a matrix ({settings.format}), whose columns keep their places. Use "
            "CountMatrix.select_features to remove columns."
        )
    return counts


def _check_orientation(counts: CountMatrix, vocabulary: Vocabulary, path: Path) -> None:
    """Refuse a matrix without names whose rows, but not its columns, are as many as features."""
    settings = counts.settings
    assert settings is not None
    if settings.format not in ("npz", "mtx") or counts.n_features == len(vocabulary):
        return
    if counts.n_rows == len(vocabulary):
        remedy = "without transpose" if settings.transpose else "with transpose=True"
        raise DataError(
            f"Expected {len(vocabulary)} features, but these rows have {counts.n_features}. "
            f"'{path}' looks transposed: it has {counts.n_rows} rows. Read it {remedy}, or write "
            "it as the expected data are: scipy.io.mmwrite(path, matrix.T)."
        )


def _widened(counts: CountMatrix, vocabulary: Vocabulary) -> CountMatrix:
    """Pad what was read from a format that does not say how many columns there are."""
    declares_width = counts.settings is None or counts.settings.format not in ("svmlight", "bow")
    return counts if declares_width else widen(counts, len(vocabulary))
