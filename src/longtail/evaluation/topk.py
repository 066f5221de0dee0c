"""The k best of each row of scores, with ties broken in one stated way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from longtail.errors import DataError

__all__ = ["NOTHING", "row_chunks", "top_k"]

NOTHING = -1
"""In a list of items: no item, because too few were left."""

_CHUNK = 2**24  # scores held at a time: 64 MB in float32


def top_k(
    scores: npt.NDArray[np.floating], k: int, masked: csr_array | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """The k columns with the highest scores of each row, best first.

    Of equal scores the lower column comes first, so that the lists depend on the scores alone.

    Parameters
    ----------
    scores
        (B, V). Entries of −∞ are never listed. Overwritten where `masked` has an entry.
    k
        Length of the lists, ≥ 1.
    masked
        B×V: columns with an entry here are left out.

    Returns
    -------
    indices, values
        (B, k). Where fewer than k columns are left, the list ends with `NOTHING` and NaN.

    Raises
    ------
    DataError
        If a score is not a number.
    """
    n, n_columns = scores.shape
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float64)  # whole numbers have no −∞
    if masked is not None:
        scores[np.repeat(np.arange(n), np.diff(masked.indptr)), masked.indices] = -np.inf
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise DataError(f"Scores must be numbers, but row {row}, column {column} holds NaN.")
    width = min(k, n_columns)
    threshold = np.partition(scores, n_columns - width, axis=1)[:, n_columns - width]
    # All columns at the threshold are candidates: which of them the partition put in is chance.
    rows, columns = np.nonzero((scores >= threshold[:, None]) & (scores > -np.inf))
    values = scores[rows, columns]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(n))[rows]
    listed = rank < k
    rows, rank = rows[listed], rank[listed]
    indices = np.full((n, k), NOTHING, dtype=np.int64)
    best = np.full((n, k), np.nan, dtype=scores.dtype)
    indices[rows, rank] = columns[listed]
    best[rows, rank] = values[listed]
    return indices, best


def row_chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of the rows so short that their scores for all columns take little memory."""
    size = max(1, _CHUNK // max(1, n_columns))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
