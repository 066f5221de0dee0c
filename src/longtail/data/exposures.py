"""Exposures that are given, one a row: what a row's counts are proportional to, whatever z.

Person-years, opening hours, size factors: see the likelihoods that take ``exposure="given"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data.coerce import numbers_of, refuse_masked
from longtail.errors import DataError

if TYPE_CHECKING:
    from longtail.data.counts import CountMatrix
    from longtail.data.tables import TableFile

__all__ = [
    "HOW_TO_GIVE_EXPOSURES",
    "as_exposure",
    "joined_exposures",
    "line_exposures",
    "row_exposures",
]

Array = npt.NDArray[np.float64]

HOW_TO_GIVE_EXPOSURES = (
    "In Python: CountMatrix.from_any(X, exposure=values), counts.with_exposure(values), or "
    "read_counts(path, exposure_column=name). On the command line: --exposure-column NAME."
)


def as_exposure(values: Any, row_ids: pl.Series) -> Array:
    """Check exposures: float64, one a row, read-only.

    Parameters
    ----------
    values
        Numbers, finite and above 0 (in float32, too, in which they are computed with): (n,).
    row_ids
        Of the n rows, to name one.

    Raises
    ------
    DataError
        If there are not n of them, or one is no such number; names the first such row.
    """
    n_rows = len(row_ids)
    refuse_masked(values, "the exposures")
    given = values.to_numpy() if hasattr(values, "to_numpy") else numbers_of(values)
    if given.shape != (n_rows,):
        raise DataError(
            f"Expected an exposure for each of {n_rows} rows, a number above 0, but got an array "
            f"of shape {given.shape}."
        )
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Exposures must be numbers above 0, but they are not: {error}.") from error
    with np.errstate(over="ignore", under="ignore"):
        single = numbers.astype(np.float32)
    wrong = ~(np.isfinite(single) & (single > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            "Exposures must be finite numbers above 0 (from 1e-45 to 3e38): that of row "
            f"{row_ids[row]!r} (at position {row}) is {numbers[row]:g} ({int(wrong.sum()):,} such "
            "row(s) in all). Correct it, or leave the row out."
        )
    numbers.flags.writeable = False
    return numbers


def joined_exposures(parts: Sequence[CountMatrix]) -> Array | None:
    """The exposures of the rows of several matrices, one after the other; None if none has any.

    Raises
    ------
    DataError
        If some have exposures and others have not.
    """
    found = [part.exposure for part in parts if part.exposure is not None]
    if not found:
        return None
    if len(found) < len(parts):
        raise DataError(
            f"{len(found)} of {len(parts)} tables of counts have exposures and the others have "
            f"none, so they cannot be joined. {HOW_TO_GIVE_EXPOSURES}"
        )
    return np.concatenate(found)


def line_exposures(column: pl.Series, table: TableFile) -> Array:
    """The exposures in a column of a table, one a line: (m,).

    Raises
    ------
    DataError
        If one is missing, or no finite number above 0; names the first such line.
    """
    given = column.str.strip_chars() if column.dtype == pl.String else column
    if not (given.dtype == pl.String or given.dtype.is_numeric() or given.dtype == pl.Null):
        raise DataError(
            f"Column {column.name!r} of '{table.path}' is of type {column.dtype}; expected "
            "exposures, which are numbers above 0."
        )
    values = given.cast(pl.Float64, strict=False)
    bad = (values.is_null() | ~values.is_finite() | (values <= 0)).fill_null(True)
    if bad.any():
        first = int(bad.arg_max() or 0)
        raise DataError(
            f"{int(bad.sum()):,} of {len(values):,} entries in column {column.name!r} of "
            f"'{table.path}' are no exposures (finite numbers above 0); the first is "
            f"{column[first]!r} at {table.place(first)}. Correct those entries, or leave out their "
            "rows."
        )
    return values.to_numpy()


def row_exposures(column: pl.Series, rows: pl.Series, table: TableFile) -> Array:
    """The exposure of each row of a long table, every line of which repeats it: (n,).

    Parameters
    ----------
    column, rows
        Exposure and row key of each line: (m,).

    Returns
    -------
    ndarray
        In the order in which the rows appear first.

    Raises
    ------
    DataError
        If lines of one row differ; names two of them. As `line_exposures` does, too.
    """
    values = line_exposures(column, table)
    lines = pl.DataFrame({"row": rows, "exposure": values}).with_row_index("line")
    found = lines.group_by("row", maintain_order=True).agg(
        pl.col("exposure").first(), pl.col("line").first()
    )
    both = lines.join(found, on="row", how="left", maintain_order="left", suffix="_first")
    differ = both.filter(pl.col("exposure") != pl.col("exposure_first"))
    if len(differ):
        at = differ.row(0, named=True)
        raise DataError(
            f"Row {at['row']!r} of '{table.path}' has several exposures in column "
            f"{column.name!r}: {at['exposure_first']:g} at {table.place(at['line_first'])} and "
            f"{at['exposure']:g} at {table.place(at['line'])}. A row has one, which every line of "
            "it repeats."
        )
    return found["exposure"].to_numpy()
