"""Mini-batches of sparse rows, cut and shuffled without a Python loop over rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from longtail.errors import DataError, ParameterError

__all__ = ["Batch", "BatchSource", "Batches", "Part"]


@dataclass(frozen=True)
class Part:
    """Which of the processes that share every batch this one is.

    Parameters
    ----------
    index
        From 0.
    of
        How many there are.
    """

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        """Check that there is such a part."""
        if not 0 <= self.index < self.of:
            raise ParameterError(
                f"Expected a part from 0 to below the number of parts; got part {self.index} of "
                f"{self.of}."
            )


WHOLE = Part()


@dataclass(frozen=True, eq=False)
class Batch:
    """B rows of counts with the features that the encoder sees.

    Parameters
    ----------
    rows
        int64, shape (B,): positions of the rows in the source matrix.
    keys
        uint64, shape (B,): content keys of the rows; per-row noise is seeded with these, so
        that a row's result does not depend on its place in a batch.
    counts
        CSR, shape (B, V): the raw counts, for the likelihood.
    features
        CSR, shape (B, V): the transformed counts, for the encoder.
    global_size
        Rows of the whole batch, of which these are one process's part; B if there is one process.
    exposure
        float64, shape (B,): the exposures of the rows; None if none are given.
    """

    rows: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    counts: csr_array
    features: csr_array
    global_size: int
    exposure: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return B, the number of rows."""
        return len(self.rows)


class BatchSource(Protocol):
    """What training reads: the same rows in every epoch, shuffled anew."""

    @property
    def n_rows(self) -> int:
        """Rows of an epoch, over all processes."""
        ...

    def __len__(self) -> int:
        """Batches of an epoch, the same for every process."""
        ...

    def epoch(
        self, seed: int, epoch: int, *, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, or a process's part of each.

        A pure function of its arguments; the parts of a batch make up the whole batch, whatever
        their number, and none is empty.
        """
        ...

    def row_id(self, row: int) -> Any:
        """The identifier of a row of `Batch.rows`, for messages."""
        ...


class Batches:
    """Cuts a matrix into batches, in order or shuffled.

    Parameters
    ----------
    counts
        CSR, shape (n, V): the raw counts.
    features
        CSR, shape (n, V): the same rows after a `FeatureTransform`.
    keys
        uint64, shape (n,): see `CountMatrix.row_keys`.
    batch_size
        The largest number of rows in a batch.
    row_ids
        Identifiers of the rows, for messages; their numbers if not given.
    exposure
        float64, shape (n,): the exposures of the rows, if they have any.

    Raises
    ------
    DataError
        If these do not have the same rows, or there are none.
    ParameterError
        If `batch_size` is not a positive whole number.
    """

    def __init__(
        self,
        counts: csr_array,
        features: csr_array,
        keys: npt.NDArray[np.uint64],
        batch_size: int,
        row_ids: Sequence[Any] | pl.Series | None = None,
        exposure: npt.NDArray[np.float64] | None = None,
    ) -> None:
        if counts.shape != features.shape or counts.shape[0] != len(keys):
            raise DataError(
                "Counts, features and keys must describe the same rows, but their shapes are "
                f"{counts.shape}, {features.shape} and ({len(keys)},)."
            )
        if exposure is not None and len(exposure) != counts.shape[0]:
            raise DataError(f"{len(exposure)} exposures do not fit {counts.shape[0]} rows.")
        if counts.shape[0] == 0:
            raise DataError("Expected at least one row to make batches of, but there are none.")
        if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool):
            raise ParameterError(f"batch_size must be a whole number, but got {batch_size!r}.")
        if batch_size < 1:
            raise ParameterError(f"batch_size must be 1 or more, but got {batch_size}.")
        self._counts = counts
        self._features = features
        self._keys = keys
        self._exposure = exposure
        self._batch_size = int(batch_size)
        self._row_ids: Sequence[Any] | pl.Series = (
            range(counts.shape[0]) if row_ids is None else row_ids
        )

    def __len__(self) -> int:
        """Return the number of batches, the same for `epoch` and `ordered`."""
        return -(-self.n_rows // self._batch_size)

    @property
    def n_rows(self) -> int:
        """The number of rows over all batches."""
        return int(self._counts.shape[0])

    def row_id(self, row: int) -> Any:
        """The identifier of a row of `Batch.rows`."""
        return self._row_ids[row]

    def epoch(
        self, seed: int, epoch: int, *, start: int = 0, part: Part = WHOLE
    ) -> Iterator[Batch]:
        """Yield every row once, shuffled; a pure function of the arguments.

        When the last batch would have fewer than half of ``batch_size`` rows, all batches
        are made nearly equal instead: a tiny batch would take a full-sized, noisy step.

        Parameters
        ----------
        seed, epoch
            Whole numbers, 0 or more.
        start
            The first batch to yield, from 0.
        part
            Which rows of each batch to yield.

        Raises
        ------
        ParameterError
            If a number is negative, or a batch has fewer rows than parts.
        """
        if seed < 0 or epoch < 0:
            raise ParameterError(
                f"seed and epoch must be 0 or more, but got seed={seed}, epoch={epoch}."
            )
        order = np.random.default_rng([seed, epoch]).permutation(self.n_rows)
        rest = self.n_rows % self._batch_size
        if 0 < rest < self._batch_size / 2:
            pieces = np.array_split(order, len(self))
        else:
            pieces = self._cut(order)
        for rows in pieces[start:]:
            if len(rows) < part.of:
                raise ParameterError(
                    f"A batch of {len(rows)} rows cannot be shared by {part.of} processes. Use "
                    "fewer processes, or a larger batch_size."
                )
            own = np.array_split(rows, part.of)[part.index]
            yield self._gather(own, len(rows))

    def ordered(self) -> Iterator[Batch]:
        """Yield every row once, in the order of the source matrix."""
        for rows in self._cut(np.arange(self.n_rows)):
            yield self._gather(rows, len(rows))

    def _cut(self, order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        return np.split(order, range(self._batch_size, self.n_rows, self._batch_size))

    def _gather(self, rows: npt.NDArray[np.int64], global_size: int) -> Batch:
        rows = rows.astype(np.int64, copy=False)
        counts = self._counts[rows]
        # The plain path where the encoder sees the counts themselves gathers once.
        features = counts if self._features is self._counts else self._features[rows]
        return Batch(
            rows=rows,
            keys=self._keys[rows],
            counts=counts,
            features=features,
            global_size=global_size,
            exposure=None if self._exposure is None else self._exposure[rows],
        )
