"""A search that is killed at any point continues with the same trial, settings and checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optuna
import pytest

import longtail as lt
from longtail.errors import ParameterError
from longtail.training.checkpoint import CheckpointStore
from longtail.tuning import Range
from longtail.tuning.trials import _Watch
from tests.tuning.test_tune import Clock, rows, tune

STORAGE = optuna.storages.RDBStorage


class Killed(BaseException):
    pass


def kill_before(monkeypatch, owner, name, call):
    """Raise `Killed` instead of the given call of a method, counted from 1."""
    original, calls = getattr(owner, name), []

    def counted(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


def trials(tuning):
    return [
        (t.params, t.value, t.state, t.intermediate_values, t.user_attrs["epochs"])
        for t in tuning.trials
        if t.state.name != "FAIL"
    ]


@pytest.fixture(scope="module")
def whole():
    return tune()


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        pytest.param(STORAGE, "set_study_user_attr", 1, id="study without its settings"),
        pytest.param(Range, "suggest", 2, id="preset without all its settings"),
        pytest.param(Range, "suggest", 4, id="proposal without all its settings"),
        pytest.param(CheckpointStore, "save", 1, id="no epoch done"),
        pytest.param(STORAGE, "set_trial_intermediate_value", 2, id="epoch kept, not reported"),
        pytest.param(STORAGE, "set_trial_intermediate_value", 3, id="last epoch not reported"),
        pytest.param(CheckpointStore, "save", 3, id="epochs 1 and 2 of the preset done"),
        pytest.param(CheckpointStore, "save", 5, id="epoch 1 of the second trial done"),
        pytest.param(lt.NonlinearFactorAnalysis, "save", 1, id="fitted, not saved"),
        pytest.param(STORAGE, "set_trial_state_values", 3, id="saved, not recorded"),
        pytest.param(CheckpointStore, "clear", 2, id="recorded, checkpoint left"),
    ],
)
def test_a_killed_search_ends_as_if_it_had_not_been(
    whole, tmp_path, monkeypatch, owner, name, call
):
    with monkeypatch.context() as patched:
        kill_before(patched, owner, name, call)
        with pytest.raises(Killed):
            tune(storage=tmp_path)
    resumed = tune(storage=tmp_path, resume=True)
    assert trials(resumed) == trials(whole)
    assert resumed.best_params == whole.best_params
    np.testing.assert_array_equal(resumed.model.transform(rows()), whole.model.transform(rows()))


def test_no_epoch_is_trained_twice(tmp_path, monkeypatch):
    epochs = []
    original = _Watch.on_epoch_end

    def noted(watch, record):
        epochs.append(record.epoch)
        original(watch, record)
        if epochs == [1, 2]:
            raise Killed

    monkeypatch.setattr(_Watch, "on_epoch_end", noted)
    with pytest.raises(Killed):
        tune(trials=1, storage=tmp_path)
    said = []
    resumed = tune(trials=1, storage=tmp_path, resume=True, say=said.append)
    assert epochs == [1, 2, 3]
    assert said[0].startswith("trial 0 (continued): learning_rate 0.002, weight_decay 2")
    assert resumed.frame()["trial"].to_list() == [0]


@pytest.mark.parametrize("metric", ["completion", "ndcg@5"])
def test_figures_that_were_not_reported_are_computed(tmp_path, monkeypatch, metric):
    whole = tune(trials=1, metric=metric)
    with monkeypatch.context() as patched:
        kill_before(patched, STORAGE, "set_trial_intermediate_value", 2)
        with pytest.raises(Killed):
            tune(trials=1, metric=metric, storage=tmp_path)
    resumed = tune(trials=1, metric=metric, storage=tmp_path, resume=True)
    assert trials(resumed) == trials(whole)


def test_short_budgets_add_up_to_whole_trials(whole, tmp_path):
    def one_epoch():
        # The time is over when the clock is first looked at.
        return tune(minutes=0.5, storage=tmp_path, resume=True, clock=Clock())

    for _ in range(2):
        with pytest.raises(ParameterError, match="No trial came to its end"):
            one_epoch()
    states = [one_epoch().frame()["state"].to_list() for _ in range(4)]
    assert states[:3] == [["complete"], *[["complete", "interrupted"]] * 2]
    assert states[3] == ["complete", "complete"]
    assert trials(tune(storage=tmp_path, resume=True)) == trials(whole)


def test_two_searches_do_not_share_a_folder(tmp_path):
    answers = []

    def begin_another(line):
        if not answers:
            with ThreadPoolExecutor() as other:
                answers.append(other.submit(tune, storage=tmp_path, resume=True).exception())

    tune(trials=1, storage=tmp_path, say=begin_another)
    assert isinstance(answers[0], ParameterError)
    assert "Another search is working in" in str(answers[0])
    assert tune(trials=1, storage=tmp_path, resume=True).stopped == "1 trials done"


def test_ctrl_c_within_an_epoch(whole, tmp_path, monkeypatch):
    original = _Watch.on_epoch_end

    def interrupt(watch, record):
        original(watch, record)
        if record.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(_Watch, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(storage=tmp_path)
    assert list((tmp_path / "checkpoint").glob("epoch-000002-batch-*"))
    assert trials(tune(storage=tmp_path, resume=True)) == trials(whole)


SCRIPT = """
import os, signal, sys
from longtail.training.checkpoint import CheckpointStore
from tests.tuning.test_tune import tune

save = CheckpointStore.save

def save_and_die(store, epoch, checkpoint, **options):
    save(store, epoch, checkpoint, **options)
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

CheckpointStore.save = save_and_die
tune(storage=sys.argv[1])
"""


def test_sigkill(whole, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert list((tmp_path / "checkpoint").glob("epoch-000002"))
    assert trials(tune(storage=tmp_path, resume=True)) == trials(whole)
