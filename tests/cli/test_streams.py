"""Standard output that lacks signs, is full, or is closed; names that are meant for a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import longtail as lt
import longtail.output_files
from longtail.cli.app import app
from longtail.cli.output import progress_bar

NAMES = ["café", "ψυχή", "[bold]x[/bold]", "\x1b[31mred\x1b[0m", ":heart:", "\u202eabc", "\x9b2J"]
NAMES += ["日本", "plain", "[/]", *(f"w{i}" for i in range(10))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of such names, a README that was edited, and rows."""
    import polars as pl

    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (40, len(NAMES)))
    r, f = np.nonzero(counts)
    pl.DataFrame(
        {
            "row": ["\x1b[2J" + str(i) for i in r],
            "item": [NAMES[i] for i in f],
            "n": counts[r, f],
        }
    ).write_parquet(folder / "rows.parquet")
    rows = lt.read_counts(
        folder / "rows.parquet", row_column="row", feature_column="item", value_column="n"
    )
    model = lt.NonlinearFactorAnalysis(
        n_components=2, n_hidden=4, epochs=1, eval_refine_steps=1, eval_samples=2, verbose=0
    )
    model.fit(rows).save(folder / "model")
    card = folder / "model" / "README.md"
    card.write_text(card.read_text(encoding="utf-8") + "\n\x1b]0;title\x07[red]é ψ\n", "utf-8")
    return folder


COMMANDS = {
    "info": ["info", "{}/model"],
    "evaluate": ["evaluate", "{}/model", "{}/rows.parquet"],
    "transform": ["transform", "{}/model", "{}/rows.parquet", "--out", "{}/z.csv"],
    "recommend": ["recommend", "{}/model", "{}/rows.parquet", "--explain", "1", "-k", "3"],
    "rank": ["rank", "{}/model", "{}/rows.parquet", "-k", "3"],
    "neighbors": ["neighbors", "{}/model", "plain", "--samples", "2"],
    "spectrum": ["spectrum", "{}/model", "--samples", "4"],
    "directions": ["directions", "{}/model", "{}/rows.parquet", "--samples", "4"],
    "embed": ["embed", "{}/model", "--out", "{}/v.vec", "--samples", "2"],
    "plan": ["plan", "--rows", "1000", "--features", "100", "--non-zeros", "5"],
}


@pytest.fixture
def into(run, monkeypatch):
    """Run a command with standard output in an encoding; its exit code, output and errors."""

    def call(encoding, *arguments):
        out, err = (
            io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2)
        )
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        code, *_ = run(*arguments)
        return code, *(to.buffer.getvalue().decode(encoding) for to in (out, err))

    return call


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_any_encoding(command, encoding, folder, into):
    arguments = [a.format(folder) for a in COMMANDS[command]]
    code, out, err = into(encoding, *arguments)
    assert (code, "Traceback" in err) == (0, False), err
    assert out
    assert not set(out + err) & set("\x1b\x07\x9b\u202e❤")
    code, line, err = into(encoding, *arguments, "--json")
    assert code == 0, err
    assert json.loads(line)
    assert line.isascii() or encoding == "utf-8"


@pytest.mark.parametrize("command", ["evaluate", "rank"])
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_results_are_not_lost_with_a_file(command, json_too, folder, run, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(longtail.output_files, "_flush_to_disk", full)
    arguments = [a.format(folder) for a in COMMANDS[command]]
    code, out, err = run(*arguments, *json_too, "--rows", tmp_path / "rows.csv")
    assert code == 1
    assert "40 rows" in out or json.loads(out)
    assert "failed: " in err
    assert list(tmp_path.iterdir()) == []


def test_names_as_they_are(folder, into):
    _, out, _ = into("utf-8", "neighbors", folder / "model", "plain", "--samples", "2", "-k", 30)
    for name in NAMES:
        shown = name.translate({0x1B: r"\x1b", 0x9B: r"\x9b", 0x202E: r"\u202e"})
        assert name == "plain" or f"  {shown}  " in out
    _, out, _ = into(
        "ascii", "neighbors", folder / "model", "plain", "--samples", "2", "-k", 30, "--json"
    )
    named = {line["feature"] for line in json.loads(out)["neighbors"][0]["list"]}
    assert named == {*NAMES} - {"plain"}


def test_a_progress_bar_that_is_called_by_a_name(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with progress_bar() as progress:
        progress("[/] [red] \x1b]0;title\x07", 1, 2)
    assert r"[/] [red] \x1b]0;title\x07" in capsys.readouterr().err


def test_the_card_is_shown_without_control_characters(folder, into):
    _, out, _ = into("utf-8", "info", folder / "model")
    assert r"\x1b]0;title\x07[red]é ψ" in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "name", [command.name or command.callback.__name__ for command in app.registered_commands]
)
def test_help_in_any_encoding(name, encoding, into):
    code, out, _ = into(encoding, name, "--help")
    assert code == 0
    assert "Usage:" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "no\x1b[2Jmodel"],
        ["no\x1b[2Jcommand"],
        ["info", "x", "one\x1b[2Jtoo many"],
        ["info", "x", "--no\x1b[2Joption"],
        ["embed", "x", "--out", "\x1b[2J.npy"],
    ],
)
def test_errors_quote_without_control_characters(arguments, run):
    code, _, err = run(*arguments)
    assert code == 2
    assert "\x1b" not in err
    assert r"\x1b[2J" in err


@pytest.mark.parametrize(
    "command", [["--version"], ["fit", "--help"], COMMANDS["plan"], [*COMMANDS["plan"], "--json"]]
)
def test_a_full_disk_behind_standard_output(command, run, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code, _, err = run(*command)
        monkeypatch.undo()
    assert code == 1
    assert err.startswith("failed: ")
    assert "No space left on device" in err
    assert err.count("\n") == 1


def test_the_interpreter_ends_quietly():
    def program(stdout, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "longtail", *arguments],
            stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=100, check=False,
        )  # fmt: skip

    with open("/dev/full", "w") as full:
        ended = program(full, "--version")
    assert ended.returncode == 1
    assert ended.stderr == "failed: Results could not be written to standard output: " + (
        "No space left on device.\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    ended = program(writing, "--version")
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")
