"""The command line, run as a user runs it: in processes of their own."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import longtail
from longtail.cli.fit import fit

WORDS = {
    "sea": ["boat", "wave", "harbour", "sail", "tide", "anchor"],
    "kitchen": ["pan", "oven", "salt", "knife", "butter", "plate"],
}
SMALL = ["--n-components", "3", "--n-hidden", "8", "--epochs", "3", "--batch-size", "20"]
SMALL += ["--eval-refine-steps", "5", "--eval-samples", "2", "--device", "cpu"]


def run(*arguments: str | Path, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "longtail", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        **kwargs,
    )


def write_texts(path: Path, n: int, seed: int, extra: str = "") -> Path:
    rng = np.random.default_rng(seed)
    topics = [list(WORDS)[i % 2] for i in range(n)]
    texts = [" ".join(rng.choice(WORDS[t], 9)) + extra for t in topics]
    frame = pl.DataFrame({"id": [f"d{seed}-{i}" for i in range(n)], "text": texts})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_texts(folder / "train.parquet", 80, 0)
    write_texts(folder / "test.parquet", 30, 1)
    write_texts(folder / "other.jsonl", 20, 2, extra=" zebra")
    done = run("fit", folder / "train.parquet", "--out", folder / "model", *SMALL, "--json")
    assert done.returncode == 0, done.stderr
    (folder / "fit.json").write_text(done.stdout)
    return folder


def test_fit_prints_one_json_object_and_logs_to_standard_error(folder):
    report = json.loads((folder / "fit.json").read_text())
    assert report["model"] == str(folder / "model")
    assert report["train_rows"] + report["valid_rows"] == 80
    assert report["features"] == 12
    assert not (folder / "model.checkpoint").exists()


def test_evaluate_reports_every_rung(folder):
    plot, rows = folder / "ladder.png", folder / "rows.csv"
    done = run(
        "evaluate", folder / "model", folder / "test.parquet", "--json", "--plot", plot,
        "--rows", rows,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["rows"] == 30
    assert report["unseen"] == {"rows": 0.0, "mass": 0.0}
    for rung in ("elbo_amortized", "elbo_refined", "iw"):
        keys = {"per_doc", "per_word", "nats_per_row", "se", "samples", "steps"}
        assert keys <= report[rung].keys()
    assert report["elbo_refined"]["steps"] == 5
    assert report["iw"]["per_doc"] < report["elbo_refined"]["per_doc"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert pl.read_csv(rows).height == 30


def test_evaluate_with_a_full_covariance(folder):
    done = run(
        "evaluate", folder / "model", folder / "test.parquet",
        "--full-covariance", "--no-completion", "--json",
    )  # fmt: skip
    scores = json.loads(done.stdout)
    assert scores["elbo_full"]["steps"] == scores["elbo_refined"]["steps"] + 24


def test_evaluate_for_people_names_its_estimators(folder):
    done = run("evaluate", folder / "model", folder / "test.parquet", "--no-completion")
    assert done.returncode == 0, done.stderr
    assert "ELBO at ψ*" in done.stdout
    assert "unigram floor" in done.stdout
    assert "completion of held-out halves" not in done.stdout


def test_the_model_reads_another_format_of_the_same_kind(folder):
    done = run("evaluate", folder / "model", folder / "other.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["unseen"]["rows"] == 1.0
    assert report["unseen"]["mass"] == pytest.approx(0.1)
    assert "zebra" in done.stderr


def test_transform_writes_a_row_for_each_row(folder):
    out = folder / "z.parquet"
    done = run("transform", folder / "model", folder / "test.parquet", "--out", out, "--scale")
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(out)
    assert table.columns == ["row_id", "z0", "z1", "z2", "scale0", "scale1", "scale2"]
    assert table["row_id"].to_list() == [f"d1-{i}" for i in range(30)]


def test_info_describes_the_model(folder):
    assert "12 features" in run("info", folder / "model").stdout
    config = json.loads(run("info", folder / "model", "--json").stdout)
    assert config["parameters"]["n_components"] == 3
    assert config["vocabulary_size"] == 12


def test_how_it_refines_reaches_the_model(folder, tmp_path):
    options = ["--refine-method", "adam", "--refine-features", "5", "--theta-features", "auto"]
    options += ["--importance-samples", "3", "--output-epsilon", "0.5"]
    done = run("fit", folder / "train.parquet", "--out", tmp_path / "m", *SMALL, *options)
    assert done.returncode == 0, done.stderr
    model = longtail.load(tmp_path / "m")
    assert (model.refine_method, model.refine_features, model.theta_features) == ("adam", 5, "auto")
    assert (model.importance_samples, model.output_epsilon) == (3, 0.5)
    assert model.network_.refine_sampler.inclusion.sum().item() == pytest.approx(5)
    assert model.network_.theta_sampler is None


def test_fit_and_evaluate_take_records_of_codes(tmp_path):
    rng = np.random.default_rng(0)
    lines = [";".join(rng.choice(["250.00", "401.9", "V58.6", "E1"], 5)) for _ in range(40)]
    frame = pl.DataFrame({"codes": lines})
    frame.write_csv(tmp_path / "train.csv")
    options = ["--feature-column", "codes", "--feature-separator", ";"]
    options += ["--strip-dots", "--binarize", "--min-df", "2"]
    done = run("fit", tmp_path / "train.csv", "--out", tmp_path / "m", *SMALL, *options)
    assert done.returncode == 0, done.stderr
    assert "duplicate (row, feature) pairs were summed" in done.stderr
    settings = longtail.load(tmp_path / "m").read_settings_
    assert (settings.feature_separator, settings.strip_dots, settings.binarize) == (
        ";",
        True,
        True,
    )
    frame.write_csv(tmp_path / "new.csv")
    done = run("evaluate", tmp_path / "m", tmp_path / "new.csv", "--json", "--no-completion")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unseen"]["mass"] == 0
    assert "duplicate (row, feature) pairs were summed" in done.stderr


def test_what_codes_mean_is_told_after_the_fit(tmp_path):
    rng = np.random.default_rng(0)
    codes = [rng.choice(["250.0", "401.9", "V58.6"], 2, replace=False).tolist() for _ in range(40)]
    pl.DataFrame({"codes": codes}).write_parquet(tmp_path / "train.parquet")
    (tmp_path / "texts.csv").write_text('code,text\n401.9,"Hypertension, essential"\n9,other\n')
    command = ["fit", tmp_path / "train.parquet", "--feature-column", "codes", *SMALL]
    done = run(*command, "--out", tmp_path / "m", "--descriptions", tmp_path / "texts.csv")
    assert done.returncode == 0, done.stderr
    assert "descriptions of 1 of 3 features" in done.stderr
    done = run("neighbors", tmp_path / "m", "401.9")
    assert done.stdout.startswith("401.9 Hypertension, essential\n")
    done = run("neighbors", tmp_path / "m", "hypertension")
    assert done.returncode == 2
    assert "401.9 Hypertension, essential" in done.stderr
    done = run("recommend", tmp_path / "m", tmp_path / "train.parquet", "--json", "-k", "1")
    first = json.loads(done.stdout)["recommendations"][0]
    assert first["descriptions"] == [{"401.9": "Hypertension, essential"}.get(first["items"][0])]
    (tmp_path / "texts.csv").write_text("code,text\n9,other\n")
    done = run(*command, "--out", tmp_path / "n", "--descriptions", tmp_path / "texts.csv")
    assert done.returncode == 2
    assert "describes none of the 3 features" in done.stderr


def test_the_demo_knows_its_corpora(tmp_path):
    done = run("demo", "--corpus", "nothing", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "'docstrings', 'imports', 'phenotypes'" in done.stderr


def test_the_same_seed_gives_the_same_model(folder, tmp_path):
    done = run("fit", folder / "train.parquet", "--out", tmp_path / "again", *SMALL)
    assert done.returncode == 0, done.stderr
    weights = [p / "weights.safetensors" for p in (folder / "model", tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_fit_resumes_to_the_same_model(folder, tmp_path, sent):
    long = [*SMALL, "--epochs", "60", "--patience", "0"]
    whole = run("fit", folder / "train.parquet", "--out", tmp_path / "whole", *long)
    assert whole.returncode == 0, whole.stderr
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "longtail", "fit", folder / "train.parquet", "--out", cut]
    process = subprocess.Popen(
        [*map(str, command), *long],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("cut.checkpoint/epoch-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert not cut.exists()
    if sent != signal.SIGKILL:
        assert process.returncode == 1
        assert "--resume" in stderr
    again = run("fit", folder / "train.parquet", "--out", cut, *long, "--resume")
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch" in again.stderr
    weights = [p / "weights.safetensors" for p in (tmp_path / "whole", cut)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "absent.csv", "--out", "m"], "absent.csv"),
        (["fit", "train.parquet", "--out", "m", "--text-column", "body"], "body"),
        (["fit", "train.parquet", "--out", "m", "--n-components", "0", "--epochs", "0"], "epochs"),
        (["fit", "train.parquet", "--out", "m", "--refine-steps", "many"], "refine"),
        (["fit", "train.parquet", "--out", "m", "--refine-features", "some"], "features"),
        (["fit", "train.parquet", "--out", "m", "--theta-features", "0"], "theta_features"),
        (["fit", "train.parquet", "--out", "m", "--refine-method", "bfgs"], "refine_method"),
        (["fit", "train.parquet", "--out", "m", "--min-df", "few"], "min"),
        (["fit", "train.parquet", "--out", "m", "--min-df", "1000"], "min_df"),
        (["fit", "train.parquet"], "--out"),
        (["fit", "train.parquet", "--out", "full"], "left as it is"),
        (["evaluate", "absent", "test.parquet"], "not a saved model"),
        (["evaluate", "model", "train.npz"], "train.npz"),
        (["transform", "model", "test.parquet", "--out", "z.xls"], ".h5ad"),
        (["evaluate", "model", "test.parquet", "--plot", "x.bmp"], "x.bmp"),
        (["info", "full"], "manifest.json"),
        (["nothing"], "nothing"),
    ],
)  # fmt: skip
def test_bad_usage_and_input_exit_with_2(folder, arguments, message):
    (folder / "full").mkdir(exist_ok=True)
    (folder / "full" / "thesis.tex").write_text("precious")
    (folder / "train.npz").write_bytes(b"not a matrix")
    done = run(*arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_shows_an_example_for_every_command():
    for command in ("fit", "update", "evaluate", "transform", "info", "demo"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert f"Example: longtail {command}" in done.stdout


def test_fit_options_default_to_the_parameters_defaults():
    parameters = inspect.signature(longtail.NonlinearFactorAnalysis).parameters
    options = inspect.signature(fit).parameters
    own = {"random_state", "verbose"}  # --seed and the progress display
    assert parameters.keys() - own <= options.keys()
    for name, parameter in parameters.items():
        if name not in own:
            default = options[name].default
            assert default in (parameter.default, str(parameter.default)), name
