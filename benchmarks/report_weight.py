"""What a report weighs, and how long it takes to make.

A model of the docstrings found here, V = 20,000 features and K = 100, fitted for two plain epochs:
what a page weighs does not depend on how good its model is. 1,000 held-out rows are scored.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import longtail as lt
from benchmarks._corpora import SPLIT_SEED
from benchmarks.rows import metric_rows, write_rows
from longtail.data.corpora import docstring_counts

NAME = "report_weight"
FEATURES, COMPONENTS, TEST_ROWS = 20_000, 100, 2_000


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, write a page, weigh it."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    counts = docstring_counts(min_df=2, max_features=FEATURES).drop_empty()[0]
    train, test = lt.split_rows(counts, [TEST_ROWS], seed=SPLIT_SEED)
    model = lt.NonlinearFactorAnalysis(COMPONENTS, epochs=2, refine_steps=0, random_state=0)
    model.fit(train)
    started = time.perf_counter()
    report = lt.make_report(model, test, title="Docstrings", seed=0)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        report.save(page)
        found = {"megabytes": page.stat().st_size / 1e6, "seconds": time.perf_counter() - started}
    print(found)
    case = f"docstrings-{train.n_features}/K{COMPONENTS}"
    rows = metric_rows(found, benchmark=NAME, case=case, unit="", seed=0, split="test", peer="")
    write_rows(NAME, rows)


if __name__ == "__main__":
    main()
