"""The totals of many rows in little memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["RowTotals"]

_MOST = 1 << 16
_BINS_AN_OCTAVE = 512


class RowTotals:
    """How many rows have which total.

    Exact for up to 65,536 different totals; with more, totals within 0.14 % of each other are
    taken together and stand for their mean.
    """

    def __init__(self) -> None:
        self._keys = np.zeros(0)
        self._rows = np.zeros(0, dtype=np.int64)
        self._sums = np.zeros(0)
        self._binned = False

    def add(self, totals: npt.NDArray[np.float64], *, times: int = 1) -> None:
        """Add rows with these totals, positive, shape (n,); `times` −1 takes them away again."""
        keys, place, rows = np.unique(self._key(totals), return_inverse=True, return_counts=True)
        sums = np.bincount(place, weights=totals, minlength=len(keys)).astype(np.float64)
        self._merge(keys, times * rows, times * sums)
        if len(self._keys) > _MOST and not self._binned:
            self._binned = True
            held = self._key(self._keys), self._rows, self._sums
            self._keys, self._rows, self._sums = np.zeros(0), self._rows[:0], self._sums[:0]
            self._merge(*held)

    def _key(self, totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.floor(np.log2(totals) * _BINS_AN_OCTAVE) if self._binned else totals

    def _merge(
        self,
        keys: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
        sums: npt.NDArray[np.float64],
    ) -> None:
        every, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)

        def added(held: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
            weights = np.concatenate([held, new]).astype(np.float64)
            return np.bincount(place, weights=weights, minlength=len(every)).astype(np.float64)

        self._rows = added(self._rows, rows).astype(np.int64)
        self._sums = added(self._sums, sums)
        self._keys = every

    @property
    def _levels(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Totals in ascending order, and how many rows have each."""
        there = self._rows > 0
        return self._sums[there] / self._rows[there], self._rows[there]

    def median(self) -> float:
        """The median total; 0 if there are no rows."""
        totals, rows = self._levels
        n, reached = int(rows.sum()), np.cumsum(rows)
        if n == 0:
            return 0.0
        middle = np.searchsorted(reached, [(n - 1) // 2, n // 2], side="right")
        return float(totals[middle].mean())

    def groups(self, most: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Cut the rows, in the order of their totals, into nearly equal groups.

        Returns
        -------
        sizes, means
            Rows of each group, and their mean total.
        """
        totals, rows = self._levels
        n = int(rows.sum())
        least, more = divmod(n, min(most, n))
        sizes = np.full(min(most, n), least, dtype=np.float64)
        sizes[:more] += 1
        ends = np.concatenate([[0.0], np.cumsum(sizes)])
        # The sum of the first i totals, which between two levels grows linearly.
        sums = np.interp(
            ends,
            np.concatenate([[0], np.cumsum(rows)]),
            np.concatenate([[0.0], np.cumsum(rows * totals)]),
        )
        return sizes, np.diff(sums) / sizes
