"""What goes wrong while blocks are scored: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys

import polars as pl
import pytest

from longtail.data import CountMatrix
from longtail.errors import CorruptBlockError, DataError, WriteError
from longtail.scoring import Evaluate, Transform, score_dataset
from tests.builders import topic_counts
from tests.estimator.models import small
from tests.scoring.datasets import WORDS, corrupt, fitted, opened, parts, write

CHILD = """
import sys, time
from pathlib import Path

from longtail import load
from longtail.data.stream import ParquetDataset
from longtail.scoring import Transform, score_dataset
import longtail.scoring.blocks as blocks

model, data, out, moment = sys.argv[1:]
blocks._ROWS = 16

def stall():
    print("here", flush=True)
    time.sleep(600)

def progress(done, total):
    if moment == "scoring" and done == 49:
        stall()

rename = Path.replace

def replace(self, target):
    if moment == "renaming" and Path(target).name == "part-000002.parquet":
        stall()
    return rename(self, target)

Path.replace = replace
dataset = ParquetDataset.open(data, text_column="text", id_column="id")
score_dataset(load(model), dataset, out, Transform(), progress=progress)
"""


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data")


@pytest.mark.parametrize("moment", ["scoring", "renaming"])
def test_a_process_killed_in_mid_block(tmp_path, data, moment, monkeypatch):
    monkeypatch.setattr("longtail.scoring.blocks._ROWS", 16)
    fitted().save(tmp_path / "model")
    out = tmp_path / "z"
    command = [sys.executable, "-c", CHILD, tmp_path / "model", data, out, moment]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    left = sorted(parts(out))
    assert left[1:] == ["part-000000.parquet", "part-000001.parquet"]
    assert left[0].startswith(".part-000002.parquet.")
    found = score_dataset(fitted(), opened(data), out, Transform())
    assert (found.resumed_blocks, found.rows) == (2, 63)
    whole = score_dataset(fitted(), opened(data), tmp_path / "whole", Transform())
    assert parts(out) == parts(whole.out)


def test_a_corrupt_block_is_named_and_left_out_only_if_asked(tmp_path, data):
    intact = tmp_path / "intact"
    shutil.copytree(data, intact)
    corrupt(data, 1)
    out = tmp_path / "z"
    with pytest.raises(CorruptBlockError, match=r"row group 1 of '.*0\.parquet'.*--skip-corrupt"):
        score_dataset(fitted(), opened(data), out, Transform())
    assert sorted(parts(out)) == ["part-000000.parquet"]
    told = []
    found = score_dataset(
        fitted(), opened(data), out, Transform(), skip_corrupt=True, say=told.append
    )
    assert (found.resumed_blocks, found.rows) == (1, 50)
    assert sorted(parts(out)) == ["part-000000.parquet", "part-000002.parquet"]
    (skipped,) = found.to_dict()["skipped_blocks"]
    assert (skipped["block"], skipped["row_group"], skipped["rows"]) == (1, 1, 13)
    assert "left out 13 rows" in told[-1]
    assert "row group 1" in told[-1]
    ids = pl.read_parquet(out)["row_id"].to_list()
    assert ids == [f"r{i}" for i in range(63) if not 20 <= i < 33]
    # Of what is left, the figures are right.
    evaluated = score_dataset(
        fitted(), opened(data), tmp_path / "rows", Evaluate(), skip_corrupt=True
    )
    assert evaluated.evaluation.rows + evaluated.evaluation.dropped_rows == 50


def test_a_mended_block_is_done_next_time(tmp_path, data):
    intact = tmp_path / "intact"
    shutil.copytree(data, intact)
    corrupt(data, 2)
    out = tmp_path / "z"
    with pytest.raises(CorruptBlockError, match="row group 0"):
        score_dataset(fitted(), opened(data), out, Transform())
    shutil.copytree(intact, data, dirs_exist_ok=True)
    assert score_dataset(fitted(), opened(data), out, Transform()).resumed_blocks == 2
    assert pl.read_parquet(out)["row_id"].to_list() == [f"r{i}" for i in range(63)]


def test_rows_that_cannot_be_scored_are_not_a_corrupt_block(tmp_path, data):
    there = CountMatrix.from_any(topic_counts(60, 20, seed=1) > 0, vocabulary=WORDS)
    model = small(likelihood="bernoulli", features="binary").fit(there)
    with pytest.raises(DataError, match="is for 0 and 1 only"):
        score_dataset(model, opened(data), tmp_path / "z", Transform(), skip_corrupt=True)


def test_a_disk_that_fills(tmp_path):
    data = write(tmp_path / "data", files=((20, 20), (2000,), (10,)))
    out = tmp_path / "z"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, hard))
    try:
        with pytest.raises(WriteError, match=r"part-000002\.parquet could not be written") as told:
            score_dataset(fitted(), opened(data), out, Transform())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "repeat the command" in str(told.value)
    assert sorted(parts(out)) == ["part-000000.parquet", "part-000001.parquet"]
    found = score_dataset(fitted(), opened(data), out, Transform())
    assert (found.resumed_blocks, found.rows) == (2, 2050)
    assert pl.read_parquet(out)["row_id"].to_list() == [f"r{i}" for i in range(2050)]


@pytest.mark.parametrize("call", [2, 4])  # the job file and its folder come first
def test_a_disk_that_is_full_when_a_file_is_to_be_safe(tmp_path, data, monkeypatch, call):
    calls, fsync = [], os.fsync

    def full(handle):
        calls.append(handle)
        if len(calls) > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "z"
    with pytest.raises(WriteError, match="No space left on device"):
        score_dataset(fitted(), opened(data), out, Transform())
    monkeypatch.setattr(os, "fsync", fsync)
    assert not [name for name in parts(out) if name.startswith(".")]
    found = score_dataset(fitted(), opened(data), out, Transform())
    assert found.rows == 63
    whole = score_dataset(fitted(), opened(data), tmp_path / "whole", Transform())
    assert parts(out) == parts(whole.out)
