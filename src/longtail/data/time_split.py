"""Hold out what came last in each row, or all from a moment on."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import polars as pl
from scipy.sparse import csr_array

from longtail.data.counts import CountMatrix
from longtail.data.holdout import check_share
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning, ParameterError

__all__ = ["split_by_time"]


def split_by_time(
    frame: pl.DataFrame,
    *,
    row_column: str,
    feature_column: str,
    time_column: str,
    value_column: str | None = None,
    share: float | None = None,
    cutoff: Any = None,
) -> tuple[CountMatrix, CountMatrix]:
    """Hold out what came last: a share of each row's features, or all from a moment on.

    A feature's time in a row is that of its first interaction there. Interactions with a feature
    that the row had before the split stay with neither side, as it could not be recommended: they
    are counted in a notice.

    Parameters
    ----------
    frame
        One interaction a line.
    row_column, feature_column, time_column
        Columns of `frame`: whose, with what, and when (a date, a time or a number).
    value_column
        Column with how many; 1 each if not given.
    share
        ⌊share · m⌋ of a row's m features, those met last, are held out. Features met at the same
        time are taken in the order of their names.
    cutoff
        Interactions at this time or later are held out, of all rows. A row may have nothing before.
        Text is read as an ISO date or time.

    Returns
    -------
    observed, held_out
        Rows and features of both sides, in the order of their names.

    Raises
    ------
    ParameterError
        If not exactly one of `share` and `cutoff` is given, or a share is out of range.
    DataError
        If a column is missing or has missing values, or either side would be empty.
    """
    if (share is None) == (cutoff is None):
        raise ParameterError(
            f"Give either share or cutoff, one of the two; got share={share!r}, cutoff={cutoff!r}."
        )
    if share is not None:
        check_share(share)
    long = _interactions(frame, row_column, feature_column, time_column, value_column)
    long = _after(long, _as_time(cutoff, long["time"])) if share is None else _last(long, share)
    _notice_repeats(long)
    observed, held_out = _pivot(long.filter(~pl.col("repeat")))
    if observed.nnz == 0 or held_out.nnz == 0:
        side = "observed" if observed.nnz == 0 else "held out"
        times = long["time"].sort()
        raise DataError(
            f"Nothing would be {side}: the interactions are from {times[0]!s} to {times[-1]!s}. "
            "Choose another cutoff or share."
        )
    return observed, held_out


def _after(long: pl.DataFrame, moment: pl.Expr) -> pl.DataFrame:
    """Mark the interactions that are held out, and those that come too late for either side."""
    late = pl.col("time").min().over("row", "feature") >= moment
    return long.with_columns(late=late, repeat=~late & (pl.col("time") >= moment))


def _last(long: pl.DataFrame, share: float) -> pl.DataFrame:
    """As `_after`, of a share of each row's features; the first of them is the row's moment."""
    pairs = long.group_by("row", "feature").agg(first=pl.col("time").min())
    order = pl.struct("first", "feature").rank("ordinal").over("row")
    m = pl.len().over("row").cast(pl.Int64)
    # As in `split_items`: 0.29 · 100 is just below 29 in floating point.
    held = pl.min_horizontal((m * share + 1e-9).floor().cast(pl.Int64), m - 1)
    pairs = pairs.with_columns(late=order > m - held)
    start = pairs.filter("late").group_by("row").agg(start=pl.col("first").min())
    long = long.join(pairs.drop("first"), on=["row", "feature"])
    long = long.join(start, on="row", how="left")
    repeat = ~pl.col("late") & (pl.col("time") > pl.col("start")).fill_null(False)
    return long.with_columns(repeat=repeat)


def _interactions(
    frame: pl.DataFrame, row: str, feature: str, time: str, value: str | None
) -> pl.DataFrame:
    """The columns that matter, under names of our own."""
    named = {"row": row, "feature": feature, "time": time} | ({"value": value} if value else {})
    missing = [name for name in named.values() if name not in frame.columns]
    if missing:
        raise DataError(
            f"No column {', '.join(map(repr, missing))} among "
            f"{', '.join(map(repr, frame.columns))}."
        )
    long = frame.select(**{ours: pl.col(theirs) for ours, theirs in named.items()})
    for ours, theirs in named.items():
        if nulls := long[ours].null_count():
            at = int(long[ours].is_null().arg_max() or 0)
            raise DataError(
                f"Column {theirs!r} has {nulls:,} missing value(s), the first in line {at}; drop "
                "those lines."
            )
    if long["time"].dtype == pl.String:
        raise DataError(
            f"Column {time!r} holds text, whose order need not be that of time. Convert it with "
            "str.to_datetime() first."
        )
    return long if value else long.with_columns(value=pl.lit(1.0))


def _as_time(cutoff: Any, times: pl.Series) -> pl.Expr:
    if times.dtype.is_numeric() and isinstance(cutoff, int | float):
        return pl.lit(cutoff)  # a cast to whole numbers would move it
    try:
        moment = dt.datetime.fromisoformat(cutoff) if isinstance(cutoff, str) else cutoff
        return pl.lit(pl.Series([moment]).cast(times.dtype, strict=True).item())
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise ParameterError(
            f"cutoff must be comparable with the times, which are {times.dtype}; got {cutoff!r}."
        ) from error


def _notice_repeats(long: pl.DataFrame) -> None:
    repeats = int(long["repeat"].sum())
    if repeats:
        warnings.warn(
            f"{repeats:,} of {long.height:,} interactions come after the split, with a feature "
            "that the row had before it: left out.",
            DataWarning,
            stacklevel=3,
        )


def _pivot(long: pl.DataFrame) -> tuple[CountMatrix, CountMatrix]:
    row_ids = long["row"].unique().sort()
    features = long["feature"].unique().sort()
    codes = [
        long.select(pl.col(name).replace_strict(values, range(len(values)), return_dtype=pl.Int64))
        .to_series()
        .to_numpy()
        for name, values in (("row", row_ids), ("feature", features))
    ]
    vocabulary = Vocabulary(map(str, features.to_list()))
    late = long["late"].to_numpy()
    shape = (len(row_ids), len(features))
    sides = []
    for chosen in (~late, late):
        triples = (long["value"].to_numpy()[chosen], (codes[0][chosen], codes[1][chosen]))
        sides.append(
            CountMatrix.from_any(
                csr_array(triples, shape=shape), row_ids=row_ids, vocabulary=vocabulary
            )
        )
    return sides[0], sides[1]
