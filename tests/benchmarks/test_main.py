import os
import subprocess
import sys

import pytest

from benchmarks import __main__ as index
from benchmarks.rows import ROOT

SCRIPT = '''"""How fast it is.

More words.
"""
import a_package_that_is_not_there

DATA = ("corpus/train.csv",)
'''


def test_a_script_is_described_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "speed.py").write_text(SCRIPT)
    (tmp_path / "plain.py").write_text('"""Needs no data."""\n')
    (tmp_path / "rows.py").write_text("")
    (tmp_path / "_helper.py").write_text("")
    plain, speed = index.find(tmp_path)
    assert plain == index.Benchmark("plain", "Needs no data.", ())
    assert speed == index.Benchmark("speed", "How fast it is.", ("corpus/train.csv",))

    monkeypatch.delenv("LONGTAIL_DATA", raising=False)
    assert plain.missing() == ""
    assert "LONGTAIL_DATA is not set" in speed.missing()


def test_typed_data_is_read_and_a_lone_string_refused(tmp_path):
    path = tmp_path / "speed.py"
    path.write_text('DATA: tuple[str, ...] = ("a", "b")\n')
    assert index.describe(path).data == ("a", "b")
    path.write_text('DATA = "a"\n')
    with pytest.raises(ValueError, match=r"speed\.py:1: DATA must be a tuple"):
        index.describe(path)


def test_every_benchmark_says_what_it_measures():
    for benchmark in index.find():
        assert benchmark.about, benchmark.name


def test_a_failure_does_not_stop_the_others(monkeypatch, capsys):
    codes = {"bad": 3, "good": 0}
    ran = []

    def run(words, cwd):
        ran.append(words[-1])
        return subprocess.CompletedProcess(words, codes[words[-1]])

    monkeypatch.setattr(index.subprocess, "run", run)
    monkeypatch.delenv("LONGTAIL_DATA", raising=False)
    benchmarks = [
        index.Benchmark("bad", "", ()),
        index.Benchmark("far", "", ("corpus/train.csv",)),
        index.Benchmark("good", "", ()),
    ]
    assert index.run_all(benchmarks) == 1
    assert ran == ["bad", "good"]
    printed = capsys.readouterr()
    assert "far: skipped. LONGTAIL_DATA is not set" in printed.out
    assert printed.err == "failed: bad\n"
    assert index.run_all(benchmarks[1:]) == 0


def test_command_line_lists_and_refuses_unknown_names():
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *words],
            cwd=ROOT,
            env=os.environ,
            capture_output=True,
            text=True,
        )

    assert run("--list").returncode == 0
    unknown = run("nothing_of_the_kind")
    assert unknown.returncode == 2
    assert "no benchmark 'nothing_of_the_kind'" in unknown.stderr
