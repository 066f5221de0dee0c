"""Fits and updates that are killed late, or meet another one, with the program in this process."""

from __future__ import annotations

import fcntl

import pytest

from longtail import load
from longtail.estimator import NonlinearFactorAnalysis
from longtail.training.checkpoint import CheckpointStore
from tests.cli.test_cli import SMALL, write_texts
from tests.kills import Killed, every_kill


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("data") / "train.parquet", 40, 0)


def weights(model):
    return (model / "weights.safetensors").read_bytes()


def killed(*args, **kwargs):
    raise Killed


@pytest.mark.parametrize("where", [(NonlinearFactorAnalysis, "save"), (CheckpointStore, "clear")])
def test_a_fit_that_is_killed_when_training_is_done(data, tmp_path, run, monkeypatch, where):
    fit = ["fit", data, *SMALL, "--out"]
    assert run(*fit, tmp_path / "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(*where, killed)
        with pytest.raises(Killed):
            run(*fit, tmp_path / "cut")
    assert (tmp_path / "cut.checkpoint").exists()
    code, _, said = run(*fit, tmp_path / "cut", "--resume")
    assert (code, "resuming after epoch 3" in said) == (0, True)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"cut", "whole"}


def test_a_second_fit_ends_before_it_reads_anything(tmp_path, run):
    checkpoint = tmp_path / "model.checkpoint"
    checkpoint.mkdir()
    with (checkpoint / ".lock").open("ab") as held:  # as the first fit would
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, said = run("fit", "absent.parquet", "--out", tmp_path / "model")
    assert code == 2
    assert f"error: Another fit is running with the checkpoints in {checkpoint}" in said
    assert said.count("\n") == 1


def test_a_checkpoint_of_an_unfinished_fit_is_told(data, tmp_path, run, monkeypatch):
    fit = ["fit", data, *SMALL, "--out", tmp_path / "model"]
    (tmp_path / "model.checkpoint" / "epoch-000009").mkdir(parents=True)  # empty: none
    assert "unfinished" not in run(*fit)[2]
    with monkeypatch.context() as patch:
        patch.setattr(NonlinearFactorAnalysis, "save", killed)
        with pytest.raises(Killed):
            run(*fit)
    code, _, said = run(*fit)
    assert (code, "is from an unfinished fit" in said) == (0, True)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_update_that_is_killed_leaves_a_model_to_update(data, tmp_path, run):
    model = tmp_path / "model"
    assert run("fit", data, *SMALL, "--out", model)[0] == 0
    update = ["update", model, data, "--out", model, "--epochs", "0"]
    updates = []
    for begin in every_kill(lambda: run(*update)):
        load(tmp_path / "model")
        begin()
        updates.append(len(load(model).fit_info_.get("updates", ())))
    assert updates == sorted(updates)
    assert {0, 1} <= {*updates}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
