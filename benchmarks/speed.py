"""The speed suite: every figure of the page on performance, measured in one run.

Runs the benchmarks of speed one after another, each in a process of its own, and prints their
ratios side by side. Those whose data are missing are left out and named. About an hour on two
cores, most of it the published recipe (``--without-port`` leaves that out: half an hour), and less
than ten minutes with no data. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.__main__ import describe
from benchmarks._performance import summary
from benchmarks.rows import ROOT

# The longest last: whoever interrupts the suite has the rest.
PARTS: tuple[tuple[str, ...], ...] = (
    ("refine_step",),
    ("large_vocabulary",),
    ("fit_speed", "--run", "plain", "--run", "hybrid"),
    ("refine_speed",),
    ("transform_speed",),
    ("lda_race",),
    ("sampled_fit",),
    ("fit_speed", "--run", "port"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__)
    parser.add_argument("--without-port", action="store_true")
    parser.add_argument("--summary", action="store_true", help="print the rows there are, run none")
    args = parser.parse_args(argv)
    failed = []
    for part in () if args.summary else PARTS:
        name, *options = part
        if args.without_port and "port" in options:
            continue
        missing = describe(ROOT / "benchmarks" / f"{name}.py").missing()
        if missing:
            print(f"{name}: left out. {missing}", flush=True)
            continue
        print(f"--- {' '.join(part)}", flush=True)
        command = [sys.executable, "-m", "benchmarks", name, *options]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(" ".join(part))
    print(summary())
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
