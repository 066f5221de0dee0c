"""CountStream: counts of a data set that need not fit in memory."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
from scipy.sparse import vstack

from longtail.data.counts import CountMatrix
from longtail.data.descriptions import described_features
from longtail.data.exposures import joined_exposures
from longtail.data.ratings import HOW_TO_BINARIZE, describe_ratings
from longtail.data.read import as_vocabulary
from longtail.data.settings import ReadSettings
from longtail.data.stream.counting import Progress, find_features, readable_blocks
from longtail.data.stream.dataset import ParquetDataset
from longtail.data.stream.held_out import RowLottery
from longtail.data.stream.statistics import Gathering, StreamStatistics
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning, ParameterError

__all__ = ["LANES", "CountStream", "open_stream"]

BUFFER_ROWS, LANES, MAX_CANDIDATES = 50_000, 2, 2_000_000


@dataclass(frozen=True, eq=False)
class CountStream:
    """Counts of a Parquet data set over a vocabulary, of which a few blocks are in memory.

    Made by `open_stream`, fitted by ``NonlinearFactorAnalysis.fit``.

    Parameters
    ----------
    dataset
        The blocks.
    vocabulary
        The V features.
    buffer_rows
        Rows that are shuffled together, at least.
    lanes
        Streams of rows side by side, from which every batch takes its share.
    skip_corrupt
        Whether corrupt blocks are left out; else they are errors.
    skipped
        Blocks known to be corrupt.
    given
        Whether the vocabulary was given, not found in the data.
    may_miss
        A feature in more rows than this is not missing from the vocabulary; 0 if none is.
    seconds
        What finding the vocabulary took.
    progress
        Called in passes over the rows with a stage, the rows done and the rows in all.
    """

    dataset: ParquetDataset
    vocabulary: Vocabulary
    buffer_rows: int = BUFFER_ROWS
    lanes: int = LANES
    skip_corrupt: bool = False
    skipped: tuple[int, ...] = ()
    given: bool = False
    may_miss: int = 0
    seconds: float = 0.0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in (("buffer_rows", self.buffer_rows), ("lanes", self.lanes)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ParameterError(f"{name} must be a whole number ≥ 1; got {value!r}.")

    @property
    def settings(self) -> ReadSettings:
        """How the rows are read."""
        return self.dataset.settings

    @property
    def n_rows(self) -> int:
        """Rows of the data set, those included that are empty or in a skipped block."""
        return self.dataset.n_rows

    @property
    def n_features(self) -> int:
        """V."""
        return len(self.vocabulary)

    def __repr__(self) -> str:
        """Describe the stream in one line."""
        return (
            f"CountStream({self.n_rows:,} rows in {self.dataset.n_blocks:,} blocks × "
            f"{self.n_features:,} features, '{self.dataset.path}')"
        )

    def read(self, number: int) -> CountMatrix:
        """Count a block over the vocabulary: all its rows."""
        return self.dataset.count_block(number).known(self.vocabulary)

    def statistics(
        self,
        *,
        seed: int,
        most_valid: int,
        n_valid: Callable[[int], int],
        check: Callable[[CountMatrix], None] | None = None,
    ) -> tuple[CountStream, StreamStatistics]:
        """Go through all rows once: what training must know before it begins.

        Parameters
        ----------
        seed
            Of the rows that are held out.
        most_valid
            How many rows may be held out, at most; 0 for none.
        n_valid
            How many are, of so many rows with a count.
        check
            Called with each block; may refuse it.

        Returns
        -------
        stream
            This one, without the corrupt blocks that were found.
        statistics
            Sums over its rows.
        """
        skipped = set(self.skipped) if self.skip_corrupt else None
        lottery = RowLottery(most_valid, seed) if most_valid else None
        gathering = Gathering(self.dataset.n_blocks, self.n_features, lottery)
        for number, every in readable_blocks(self.dataset, skipped, "rows", self.progress):
            counts = every.known(self.vocabulary)
            if check is not None:
                check(counts)
            gathering.add(number, every, counts)
        return self._without(skipped), gathering.finish(n_valid(gathering.n_rows))

    def blocks(self, stage: str) -> Iterator[tuple[int, CountMatrix]]:
        """Yield the number and the rows of each block that is not skipped.

        `stage` names this pass to whoever is told of progress.
        """
        for block in self.dataset.blocks:
            if block.number not in self.skipped and block.n_rows:
                yield block.number, self.read(block.number)
            if self.progress is not None:
                self.progress(stage, block.first_row + block.n_rows, self.n_rows)

    def load(self) -> CountMatrix:
        """Read all blocks that are not skipped into memory."""
        read = [counts for _, counts in self.blocks("reading")]
        csr = vstack([counts.csr for counts in read], format="csr")
        csr.has_canonical_format = True
        ids = pl.concat([counts.row_ids for counts in read])
        exposure = joined_exposures(read)
        return CountMatrix(csr, ids, self.vocabulary, self.settings, exposure=exposure)

    @property
    def skipped_rows(self) -> int:
        """Rows of the blocks that are skipped."""
        return sum(self.dataset.blocks[number].n_rows for number in self.skipped)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """Refuse to become an array."""
        raise DataError(
            "a stream is fitted without being in memory as a whole, and nothing else takes it; "
            "read counts that fit into memory with longtail.read_counts"
        )

    def _without(self, skipped: set[int] | None) -> CountStream:
        if not skipped or len(skipped) == len(self.skipped):
            return self
        found = replace(self, skipped=tuple(sorted(skipped)))
        first = self.dataset.blocks[found.skipped[0]]
        _notice(
            f"{len(skipped):,} of {self.dataset.n_blocks:,} row groups are corrupt and are left "
            f"out, with {found.skipped_rows:,} of {self.n_rows:,} rows; the first is {first.place}."
        )
        return found


def open_stream(
    path: str | os.PathLike[str],
    *,
    settings: ReadSettings | None = None,
    vocabulary: Vocabulary | Sequence[str] | str | Path | None = None,
    descriptions: Mapping[str, str] | str | Path | None = None,
    buffer_rows: int = BUFFER_ROWS,
    lanes: int = LANES,
    on_corrupt: Literal["error", "skip"] = "error",
    max_candidates: int = MAX_CANDIDATES,
    progress: Progress | None = None,
    **fields: Any,
) -> CountStream:
    """Open a Parquet data set that need not fit in memory, and find its features in one pass.

    Parameters
    ----------
    path
        A Parquet file, a folder of them, or a URL such as ``s3://bucket/folder``; see
        `longtail.data.stream.ParquetDataset.open`. Every line must be a row: a text, a list of
        features (with a list of their counts beside it, perhaps), or a cell of codes.
    settings
        How to read; the defaults if left out.
    vocabulary
        Keep exactly these features, in this order, as for `read_counts`; then no pass is needed.
    descriptions
        What features mean; see `read_counts`.
    buffer_rows
        Rows that are shuffled together, at least. Whole blocks (row groups) are read in a random
        order; more rows mix them better, and take more memory.
    lanes
        Streams of rows side by side. A batch takes an equal share of each, so it mixes as many
        blocks. Processes that train together each read their own lanes; their number must divide
        it, and the same lanes make the same batches whatever the number of processes.
    on_corrupt
        ``"skip"`` leaves out row groups that cannot be read, and says how many rows that were;
        ``"error"`` refuses them.
    max_candidates
        Features in memory while they are counted, at most. If there are more, the rarest are
        forgotten; if one that is common enough might be among them, a `DataWarning` says so.
    progress
        Called in every pass over the rows, those at the start of a fit too, with a stage, the
        rows done and the rows in all.
    **fields
        Fields of `ReadSettings` to set, such as ``min_df=5``.

    Raises
    ------
    DataError, CorruptBlockError
        If the data cannot be read as counts with these settings, or a part of them is corrupt.
    MissingExtraError
        If pyarrow is missing.

    Examples
    --------
    ``model.fit(longtail.open_stream("reviews/", text_column="text", min_df=5))``
    """
    if on_corrupt not in ("error", "skip"):
        raise ParameterError(f"on_corrupt must be 'error' or 'skip', but got {on_corrupt!r}.")
    skip = on_corrupt == "skip"
    started = time.perf_counter()
    dataset = ParquetDataset.open(path, settings, **fields)
    # Before the long pass, so that a wrong number is noticed at once.
    found = CountStream(
        dataset, Vocabulary([]), buffer_rows, lanes, skip_corrupt=skip, progress=progress
    )
    if vocabulary is not None:
        found = replace(found, vocabulary=as_vocabulary(vocabulary), given=True)
    else:
        skipped: set[int] | None = set() if skip else None
        features = find_features(dataset, most=max_candidates, skipped=skipped, progress=progress)
        found = replace(found, vocabulary=features.vocabulary, may_miss=features.may_miss)
        found = found._without(skipped)
        _tell_missed(found, max_candidates)
    if descriptions is not None:
        described = described_features(
            found.vocabulary, descriptions, strip_dots=dataset.settings.strip_dots
        )
        found = replace(found, vocabulary=described)
    _notice_ratings(found)
    return replace(found, seconds=time.perf_counter() - started)


def _tell_missed(stream: CountStream, max_candidates: int) -> None:
    if stream.may_miss:
        _notice(
            f"There are more than max_candidates={max_candidates:,} different features, so the "
            f"vocabulary is approximate: features in at most {stream.may_miss:,} of "
            f"{stream.n_rows:,} rows may be missing from it. A min_df above {stream.may_miss:,}, "
            "or more candidates, would make it exact."
        )


def _notice_ratings(stream: CountStream) -> None:
    """Look for ratings among the counts of the first block that is read."""
    settings = stream.settings
    if settings.value_column is None or settings.binarize or settings.min_value is not None:
        return
    rows = next((rows for _, rows in replace(stream, progress=None).blocks("")), None)
    ratings = None if rows is None else describe_ratings(rows.csr.data.astype(float))
    if ratings is not None:
        _notice(
            f"Column {settings.value_column!r} of '{stream.dataset.path}' looks like ratings, not "
            f"counts: {ratings}. They are taken as counts. {HOW_TO_BINARIZE}"
        )


def _notice(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=4)
