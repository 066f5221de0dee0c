"""Rows scored block by block, by the program's own entry point in this process."""

from __future__ import annotations

import json

import polars as pl
import pytest

from longtail import load
from longtail.cli import output
from tests.scoring.datasets import corrupt, fitted, in_memory, write


@pytest.fixture
def folder(tmp_path):
    data = write(tmp_path / "data")
    fitted().save(tmp_path / "model")
    return tmp_path, data


def test_a_folder_of_parquet_is_transformed_block_by_block(folder, run):
    tmp_path, data = folder
    out = tmp_path / "z"
    arguments = ["transform", tmp_path / "model", data, "--out", out, "--scale"]
    code, printed, err = run(*arguments, "--json")
    assert code == 0, err
    report = json.loads(printed)
    assert report["out"] == str(out)
    assert (report["rows"], report["components"], report["blocks"]) == (63, 3, 3)
    assert (report["resumed_blocks"], report["skipped_blocks"]) == (0, [])
    assert report["seconds"] > 0
    assert report["unseen"]["mass"] > 0
    assert "63 rows in 3 blocks" in err
    assert "are not in the model's vocabulary" in err
    assert pl.read_parquet(out).height == 63
    code, _, err = run(*arguments)
    assert code == 2
    assert "is finished: 63 rows" in err
    code, printed, err = run(*arguments, "--overwrite", "--engine", "local")
    assert code == 0, err
    assert "63 rows × 3 components" in printed
    assert "(3 blocks)" in printed


def test_one_file_goes_into_a_folder_too(folder, run):
    tmp_path, data = folder
    out = tmp_path / "items"
    code, printed, err = run(
        "recommend", tmp_path / "model", data / "0.parquet", "--out", out, "-k", 4, "--json"
    )
    assert code == 0, err
    report = json.loads(printed)
    assert (report["rows"], report["k"], report["blocks"]) == (33, 4, 2)
    assert report["no_history"] == 2
    assert pl.read_parquet(out)["item"].list.len().to_list() == [4] * 33


def test_an_evaluation_is_printed_as_ever(folder, run):
    tmp_path, data = folder
    arguments = ["evaluate", tmp_path / "model", data, "--out", tmp_path / "rows"]
    code, printed, err = run(*arguments, "--json", "--plot", tmp_path / "ladder.html")
    assert code == 0, err
    report = json.loads(printed)
    scoring = report.pop("scoring")
    assert (scoring["rows"], scoring["blocks"]) == (63, 3)
    rows, unseen = in_memory(data)
    expected = load(tmp_path / "model").evaluate(rows, seed=0, unseen=unseen).to_dict()
    assert report.keys() == expected.keys()
    assert report["iw"] == pytest.approx(expected["iw"], rel=1e-5)
    assert (tmp_path / "ladder.html").exists()
    code, printed, err = run(*arguments, "--overwrite")
    assert code == 0, err
    assert "importance-weighted at ψ*" in printed


def test_a_corrupt_block_ends_the_run_until_it_is_to_be_left_out(folder, run):
    tmp_path, data = folder
    corrupt(data, 1)
    arguments = ["transform", tmp_path / "model", data, "--out", tmp_path / "z"]
    code, _, err = run(*arguments)
    assert code == 2
    assert "row group 1 of" in err
    code, printed, err = run(*arguments, "--skip-corrupt", "--json")
    assert code == 0, err
    assert "1 of 3 blocks are there from an earlier run" in err
    assert "left out 13 rows" in err
    report = json.loads(printed)
    assert (report["rows"], report["resumed_blocks"]) == (50, 1)
    assert [block["rows"] for block in report["skipped_blocks"]] == [13]


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        ("transform", ["--out", "z.parquet"], "needs as --out a folder"),
        ("evaluate", [], "needs as --out a folder for the parts"),
        ("transform", ["--out", "z", "--workers", 2], "--workers is for a Ray cluster"),
        ("transform", ["--out", "z", "--layer", "raw"], "--layer is for AnnData"),
        ("evaluate", ["--out", "z", "--rows", "r.csv"], "leave out --rows"),
        ("recommend", ["--out", "z", "--explain", 1], "--explain is for rows at once"),
        ("transform", ["--out", "s3://bucket/z"], "got the URL"),
    ],
)
def test_options_that_do_not_fit_together(folder, run, command, options, told):
    tmp_path, data = folder
    code, _, err = run(command, tmp_path / "model", data, *options)
    assert code == 2
    assert told in err


def test_options_of_blocks_need_blocks(folder, run):
    tmp_path, data = folder
    code, _, err = run(
        "transform", tmp_path / "model", data / "0.parquet", "--out", tmp_path / "z.parquet",
        "--overwrite", "--skip-corrupt",
    )  # fmt: skip
    assert code == 2
    assert "--skip-corrupt, --overwrite is for rows that are scored block by block" in err


def test_a_table_of_rows_at_once_is_not_called_out(folder, run):
    tmp_path, data = folder
    code, _, err = run(
        "evaluate", tmp_path / "model", data / "0.parquet", "--out", tmp_path / "rows.parquet"
    )
    assert code == 2
    assert "with --rows" in err


def test_progress_tells_the_time_that_is_left(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 15.0, 16.0, 40.0, 41.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    with output.rows_progress("transform") as report:
        for done in (100, 150, 200, 400, 1000):
            report(done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "transform: 150 of 1,000 rows, about 4 min left",
        "transform: 400 of 1,000 rows, about 1 min left",
    ]
