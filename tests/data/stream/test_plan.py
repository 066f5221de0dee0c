from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.stream.plan import lane_windows, n_batches, piece_starts
from longtail.errors import ParameterError

block_sizes = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda s: sum(s) >= 6)


@given(
    sizes=block_sizes, seed=st.integers(0, 9), lanes=st.integers(1, 6), buffer=st.integers(1, 50)
)
def test_every_row_is_in_one_lane_once(sizes, seed, lanes, buffer):
    sizes = np.array(sizes)
    plan = lane_windows(sizes, seed=seed, epoch=3, lanes=lanes, buffer_rows=buffer)
    assert plan == lane_windows(sizes, seed=seed, epoch=3, lanes=lanes, buffer_rows=buffer)
    seen = np.zeros((len(sizes), 31), dtype=int)
    for lane, windows in enumerate(plan):
        place = 0
        for number, window in enumerate(windows):
            assert (window.lane, window.number, window.start) == (lane, number, place)
            place = window.stop
            # Whole blocks, and no more of them than the buffer needs.
            assert len(window) >= buffer or number == len(windows) - 1
            assert len(window) - len(window.segments[-1]) < buffer
            for segment in window.segments:
                seen[segment.block, segment.start : segment.stop] += 1
        assert abs(place - sizes.sum() / lanes) < 1
    for block, size in enumerate(sizes):
        assert seen[block].tolist() == [1] * size + [0] * (31 - size)
    # Only where lanes meet is a block read twice.
    segments = sum(len(w.segments) for windows in plan for w in windows)
    assert segments <= np.count_nonzero(sizes) + lanes - 1


def test_epochs_and_seeds_differ():
    sizes = np.full(40, 5)

    def order(seed, epoch):
        (windows,) = lane_windows(sizes, seed=seed, epoch=epoch, lanes=1, buffer_rows=1)
        return [segment.block for w in windows for segment in w.segments]

    assert sorted(order(0, 0)) == list(range(40))
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9
    (window,) = lane_windows(np.array([50]), seed=0, epoch=0, lanes=1, buffer_rows=9)[0]
    assert sorted(window.order(0, 0)) == list(range(50))
    assert window.order(0, 0).tolist() != window.order(0, 1).tolist()


@given(n=st.integers(1, 500), size=st.integers(1, 60), lanes=st.integers(1, 6))
def test_batches_have_rows_of_every_lane(n, size, lanes):
    if n < lanes:
        with pytest.raises(ParameterError, match="Use fewer lanes"):
            n_batches(n, size, lanes)
        return
    pieces = n_batches(n, size, lanes)
    assert pieces <= -(-n // size)
    ends = np.diff(piece_starts(n, lanes))
    for end in ends:
        starts = piece_starts(int(end), pieces)
        assert starts[0] == 0
        assert starts[-1] == end
        assert [len(p) for p in np.array_split(np.arange(end), pieces)] == np.diff(starts).tolist()
        assert (np.diff(starts) > 0).all()
