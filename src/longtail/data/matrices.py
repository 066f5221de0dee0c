"""Counts that are a matrix already: .npz, MatrixMarket, svmlight and id:count lines."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.io
import scipy.sparse
from scipy.sparse import coo_array, csr_array

from longtail.data.counts import CountMatrix
from longtail.data.entries import NothingToCountError, count_matrix, no_counts
from longtail.data.files import cannot_read, decode, read_bytes
from longtail.data.settings import ReadSettings
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning

__all__ = ["load_mtx", "read_bow", "read_mtx", "read_npz", "read_svmlight", "widen"]

_FEATURE_FILES = ("features.tsv", "genes.tsv", "features.txt", "genes.txt", "vocab.txt")
_ROW_FILES = ("barcodes.tsv", "barcodes.txt", "cells.txt")
_INT32_MAX = np.iinfo(np.int32).max


def read_npz(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read a matrix written by `scipy.sparse.save_npz`; nothing in the file is executed."""
    expected = "a matrix written by scipy.sparse.save_npz"
    try:
        # load_npz passes allow_pickle=False, so a file cannot smuggle objects in. It would leave
        # a damaged file open, had it opened it itself.
        with path.open("rb") as file:
            matrix = scipy.sparse.load_npz(file)
    except (
        *(OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, NotImplementedError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise cannot_read(path, error, expected) from error
    return _oriented(matrix, path, settings)


def read_mtx(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read a MatrixMarket file: rows are observations, columns are features.

    gensim's ``.mm`` files are of this form: their rows are documents. With ``transpose`` the file
    is features × rows.
    """
    return _oriented(load_mtx(path), path, settings)


def load_mtx(path: Path) -> coo_array:
    """Read a MatrixMarket file as it is."""
    content = read_bytes(path)
    try:
        matrix = scipy.io.mmread(io.BytesIO(content))
    except (ValueError, OSError, OverflowError, TypeError) as error:
        raise cannot_read(path, error, "a MatrixMarket file") from error
    return coo_array(matrix)


def _oriented(matrix: Any, path: Path, settings: ReadSettings) -> CountMatrix:
    """Make counts of a matrix that has no names, transposed where that is asked for."""
    if settings.transpose:
        return count_matrix(matrix.T, settings)
    _notice_transposed(matrix.shape, path)
    return count_matrix(matrix, settings)


def _notice_transposed(shape: tuple[int, ...], path: Path) -> None:
    """Say so where the names beside a matrix are as many as its other axis is long."""
    n_rows, n_columns = shape[0], shape[-1]
    for names, n_names, is_fault in (
        *((file, n, n == n_rows != n_columns) for file, n in _names_beside(path, _FEATURE_FILES)),
        *((file, n, n == n_columns != n_rows) for file, n in _names_beside(path, _ROW_FILES)),
    ):
        if is_fault:
            axis = "rows" if n_names == n_rows else "columns"
            warnings.warn(
                f"'{path}' ({n_rows:,} × {n_columns:,}) looks transposed: '{names}' beside it has "
                f"as many lines as the matrix has {axis}. If its rows are features, read it with "
                "transpose=True (--transpose).",
                DataWarning,
                stacklevel=2,
            )
            return


def _names_beside(path: Path, endings: tuple[str, ...]) -> list[tuple[str, int]]:
    """The files of names beside a matrix, and how many lines each has."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    prefixes = dict.fromkeys(("", stem.removesuffix("matrix"), f"{stem}.", f"{stem}_"))
    paths = [
        path.with_name(p + end + gz) for p in prefixes for end in endings for gz in ("", ".gz")
    ]
    return [
        (p.name, len(read_bytes(p, may_be_empty=True).splitlines())) for p in paths if p.is_file()
    ]


def read_svmlight(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read ``label id:count …`` lines in svmlight's form; labels and comments are left out.

    Whether ids start at 0 or at 1 is found out if ``index_base`` is None, and kept in the
    result's settings.

    Raises
    ------
    DataError
        If a line does not have this form (the message gives its number), or id 0 occurs in a
        file whose ids start at 1.
    """
    entries = _parse_lines(path, settings.encoding, skip_blank=True)
    _check_any(entries, path)
    smallest = int(entries.ids.min()) if len(entries.ids) else 1
    base = settings.index_base
    if base is None:
        base = 0 if smallest == 0 else 1
    counts = count_matrix(entries.to_coo(path, base, None), settings)
    return replace(counts, settings=replace(settings, index_base=base))


def read_bow(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read ``label id:count …`` lines with ids from 1; every line is a row, labels are left out.

    If there is a file ``vocab.txt`` beside it, with one feature a line, it names the columns.

    Raises
    ------
    DataError
        If a line does not have this form or an id is outside the vocabulary (the message
        gives the line's number).
    """
    entries = _parse_lines(path, settings.encoding, skip_blank=False)
    beside = path.parent / "vocab.txt"
    vocabulary = Vocabulary.from_file(beside) if beside.is_file() else None
    if vocabulary is None:
        _check_any(entries, path)
    matrix = entries.to_coo(path, 1, None if vocabulary is None else len(vocabulary))
    return count_matrix(matrix, settings, vocabulary=vocabulary)


def _check_any(entries: _Entries, path: Path) -> None:
    """Refuse rows none of which has an id: nothing says how many columns there are."""
    if entries.n_rows and len(entries.ids) == 0:
        empty = no_counts(None, entries.n_rows)
        raise NothingToCountError(
            f"No line of '{path}' holds an id:count pair, so that it has 0 feature(s) while a "
            "minimum of 1 is required.",
            replace(empty, vocabulary=Vocabulary.positional(0)),
        )


def widen(X: CountMatrix, n_features: int) -> CountMatrix:
    """Add empty columns to unnamed counts until there are `n_features`.

    The id:count formats do not say how many columns there are, so a file in which the last
    features do not occur reads too narrow.
    """
    if X.vocabulary.named or X.n_features >= n_features:
        return X
    csr = csr_array((X.csr.data, X.csr.indices, X.csr.indptr), shape=(X.n_rows, n_features))
    csr.has_canonical_format = True
    return replace(X, csr=csr, vocabulary=Vocabulary.positional(n_features))


@dataclass(frozen=True)
class _Entries:
    """The ``id:count`` pairs of a file: for each its row (from 0), its line and its two parts."""

    rows: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    n_rows: int

    def to_coo(self, path: Path, base: int, width: int | None) -> coo_array:
        columns = self.ids - base
        limit = _INT32_MAX if width is None else width
        outside = (columns < 0) | (columns >= limit)
        if outside.any():
            first = int(np.argmax(outside))
            allowed = f"{base} to {base + limit - 1}" if width else f"{base} or more"
            raise DataError(
                f"Line {self.lines[first]} of '{path}' has the id {self.ids[first]}, but ids must "
                f"be {allowed} ({int(outside.sum()):,} such id(s) in all). "
                + (
                    "Check that vocab.txt belongs to this file."
                    if width
                    else "If its ids start at 0, pass format='svmlight', index_base=0."
                )
            )
        if width is None:
            width = int(columns.max()) + 1 if len(columns) else 0
        triples = (self.values, (self.rows, columns))
        return coo_array(triples, shape=(self.n_rows, width))


def _parse_lines(path: Path, encoding: str, *, skip_blank: bool) -> _Entries:
    """Cut ``[label] id:count …`` lines into entries, without a Python loop over them."""
    text = decode(read_bytes(path), encoding, path).removesuffix("\n")
    lines = pl.DataFrame({"text": text.split("\n")}).with_row_index("line", offset=1)
    if skip_blank:  # svmlight: a # starts a comment, and lines without content are no rows
        lines = lines.with_columns(pl.col("text").str.replace(r"#.*$", ""))
        lines = lines.filter(pl.col("text").str.contains(r"\S"))
    words = (
        lines.with_row_index("row")
        .with_columns(pl.col("text").str.extract_all(r"\S+"))
        .with_columns(position=pl.int_ranges(0, pl.col("text").list.len()))
        .filter(pl.col("text").list.len() > 0)
        .explode("text", "position")
    )
    is_label = (pl.col("position") == 0) & ~pl.col("text").str.contains(":", literal=True)
    is_query = pl.col("text").str.starts_with("qid:") & skip_blank
    words = words.filter(~(is_label | is_query))
    parts = words.select("row", "line", "text", pl.col("text").str.split_exact(":", 2).alias("p"))
    parts = parts.with_columns(
        id=pl.col("p").struct.field("field_0").cast(pl.Int64, strict=False),
        value=pl.col("p").struct.field("field_1").cast(pl.Float64, strict=False),
        extra=pl.col("p").struct.field("field_2"),
    )
    wrong = parts.filter(
        pl.col("id").is_null() | pl.col("value").is_null() | pl.col("extra").is_not_null()
    )
    if len(wrong):
        raise DataError(
            f"Line {wrong['line'][0]} of '{path}' holds {wrong['text'][0]!r}; expected id:count "
            f"pairs after the label, such as 17:2 ({len(wrong):,} such fault(s) in all)."
        )
    return _Entries(
        rows=parts["row"].to_numpy().astype(np.int64),
        lines=parts["line"].to_numpy().astype(np.int64),
        ids=parts["id"].to_numpy(),
        values=parts["value"].to_numpy(),
        n_rows=len(lines),
    )
