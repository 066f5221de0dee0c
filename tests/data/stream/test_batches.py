from __future__ import annotations

import threading
import time
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import vstack

from longtail.data import Part, read_counts
from longtail.data.stream import ParquetDataset, StreamBatches
from longtail.errors import CorruptBlockError, DataError, ParameterError
from longtail.features import FeatureTransform
from tests.data.stream.streams import batches_of, random_texts, statistics_of, stream_of
from tests.data.stream.test_counting import spoil
from tests.profiles import examples

repeated = settings(
    max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def readers():
    return [t for t in threading.enumerate() if t.name == "longtail-reading"]


def assert_same(ours, theirs):
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.keys, theirs.keys)
    np.testing.assert_array_equal(ours.counts.toarray(), theirs.counts.toarray())
    np.testing.assert_array_equal(ours.features.toarray(), theirs.features.toarray())
    assert ours.global_size == theirs.global_size


@repeated
@given(
    n=st.integers(20, 90),
    rows_a_group=st.integers(1, 40),
    batch_size=st.integers(4, 30),
    lanes=st.sampled_from([1, 2, 4]),
    buffer_rows=st.integers(1, 60),
    n_valid=st.sampled_from([0, 5]),
)
def test_an_epoch_has_every_training_row_once(
    tmp_path, n, rows_a_group, batch_size, lanes, buffer_rows, n_valid
):
    texts = random_texts(n, 12, seed=n)
    fields = {"lanes": lanes, "buffer_rows": buffer_rows}
    stream = stream_of(tmp_path / "t.parquet", texts, rows_a_group, **fields)
    batches = batches_of(stream, batch_size, n_valid=n_valid)
    _, statistics = statistics_of(stream, n_valid=n_valid)
    every = read_counts(tmp_path / "t.parquet")
    wanted = np.diff(every.csr.indptr) > 0
    if statistics.valid is not None:
        wanted &= ~np.isin(every.row_keys(), statistics.valid.keys)
    found = list(batches.epoch(0, 0))
    assert len(found) == len(batches)
    rows = np.concatenate([batch.rows for batch in found])
    assert sorted(rows) == np.flatnonzero(wanted).tolist()
    assert batches.n_rows == len(rows)
    expected = every[rows]
    np.testing.assert_array_equal(
        vstack([batch.counts for batch in found]).toarray(), expected.csr.toarray()
    )
    np.testing.assert_array_equal(
        np.concatenate([batch.keys for batch in found]), expected.row_keys()
    )
    sizes = [len(batch) for batch in found]
    assert max(sizes) - min(sizes) <= lanes
    assert [batch.global_size for batch in found] == sizes
    assert not readers()


@repeated
@given(
    seed=st.integers(0, 4),
    start=st.integers(0, 12),
    of=st.sampled_from([1, 2, 4]),
    buffer_rows=st.integers(1, 60),
)
def test_parts_and_later_starts(tmp_path, seed, start, of, buffer_rows):
    texts = random_texts(70, 12, seed=1)
    stream = stream_of(tmp_path / "t.parquet", texts, 9, lanes=4, buffer_rows=buffer_rows)
    batches = batches_of(stream, 6)
    whole = list(batches.epoch(seed, 2))[start:]
    parts = [list(batches.epoch(seed, 2, start=start, part=Part(i, of))) for i in range(of)]
    assert len(parts[0]) == len(whole)
    for number, batch in enumerate(whole):
        pieces = [part[number] for part in parts]
        assert all(len(piece) and piece.global_size == len(batch) for piece in pieces)
        for name in ("rows", "keys"):
            joined = np.concatenate([getattr(piece, name) for piece in pieces])
            np.testing.assert_array_equal(joined, getattr(batch, name))


def test_batches_mix_the_lanes_and_epochs_differ(tmp_path):
    stream = stream_of(tmp_path / "t.parquet", random_texts(400, 12), 50, buffer_rows=1)
    batches = batches_of(stream, 20)
    first = next(iter(batches.epoch(0, 0)))
    assert len(set(first.rows // 50)) >= 2
    assert (np.diff(first.rows) < 0).any()
    assert first.rows.tolist() != next(iter(batches.epoch(0, 1))).rows.tolist()
    assert_same(first, next(iter(batches.epoch(0, 0))))


def test_features_are_those_of_the_transform(tmp_path):
    texts = random_texts(60, 12)
    stream = stream_of(tmp_path / "t.parquet", texts, 9)
    counts = read_counts(tmp_path / "t.parquet")
    transform = FeatureTransform.fit("tfidf", counts.csr)
    features = transform.apply(counts.csr)
    for batch in batches_of(stream, 8, transform=transform.apply).epoch(0, 0):
        expected = features[batch.rows]
        np.testing.assert_array_equal(batch.features.toarray(), expected.toarray())


class Counting(ParquetDataset):
    """Remembers which blocks were read, and how many windows' worth of rows are alive."""

    def count_block(self, number):
        READ.append(number)
        if number in SLOW:
            time.sleep(SLOW[number])
        return super().count_block(number)


READ: list[int] = []
SLOW: dict[int, float] = {}


@pytest.fixture
def counted(tmp_path):
    def make(texts, rows_a_group, batch_size, *, patience=60.0, **fields):
        stream = stream_of(tmp_path / "t.parquet", texts, rows_a_group, **fields)
        object.__setattr__(stream.dataset, "__class__", Counting)
        batches = batches_of(stream, batch_size, patience=patience)
        READ.clear()
        return batches

    yield make
    READ.clear()
    SLOW.clear()


def test_a_process_reads_its_own_lanes(counted):
    batches = counted(["fox hen"] * 400, 10, 20, lanes=2, buffer_rows=10)
    list(batches.epoch(0, 0, part=Part(0, 2)))
    first = set(READ)
    READ.clear()
    list(batches.epoch(0, 0, part=Part(1, 2)))
    assert len(first) == len(READ) == 20
    assert not first & set(READ)


def test_a_later_start_skips_windows(counted):
    batches = counted(["fox hen"] * 400, 10, 20, lanes=2, buffer_rows=10)
    list(batches.epoch(0, 0, start=15))
    assert len(READ) == 10  # a quarter of 40 blocks
    READ.clear()
    assert list(batches.epoch(0, 0, start=len(batches))) == []
    assert READ == []


def test_reading_ahead_is_bounded(counted):
    batches = counted(["fox hen"] * 400, 10, 4, lanes=2, buffer_rows=10)
    epoch = batches.epoch(0, 0)
    for done, _ in enumerate(islice(epoch, 60)):
        time.sleep(0.002)
        # Of each lane: the window in use, perhaps used up, and one more.
        assert len(READ) <= 2 * (done * 2 // 10 + 1) + 2
    epoch.close()
    assert not readers()


def test_waiting_is_measured(counted):
    batches = counted(["fox hen"] * 40, 10, 4, lanes=1, buffer_rows=10)
    for _ in batches.epoch(0, 0):
        time.sleep(0.03)
    before = batches.waited
    assert batches.elapsed - before > 0.2
    SLOW.update(dict.fromkeys(range(4), 0.1))
    start = time.perf_counter()
    for _ in batches.epoch(0, 0):
        pass
    assert 0.2 < batches.waited - before < time.perf_counter() - start
    assert batches.waited < batches.elapsed


def test_a_hanging_read_is_named(counted):
    batches = counted(["fox hen"] * 40, 10, 4, lanes=1, buffer_rows=10, patience=0.5)
    SLOW[2] = 1.5
    with pytest.raises(DataError, match=r"Reading row group 2 of '.*t\.parquet' has taken more"):
        list(batches.epoch(0, 0))
    (hanging,) = readers()
    hanging.join()  # it ends as soon as it can


def test_faults_in_the_background_reach_the_reader(tmp_path):
    texts = random_texts(3000, 400, longest=9)
    stream = stream_of(tmp_path / "t.parquet", texts, 1000, buffer_rows=10, lanes=1)
    batches = batches_of(stream, 50)
    spoil(tmp_path / "t.parquet")
    with pytest.raises(CorruptBlockError, match="row group 1 of"):
        list(batches.epoch(0, 0))
    assert not readers()


def test_data_that_change_are_noticed(tmp_path):
    stream = stream_of(tmp_path / "t.parquet", ["fox", "hen", "cow", "pig"], 2, lanes=1)
    batches = batches_of(stream, 2)
    stream_of(tmp_path / "t.parquet", ["fox", "", "cow", "pig"], 2)
    with pytest.raises(
        DataError, match=r"row group 0 of .* now holds 1 training rows instead of 2"
    ):
        list(batches.epoch(0, 0))


def test_a_row_is_called_by_its_id(tmp_path):
    stream = stream_of(tmp_path / "t.parquet", ["fox", "hen", "cow", "pig"], 2)
    assert batches_of(stream, 2).row_id(3) == 3


def test_parameters(tmp_path):
    stream = stream_of(tmp_path / "t.parquet", ["fox", "hen", "cow", "pig"], 2, lanes=3)
    with pytest.raises(ParameterError, match="each of 3 lanes, but batch_size is 2"):
        batches_of(stream, 2)
    with pytest.raises(ParameterError, match="batch_size must be a whole number"):
        batches_of(stream, 2.5)
    with pytest.raises(ParameterError, match="2 processes cannot share 3 lanes"):
        next(batches_of(stream, 3).epoch(0, 0, part=Part(0, 2)))
    assert isinstance(batches_of(stream, 3), StreamBatches)
