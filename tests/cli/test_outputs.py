"""Paths on the command line are checked first, and each fault is one line and exit code 2."""

from __future__ import annotations

import pytest

import longtail as lt
import longtail.output_files
from longtail.errors import DataError, ParameterError

PLAN = ["plan", "--rows", "1000", "--features", "100", "--non-zeros", "5"]
# Neither model nor data is there: an error about the output shows that it is checked first.
OUTPUTS = {
    "fit": (["fit", "absent"], "--out", "model"),
    "update": (["update", "absent", "absent"], "--out", "model"),
    "tune": (["tune", "absent", "--trials", "1"], "--out", "folder"),
    "tune plot": (["tune", "absent", "--trials", "1", "--out", "new"], "--plot", "x.svg"),
    "plan": ([*PLAN, "--calibrate"], "--save", "x.json"),
    "evaluate": (["evaluate", "absent", "absent"], "--rows", "x.csv"),
    "evaluate plot": (["evaluate", "absent", "absent"], "--plot", "x.png"),
    "evaluate blocks": (["evaluate", "absent", "absent", "--engine", "local"], "--out", "folder"),
    "transform": (["transform", "absent", "absent"], "--out", "x.parquet"),
    "transform cells": (["transform", "absent", "absent.h5ad"], "--out", "x.h5ad"),
    "transform blocks": (["transform", "absent", "absent"], "--out", "folder"),
    "recommend": (["recommend", "absent", "absent"], "--out", "x.csv"),
    "recommend blocks": (["recommend", "absent", "absent"], "--out", "folder"),
    "rank": (["rank", "absent", "absent"], "--rows", "x.parquet"),
    "report": (["report", "absent"], "--out", "x.html"),
    "report figures": (["report", "absent"], "--figures", "folder"),
    "neighbors": (["neighbors", "absent", "word"], "--plot", "x.html"),
    "spectrum": (["spectrum", "absent"], "--plot", "x.json"),
    "embed": (["embed", "absent"], "--out", "x.w2v"),
    "demo": (["demo"], "--out", "folder"),
}
FAULTS = ["empty", "long", "long in a missing folder", "below a file", "loop", "taken", "ending"]
# Any ending will do; a folder that is there takes parts, whatever its name.
NO_FAULTS = {
    ("plan", "ending"),
    *((name, "taken") for name in ("transform", "transform cells", "recommend")),
    *((name, "ending") for name, (_, _, file) in OUTPUTS.items() if not file.startswith("x.")),
}
CASES = [(case, fault) for case in OUTPUTS for fault in FAULTS if (case, fault) not in NO_FAULTS]


def faulty(fault, name, tmp_path):
    """A path that cannot be written, for what would be written to `name`"""
    suffix = name[1:] if name.startswith("x.") else ""
    match fault:
        case "empty":
            return ""
        case "long":
            return tmp_path / f"{'y' * 256}{suffix}"
        case "long in a missing folder":
            return tmp_path / "missing" / ("y" * 256) / name
        case "below a file":
            (tmp_path / "file").write_text("")
            return tmp_path / "file" / name
        case "loop":
            (tmp_path / "a").symlink_to(f"b{suffix}")
            (tmp_path / f"b{suffix}").symlink_to("a")
            return tmp_path / f"b{suffix}"
        case "taken":
            path = tmp_path / f"taken{suffix}"
            path.mkdir() if suffix else path.write_text("")
            return path
        case "ending":
            return tmp_path / "x.xyz"


@pytest.mark.parametrize(("case", "fault"), CASES)
def test_outputs_are_checked_before_anything_is_read(case, fault, run, tmp_path, monkeypatch):
    arguments, option, name = OUTPUTS[case]
    path = faulty(fault, name, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(*arguments, option, path)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert "absent" not in err
    usage = err.startswith("Usage: ")  # an argument that is malformed, whatever is on the disk
    assert err.count("\n") == 1 or usage
    assert err.startswith("error: ") or usage
    assert sorted(tmp_path.rglob("*")) == before


INPUTS = {
    "info": ["info", "{}"],
    "fit": ["fit", "{}", "--out", "new"],
    "fit --valid": ["fit", "data.csv", "--out", "new", "--valid", "{}"],
    "fit --vocabulary": ["fit", "data.csv", "--out", "new", "--vocabulary", "{}"],
    "fit --descriptions": ["fit", "data.csv", "--out", "new", "--descriptions", "{}"],
    "update": ["update", "{}", "data.csv", "--out", "new"],
    "tune": ["tune", "{}", "--trials", "1", "--out", "new"],
    "plan": [*PLAN, "--machine", "{}"],
    "evaluate": ["evaluate", "{}", "data.csv"],
    "transform": ["transform", "{}", "data.csv", "--out", "new.csv"],
    "recommend": ["recommend", "{}", "data.csv"],
    "recommend --filter-items": ["recommend", "absent", "data.csv", "--filter-items", "{}"],
    "rank": ["rank", "{}", "data.csv"],
    "report": ["report", "{}"],
    "neighbors": ["neighbors", "{}", "word"],
    "spectrum": ["spectrum", "{}"],
    "directions": ["directions", "{}"],
    "embed": ["embed", "{}", "--out", "new.csv"],
    "explore": ["explore", "{}", "--port", "0", "--no-browser"],
}
TEXTS = ["--text-column", "text"]


@pytest.mark.parametrize("fault", ["empty", "long", "below a file", "loop"])
@pytest.mark.parametrize("case", INPUTS)
def test_inputs_that_cannot_be_read(case, fault, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = faulty(fault, "x.csv", tmp_path)
    (tmp_path / "data.csv").write_text("text\na b c\nb c d\n")
    reading = TEXTS if INPUTS[case][0] in ("fit", "tune") else []
    code, out, err = run(*[str(a).format(path) for a in INPUTS[case]], *reading)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert fault == "empty" or "error: " in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_a_disk_that_is_full_at_the_end_is_a_failure(run, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(longtail.output_files, "_flush_to_disk", full)
    (tmp_path / "machine.json").write_text("older")
    code, out, err = run(*PLAN, "--save", tmp_path / "machine.json")
    assert (code, out) == (1, "")
    assert err.startswith("failed: ")
    assert "No space left on device" in err
    assert (tmp_path / "machine.json").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        *((lt.read_counts, fault) for fault in ("long", "below a file", "loop", "null")),
        *((lt.open_stream, fault) for fault in ("empty", "long", "below a file", "loop", "null")),
    ],
)
def test_paths_that_cannot_be_read_from_python(read, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # which "" must not stand for
    (tmp_path / "text.txt").write_text("a b c")
    path = "a\0b" if fault == "null" else faulty(fault, "x.parquet", tmp_path)
    with pytest.raises((DataError, ParameterError)):
        read(path, text_column="text")
