"""The first pass over a stream: which features there are, and which of them are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from longtail.data.counts import CountMatrix
from longtail.data.limits import kept_features
from longtail.data.stream.dataset import ParquetDataset
from longtail.data.stream.tally import FeatureTally
from longtail.data.vocabulary import Vocabulary
from longtail.errors import CorruptBlockError, DataError

__all__ = ["FoundFeatures", "Progress", "find_features", "readable_blocks"]

Progress = Callable[[str, int, int], None]
"""Called with a stage, the rows done and the rows in all."""


@dataclass(frozen=True)
class FoundFeatures:
    """What the first pass over a stream found.

    Parameters
    ----------
    vocabulary
        The features that are kept, by name.
    n_seen
        How many different ones were held; where that is exact, how many there are.
    may_miss
        A feature in more rows than this is not missing; 0 if none can be.
    """

    vocabulary: Vocabulary
    n_seen: int
    may_miss: int


def find_features(
    dataset: ParquetDataset,
    *,
    most: int,
    skipped: set[int] | None,
    progress: Progress | None = None,
) -> FoundFeatures:
    """Count the features of all blocks, and apply the limits of the settings.

    The result is that of reading everything at once where no more than `most` different features
    come up, and where min_df exceeds the rows of those that had to be forgotten: then a second
    pass counts the rest exactly.

    Parameters
    ----------
    dataset
        What to read.
    most
        Features held in memory, at most.
    skipped
        Corrupt blocks, which are left out, and to which those found are added. None: a corrupt
        block is an error.
    progress
        Called after each block.

    Raises
    ------
    CorruptBlockError
        See `skipped`.
    DataError
        If no feature is left.
    """
    tally, n_rows = FeatureTally(most), 0
    for _, counts in readable_blocks(dataset, skipped, "features", progress):
        n_rows += counts.n_rows
        found, called = _occurring(counts), counts.vocabulary.names
        tally.add([called[i] for i in found.which], found.rows_with, found.totals)
    names, rows_with, missed, totals = tally.sorted()
    if not (names or tally.lost_rows):
        raise DataError(
            f"No row of '{dataset.path}' holds anything to count. Check the column, "
            "token_pattern and min_value."
        )
    n_seen, least = len(names), dataset.settings.min_df
    fewest = least * n_rows if isinstance(least, float) else least
    if missed.any():
        # Of those that may be common enough, the exact numbers.
        names = [n for n, rows in zip(names, rows_with + missed, strict=True) if rows >= fewest]
        candidates = Vocabulary(names)
        rows_with, totals = np.zeros(len(names), dtype=np.int64), np.zeros(len(names))
        for _, counts in readable_blocks(dataset, skipped, "features again", progress):
            found = _occurring(counts.known(candidates))
            rows_with[found.which] += found.rows_with
            totals[found.which] += found.totals
    kept = kept_features(rows_with, totals, n_rows, dataset.settings)
    is_exact = tally.lost_rows < max(fewest, 1)
    vocabulary = Vocabulary([names[i] for i in kept])
    return FoundFeatures(vocabulary, n_seen, 0 if is_exact else tally.lost_rows)


def readable_blocks(
    dataset: ParquetDataset,
    skipped: set[int] | None,
    stage: str,
    progress: Progress | None,
) -> Iterator[tuple[int, CountMatrix]]:
    """Yield the number and the counts, over all its features, of each block but corrupt ones."""
    for block in dataset.blocks:
        if block.n_rows and block.number not in (skipped or ()):
            try:
                counts = dataset.count_block(block.number)
            except CorruptBlockError:
                if skipped is None:
                    raise
                skipped.add(block.number)
            else:
                yield block.number, counts
        if progress is not None:
            progress(stage, block.first_row + block.n_rows, dataset.n_rows)


@dataclass(frozen=True, eq=False)
class _Occurring:
    """Columns with a count, the rows that have one, and the totals."""

    which: np.ndarray[tuple[int], np.dtype[np.int64]]
    rows_with: np.ndarray[tuple[int], np.dtype[np.int64]]
    totals: np.ndarray[tuple[int], np.dtype[np.float64]]


def _occurring(counts: CountMatrix) -> _Occurring:
    csr = counts.csr
    rows_with = np.bincount(csr.indices, minlength=counts.n_features)
    totals = np.bincount(
        csr.indices, weights=csr.data.astype(np.float64), minlength=counts.n_features
    ).astype(np.float64)
    which = np.flatnonzero(rows_with)
    return _Occurring(which, rows_with[which], totals[which])
