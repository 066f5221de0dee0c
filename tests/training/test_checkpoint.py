from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from longtail import folders
from longtail.errors import CheckpointError, DataWarning
from longtail.training import Callback, checkpoint
from longtail.training.checkpoint import Checkpoint, CheckpointStore
from tests.kills import Killed, every_kill, killed_after
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
from tests.kills import Killed, every_kill, killed_after
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


# --- killed, and several of them -----------------------------------------------------------------


def one(value, epoch=1):
    return Checkpoint({"epoch": epoch}, {"a": torch.full((3,), float(value))})


def latest_of(folder, fingerprint):
    """What a resumed run goes on from: the first number of its tensor, or why there is none."""
    store = CheckpointStore(folder, fingerprint)
    with store.locked():
        try:
            latest = store.latest()
        except CheckpointError as error:
            return "another run's" if "other data" in str(error) else str(error)
    return None if latest is None else latest.tensors["a"][0].item()


@pytest.fixture(params=["one step", "two steps"])
def exchanging(request, monkeypatch):
    if request.param == "two steps":
        monkeypatch.setattr(folders, "_exchange", lambda *names: False)


# The run and epoch of the checkpoints that are there before this run, "f", saves its epoch 2.
BEFORE = {
    "its own": [("f", 1)],
    "its own, of the same epoch": [("f", 2)],
    "another run's, later": [("g", 5)],
    "another run's, of the same epoch": [("g", 2)],
    "another run's, and an empty folder": [("g", 1), (None, 999999)],
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.usefixtures("exchanging")
def test_a_kill_while_saving(tmp_path, before):
    folder, store = tmp_path / "run", CheckpointStore(tmp_path / "run", "f")

    def save():
        with store.locked():
            store.save(2, one(2, epoch=2))

    states = []
    for begin in every_kill(save):
        shutil.rmtree(folder, ignore_errors=True)
        for fingerprint, epoch in before:
            if fingerprint is None:
                (folder / f"epoch-{epoch:06d}").mkdir(parents=True)
                continue
            with_name(folder, epoch, CheckpointStore(tmp_path / "other", fingerprint))
        begin()
        states.append((latest_of(folder, "f"), latest_of(folder, "g")))
        with store.locked():
            store.save(3, one(3, epoch=3))
        assert [p.name for p in folder.iterdir()] == ["epoch-000003"]
    own = before[0][0] == "f"
    first = (1, "another run's") if own else ("another run's", 1)
    last = (2, "another run's")
    # In between there may be both, but always the one or the other.
    assert states[0] == first
    assert states[-1] == last
    assert {*states} <= {first, last, (2, 1)}


def with_name(folder, epoch, other):
    other.save(epoch, one(1, epoch=epoch))
    name = f"epoch-{epoch:06d}"
    folder.mkdir(exist_ok=True)
    (other.folder / name).rename(folder / name)


def test_a_kill_while_removing_leaves_whole_ones(tmp_path):
    folder, store = tmp_path / "run", CheckpointStore(tmp_path / "run", "f")
    states = []
    for begin in every_kill(store.clear):
        with_name(folder, 3, CheckpointStore(tmp_path / "other", "f"))
        with_name(folder, 2, CheckpointStore(tmp_path / "other", "f"))
        begin()
        states.append(latest_of(folder, "f"))
        store.clear()
        assert not folder.exists()
    assert {*states} == {1, None}


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_run_that_is_killed_while_it_saves_resumes_bitwise(tmp_path, uninterrupted, epoch):
    folder = tmp_path / "run"
    save, saves = CheckpointStore.save, []

    class Store(CheckpointStore):
        def save(self, number, checkpoint, **kwargs):
            if number == epoch:
                with killed_after(saves[-1]) as killed:
                    save(self, number, checkpoint, **kwargs)
                if killed:
                    raise Killed
            else:
                save(self, number, checkpoint, **kwargs)

    for steps in range(100):
        saves.append(steps)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            run(checkpoints=Store(folder, "plain"))
        except Killed:
            resumed = run(checkpoints=CheckpointStore(folder, "plain"), resume=True)
            assert_same_run(resumed, uninterrupted["plain"])
            assert sorted(folder.iterdir())[-1].name == "epoch-000004"
        else:
            break
    assert steps >= 4


def test_an_older_runs_checkpoint_does_not_shadow_this_runs(tmp_path, uninterrupted):
    """As a kill leaves them between the new one and the end of the old one."""
    folder = tmp_path / "run"
    with pytest.raises(Stop):
        run(checkpoints=CheckpointStore(folder, "f"), callbacks=[StopAfterEpoch(2)])
    with_name(folder, 60, CheckpointStore(tmp_path / "other", "older"))
    (folder / "epoch-999999").mkdir()
    (folder / "epoch-000070").mkdir()
    (folder / "epoch-000070" / "state.json").write_text('{"epoch": 7')
    with pytest.warns(DataWarning, match=r"epoch-000070 is damaged.*epoch-000002"):
        resumed = run(checkpoints=CheckpointStore(folder, "f"), resume=True)
    assert_same_run(resumed, uninterrupted["plain"])
    assert [p.name for p in folder.iterdir()] == ["epoch-000004"]


def test_the_last_whole_one_is_gone_on_from(tmp_path):
    folder = tmp_path / "run"
    for epoch in (1, 2):
        with_name(folder, epoch, CheckpointStore(tmp_path / "other", "f"))
    (folder / "epoch-000002" / "tensors.safetensors").write_bytes(b"half")
    with pytest.warns(DataWarning, match=r"epoch-000002 is damaged.*SHA-256.*epoch-000001"):
        assert CheckpointStore(folder, "f").latest().state["epoch"] == 1


def test_an_empty_folder_is_no_checkpoint(tmp_path, uninterrupted):
    (tmp_path / "run" / "epoch-999999").mkdir(parents=True)
    store = CheckpointStore(tmp_path / "run", "plain")
    assert not store.exists()
    assert store.latest() is None
    assert_same_run(run(checkpoints=store, resume=True), uninterrupted["plain"])


def test_what_only_looks_like_a_checkpoint_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    (folder / "epoch-notes").mkdir(parents=True)
    (folder / "epoch-000009").write_text("a file")
    store = CheckpointStore(folder, "f")
    run(checkpoints=store, epochs=1)
    store.clear()
    assert {p.name for p in folder.iterdir()} == {"epoch-notes", "epoch-000009"}


def test_a_second_fit_with_the_same_folder_ends_at_once(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    second, errors = CheckpointStore(folder, "other"), []

    def another_fit():
        for begin in (lambda: run(checkpoints=second), second.clear):
            try:
                begin()
            except CheckpointError as error:
                errors.append(str(error))

    class While(Callback):
        def on_epoch_end(self, record):
            if record.epoch == 2:
                thread = threading.Thread(target=another_fit)
                thread.start()
                thread.join(timeout=60)

    first = run(checkpoints=CheckpointStore(folder, "plain"), callbacks=[While()])
    assert len(errors) == 2
    for error in errors:
        assert f"Another fit is running with the checkpoints in {folder}" in error
    assert_same_run(first, uninterrupted["plain"])
    assert_same_run(run(checkpoints=CheckpointStore(folder, "plain"), resume=True), first)


@pytest.mark.parametrize("ends", ["well", "in an error"])
def test_the_lock_is_gone_when_a_fit_has_ended(tmp_path, ends):
    store = CheckpointStore(tmp_path / "run", "f")
    if ends == "well":
        run(checkpoints=store, epochs=1)
        assert [p.name for p in (tmp_path / "run").iterdir()] == ["epoch-000001"]
    else:
        with pytest.raises(KeyboardInterrupt):
            run(checkpoints=store, callbacks=[StopAtUpdate(1, KeyboardInterrupt)])
        assert not (tmp_path / "run").exists()
    run(checkpoints=store, epochs=1)


def test_checkpoints_that_cannot_be_removed(saved, monkeypatch):
    store, folder = saved

    def refuse(path, *args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(CheckpointError, match=r"could not be removed.*not permitted"):
        store.clear()
    monkeypatch.undo()
    assert store.latest().state["epoch"] == 1
