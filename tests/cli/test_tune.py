from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

import longtail as lt
from longtail.cli.fit import fit
from longtail.cli.tune import tune
from tests.cli.test_cli import SMALL, run, write_texts

FIXED = {"n_components": 2, "n_hidden": 4, "epochs": 2, "eval_refine_steps": 2, "eval_samples": 2}
FIX = [part for name, value in FIXED.items() for part in ("--fix", f"{name}={value}")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    write_texts(folder / "train.parquet", 120, 0)
    return folder


def test_it_tunes_and_goes_on(folder, tmp_path):
    command = ["tune", folder / "train.parquet", "--out", tmp_path / "t", *FIX, "--min-df", "2"]
    done = run(*command, "--trials", "1", "--json", "--plot", tmp_path / "p.svg")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["task"], report["metric"], report["complete"]) == ("documents", "elbo", 1)
    assert report["best_params"].items() >= FIXED.items()
    assert (tmp_path / "p.svg").exists()
    again = run(*command, "--trials", "2")
    assert again.returncode == 2
    assert "--resume" in again.stderr
    more = run(*command, "--trials", "2", "--resume")
    assert more.returncode == 0, more.stderr
    assert "trial 1: " in more.stderr
    assert pl.read_csv(tmp_path / "t" / "trials.csv")["trial"].to_list() == [0, 1]
    assert "best, trial" in more.stdout
    model = lt.load(tmp_path / "t" / "model")
    assert model.n_components == 2
    assert model.read_settings_.min_df == 2


def test_an_interrupt_keeps_the_study(folder, tmp_path):
    command = [sys.executable, "-m", "longtail", "tune", folder / "train.parquet"]
    command += ["--out", tmp_path / "t", *FIX, "--fix", "epochs=400", "--trials", "1"]
    process = subprocess.Popen(
        [*map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "t").glob("checkpoint/epoch-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "repeat the command with --resume" in stderr
    assert (tmp_path / "t" / "study.db").exists()
    assert list((tmp_path / "t").glob("checkpoint/epoch-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "films", "--trials", "1"], "task must be one of"),
        ([], "minutes, trials or both"),
        (["--trials", "1", "--metric", "auc"], "metric must be"),
        (["--trials", "1", "--fix", "epochs"], "NAME=VALUE"),
        (["--trials", "1", "--fix", "depth=2"], "no such parameter"),
    ],
)
def test_bad_usage(folder, tmp_path, arguments, message):
    done = run("tune", folder / "train.parquet", "--out", tmp_path / "t", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_it_reads_as_fit_does():
    of_fit, of_tune = (inspect.signature(c, eval_str=True).parameters for c in (fit, tune))
    shared = {"format", "row_column", "min_df", "vocabulary", "counts", "ngrams"}
    assert shared <= of_tune.keys()
    assert "learning_rate" not in of_tune
    for name in shared:
        assert of_tune[name].default == of_fit[name].default
    assert "Example: longtail tune" in run("tune", "--help").stdout


def test_a_task_fills_what_fit_is_not_given(folder, tmp_path):
    command = ["fit", folder / "train.parquet", "--out", tmp_path / "m", *SMALL]
    done = run(*command, "--task", "recommendation", "--kl-weight", "1", "--features", "l1")
    assert done.returncode == 0, done.stderr
    model = lt.load(tmp_path / "m")
    assert model.feature_dropout == 0.5
    assert model.decoder_layers == 0
    # Given, even where it is the default.
    assert (model.kl_weight, model.features) == (1.0, "l1")
    assert "recommendation: --feature-dropout 0.5 (the encoder" in done.stderr
    assert "--kl-weight" not in done.stderr
    wrong = run(*command, "--task", "films")
    assert wrong.returncode == 2
    assert "task must be one of" in wrong.stderr
