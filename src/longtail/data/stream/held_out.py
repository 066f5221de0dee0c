"""Rows held out of a stream by what is in them, so that copies stay on one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array, vstack

from longtail.data.counts import CountMatrix
from longtail.data.hashing import mix

__all__ = ["HeldOut", "RowLottery", "training_rows"]

# Rows of candidates in memory, for each row that may be chosen.
_CANDIDATES = 4


def training_rows(
    counts: CountMatrix, keys: npt.NDArray[np.uint64], held_out: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """The numbers of the rows of a block that are neither empty nor held out.

    Parameters
    ----------
    counts, keys
        Rows, and their content keys.
    held_out
        The keys that are held out.
    """
    return np.flatnonzero((np.diff(counts.csr.indptr) > 0) & ~np.isin(keys, held_out))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows taken out of a stream.

    Parameters
    ----------
    rows
        In the order of the stream.
    keys
        uint64, sorted: the content keys of these rows, of which no row is left in the stream.
    blocks
        int64, shape (rows,): the block that each came from.
    """

    rows: CountMatrix
    keys: npt.NDArray[np.uint64]
    blocks: npt.NDArray[np.int64]


class RowLottery:
    """Draws rows from a stream in one pass: all copies of a row, or none.

    Each content key has a lot, a hash of the key and the seed; the lowest lots win. A few rows
    more than can win are kept while the stream goes by, those with the lowest lots so far.

    Parameters
    ----------
    most
        Rows to draw, at most.
    seed
        Whole number, 0 or more.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._salt = mix(np.array([seed], dtype=np.uint64))
        self._limit = np.uint64(2**64 - 1)
        # Lots of rows with more copies than can win.
        self._losers = np.zeros(0, dtype=np.uint64)
        self._lots = np.zeros(0, dtype=np.uint64)
        self._keys = np.zeros(0, dtype=np.uint64)
        self._blocks = np.zeros(0, dtype=np.int64)
        self._parts: list[csr_array] = []
        self._ids: list[pl.Series] = []

    def add(self, rows: CountMatrix, keys: npt.NDArray[np.uint64], block: int) -> None:
        """Let the rows of a block, and their content keys, take part."""
        lots = mix(keys ^ self._salt)
        chosen = np.flatnonzero((lots < self._limit) & ~np.isin(lots, self._losers))
        self._lots = np.concatenate([self._lots, lots[chosen]])
        self._keys = np.concatenate([self._keys, keys[chosen]])
        self._blocks = np.concatenate([self._blocks, np.full(len(chosen), block)])
        self._parts.append(rows.csr[chosen])
        self._ids.append(rows.row_ids.gather(chosen))
        if len(self._lots) > _CANDIDATES * self._most:
            self._thin_out()

    def _thin_out(self) -> None:
        lots, place, times = np.unique(self._lots, return_inverse=True, return_counts=True)
        large = times > self._most
        self._losers = np.union1d(self._losers, lots[large])
        too_many = np.cumsum(np.where(large, 0, times)) > _CANDIDATES * self._most // 2
        if too_many.any():
            # Never raised again: copies of a row above it have gone by uncounted.
            self._limit = lots[int(np.argmax(too_many))]
        self._keep(~large[place] & (self._lots < self._limit))

    def _keep(self, kept: npt.NDArray[np.bool_]) -> None:
        self._parts = [vstack(self._parts, format="csr")[np.flatnonzero(kept)]]
        self._ids = [pl.concat(self._ids).filter(pl.Series(kept, dtype=pl.Boolean))]
        self._lots, self._keys = self._lots[kept], self._keys[kept]
        self._blocks = self._blocks[kept]

    def draw(self, n: int, like: CountMatrix) -> HeldOut | None:
        """Draw at most n rows, and fewer where all copies of a row do not fit; None if none do.

        Parameters
        ----------
        n
            At most `most`.
        like
            Rows of the stream, for the vocabulary and the settings.
        """
        lots, place, times = np.unique(self._lots, return_inverse=True, return_counts=True)
        wins = np.zeros(len(lots), dtype=np.bool_)
        for lot, copies in enumerate(times.tolist()):
            wins[lot] = copies <= n
            n -= copies if wins[lot] else 0
        if not wins.any():
            return None
        self._keep(wins[place])
        csr = self._parts[0]
        csr.has_canonical_format = True
        rows = CountMatrix(csr, self._ids[0], like.vocabulary, like.settings)
        return HeldOut(rows, np.unique(self._keys), self._blocks)
