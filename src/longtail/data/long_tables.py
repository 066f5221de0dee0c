"""Data frames that hold (row, feature, value) entries, not a column for each feature."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Any

from longtail.errors import DataError

__all__ = ["long_columns", "refuse_long_table"]

_MOST_COLUMNS = 6
_ROWS_PER_COLUMN = 5

# What the columns of long tables are called, without an ending such as "_id".
_CALLED = {
    "row": "account basket cell client customer doc document invoice listener member order patient "
    "person reader reviewer row sample session transaction uid user visitor",
    "feature": "artist book business code col column feature film gene iid isbn item movie product "
    "sku song stock term token track video word",
    "value": "amount count freq frequency n play playcount preference qty quantity rating score "
    "star stars tf value weight",
    "time": "date datetime time timestamp ts unixreviewtime when",
}
_KINDS = {word: kind for kind, words in _CALLED.items() for word in words.split()}
_ENDING = re.compile(r"[\W_]*(id|ids|idx|index|no|number|code|name)$")


def long_columns(names: Sequence[Any], n_rows: int) -> tuple[str, str, str | None] | None:
    """Return the columns of rows, features and values if a table looks like a long one.

    It does if it has at most six columns, two of them are called like ids of rows and of features
    (``user`` and ``item``, ``docID`` and ``wordID``, ``patient_id`` and ``icd_code``), and the
    others like values or times, or like nothing in particular if there are many lines. Numbers
    alone do not tell ids from counts.

    Parameters
    ----------
    names
        Of the columns.
    n_rows
        How many lines there are.

    Returns
    -------
    (row, feature, value) or None
        `value` is None if no column is called so.
    """
    if not 2 <= len(names) <= _MOST_COLUMNS or not all(isinstance(n, str) for n in names):
        return None
    kinds = [_kind(name) for name in names]
    row, feature, value = (_first(names, kinds, kind) for kind in ("row", "feature", "value"))
    others = [n for n, kind in zip(names, kinds, strict=True) if kind == "id"]
    row = row or (others.pop(0) if others else None)
    feature = feature or (others.pop(0) if others else None)
    if row is None or feature is None:
        return None
    if None in kinds and n_rows < _ROWS_PER_COLUMN * len(names):
        return None
    return row, feature, value


def refuse_long_table(X: Any, known: Container[str] = ()) -> None:
    """Raise a DataError if a data frame looks like a long table.

    Parameters
    ----------
    X
        What a method is given; other than pandas and Polars data frames passes.
    known
        Features of the model: a frame all of whose columns are among them is no long table.
    """
    if not (hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")):
        return
    names = list(X.columns)
    found = long_columns(names, len(X))
    if found is None or all(name in known for name in names):
        return
    row, feature, value = found
    value_setting = "" if value is None else f", value_column={value!r}"
    write = "write_parquet" if hasattr(X, "write_parquet") else "to_parquet"
    raise DataError(
        f"This looks like a long table of entries, not like one with a column for each feature: "
        f"its {len(names)} columns are {', '.join(map(repr, names))}. Write it to a file, "
        f"X.{write}('entries.parquet'), and read that: lt.read_counts('entries.parquet', "
        f"row_column={row!r}, feature_column={feature!r}{value_setting}). If the columns are "
        "features all the same, give lt.CountMatrix.from_any(X)."
    )


def _first(names: Sequence[str], kinds: Sequence[str | None], kind: str) -> str | None:
    return names[kinds.index(kind)] if kind in kinds else None


def _kind(name: str) -> str | None:
    """Return what a column is called like: row, feature, value, time, another id, or None."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    stem = _ENDING.sub("", words)
    for text in (words, stem):
        bare = re.sub(r"[\W_]+", "", text)
        kind = _KINDS.get(bare) or _KINDS.get(bare.removesuffix("s"))
        if kind is not None:
            return kind
    return "id" if re.search(r"(^|[\W_])(id|code)$", words) else None
