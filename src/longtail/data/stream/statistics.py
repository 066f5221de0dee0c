"""What training needs to know of all rows of a stream before it begins: one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from longtail.data.counts import CountMatrix
from longtail.data.stream.held_out import HeldOut, RowLottery
from longtail.data.stream.row_totals import RowTotals

__all__ = ["Gathering", "StreamStatistics"]


@dataclass(frozen=True, eq=False)
class StreamStatistics:
    """Sums over the training rows of a stream: those that are neither empty nor held out.

    Parameters
    ----------
    block_rows
        int64, shape (blocks,): training rows of each block.
    rows_with, totals
        Shape (V,): rows that hold each feature (int64), and its total count (float64).
    row_totals
        N_d, the totals of the rows.
    squares
        Sum of squares of all entries under the feature transforms ``"l1"``, ``"log1p"``,
        ``"binary"``, and ``"tfidf"``, whose rows have length 1.
    n_empty
        Rows without a count, left out.
    n_values, n_fractional
        Entries that are not 0, of all rows, and those of them that are no whole numbers.
    n_repeated
        Entries that repeated the (row, feature) pair of another, and were added to it.
    unknown_mass, unknown_rows
        Share of the total count that the vocabulary lacks, and of the rows that hold some.
    valid
        Rows held out, if any.
    """

    block_rows: npt.NDArray[np.int64]
    rows_with: npt.NDArray[np.int64]
    totals: npt.NDArray[np.float64]
    row_totals: RowTotals
    squares: Mapping[str, float]
    n_empty: int
    n_values: int
    n_fractional: int
    n_repeated: int
    unknown_mass: float
    unknown_rows: float
    valid: HeldOut | None

    @property
    def held_out(self) -> npt.NDArray[np.uint64]:
        """Content keys of the rows that are held out."""
        return np.zeros(0, dtype=np.uint64) if self.valid is None else self.valid.keys

    @property
    def n_rows(self) -> int:
        """Training rows of all blocks."""
        return int(self.block_rows.sum())

    @property
    def total(self) -> float:
        """Total count of all training rows."""
        return float(self.totals.sum())

    def typical_norm(self, kind: str) -> float:
        """Root mean square of the rows' Euclidean norms under a feature transform."""
        return float(np.sqrt(self.squares[kind] / self.n_rows))


class Gathering:
    """Adds up `StreamStatistics`, block by block.

    Parameters
    ----------
    n_blocks, n_features
        Of the stream.
    lottery
        Draws the rows to hold out, or None for none.
    """

    def __init__(self, n_blocks: int, n_features: int, lottery: RowLottery | None) -> None:
        self._block_rows = np.zeros(n_blocks, dtype=np.int64)
        self._rows_with = np.zeros(n_features, dtype=np.int64)
        self._totals = np.zeros(n_features)
        self._row_totals = RowTotals()
        self._squares = {"tfidf": 0.0, "l1": 0.0, "log1p": 0.0, "binary": 0.0}
        self._lottery = lottery
        self._n_all = self._n_values = self._n_fractional = self._n_repeated = 0
        self._all_mass = 0.0
        self._unknown_rows = 0
        self._like: CountMatrix | None = None

    def add(self, number: int, every: CountMatrix, counts: CountMatrix) -> None:
        """Add a block, over all its own features and over the vocabulary."""
        self._n_all += counts.n_rows
        self._n_values += counts.nnz
        self._n_fractional += counts.n_fractional
        self._n_repeated += every.n_repeated
        self._all_mass += float(every.totals.sum())
        self._unknown_rows += int(np.count_nonzero(_lengths(every.csr) > _lengths(counts.csr)))
        rows = counts[np.flatnonzero(_lengths(counts.csr))]
        if rows.n_rows == 0:
            return
        self._like = rows
        self._count(rows, np.full(rows.n_rows, number), 1)
        if self._lottery is not None:
            self._lottery.add(rows, rows.row_keys(), number)

    def _count(self, rows: CountMatrix, blocks: npt.NDArray[np.int64], times: int) -> None:
        """Add rows, or take them away again (`times` −1)."""
        csr, totals = rows.csr, rows.totals
        values = csr.data.astype(np.float64)
        n_features = len(self._totals)
        self._block_rows += times * np.bincount(blocks, minlength=len(self._block_rows))
        self._rows_with += times * np.bincount(csr.indices, minlength=n_features)
        self._totals += times * np.bincount(csr.indices, weights=values, minlength=n_features)
        self._row_totals.add(totals, times=times)
        shares = values / np.repeat(totals, _lengths(csr))
        for kind, squares in (
            ("tfidf", float(rows.n_rows)),
            ("l1", float(np.square(shares).sum())),
            ("log1p", float(np.square(np.log1p(values)).sum())),
            ("binary", float(rows.nnz)),
        ):
            self._squares[kind] += times * squares

    @property
    def n_rows(self) -> int:
        """Rows with a count so far."""
        return int(self._block_rows.sum())

    def finish(self, n_valid: int) -> StreamStatistics:
        """Hold out at most `n_valid` rows and return what is left."""
        valid = None
        n_empty, known_mass = self._n_all - self.n_rows, float(self._totals.sum())
        if self._lottery is not None and n_valid and self._like is not None:
            valid = self._lottery.draw(n_valid, self._like)
        if valid is not None:
            self._count(valid.rows, valid.blocks, -1)
        unknown = max(0.0, self._all_mass - known_mass)
        return StreamStatistics(
            block_rows=self._block_rows,
            rows_with=self._rows_with,
            totals=self._totals,
            row_totals=self._row_totals,
            squares=self._squares,
            n_empty=n_empty,
            n_values=self._n_values,
            n_fractional=self._n_fractional,
            n_repeated=self._n_repeated,
            unknown_mass=unknown / self._all_mass if self._all_mass else 0.0,
            unknown_rows=self._unknown_rows / max(1, self._n_all),
            valid=valid,
        )


def _lengths(csr: csr_array) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.int64] = np.diff(csr.indptr)
    return lengths
