"""pandas DataFrames: names of columns and rows, and values without making sparse columns dense."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array

from longtail.errors import DataError

__all__ = ["column_names", "frame_values", "index_names", "is_whole"]


def column_names(columns: Any) -> tuple[str, ...] | None:
    """Return feature names: text as it is, whole numbers as text; None for RangeIndex 0 to V − 1.

    Raises
    ------
    DataError
        If a name is of another type, or some are text and others numbers.
    """
    listed = list(columns)
    if type(columns).__name__ == "RangeIndex" and (columns.start, columns.step) == (0, 1):
        return None
    kinds = [str if isinstance(n, str) else int if is_whole(n) else type(n) for n in listed]
    other = next((i for i, kind in enumerate(kinds) if kind not in (str, int)), None)
    if other is not None:
        raise DataError(
            f"Column names must be strings or whole numbers, but column {other} is called "
            f"{listed[other]!r} ({kinds[other].__name__}). Rename the columns, for instance with "
            "X.columns = [str(name) for name in X.columns]."
        )
    if len(set(kinds)) > 1:
        text, number = kinds.index(str), kinds.index(int)
        raise DataError(
            f"Column names must be all strings or all whole numbers, but column {text} is called "
            f"{listed[text]!r} and column {number} {listed[number]!r}; rename them."
        )
    return tuple(str(name) for name in listed)


def index_names(index: Any) -> Any | None:
    """Return a frame's index as row ids where it tells rows apart; a plain range says nothing."""
    if type(index).__name__ == "RangeIndex" or not index.is_unique:
        return None
    if not hasattr(index, "levels") and index.hasnans:
        return None
    values = list(index)
    if all(is_whole(value) for value in values):
        return [int(value) for value in values]
    # Dates, fractions and tuples as text: numbers in their place would match other rows.
    names = [str(value) for value in values]
    return names if len(set(names)) == len(names) and all(names) else None


def frame_values(frame: Any) -> npt.NDArray[Any] | csc_array:
    """Return the values of numeric columns, sparse if a column is; missing ones as NaN.

    Raises
    ------
    DataError
        If values are missing in a sparse column: as its fill value, they are not stored.
    """
    dtypes = list(frame.dtypes)
    if any(dtype.kind == "c" for dtype in dtypes):
        return np.asarray(frame.to_numpy())  # to be refused
    if any(hasattr(dtype, "fill_value") for dtype in dtypes):
        return _by_column(frame)
    if len(set(dtypes)) == 1 and isinstance(dtypes[0], np.dtype):
        return np.asarray(frame.to_numpy())
    return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))


def _by_column(frame: Any) -> csc_array:
    """Collect the non-zeros of each column, so that only one is dense at a time."""
    rows, values = [], []
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position].array
        if hasattr(column, "sp_index") and not column.fill_value:
            at = column.sp_index.to_int_index().indices
            held = np.asarray(column.sp_values)
        else:
            _refuse_missing(column, frame.columns[position])
            dense = column.to_numpy(dtype=np.float64, na_value=np.nan)
            at = np.flatnonzero(dense)
            held = dense[at]
        rows.append(np.asarray(at, dtype=np.int64))
        values.append(held.astype(np.float64))
    before = np.concatenate([[0], np.cumsum([len(at) for at in rows])])
    return csc_array((np.concatenate(values), np.concatenate(rows), before), shape=frame.shape)


def _refuse_missing(column: Any, name: Any) -> None:
    """Refuse a sparse column whose unstored values are missing, not 0."""
    if not hasattr(column, "sp_index"):
        return
    n_missing = len(column) - column.npoints
    if n_missing and np.isnan(column.fill_value):
        raise DataError(
            f"NaN or inf in data, but counts must be finite numbers: the sparse column {name!r} "
            f"has the fill value {column.fill_value}, so {n_missing:,} of its {len(column):,} "
            "values are missing. If they mean that nothing was counted, use X.fillna(0)."
        )


def is_whole(value: object) -> bool:
    """Whether a name is a whole number; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)
