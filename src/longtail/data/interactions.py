"""Tables of entries → counts: one (row, feature, count) a line, or lists of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.entries import (
    Entries,
    NothingToCountError,
    count_edges,
    count_entries,
    no_counts,
)
from longtail.data.exposures import row_exposures
from longtail.data.ratings import HOW_TO_BINARIZE, describe_ratings
from longtail.data.settings import ReadSettings
from longtail.data.tables import TableFile, tidy_ids
from longtail.errors import DataError, DataWarning

__all__ = ["count_long_table", "entries_in_lines"]

_GATHER = (
    "Gather each row into one line first, with Polars: frame.group_by('row', "
    "maintain_order=True).agg('feature', 'count').write_parquet('gathered.parquet'), and name "
    "the columns of lists with feature_column= and value_column=."
)
_KEY_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def count_long_table(table: TableFile, settings: ReadSettings) -> CountMatrix:
    """Count a table whose lines say how often a row (user, record) has a feature (item, code).

    Rows come in order of first appearance, features sorted by name; the counts of a pair that
    occurs more than once are summed. If the cells of the feature column are lists, every
    element is an entry, whose count stands in the list of the value column at the same place;
    then an empty list makes an empty row.

    Raises
    ------
    DataError
        If a column is unknown, a key is missing, a count is not a number or negative, or the
        exposures of a row differ. Of a part of a table: if its lines are not whole rows.
    """
    assert settings.feature_column is not None  # ReadSettings checks it
    feature = table.require(settings.feature_column, "feature_column")
    row = value = exposed = None
    if settings.exposure_column is not None:
        exposed = table.require(settings.exposure_column, "exposure_column")
    if settings.row_column is not None:
        row = table.require(settings.row_column, "row_column")
    if settings.value_column is not None:
        value = table.require(settings.value_column, "value_column")
    frame = table.load([name for name in (row, feature, value, exposed) if name is not None])
    if len(frame) == 0 and not table.is_part:
        raise DataError(f"'{table.path}' has columns but no rows; expected at least one entry.")
    if settings.feature_separator is not None:
        frame = frame.with_columns(_split_cells(frame[feature], settings.feature_separator, table))
    rows = _rows(frame, row, feature, table)
    row_order = rows.unique(maintain_order=True)
    exposure = None if exposed is None else row_exposures(frame[exposed], rows, table)
    if table.is_part:
        _check_whole_rows(frame[feature], len(frame), row_order, table)
    places = None
    if isinstance(frame[feature].dtype, pl.List):
        _check_lists_apply(frame, feature, value, settings, table)
        places = np.repeat(np.arange(len(frame)), frame[feature].list.len().fill_null(0))
        _check_elements(frame[feature], table)
        frame = _exploded(frame, feature, value)
        rows = rows.gather(places)
    values = _values(frame, value, table, settings, places)
    entries = Entries(rows, _checked_keys(frame[feature], table, places), values)
    said = f"Every list in column {feature!r} of '{table.path}' is empty."
    if settings.min_value is not None and values is not None and len(values):
        entries = entries[values >= settings.min_value]
        said = (
            f"No entry of '{table.path}' is left with min_value={settings.min_value:g}: the "
            f"largest in column {value!r} is {values.max():g}. Lower min_value."
        )
    named = None if row is None else tidy_ids(row_order)
    ids = row_order if table.is_part else named
    if len(entries.rows) == 0:
        empty = no_counts(ids, len(row_order)).with_exposure(exposure)
        if table.is_part:
            return empty
        raise NothingToCountError(said, empty)
    if settings.symmetric:
        return count_edges(entries, f"'{table.path}'", self_links=settings.self_links)
    counts = count_entries(entries, row_order, settings)
    if ids is not None:
        counts = CountMatrix.from_any(counts, row_ids=ids)
    return counts.with_exposure(exposure)


def entries_in_lines(path: Path | str) -> DataError:
    """The error about a table of one entry a line that is to be read part by part."""
    return DataError(
        f"'{path}' has one entry a line, and a row's entries may be in several parts of the data, "
        f"so it cannot be read part by part. {_GATHER}"
    )


def _check_whole_rows(
    features: pl.Series, n_lines: int, row_order: pl.Series, table: TableFile
) -> None:
    """Refuse a part of a table whose lines are entries: the rest of a row may be elsewhere."""
    if not isinstance(features.dtype, pl.List) and features.dtype != pl.Null:
        raise entries_in_lines(table.path)
    if len(row_order) < n_lines:
        raise DataError(
            f"Of the {n_lines:,} lines of '{table.path}' only {len(row_order):,} have a row key "
            f"of their own in column {row_order.name!r}; read part by part, every line must be a "
            f"whole row. {_GATHER}"
        )


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
    frame: pl.DataFrame,
    feature: str,
    value: str | None,
    settings: ReadSettings,
    table: TableFile,
) -> None:
    """Refuse what makes no sense of a column of lists."""
    if value is not None and not isinstance(frame[value].dtype, pl.List):
        raise DataError(
            f"Column {feature!r} of '{table.path}' holds lists, so that value_column={value!r} "
            f"must hold a list of as many counts, but it is of type {frame[value].dtype}. Leave it "
            "out, and every element counts 1."
        )
    if value is not None:
        lengths = [frame[name].list.len().fill_null(0) for name in (feature, value)]
        differ = lengths[0] != lengths[1]
        if differ.any():
            first = int(differ.arg_max() or 0)
            raise DataError(
                f"{int(differ.sum()):,} lists in column {value!r} of '{table.path}' are not as "
                f"long as those of features in column {feature!r}, the first at "
                f"{table.place(first)}: {lengths[1][first]} against {lengths[0][first]}. Give "
                "every element one count."
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
    return table.row_numbers(len(frame))


def _entry_place(entry: int, places: npt.NDArray[np.int64] | None, table: TableFile) -> str:
    return table.place(entry if places is None else int(places[entry]))


def _checked_keys(
    keys: pl.Series, table: TableFile, places: npt.NDArray[np.int64] | None = None
) -> pl.Series:
    """Refuse missing and empty keys, and keys of types that do not identify anything.

    `places` are the lines of the entries, where a line has several.
    """
    missing = keys.null_count()
    if missing:
        first = int(keys.is_null().arg_max() or 0)
        raise DataError(
            f"{missing:,} of {len(keys):,} entries in column {keys.name!r} of '{table.path}' are "
            f"missing, the first at {_entry_place(first, places, table)}. Remove those entries, or "
            "name them."
        )
    if not (keys.dtype.is_integer() or keys.dtype in _KEY_TYPES):
        raise DataError(
            f"Column {keys.name!r} of '{table.path}' is of type {keys.dtype}; expected strings or "
            "whole numbers, because it says which row or feature an entry belongs to."
        )
    if keys.dtype not in _KEY_TYPES:
        return keys
    named = keys.cast(pl.String)
    blank = named.str.strip_chars() == ""
    if blank.any():
        first = int(blank.arg_max() or 0)
        raise DataError(
            f"{int(blank.sum()):,} of {len(keys):,} entries in column {keys.name!r} of "
            f"'{table.path}' are empty, the first at {_entry_place(first, places, table)}. Remove "
            "those entries, or name them."
        )
    return named


def _values(
    frame: pl.DataFrame,
    column: str | None,
    table: TableFile,
    settings: ReadSettings,
    places: npt.NDArray[np.int64] | None,
) -> npt.NDArray[np.float64] | None:
    """Check the counts of the entries; those that min_value leaves out may be negative.

    `places` are the lines of the entries, where a line has several.
    """
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
            f"{frame[column][first]!r} at {_entry_place(first, places, table)}. Correct or remove "
            "those entries." + negative
        )
    found = values.to_numpy()
    _notice_ratings(found, column, table, settings)
    return found


def _notice_ratings(
    values: npt.NDArray[np.float64], column: str, table: TableFile, settings: ReadSettings
) -> None:
    if settings.binarize or settings.min_value is not None or table.is_part:
        return
    ratings = describe_ratings(values)
    if ratings is not None:
        warnings.warn(
            f"Column {column!r} of '{table.path}' looks like ratings, not counts: {ratings}. They "
            f"are taken as counts. {HOW_TO_BINARIZE}",
            DataWarning,
            stacklevel=2,
        )


def _check_elements(lists: pl.Series, table: TableFile) -> None:
    """Refuse lists with missing elements."""
    holes = lists.list.eval(pl.element().is_null().any()).list.first().fill_null(False)
    if holes.any():
        first = int(holes.arg_max() or 0)
        raise DataError(
            f"{int(holes.sum()):,} lists in column {lists.name!r} of '{table.path}' hold missing "
            f"elements, the first at {table.place(first)}. Remove those elements."
        )


def _exploded(frame: pl.DataFrame, feature: str, value: str | None) -> pl.DataFrame:
    """Make one entry of each list element, and none of a missing or empty list."""
    columns = [feature] if value is None else [feature, value]
    return frame.select(columns).filter(pl.col(feature).list.len() > 0).explode(columns)
