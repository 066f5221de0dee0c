"""Bags of words in the form of the UCI repository: docword.NAME.txt beside vocab.NAME.txt."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import coo_array

from longtail.data.counts import CountMatrix
from longtail.data.entries import count_matrix
from longtail.data.files import POLARS_FAULTS, cannot_read, decode, read_bytes
from longtail.data.settings import ReadSettings
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["read_docword"]

_HEADER = ("D, the number of documents", "W, the number of words", "NNZ, the number of entries")
_COLUMNS = ("document", "word", "count")


def read_docword(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read three header lines D, W and NNZ, then NNZ lines ``document word count``.

    Documents and words are numbered from 1. All D documents are rows, called by their numbers,
    those without a word included; if there is a file ``vocab.NAME.txt`` beside
    ``docword.NAME.txt``, its W lines name the columns.

    Raises
    ------
    DataError
        If the header or a line does not have this form, a number is out of range (the message
        gives the line), the number of lines is not NNZ, or the vocabulary has not W lines.
    """
    content = read_bytes(path)
    header = decode(content[:200], "latin-1", path).split("\n")[:3]
    n_docs, n_words, n_entries = _header(header, path)
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            separator=" ",
            has_header=False,
            skip_rows=3,
            infer_schema=False,
        )
    except pl.exceptions.NoDataError:
        frame = pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
    except POLARS_FAULTS as error:
        raise cannot_read(path, error, "lines of: document word count") from error
    if frame.width != len(_COLUMNS):
        raise DataError(
            f"Line 4 of '{path}' has {frame.width} field(s); expected: document word count."
        )
    frame.columns = list(_COLUMNS)
    numbers = _numbers(frame, path, n_docs, n_words)
    if len(frame) != n_entries:
        raise DataError(
            f"Line 3 of '{path}' announces {n_entries:,} entries, but {len(frame):,} lines follow; "
            "the file may be truncated. Fetch it again."
        )
    matrix = coo_array(
        (numbers["count"].to_numpy(), (numbers["document"] - 1, numbers["word"] - 1)),
        shape=(n_docs, n_words),
    )
    return count_matrix(
        matrix, settings, row_ids=np.arange(1, n_docs + 1), vocabulary=_vocabulary(path, n_words)
    )


def _header(lines: list[str], path: Path) -> tuple[int, ...]:
    numbers = []
    for number, (meaning, line) in enumerate(zip(_HEADER, [*lines, "", ""], strict=False), start=1):
        if not line.strip().isdecimal():
            raise DataError(
                f"Line {number} of '{path}' holds {line.strip()[:40]!r}; expected {meaning}, as in "
                "UCI's bags of words. For one document a line pass format='txt'."
            )
        numbers.append(int(line))
    return tuple(numbers)


def _numbers(frame: pl.DataFrame, path: Path, n_docs: int, n_words: int) -> pl.DataFrame:
    kinds = {"document": pl.Int64, "word": pl.Int64, "count": pl.Float64}
    numbers = frame.select(pl.col(name).cast(kind, strict=False) for name, kind in kinds.items())
    for name, limit in (("document", n_docs), ("word", n_words), ("count", None)):
        bad = numbers[name].is_null()
        if limit is not None:
            bad |= ~numbers[name].is_between(1, limit)
        bad = bad.fill_null(True)
        if bad.any():
            first = int(bad.arg_max() or 0)
            expected = "a number" if limit is None else f"a whole number from 1 to {limit:,}"
            raise DataError(
                f"Line {first + 4} of '{path}' has the {name} {frame[name][first]!r}; expected "
                f"{expected} ({int(bad.sum()):,} such line(s) in all)."
            )
    return numbers


def _vocabulary(path: Path, n_words: int) -> Vocabulary | None:
    name = path.name.removesuffix(".gz").removesuffix(".txt")
    beside = path.with_name(f"vocab.{name[len('docword.') :]}.txt")
    if not name.startswith("docword.") or not beside.is_file():
        return None
    vocabulary = Vocabulary.from_file(beside)
    if len(vocabulary) != n_words:
        raise DataError(
            f"'{beside}' names {len(vocabulary):,} words, but line 2 of '{path}' says {n_words:,}. "
            "Check that both belong together."
        )
    return vocabulary
