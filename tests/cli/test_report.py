"""The command that writes a page, run by the program's own entry point in this process."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tests.introspection.handmade import learned, named_words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    learned().save(path / "model")
    rows = named_words(30)
    texts = [
        " ".join(f for f, x in rows.top_features(d, 20) for _ in range(int(x))) for d in range(30)
    ]
    pl.DataFrame({"text": texts}).write_parquet(path / "rows.parquet")
    return path


def test_model_alone(folder, tmp_path, run):
    out = tmp_path / "page.html"
    code, text, _ = run("report", folder / "model", "--out", out)
    assert code == 0
    assert str(out) in text
    assert "11 sections" in text
    assert "<title>model</title>" in out.read_text()


def test_rows_and_json(folder, tmp_path, run):
    out = tmp_path / "page.html"
    arguments = ("--samples", 2, "--refine-steps", 3, "--max-rows", 10, "--title", "Mine", "--json")
    figures = ("--figures", tmp_path / "figures", "--recommend", "--seed", 4)
    code, text, _ = run(
        "report",
        folder / "model",
        folder / "rows.parquet",
        "--out",
        out,
        *arguments,
        *figures,
    )
    assert code == 0
    told = json.loads(text)
    assert told["out"] == str(out)
    assert told["bytes"] == out.stat().st_size
    assert told["rows_scored"] == 10
    assert told["seed"] == 4
    assert told["sections"][-1] == "recommend"
    assert told["evaluation"]["iw"]["samples"] == 2
    assert "<title>Mine</title>" in out.read_text()
    assert (tmp_path / "figures" / "ladder.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "page.pdf"], "written as .html"),
        (["missing.parquet"], "missing.parquet"),
        (["--max-rows", "0"], "max-rows"),
    ],
)
def test_bad_usage_and_input(arguments, message, folder, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("report", folder / "model", *arguments)
    assert code == 2
    assert message in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_no_such_model(tmp_path, run):
    code, _, err = run("report", tmp_path, "--out", tmp_path / "page.html")
    assert code == 2
    assert "not a saved model" in err


def test_a_page_that_cannot_be_written(folder, tmp_path, run):
    (tmp_path / "file").write_text("")
    code, _, err = run("report", folder / "model", "--out", tmp_path / "file" / "page.html")
    assert code == 2  # and before the computing
    assert "cannot be written" in err
