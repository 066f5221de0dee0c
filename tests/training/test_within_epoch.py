"""Ends and checkpoints in the middle of an epoch. An epoch of these runs has 3 batches."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from longtail.errors import CheckpointError, ParameterError
from longtail.training import Callback, StopTraining, checkpoint
from longtail.training.checkpoint import CheckpointStore, _digest
from longtail.training.signals import HeldSignals
from tests.training.runs import (
    AtUpdate,
    Stop,
    StopAfterEpoch,
    StopAtUpdate,
    assert_same_run,
    run,
)

VARIANTS = {
    "plain": {"refine_schedule": ((0, 0),)},
    "hybrid": {"importance_samples": "auto"},
    "dropout": {"feature_dropout": 0.4},
    "no validation": {"n_valid": 0},
}


@pytest.fixture(scope="module")
def uninterrupted():
    return {name: run(**changes) for name, changes in VARIANTS.items()}


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "run", "f")


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("update", [1, 3, 5])
def test_a_run_that_was_stopped_goes_on_bitwise(store, uninterrupted, name, update):
    run(checkpoints=store, callbacks=[StopAtUpdate(update, StopTraining)], **VARIANTS[name])
    assert store.latest().state["update"] == update
    # Other initial weights: everything must come from the checkpoint.
    resumed = run(checkpoints=store, resume=True, network_seed=99, **VARIANTS[name])
    assert_same_run(resumed, uninterrupted[name])


def test_checkpoints_come_by_time(store, uninterrupted):
    def until(update, **options):
        with pytest.raises(Stop):
            run(
                checkpoints=store,
                checkpoint_every=0,
                callbacks=[StopAtUpdate(update)],
                **VARIANTS["hybrid"],
                **options,
            )

    until(6)
    # The callback ended it before the checkpoint of that batch.
    assert names(store) == ["epoch-000001-batch-000000002"]
    until(1, resume=True)
    until(2, resume=True)
    resumed = run(checkpoints=store, resume=True, **VARIANTS["hybrid"])
    assert_same_run(resumed, uninterrupted["hybrid"])
    assert names(store) == ["epoch-000004"]


def test_within_the_time_there_is_none(store):
    with pytest.raises(Stop):
        run(checkpoints=store, checkpoint_every=3600, callbacks=[StopAtUpdate(5)])
    assert names(store) == ["epoch-000001"]


@pytest.mark.parametrize("every", [-1, float("nan")])
def test_a_time_that_is_none(every):
    with pytest.raises(ParameterError, match="checkpoint_every must be a number of seconds"):
        run(checkpoint_every=every)


def test_an_epoch_cut_short_is_recorded_with_the_rows_it_had():
    rows = []

    class Watch(Callback):
        def on_batch_end(self, epoch, rows_done):
            rows.append(rows_done)
            if epoch == 2 and rows_done > 16:
                raise StopTraining("enough rows")

        def on_epoch_end(self, record):
            rows.append(record)

        def on_fit_end(self, stopped):
            rows.append(stopped)

    _, result = run(callbacks=[Watch()])
    assert result.stopped == "enough rows"
    assert [r.updates for r in result.history] == [3, 5]
    assert result.history[1].valid_nats_per_row is not None
    assert result.best_epoch in (1, 2)
    assert rows == [16, 32, 40, result.history[0], 16, 32, result.history[1], "enough rows"]


def test_stopping_after_an_epoch(store, uninterrupted):
    class Enough(Callback):
        def on_epoch_end(self, record):
            if record.epoch == 2:
                raise StopTraining

    _, result = run(checkpoints=store, callbacks=[Enough()], **VARIANTS["hybrid"])
    assert (len(result.history), result.stopped) == (2, "stopped by a callback")
    assert names(store) == ["epoch-000002"]
    resumed = run(checkpoints=store, resume=True, **VARIANTS["hybrid"])
    assert_same_run(resumed, uninterrupted["hybrid"])


def test_a_resumed_run_says_from_where(store):
    seen = []

    class Watch(Callback):
        def on_fit_begin(self, config, n_rows, first_epoch):
            seen.append(first_epoch)

        def on_resume(self, epoch, rows_done):
            seen.append((epoch, rows_done))

    run(checkpoints=store, callbacks=[Watch(), StopAtUpdate(5, StopTraining)])
    assert seen == [0]
    run(checkpoints=store, callbacks=[Watch()], resume=True)
    assert seen == [0, 1, (1, 32)]


# --- signals -------------------------------------------------------------------------------------


class Terminated(BaseException):
    pass


@pytest.fixture(autouse=True)
def _handlers():
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def terminate(number, frame):
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    ours = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is ours
    signal.signal(signal.SIGTERM, before[signal.SIGTERM])


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_batch_and_its_checkpoint(store, uninterrupted, sent):
    def send():
        os.kill(os.getpid(), sent)
        threading.Event().wait(0.01)  # where it would be met

    with pytest.raises(KeyboardInterrupt if sent == signal.SIGINT else Terminated):
        run(checkpoints=store, callbacks=[AtUpdate(5, send)], **VARIANTS["hybrid"])
    assert names(store) == ["epoch-000001-batch-000000002"]
    resumed = run(checkpoints=store, resume=True, **VARIANTS["hybrid"])
    assert_same_run(resumed, uninterrupted["hybrid"])


def test_a_second_signal_does_not_wait(store):
    def send():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=store, callbacks=[AtUpdate(1, send)])
    assert not store.exists()


def test_a_signal_after_the_last_batch_is_not_lost(store):
    class Late(Callback):
        def on_fit_end(self, stopped):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=store, callbacks=[Late()])
    assert names(store) == ["epoch-000004"]


def test_without_checkpoints_a_signal_does_not_wait():
    def send():
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        run(callbacks=[AtUpdate(1, send)])


def test_a_handler_that_goes_on_lets_training_go_on(store, uninterrupted):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *arguments: seen.append(arguments[0]))
    try:
        action = AtUpdate(2, lambda: signal.raise_signal(signal.SIGTERM))
        done = run(checkpoints=store, callbacks=[action], **VARIANTS["hybrid"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    assert_same_run(done, uninterrupted["hybrid"])


def test_ignored_signals_and_other_threads_are_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with HeldSignals() as held:
            signal.raise_signal(signal.SIGINT)
            assert not held.pending
    finally:
        signal.signal(signal.SIGINT, before)
    seen = []

    def elsewhere():
        with HeldSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


def test_an_interruption_leaves_an_earlier_runs_checkpoint_alone(store):
    run(checkpoints=store, epochs=2)
    kept = store.latest().state
    interrupt = AtUpdate(2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=store, callbacks=[interrupt])
    assert store.latest().state == kept
    # After a checkpoint of its own, that one is the one to go on with.
    interrupt = AtUpdate(5, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=store, callbacks=[interrupt])
    assert names(store) == ["epoch-000001-batch-000000002"]


# --- the files -----------------------------------------------------------------------------------


def test_a_checkpoint_without_the_newer_counters(store, uninterrupted):
    with pytest.raises(Stop):
        run(checkpoints=store, callbacks=[StopAfterEpoch(2)], **VARIANTS["hybrid"])
    folder = Path(store.folder, "epoch-000002")
    state = json.loads((folder / "state.json").read_text())
    del state["batches"], state["sums"]
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "sha256").write_text(_digest(folder))
    resumed = run(checkpoints=store, resume=True, **VARIANTS["hybrid"])
    assert_same_run(resumed, uninterrupted["hybrid"])


def test_a_checkpoint_within_an_epoch_that_cannot_be_written(store, monkeypatch):
    def save(tensors, path):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(CheckpointError, match="epoch 0 and 1 batches could not be written"):
        run(checkpoints=store, checkpoint_every=0)
