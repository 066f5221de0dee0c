"""The update command, as a user runs it: in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from longtail import load
from tests.cli.test_cli import SMALL, WORDS, run, write_texts


def write_later(path, n, seed):
    """Texts of the same topics, with words that are new."""
    rng = np.random.default_rng(seed)
    words = {t: [*known, f"{t}-new"] for t, known in WORDS.items()}
    topics = [list(words)[i % 2] for i in range(n)]
    texts = [" ".join([*rng.choice(words[t], 9), *(["once"] * (i == 0))]) for i, t in
             enumerate(topics)]  # fmt: skip
    pl.DataFrame({"id": [f"l{i}" for i in range(n)], "text": texts}).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("update")
    write_texts(folder / "train.parquet", 80, 0)
    write_later(folder / "later.parquet", 80, 1)
    options = ["--token-pattern", r"[\w-]+", "--validation-fraction", "0.2"]
    done = run("fit", folder / "train.parquet", "--out", folder / "model", *SMALL, *options)
    assert done.returncode == 0, done.stderr
    return folder


def weights(model):
    return (model / "weights.safetensors").read_bytes()


def test_a_model_goes_on_under_another_name(folder, tmp_path):
    before = weights(folder / "model")
    done = run(
        "update", folder / "model", folder / "later.parquet", "--out", tmp_path / "new",
        "--retain", folder / "train.parquet", "--epochs", "2", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["model"] == str(tmp_path / "new")
    assert (report["features"], report["added"]["features"]) == (14, 2)
    assert {f["name"] for f in report["added"]["first"]} == {"sea-new", "kitchen-new"}
    assert report["left_out"]["reasons"] == {"in fewer than 5 new rows": 1}
    assert report["left_out"]["first"][0]["name"] == "once"
    assert report["old_rows"]["rows"] == 16
    assert weights(folder / "model") == before
    assert load(tmp_path / "new").n_features_in_ == 14
    again = run(
        "update", folder / "model", folder / "later.parquet", "--out", tmp_path / "again",
        "--retain", folder / "train.parquet", "--epochs", "2",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "14, 2 of them new" in again.stdout
    assert weights(tmp_path / "again") == weights(tmp_path / "new")
    assert "## Updates" in run("info", tmp_path / "new").stdout


def test_in_place_and_once_more(folder, tmp_path):
    model = tmp_path / "model"
    load(folder / "model").save(model)
    options = ["--no-grow", "--epochs", "1", "--idf", "update"]
    for n in (1, 2):
        done = run("update", model, folder / "later.parquet", "--out", model, *options)
        assert done.returncode == 0, done.stderr
        assert "the vocabulary is kept as it is" in done.stdout
        assert len(load(model).fit_info_["updates"]) == n
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    done = run("update", model, folder / "later.parquet", "--out", model, "--max-new", "1")
    assert load(model).n_features_in_ == 13


def test_a_stream(folder, tmp_path):
    done = run(
        "update", folder / "model", folder / "later.parquet", "--out", tmp_path / "new",
        "--stream", "--epochs", "2", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["features"], report["added"]["features"]) == (14, 2)
    assert "80 rows in 1 blocks" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_update_leaves_the_model(folder, tmp_path, sent):
    model = tmp_path / "model"
    load(folder / "model").save(model)
    before = {p.name: p.read_bytes() for p in model.iterdir()}
    command = ["update", model, folder / "later.parquet", "--out", model, "--epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "longtail", *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for line in process.stderr:
        if line.startswith("update: epoch"):
            break
    assert process.poll() is None
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if sent == signal.SIGKILL else 1)
    if sent != signal.SIGKILL:
        assert "Nothing was written" in said
    assert {p.name: p.read_bytes() for p in model.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "later.parquet", "--out", "m"], "not a saved model"),
        (["model", "absent.parquet", "--out", "m"], "absent.parquet"),
        (["model", "later.parquet"], "--out"),
        (["model", "later.parquet", "--out", "full"], "left as it is"),
        (["model", "later.parquet", "--out", "m", "--min-df", "0"], "min-df"),
        (["model", "later.parquet", "--out", "m", "--idf", "often"], "keep"),
        (["model", "later.parquet", "--out", "m", "--forget", "2"], "forget"),
        (["model", "later.parquet", "--out", "m", "--learning-rate", "0"], "learning_rate"),
        (["model", "later.parquet", "--out", "m", "--retain", "none.parquet"], "none.parquet"),
    ],
)
def test_bad_usage_and_input_exit_with_2(folder, arguments, message):
    (folder / "full").mkdir(exist_ok=True)
    (folder / "full" / "thesis.tex").write_text("precious")
    done = run("update", *arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (folder / "m").exists()
