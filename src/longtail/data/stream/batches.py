"""Batches from a stream: what training reads when the rows are not in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, vstack

from longtail.data.batches import Batch, Part
from longtail.data.stream.ahead import ReadAhead
from longtail.data.stream.counts import CountStream
from longtail.data.stream.held_out import training_rows
from longtail.data.stream.plan import Window, lane_windows, n_batches, piece_starts
from longtail.errors import DataError, ParameterError

__all__ = ["StreamBatches", "lanes_of"]

PATIENCE = 600.0


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows in memory: their numbers in the data set, content keys, and counts."""

    rows: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    counts: csr_array

    def take(self, which: npt.NDArray[np.int64] | slice) -> _Rows:
        return _Rows(self.rows[which], self.keys[which], self.counts[which])


def _join(parts: list[_Rows]) -> _Rows:
    if len(parts) == 1:
        return parts[0]
    return _Rows(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.keys for part in parts]),
        vstack([part.counts for part in parts], format="csr"),
    )


class StreamBatches:
    """A `longtail.data.BatchSource` of the training rows of a stream, shuffled block by block.

    Each epoch reads the blocks in another order, in lanes side by side, and shuffles the rows of
    each window of a lane; see `longtail.data.stream.plan`. A background thread reads the next
    windows. In memory are, for each lane that a process reads, the window in use and one more.

    Parameters
    ----------
    stream
        The rows.
    block_rows
        Training rows of each block, int64, shape (blocks,).
    held_out
        Content keys of rows that are not for training, uint64, sorted.
    transform
        Makes features of counts.
    batch_size
        Rows of a batch, at most. All batches of an epoch are nearly equal.
    patience
        Seconds after which a read counts as hanging.

    Attributes
    ----------
    waited
        Seconds spent here in all epochs: waiting for rows, and making batches of them.
    elapsed
        Seconds that these epochs have taken, with what was done between their batches.
    """

    def __init__(
        self,
        stream: CountStream,
        block_rows: npt.NDArray[np.int64],
        held_out: npt.NDArray[np.uint64],
        transform: Callable[[csr_array], csr_array],
        batch_size: int,
        *,
        patience: float = PATIENCE,
    ) -> None:
        if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool):
            raise ParameterError(f"batch_size must be a whole number, but got {batch_size!r}.")
        if batch_size < stream.lanes:
            raise ParameterError(
                f"A batch takes rows of each of {stream.lanes} lanes, but batch_size is "
                f"{batch_size}. Use larger batches, or fewer lanes."
            )
        self._stream = stream
        self._block_rows = block_rows
        self._held_out = held_out
        self._transform = transform
        self._patience = patience
        self._n_batches = n_batches(self.n_rows, int(batch_size), stream.lanes)
        self.waited = self.elapsed = 0.0

    @property
    def n_rows(self) -> int:
        """Rows of an epoch, over all processes."""
        return int(self._block_rows.sum())

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._n_batches

    def row_id(self, row: int) -> Any:
        """The identifier of a row of `Batch.rows`; its block is read for it."""
        blocks = self._stream.dataset.blocks
        block = next(b for b in blocks if b.first_row <= row < b.first_row + b.n_rows)
        return self._stream.dataset.count_block(block.number).row_ids[row - block.first_row]

    def epoch(
        self, seed: int, epoch: int, *, start: int = 0, part: Part | None = None
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, or a process's part of each.

        A pure function of its arguments; the parts, one after another, are the whole batch. What
        comes before `start` is not read, but for the rest of a window.

        Raises
        ------
        ParameterError
            If the lanes cannot be shared out evenly.
        DataError
            If the data cannot be read, or are no longer what they were.
        """
        own = lanes_of(part or Part(), self._stream.lanes)
        start = min(start, len(self))
        plan = lane_windows(
            self._block_rows,
            seed=seed,
            epoch=epoch,
            lanes=self._stream.lanes,
            buffer_rows=self._stream.buffer_rows,
        )
        ends = [windows[-1].stop for windows in plan]
        starts = np.array([piece_starts(end, len(self)) for end in ends])
        sizes = np.diff(starts).sum(0)
        # In the order in which batches come to need them.
        needed = sorted(
            (w for lane in own for w in plan[lane] if w.stop > starts[lane][start]),
            key=lambda w: (max(start, _first_batch(w, starts[w.lane])), w.lane),
        )
        jobs = ((self._place(w), partial(self._load, w, seed, epoch)) for w in needed)
        began = asked = time.perf_counter()
        with ReadAhead(jobs, most=len(own), patience=self._patience) as ahead:
            lanes = [_Lane(lane, int(starts[lane][start]), ahead) for lane in own]
            try:
                for number in range(start, len(self)):
                    pieces = [lane.take(int(starts[lane.number][number + 1])) for lane in lanes]
                    batch = self._batch(_join(pieces), int(sizes[number]))
                    self.waited += time.perf_counter() - asked
                    yield batch
                    asked = time.perf_counter()
            finally:
                self.elapsed += time.perf_counter() - began

    def _batch(self, rows: _Rows, global_size: int) -> Batch:
        return Batch(rows.rows, rows.keys, rows.counts, self._transform(rows.counts), global_size)

    def _place(self, window: Window) -> str:
        first = self._stream.dataset.blocks[window.segments[0].block].place
        more = len(window.segments) - 1
        return first + (f" and {more} more" if more else "")

    def _load(self, window: Window, seed: int, epoch: int) -> tuple[Window, _Rows]:
        """Read a window and shuffle it."""
        rows = _join([self._segment(s.block, s.start, s.stop) for s in window.segments])
        return window, rows.take(window.order(seed, epoch))

    def _segment(self, number: int, start: int, stop: int) -> _Rows:
        block = self._stream.dataset.blocks[number]
        counts = self._stream.read(number)
        keys = counts.row_keys()
        which = training_rows(counts, keys, self._held_out)
        if len(which) != self._block_rows[number]:
            raise DataError(
                f"The data have changed during training: {block.place} now holds {len(which):,} "
                f"training rows instead of {self._block_rows[number]:,}. Begin the fit anew."
            )
        which = which[start:stop]
        return _Rows(block.first_row + which, keys[which], counts.csr[which])


class _Lane:
    """Takes the rows of one lane, in order, from windows that are read ahead."""

    def __init__(self, number: int, place: int, ahead: ReadAhead[tuple[Window, _Rows]]) -> None:
        self.number = number
        self._place = place
        self._ahead = ahead
        self._window: Window | None = None
        self._held: _Rows | None = None

    def take(self, until: int) -> _Rows:
        """Return the rows up to a place in the lane."""
        parts = []
        while self._place < until:
            if self._window is None or self._place >= self._window.stop:
                self._held = None  # before the next is taken, so that never three are held
                self._window, self._held = self._ahead.take()
            assert self._held is not None
            assert self._window.lane == self.number
            stop = min(until, self._window.stop)
            parts.append(
                self._held.take(slice(self._place - self._window.start, stop - self._window.start))
            )
            self._place = stop
        return _join(parts)


def lanes_of(part: Part, lanes: int) -> range:
    """The lanes that a process reads.

    Raises
    ------
    ParameterError
        If they cannot be shared out evenly.
    """
    if lanes % part.of:
        raise ParameterError(
            f"{part.of} processes cannot share {lanes} lanes evenly. Use a number of lanes that "
            f"is a multiple of {part.of}."
        )
    each = lanes // part.of
    return range(part.index * each, (part.index + 1) * each)


def _first_batch(window: Window, starts: npt.NDArray[np.int64]) -> int:
    """The batch that needs the first row of a window, where pieces of its lane begin so."""
    return int(np.searchsorted(starts[1:], window.start, "right"))
