from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from longtail.errors import CheckpointError
from longtail.training import checkpoint
from longtail.training.checkpoint import Checkpoint, CheckpointStore
from tests.training.runs import Stop, StopAfterEpoch, StopAtUpdate, assert_same_run, run

VARIANTS = {
    "plain": {},
    "dropout": {"feature_dropout": 0.4},
    "schedule": {"refine_schedule": ((0, 0), (2, 3), (3, 1))},
    "no validation": {"n_valid": 0},
    # Stops early, and keeps the weights of an epoch before the last.
    "early stopping": {
        "epochs": 40,
        "learning_rate": 0.1,
        "lr_schedule": "constant",
        "kl_anneal": 0.0,
        "patience": 3,
    },
}
CASES = [
    *((name, epoch) for name in list(VARIANTS)[:4] for epoch in (1, 2, 3)),
    *(("early stopping", epoch) for epoch in (1, 4)),
]


@pytest.fixture(scope="module")
def uninterrupted():
    return {name: run(**changes) for name, changes in VARIANTS.items()}


@pytest.mark.parametrize(("name", "epoch"), CASES)
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, uninterrupted, name, epoch):
    store = CheckpointStore(tmp_path / "run", name)
    with pytest.raises(Stop):
        run(checkpoints=store, callbacks=[StopAfterEpoch(epoch)], **VARIANTS[name])
    # Other initial weights: everything must come from the checkpoint.
    resumed = run(checkpoints=store, resume=True, network_seed=99, **VARIANTS[name])
    assert_same_run(resumed, uninterrupted[name])


def test_the_early_stopping_variant_does_stop_early(uninterrupted):
    _, result = uninterrupted["early stopping"]
    assert result.stopped == "no better validation bound in 3 epochs"
    assert 4 < result.best_epoch < len(result.history) < 40


@pytest.mark.parametrize("update", [1, 4, 8, 11])
def test_an_interruption_within_an_epoch(tmp_path, uninterrupted, update):
    store = CheckpointStore(tmp_path / "run", "f")
    with pytest.raises(Stop):
        run(checkpoints=store, callbacks=[StopAtUpdate(update)])
    resumed = run(checkpoints=store, resume=True)
    assert_same_run(resumed, uninterrupted["plain"])


def test_again_and_again(tmp_path, uninterrupted):
    store = CheckpointStore(tmp_path / "run", "f")
    for update in (4, 5, 3):
        with pytest.raises(Stop):
            run(checkpoints=store, resume=True, callbacks=[StopAtUpdate(update)])
    assert_same_run(run(checkpoints=store, resume=True), uninterrupted["plain"])


def test_a_finished_run_resumes_to_itself(tmp_path, uninterrupted):
    store = CheckpointStore(tmp_path / "run", "f")
    run(checkpoints=store)
    assert_same_run(run(checkpoints=store, resume=True, network_seed=99), uninterrupted["plain"])


def test_resuming_without_a_checkpoint_starts_afresh(tmp_path, uninterrupted):
    store = CheckpointStore(tmp_path / "run", "f")
    assert_same_run(run(checkpoints=store, resume=True), uninterrupted["plain"])


def test_only_the_latest_is_kept(tmp_path):
    store = CheckpointStore(tmp_path / "run", "f")
    run(checkpoints=store)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["epoch-000004"]
    (tmp_path / "run" / "mine.txt").write_text("keep")
    store.clear()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


KILLED = """
import os, signal, sys
import torch
from longtail.training import Callback, checkpoint
from tests.training.runs import run

torch.set_num_threads(1)

class Kill(Callback):
    updates = 0

    def on_batch_end(self, epoch, rows_done):
        self.updates += 1
        if self.updates == 8:
            os.kill(os.getpid(), signal.SIGKILL)

calls = []

def save(tensors, path, _save=checkpoint.save_file):
    calls.append(path)
    if len(calls) == 3:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    _save(tensors, path)

store = checkpoint.CheckpointStore(sys.argv[1], "f")
if sys.argv[2] == "while writing":
    checkpoint.save_file = save
    run(checkpoints=store)
else:
    run(checkpoints=store, callbacks=[Kill()])
"""


@pytest.mark.parametrize("where", ["in a batch", "while writing"])
def test_a_killed_process(tmp_path, uninterrupted, where):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), where]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    store = CheckpointStore(tmp_path / "run", "f")
    assert store.latest().state["epoch"] == 2
    assert_same_run(run(checkpoints=store, resume=True), uninterrupted["plain"])


@pytest.fixture
def saved(tmp_path):
    store = CheckpointStore(tmp_path / "run", "f")
    run(checkpoints=store, epochs=1)
    return store, tmp_path / "run" / "epoch-000001"


def test_what_is_saved_comes_back(tmp_path):
    store = CheckpointStore(tmp_path / "run", "f")
    tensors = {"a": torch.randn(3, 2).T, "b": torch.tensor(1.5)}
    store.save(7, Checkpoint({"epoch": 7, "x": [0.1, None]}, tensors))
    back = store.latest()
    assert back.state == {"epoch": 7, "x": [0.1, None], "fingerprint": "f"}
    assert back.tensors.keys() == tensors.keys()
    assert all(torch.equal(back.tensors[k], v) for k, v in tensors.items())


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "sha256"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "one byte"])
def test_a_damaged_checkpoint(saved, name, damage):
    store, folder = saved
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[:-9])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"epoch-000001 is damaged.*fit again"):
        run(checkpoints=store, resume=True)


def test_another_runs_checkpoint(saved):
    _, folder = saved
    with pytest.raises(CheckpointError, match="other data or settings"):
        run(checkpoints=CheckpointStore(folder.parent, "g"), resume=True)


def test_no_code_is_kept(saved):
    _, folder = saved
    assert {p.name for p in folder.iterdir()} == {"state.json", "tensors.safetensors", "sha256"}
    json.loads((folder / "state.json").read_text())


def test_a_full_disk(tmp_path, monkeypatch, uninterrupted):
    store = CheckpointStore(tmp_path / "run", "f")
    calls = []

    def save(tensors, path, _save=checkpoint.save_file):
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        _save(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(CheckpointError, match=r"epoch 3 could not be written.*No space left"):
        run(checkpoints=store)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["epoch-000002"]
    assert_same_run(run(checkpoints=store, resume=True), uninterrupted["plain"])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        run(checkpoints=CheckpointStore(tmp_path / "file", "f"))


def test_what_a_killed_process_with_the_same_number_left(tmp_path):
    store = CheckpointStore(tmp_path / "run", "f")
    left = tmp_path / "run" / f".partial-{os.getpid()}"
    left.mkdir(parents=True)
    (left / "tensors.safetensors").write_bytes(b"half")
    store.save(1, Checkpoint({}, {"a": torch.ones(1)}))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["epoch-000001"]


def test_an_earlier_checkpoint_stays_until_a_new_one_replaces_it(tmp_path):
    store = CheckpointStore(tmp_path / "run", "a")
    run(checkpoints=store)
    kept = store.latest()

    with pytest.raises(Stop):
        run(checkpoints=store, callbacks=[StopAtUpdate(2)])
    assert store.latest().state == kept.state
    run(checkpoints=store, epochs=1)
    assert store.latest().state["epoch"] == 1
