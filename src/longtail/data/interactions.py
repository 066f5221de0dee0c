"""Long tables, one (row, feature, count) entry a line → counts."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.entries import Entries, count_edges, count_entries
from longtail.data.ratings import HOW_TO_BINARIZE, describe_ratings
from longtail.data.settings import ReadSettings
from longtail.data.tables import TableFile, open_table, tidy_ids
from longtail.errors import DataError, DataWarning

__all__ = ["read_long_table"]

_KEY_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def read_long_table(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read a table whose lines say how often a row (user, record) has a feature (item, code).

    Rows come in order of first appearance, features sorted by name; the counts of a pair that
    occurs more than once are summed. If the cells of the feature column are lists, every
    element is an entry; then an empty list makes an empty row.

    Raises
    ------
    DataError
        If a column is unknown, a key is missing, or a count is not a number or negative.
    """
    table = open_table(path, settings.format, settings.encoding)
    assert settings.feature_column is not None  # ReadSettings checks it
    feature = table.require(settings.feature_column, "feature_column")
    row = value = None
    if settings.row_column is not None:
        row = table.require(settings.row_column, "row_column")
    if settings.value_column is not None:
        value = table.require(settings.value_column, "value_column")
    frame = table.load([name for name in (row, feature, value) if name is not None])
    if len(frame) == 0:
        raise DataError(f"'{path}' has columns but no rows; expected at least one entry.")
    if settings.feature_separator is not None:
        frame = frame.with_columns(_split_cells(frame[feature], settings.feature_separator, table))
    rows = _rows(frame, row, feature, table)
    row_order = rows.unique(maintain_order=True)
    features = frame[feature]
    if isinstance(features.dtype, pl.List):
        _check_lists_apply(feature, value, settings, table)
        rows, features = _explode(rows, features, table)
    values = _values(frame, value, table, settings)
    entries = Entries(rows, _checked_keys(features, table), values)
    if settings.min_value is not None and values is not None:
        entries = entries[values >= settings.min_value]
        if len(entries.rows) == 0:
            raise DataError(
                f"No entry of '{path}' is left with min_value={settings.min_value:g}: the largest "
                f"in column {value!r} is {values.max():g}. Lower min_value."
            )
    if settings.symmetric:
        return count_edges(entries, f"'{path}'")
    counts = count_entries(entries, row_order, settings)
    return counts if row is None else CountMatrix.from_any(counts, row_ids=tidy_ids(row_order))


def _split_cells(cells: pl.Series, separator: str, table: TableFile) -> pl.Series:
    """Cut cells such as ``"A01;B02"`` into lists of codes; a missing cell is an empty list.

    Raises
    ------
    DataError
        If the cells are not strings.
    """
    if cells.dtype == pl.Null:
        cells = cells.cast(pl.String)
    if cells.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(
            f"Column {cells.name!r} of '{table.path}' is of type {cells.dtype}, so "
            "feature_separator cannot cut its cells; expected strings such as 'A01;B02'. "
            "Leave feature_separator out."
        )
    pieces = cells.cast(pl.String).str.split(separator)
    stripped = pieces.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).alias(cells.name)


def _check_lists_apply(
    feature: str, value: str | None, settings: ReadSettings, table: TableFile
) -> None:
    """Refuse the settings that make no sense of a column of lists."""
    if value is not None:
        raise DataError(
            f"Column {feature!r} of '{table.path}' holds lists, whose elements count 1 each, so "
            f"value_column={value!r} cannot apply. Leave it out."
        )
    if settings.symmetric:
        raise DataError(
            f"Column {feature!r} of '{table.path}' holds lists, but with symmetric=True every line "
            "is one edge, whose other end it must name. Leave symmetric out."
        )


def _rows(frame: pl.DataFrame, row: str | None, feature: str, table: TableFile) -> pl.Series:
    if row is not None:
        return _checked_keys(frame[row], table)
    if not isinstance(frame[feature].dtype, pl.List):
        raise DataError(
            f"A long table needs row_column= too: without it the cells of {feature!r} in "
            f"'{table.path}' must be lists, but they are of type {frame[feature].dtype}. If they "
            "hold several codes each, name what stands between them with feature_separator=. "
            f"Columns: {', '.join(map(repr, table.columns))}."
        )
    return pl.Series("row_id", np.arange(len(frame), dtype=np.int64))


def _checked_keys(keys: pl.Series, table: TableFile) -> pl.Series:
    """Refuse missing keys and keys of types that do not identify anything."""
    missing = keys.null_count()
    if missing:
        first = int(keys.is_null().arg_max() or 0)
        raise DataError(
            f"{missing:,} of {len(keys):,} entries in column {keys.name!r} of '{table.path}' are "
            f"missing, the first at {table.place(first)}. Remove those entries, or name them."
        )
    if not (keys.dtype.is_integer() or keys.dtype in _KEY_TYPES):
        raise DataError(
            f"Column {keys.name!r} of '{table.path}' is of type {keys.dtype}; expected strings or "
            "whole numbers, because it says which row or feature an entry belongs to."
        )
    return keys.cast(pl.String) if keys.dtype in _KEY_TYPES else keys


def _values(
    frame: pl.DataFrame, column: str | None, table: TableFile, settings: ReadSettings
) -> npt.NDArray[np.float64] | None:
    """Check the counts of the entries; those that min_value leaves out may be negative."""
    if column is None:
        return None
    given = frame[column]
    if given.dtype != pl.String and not (given.dtype.is_numeric() or given.dtype == pl.Boolean):
        raise DataError(
            f"Column {column!r} of '{table.path}' is of type {given.dtype}; expected counts."
        )
    if given.dtype == pl.String:
        given = given.str.strip_chars()
    values = given.cast(pl.Float64, strict=False)
    # Checked before summing, which could hide a negative count behind a larger one.
    bad = values.is_null() | ~values.is_finite()
    if settings.min_value is None or settings.min_value < 0:
        bad |= values < 0
    bad = bad.fill_null(True)
    if bad.any():
        first = int(bad.arg_max() or 0)
        negative = " " + HOW_TO_BINARIZE if (values < 0).any() else ""
        raise DataError(
            f"{int(bad.sum()):,} of {len(values):,} entries in column {column!r} of "
            f"'{table.path}' are no counts (finite numbers, 0 or more); the first is "
            f"{frame[column][first]!r} at {table.place(first)}. Correct or remove those entries."
            + negative
        )
    found = values.to_numpy()
    _notice_ratings(found, column, table, settings)
    return found


def _notice_ratings(
    values: npt.NDArray[np.float64], column: str, table: TableFile, settings: ReadSettings
) -> None:
    if settings.binarize or settings.min_value is not None:
        return
    ratings = describe_ratings(values)
    if ratings is not None:
        warnings.warn(
            f"Column {column!r} of '{table.path}' looks like ratings, not counts: {ratings}. They "
            f"are taken as counts. {HOW_TO_BINARIZE}",
            DataWarning,
            stacklevel=2,
        )


def _explode(rows: pl.Series, lists: pl.Series, table: TableFile) -> tuple[pl.Series, pl.Series]:
    """Make one entry of each list element, and none of a missing or empty list."""
    holes = lists.list.eval(pl.element().is_null().any()).list.first().fill_null(False)
    if holes.any():
        first = int(holes.arg_max() or 0)
        raise DataError(
            f"{int(holes.sum()):,} lists in column {lists.name!r} of '{table.path}' hold missing "
            f"elements, the first at {table.place(first)}. Remove those elements."
        )
    frame = pl.DataFrame([rows.alias("row"), lists.alias("feature")])
    frame = frame.filter(pl.col("feature").list.len() > 0).explode("feature")
    if len(frame) == 0:
        raise DataError(f"Every list in column {lists.name!r} of '{table.path}' is empty.")
    return frame["row"], frame["feature"].alias(lists.name)
