from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import fsspec
import numpy as np
import polars as pl
import pytest

import longtail
from longtail.data import read_counts
from tests.data.stream.streams import random_texts
from tests.data.stream.test_counting import spoil

SMALL = ["--n-components", "3", "--n-hidden", "8", "--epochs", "2", "--batch-size", "20"]
SMALL += ["--eval-refine-steps", "5", "--device", "cpu", "--text-column", "text"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    (folder / "more").mkdir(parents=True)
    frame = pl.DataFrame({"text": [f"common {t}" for t in random_texts(400, 30)]})
    frame[:250].write_parquet(folder / "a.parquet", row_group_size=60)
    frame[250:].write_parquet(folder / "more" / "b.parquet", row_group_size=60)
    frame.write_parquet(tmp_path / "whole.parquet")
    frame[:50].write_parquet(tmp_path / "valid.parquet")
    return folder


def test_a_folder_of_parquet_files_is_streamed(run, folder, tmp_path):
    code, out, err = run("fit", folder, "--out", tmp_path / "m", *SMALL, "--min-df", "5", "--json")
    assert code == 0, err
    assert "400 rows in 8 row groups × " in err
    told = json.loads(out)
    assert told["train_rows"] + told["valid_rows"] == 400
    assert told["stream"]["lanes"] == 2
    assert told["stream"]["buffer_rows"] == 50_000
    assert 0 < told["stream"]["reading_share"] < 1
    assert told["stream"]["scan_seconds"] > 0
    model = longtail.load(tmp_path / "m")
    expected = read_counts(tmp_path / "whole.parquet", min_df=5)
    assert model.vocabulary_ == expected.vocabulary
    assert model.read_settings_ == expected.settings
    assert not (tmp_path / "m.checkpoint").exists()


def test_options_of_streaming(run, folder, tmp_path):
    more = ["--buffer-rows", "30", "--lanes", "4", "--valid", tmp_path / "valid.parquet"]
    code, out, err = run("fit", folder, "--out", tmp_path / "m", *SMALL, *more)
    assert code == 0, err
    assert "reading: " in out
    assert "50 rows" in out
    facts = longtail.load(tmp_path / "m").fit_info_
    assert facts["valid_rows"] == 50
    assert (facts["stream"]["buffer_rows"], facts["stream"]["lanes"]) == (30, 4)
    whole = tmp_path / "whole.parquet"
    code, _, err = run("fit", whole, "--out", tmp_path / "m", *SMALL, "--lanes", "4")
    assert code == 2
    assert "--lanes: these rows are read into memory at once. Add --stream." in err
    code, _, err = run("fit", whole, "--out", tmp_path / "m", *SMALL, "--stream", "--lanes", "1")
    assert code == 0, err
    assert longtail.load(tmp_path / "m").fit_info_["stream"]["blocks"] == 1


def test_a_folder_can_be_read_into_memory(run, folder, tmp_path):
    whole = tmp_path / "whole.parquet"
    for data, out in ((folder, "folder"), (whole, "whole")):
        code, _, err = run("fit", data, "--no-stream", "--out", tmp_path / out, *SMALL)
        assert code == 0, err
    weights = [tmp_path / name / "weights.safetensors" for name in ("folder", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert "stream" not in longtail.load(tmp_path / "folder").fit_info_


def test_a_url(run, folder, tmp_path):
    fsspec.filesystem("memory").put(str(folder), "/test_stream_cli", recursive=True)
    url = "memory://test_stream_cli"
    code, _, err = run("fit", url, "--valid", url, "--out", tmp_path / "m", *SMALL)
    assert code == 0, err
    assert f"{url}: 400 rows in 8 row groups" in err
    assert longtail.load(tmp_path / "m").fit_info_["valid_rows"] == 400


@pytest.mark.filterwarnings("default:.*row groups are corrupt")
def test_a_corrupt_row_group(run, tmp_path):
    path = tmp_path / "t.parquet"
    texts = [f"common {t}" for t in random_texts(3000, 400)]
    pl.DataFrame({"text": texts}).write_parquet(path, row_group_size=1000)
    spoil(path)
    given = ["fit", path, "--stream", "--out", tmp_path / "m", *SMALL]
    code, _, err = run(*given)
    assert code == 2
    assert f"Cannot read row group 1 of '{path}': it is corrupt" in err
    code, out, err = run(*given, "--skip-corrupt", "--json")
    assert code == 0, err
    assert "notice: 1 of 3 row groups are corrupt and are left out, with 1,000 of 3,000" in err
    assert json.loads(out)["stream"]["skipped_rows"] == 1000


def test_entries_one_a_line_are_refused(run, tmp_path):
    frame = pl.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"]})
    frame.write_parquet(tmp_path / "t.parquet")
    columns = ["--row-column", "user", "--feature-column", "item"]
    code, _, err = run("fit", tmp_path / "t.parquet", "--stream", *columns, "--out", tmp_path / "m")
    assert code == 2
    assert "has one entry a line" in err
    assert "Polars" in err


def test_a_killed_fit_resumes_to_the_same_model(folder, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "longtail", "fit", str(folder), *SMALL]
    command += ["--buffer-rows", "70", "--epochs", "12", "--patience", "0"]

    def fit(out, *more):
        return subprocess.run(
            [*command, "--out", tmp_path / out, *more],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )

    whole = fit("whole")
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [*command, "--out", tmp_path / "cut"], stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("cut.checkpoint/epoch-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (tmp_path / "cut").exists()
    other = fit("cut", "--resume", "--lanes", "4")
    assert other.returncode == 2
    assert "other data or settings" in other.stderr
    resumed = fit("cut", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch" in resumed.stderr
    weights = [tmp_path / name / "weights.safetensors" for name in ("whole", "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_two_processes_fit_the_model_of_one(folder, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    fit = ["-m", "longtail", "fit", str(folder), *SMALL, "--buffer-rows", "70"]
    pair = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for words, out in ((fit, "one"), ([*pair, *fit], "two")):
        command = [sys.executable, *words, "--out", str(tmp_path / out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    one, two = (longtail.load(tmp_path / name) for name in ("one", "two"))
    rows = read_counts(tmp_path / "valid.parquet", vocabulary=one.vocabulary_)
    np.testing.assert_allclose(one.transform(rows), two.transform(rows), atol=1e-3)
    done = subprocess.run(
        [sys.executable, *pair, *fit, "--out", str(tmp_path / "three"), "--lanes", "3"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode != 0
    assert "2 processes cannot share 3 lanes evenly" in done.stderr
