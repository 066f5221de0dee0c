"""List the benchmarks and run them: ``python -m benchmarks [--list] [NAME [ARGUMENTS]]``.

A benchmark is a module of this folder with a function ``main(argv)``, whose name does not begin
with an underscore. The first line of its docstring says what it measures, and a constant
``DATA = ("folder/file", …)`` names the files it needs from the folder ``LONGTAIL_DATA``.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import ROOT, data_file

HERE = Path(__file__).parent
HELPERS = {"__init__", "__main__", "rows"}
SUITE = "speed"


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A script, described from its source: peers and data need not be there to list it."""

    name: str
    about: str
    data: tuple[str, ...]

    def missing(self) -> str:
        """Say what data is missing; empty if nothing is."""
        try:
            for name in self.data:
                data_file(name)
        except FileNotFoundError as error:
            return str(error)
        return ""


def find(folder: Path = HERE) -> list[Benchmark]:
    """Find the benchmarks of a folder, by name."""
    paths = sorted(folder.glob("*.py"))
    return [
        describe(path)
        for path in paths
        if path.stem not in HELPERS and not path.stem.startswith("_")
    ]


def describe(path: Path) -> Benchmark:
    """Read a script's docstring and ``DATA`` without importing it.

    Raises
    ------
    ValueError
        If ``DATA`` is not written out as a tuple or list of strings.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    about = (ast.get_docstring(tree) or "").partition("\n")[0]
    data: tuple[str, ...] = ()
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name("DATA")]) | ast.AnnAssign(target=ast.Name("DATA")):
                value = ast.literal_eval(node.value) if node.value else ()
                if not isinstance(value, tuple | list):
                    raise ValueError(f"{path}:{node.lineno}: DATA must be a tuple of file names")
                data = tuple(value)
    return Benchmark(path.stem, about, data)


def run_all(benchmarks: Sequence[Benchmark]) -> int:
    """Run each benchmark whose data is there, in a process of its own; return the exit code."""
    # The suite would run its parts a second time.
    benchmarks = [benchmark for benchmark in benchmarks if benchmark.name != SUITE]
    if not benchmarks:
        print("There are no benchmarks yet.")
    failed = []
    for benchmark in benchmarks:
        if missing := benchmark.missing():
            print(f"{benchmark.name}: skipped. {missing}", flush=True)
            continue
        print(f"{benchmark.name}: {benchmark.about}", flush=True)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "benchmarks", benchmark.name], cwd=ROOT)
        verdict = "done" if done.returncode == 0 else f"FAILED, exit code {done.returncode},"
        print(f"{benchmark.name}: {verdict} after {time.perf_counter() - start:.0f} s", flush=True)
        if done.returncode != 0:
            failed.append(benchmark.name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run one benchmark, or all of those whose data is there.",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks, run none")
    parser.add_argument("name", nargs="?", help="run this one only")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="passed on to it; try NAME --help"
    )
    options = parser.parse_args(argv)
    benchmarks = find()
    if options.list:
        for benchmark in benchmarks:
            print(f"{benchmark.name:20} {benchmark.about}")
            if missing := benchmark.missing():
                print(f"{'':20} cannot run: {missing}")
        return 0
    if options.name is None:
        return run_all(benchmarks)
    by_name = {benchmark.name: benchmark for benchmark in benchmarks}
    if options.name not in by_name:
        parser.error(f"no benchmark {options.name!r}; there are: {', '.join(by_name) or 'none'}")
    if missing := by_name[options.name].missing():
        parser.error(missing)
    return int(importlib.import_module(f"benchmarks.{options.name}").main(options.arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
