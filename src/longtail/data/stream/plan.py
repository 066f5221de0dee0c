"""In which order an epoch reads the rows of a stream: a function of seed and epoch alone.

The blocks are put into a random order, and the rows, in that order, are cut into lanes of equal
length. Within a lane whole blocks are gathered into windows of at least so many rows; those of a
window are shuffled. Batch i takes piece i of every lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longtail.errors import ParameterError

__all__ = ["Segment", "Window", "lane_windows", "n_batches", "piece_starts"]

# Keeps these draws apart from others that are made of the same seed and epoch.
_ORDER, _SHUFFLE = 101, 102


@dataclass(frozen=True)
class Segment:
    """Training rows of one block, from number `start` to before `stop`."""

    block: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Return how many rows it has."""
        return self.stop - self.start


@dataclass(frozen=True)
class Window:
    """Rows that are in memory together.

    Parameters
    ----------
    lane, number
        Which lane it belongs to, and its place there, from 0.
    start
        The place of its first row in the lane.
    segments
        Whose rows it has.
    """

    lane: int
    number: int
    start: int
    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        """Return how many rows it has."""
        return sum(map(len, self.segments))

    @property
    def stop(self) -> int:
        """The place after its last row in the lane."""
        return self.start + len(self)

    def order(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order in which its rows are taken."""
        rng = np.random.default_rng([seed, epoch, _SHUFFLE, self.lane, self.number])
        return rng.permutation(len(self))


def n_batches(n_rows: int, batch_size: int, lanes: int) -> int:
    """How many batches an epoch has: as few as their size allows, each with rows of every lane.

    Raises
    ------
    ParameterError
        If there are fewer rows than lanes.
    """
    if n_rows < lanes:
        raise ParameterError(
            f"The {n_rows} training row(s) cannot make up {lanes} lanes. Use fewer lanes."
        )
    return min(-(-n_rows // batch_size), n_rows // lanes)


def piece_starts(n_rows: int, pieces: int) -> npt.NDArray[np.int64]:
    """Where each of so many nearly equal pieces of n rows begins, and where the last ends."""
    least, more = divmod(n_rows, pieces)
    number = np.arange(pieces + 1)
    starts: npt.NDArray[np.int64] = number * least + np.minimum(number, more)
    return starts


def lane_windows(
    block_rows: npt.NDArray[np.int64], *, seed: int, epoch: int, lanes: int, buffer_rows: int
) -> list[list[Window]]:
    """Plan an epoch.

    Parameters
    ----------
    block_rows
        Training rows of each block, shape (blocks,).
    seed, epoch
        Whole numbers, 0 or more.
    lanes
        How many there are. Where one ends within a block, the next begins there.
    buffer_rows
        Rows of a window, at least, but for the last of a lane.

    Returns
    -------
    list of list of Window
        The windows of each lane, in order.
    """
    filled = np.flatnonzero(block_rows)
    order = np.random.default_rng([seed, epoch, _ORDER]).permutation(filled)
    starts = piece_starts(int(block_rows.sum()), lanes)
    segments: list[list[Segment]] = [[] for _ in range(lanes)]
    place, lane = 0, 0
    for block, n in zip(order.tolist(), block_rows[order].tolist(), strict=True):
        done = 0
        while done < n:
            room = int(starts[lane + 1]) - place
            take = min(room, n - done)
            if take:
                segments[lane].append(Segment(block, done, done + take))
            done += take
            place += take
            if place == starts[lane + 1] and lane + 1 < lanes:
                lane += 1
    return [_gather(lane, parts, buffer_rows) for lane, parts in enumerate(segments)]


def _gather(lane: int, segments: Sequence[Segment], buffer_rows: int) -> list[Window]:
    windows: list[Window] = []
    held: list[Segment] = []
    start = 0
    for i, segment in enumerate(segments):
        held.append(segment)
        if sum(map(len, held)) >= buffer_rows or i == len(segments) - 1:
            windows.append(Window(lane, len(windows), start, tuple(held)))
            start, held = windows[-1].stop, []
    return windows
