"""Raw texts → counts. scikit-learn's CountVectorizer does the work."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.entries import NothingToCountError, no_counts
from longtail.data.exposures import line_exposures
from longtail.data.files import decode, numbered_lines, read_bytes, read_text
from longtail.data.formats import named_format
from longtail.data.settings import ReadSettings
from longtail.data.surrogates import first_broken
from longtail.data.tables import TableFile, column_names, tidy_ids
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning

__all__ = [
    "Documents",
    "count_documents",
    "count_text_table",
    "id_column",
    "read_directory",
    "read_lines",
    "text_column",
    "tokenizer",
]

TEXT_COLUMNS = ("text", "body", "content", "document", "summary")
ID_COLUMNS = ("id", "doc_id", "row_id")
_SLICE = 10_000
_SHOWN = 3


@dataclass(frozen=True)
class Documents:
    """Texts to count, which can be gone through once.

    Parameters
    ----------
    texts
        The documents.
    row_ids
        Their identifiers, or None for 0, 1, ….
    source
        Where they come from, for messages.
    is_part
        Whether there are more elsewhere, so that these may hold no token.
    exposure
        Of each, if there are any.
    """

    texts: Iterable[str]
    row_ids: pl.Series | list[str] | None
    source: str
    is_part: bool = False
    exposure: Any | None = None


def count_documents(documents: Documents, settings: ReadSettings) -> CountMatrix:
    """Count the tokens of every document.

    Parameters
    ----------
    documents
        The texts.
    settings
        The fields on lowercase, stop words, n-grams and tokens apply; the limits min_df,
        max_df and max_features do not.

    Returns
    -------
    CountMatrix
        One row a document in the order given; features sorted by name.

    Raises
    ------
    DataError
        If no document holds a token.
    """
    vectorizer = _vectorizer(settings)
    n_texts = 0

    def texts() -> Iterator[str]:
        nonlocal n_texts
        for text in documents.texts:
            n_texts += 1
            yield text

    try:
        csr = vectorizer.fit_transform(texts())
    except ValueError as error:
        if isinstance(error, DataError) or "empty vocabulary" not in str(error):
            raise
        empty = no_counts(documents.row_ids, n_texts).with_exposure(documents.exposure)
        if documents.is_part:
            return empty
        raise NothingToCountError(
            f"No document of {documents.source} holds a token: all texts are empty, or consist "
            f"of stop words and of what token_pattern {settings.token_pattern!r} does not match.",
            empty,
        ) from error
    names = vectorizer.get_feature_names_out()
    if "" in names:
        raise DataError(
            f"token_pattern {settings.token_pattern!r} matches empty texts, which are no tokens. "
            "Ask for a character at least, for instance with + instead of *."
        )
    vocabulary = Vocabulary(names)
    counts = CountMatrix.from_any(csr, row_ids=documents.row_ids, vocabulary=vocabulary)
    return counts.with_exposure(documents.exposure)


def tokenizer(settings: ReadSettings) -> Callable[[str], list[str]]:
    """How `count_documents` cuts one text into tokens, n-grams included."""
    analyzer: Callable[[str], list[str]] = _vectorizer(settings).build_analyzer()
    return analyzer


def _vectorizer(settings: ReadSettings) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer  # a second, only when needed

    return CountVectorizer(
        lowercase=settings.lowercase,
        stop_words=list(settings.stop_words)
        if isinstance(settings.stop_words, tuple)
        else settings.stop_words,
        ngram_range=settings.ngram_range,
        token_pattern=settings.token_pattern,
    )


def read_directory(path: Path, settings: ReadSettings) -> CountMatrix:
    """Count a folder of text files: each file a document, called by its relative path.

    Subfolders are read too, and files that are packed with gzip. Left out are files and folders
    whose name starts with a dot, and, with a `DataWarning`, files whose ending is that of
    another format, such as .csv.

    Raises
    ------
    DataError
        If no document is left, or the name of a file is no valid text.
    """
    files = sorted(
        (file.relative_to(path).as_posix(), file)
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    names = [name for name, file in files if named_format(file.name) in (None, "txt")]
    others = [name for name, file in files if named_format(file.name) not in (None, "txt")]
    if not names:
        held = f"only files of other formats ({_some(others)})" if others else "no files"
        raise DataError(
            f"The folder '{path}' holds {held}; expected text files, one document each."
            + (" Give one of those files instead." if others else "")
        )
    if others:
        warnings.warn(
            f"{len(others):,} of {len(files):,} files of '{path}' have the ending of another "
            f"format and are left out ({_some(others)}); the others are documents.",
            DataWarning,
            stacklevel=2,
        )
    broken = first_broken(names)
    if broken is not None:
        raise DataError(
            f"A file of '{path}' is called {names[broken]!a}, which is not valid UTF-8, so it "
            "cannot name a row. Rename the file."
        )
    texts = (_read_document(path / name, settings.encoding) for name in names)
    return count_documents(Documents(texts, names, f"'{path}'"), settings)


def _some(names: list[str]) -> str:
    return ", ".join(map(ascii, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _read_document(path: Path, encoding: str) -> str:
    # An empty file is an empty document.
    return decode(read_bytes(path, may_be_empty=True), encoding, path)


def read_lines(path: Path, settings: ReadSettings) -> CountMatrix:
    """Count a text file with one document a line; a blank line is an empty document."""
    texts = (line for _, line in numbered_lines(read_text(path, settings.encoding)))
    return count_documents(Documents(texts, None, f"'{path}'"), settings)


def count_text_table(table: TableFile, settings: ReadSettings) -> CountMatrix:
    """Count the text column of a table, or of a part of one.

    The column that was used is in the result's settings. Missing cells count as empty
    documents; of a whole table, a `DataWarning` says how many.
    """
    column = text_column(table, settings)
    ids = id_column(table, settings)
    wanted = [column] if ids in (None, column) else [column, ids or ""]
    exposed = None
    if settings.exposure_column is not None:
        exposed = table.require(settings.exposure_column, "exposure_column")
        wanted = list(dict.fromkeys([*wanted, exposed]))
    frame = table.load_texts(wanted, column)
    texts = _checked_texts(frame[column], table)
    row_ids = _ids(frame, ids, table, required=settings.id_column is not None)
    documents = Documents(
        _iterate(texts),
        row_ids,
        f"column {column!r} of '{table.path}'",
        table.is_part,
        None if exposed is None else line_exposures(frame[exposed], table),
    )
    counts = count_documents(documents, settings)
    return replace(counts, settings=replace(settings, text_column=column))


def _iterate(texts: pl.Series) -> Iterator[str]:
    # By slices: all texts as Python strings at once would double the memory.
    for start in range(0, len(texts), _SLICE):
        yield from texts.slice(start, _SLICE).to_list()


def text_column(table: TableFile, settings: ReadSettings) -> str:
    """The column that holds the texts: the one named, or the one that is called so.

    Raises
    ------
    DataError
        If there is no such column, or several.
    """
    if settings.text_column is not None:
        return table.require(settings.text_column, "text_column")
    usual = [name for name in TEXT_COLUMNS if name in table.columns]
    if len(usual) == 1:
        return usual[0]
    found = f"several of them ({', '.join(usual)})" if usual else "none"
    raise DataError(
        f"Which column of '{table.path}' holds the texts? Looked for one called "
        f"{', '.join(TEXT_COLUMNS)} and found {found}. Pass text_column=, or, for a long table "
        "of (row, feature, count) entries, row_column= and feature_column=. "
        f"Its columns: {column_names(table.columns)}."
    )


def id_column(table: TableFile, settings: ReadSettings) -> str | None:
    """The column that identifies rows: the one named, or one that is called so.

    Of a part, only one named: whether a column identifies rows is seen in the whole.
    """
    if settings.id_column is not None:
        return table.require(settings.id_column, "id_column")
    if table.is_part:
        return None
    return next((name for name in ID_COLUMNS if name in table.columns), None)


def _ids(
    frame: pl.DataFrame, column: str | None, table: TableFile, *, required: bool
) -> pl.Series | None:
    """Return the id column; one that was only guessed must serve, or it is left out."""
    if column is None:
        return table.row_numbers(len(frame)) if table.is_part else None
    ids = frame[column] if table.is_part else tidy_ids(frame[column])
    usable = ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum)
    if not required:
        tells = usable and not ids.null_count() and ids.n_unique() == len(ids)
        return ids if tells and not (ids.cast(pl.String) == "").any() else None
    if not usable:
        raise DataError(
            f"Column {column!r} of '{table.path}' cannot identify rows: it is of type {ids.dtype}; "
            "expected strings or whole numbers."
        )
    if not (table.is_part or ids.null_count()) and ids.n_unique() < len(ids):
        repeated = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
        raise DataError(
            f"Row ids must be unique, but {len(repeated):,} in column {column!r} of "
            f"'{table.path}' occur more than once, for instance {repeated[0]!r}. Name another "
            "column, or leave id_column (--id-column) out: then the rows are numbered."
        )
    return ids


def _checked_texts(texts: pl.Series, table: TableFile) -> pl.Series:
    if len(texts) == 0 and not table.is_part:
        raise DataError(f"'{table.path}' has a header but no rows; expected at least one.")
    if isinstance(texts.dtype, pl.List):
        raise DataError(
            f"Column {texts.name!r} of '{table.path}' holds lists, not texts. To count their "
            f"elements pass feature_column={texts.name!r} instead of text_column."
        )
    if texts.dtype == pl.Null:
        texts = texts.cast(pl.String)
    if texts.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(
            f"Column {texts.name!r} of '{table.path}' is of type {texts.dtype}; expected texts."
        )
    missing = texts.null_count()
    if missing and not table.is_part:
        first = int(texts.is_null().arg_max() or 0)
        warnings.warn(
            f"{missing:,} of {len(texts):,} texts in column {texts.name!r} of '{table.path}' are "
            f"missing (the first at {table.place(first)}) and are read as empty documents.",
            DataWarning,
            stacklevel=2,
        )
    return texts.cast(pl.String).fill_null("")
