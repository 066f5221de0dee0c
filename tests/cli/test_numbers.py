"""Absurd numbers on the command line: one clear error, or an answer; never a traceback."""

from __future__ import annotations

import inspect
from typing import get_args

import numpy as np
import polars as pl
import pytest
from typer.models import OptionInfo

import longtail as lt
from longtail.cli.app import app

COMMANDS = {command.callback.__name__: command.callback for command in app.registered_commands}
READ = ["--row-column", "row", "--feature-column", "item", "--value-column", "n"]
ARGUMENTS = {
    "fit": ["DATA", *READ, "--n-hidden", "3", "--n-components", "2", "--epochs", "1"],
    "update": ["MODEL", "DATA", "--epochs", "1"],
    "plan": ["--rows", "100", "--features", "50", "--non-zeros", "5"],
    "evaluate": ["MODEL", "DATA"],
    "transform": ["MODEL", "DATA"],
    "recommend": ["MODEL", "DATA"],
    "rank": ["MODEL", "DATA", "--cutoff", "2"],
    "neighbors": ["MODEL", "w1"],
    "spectrum": ["MODEL"],
    "directions": ["MODEL", "DATA"],
    "embed": ["MODEL"],
}
# They serve, take long, or write figures: their numbers are read as those of the others are.
LONG = {"demo", "tune", "report", "explore"}
OUT = {"fit": "OUT", "update": "OUT", "transform": "OUT.csv", "embed": "OUT.csv"}
ABSURD = ["99999999999999999999", "nan", ""]


def numeric_options(command):
    """The options of a command that take a number, or text in which there is one."""
    for name, parameter in inspect.signature(COMMANDS[command], eval_str=True).parameters.items():
        kind, *rest = get_args(parameter.annotation) or (None,)
        option = next((info for info in rest if isinstance(info, OptionInfo)), None)
        if option is None or "Path" in str(kind):
            continue
        if not ("int" in str(kind) or "float" in str(kind) or option.parser):
            continue
        named = [text for text in option.param_decls or () if text.startswith("--")]
        yield (named or ["-k" if option.param_decls else "--" + name.replace("_", "-")])[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    counts = np.random.default_rng(0).poisson(1.0, (12, 6))
    rows, columns = np.nonzero(counts)
    items = [f"w{c}" for c in columns]
    pl.DataFrame({"row": rows, "item": items, "n": counts[rows, columns]}).write_csv(
        folder / "data.csv"
    )
    read = {"row_column": "row", "feature_column": "item", "value_column": "n"}
    model = lt.NonlinearFactorAnalysis(
        n_components=2, n_hidden=3, epochs=1, eval_refine_steps=1, eval_samples=2, random_state=0
    )
    model.fit(lt.read_counts(folder / "data.csv", **read)).save(folder / "model")
    return folder


def test_every_command_is_here():
    assert ARGUMENTS.keys() | LONG | {"info"} == COMMANDS.keys()


@pytest.mark.parametrize(
    ("command", "option"), [(c, option) for c in ARGUMENTS for option in numeric_options(c)]
)
def test_absurd_numbers(run, folder, tmp_path, command, option):
    places = {"DATA": folder / "data.csv", "MODEL": folder / "model"}
    arguments = [places.get(text, text) for text in ARGUMENTS[command]]
    if command in OUT:
        arguments += ["--out", str(tmp_path / OUT[command])]
    for value in ABSURD:
        given = [f"{option}={value}"] if option.startswith("--") else [option, value]
        code, printed, told = run(command, *arguments, *given)
        assert code in (0, 1, 2), value
        assert told or printed
        assert "Traceback" not in told
        if not value:
            assert code == 2


@pytest.mark.parametrize("device", ["meta", "hpu", "cuda:99", "cpu:", ""])
def test_a_device_that_cannot_compute_is_told_before_anything_is_read(run, tmp_path, device):
    arguments = ["fit", tmp_path / "none.csv", "--out", tmp_path / "model", "--device", device]
    code, _, told = run(*arguments)
    assert code == 2
    assert told.startswith(f"error: device '{device}' is not available here")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.28 TiB for an array"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …\nat"),
    ],
)
def test_memory_that_does_not_suffice(run, folder, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr("longtail.estimator.load", fail)
    code, _, told = run("evaluate", folder / "model", folder / "data.csv")
    assert code == 1
    assert told.startswith("failed: memory does not suffice.")
    assert len(told.splitlines()) == 1


def test_other_errors_are_not_taken_for_it(run, folder, monkeypatch):
    def fail(path):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("longtail.estimator.load", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run("evaluate", folder / "model", folder / "data.csv")
