"""When in training refinement pays: validation bounds by the schedule of refinement steps.

20 Newsgroups, 50 epochs, the KL weight rising over the first 25. Scored alike on 500 validation
rows: 100 refinement steps, S = 10. Seconds are those of training alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import longtail as lt
from benchmarks._corpora import news
from benchmarks._fits import FIRST
from benchmarks.rows import metric_rows, write_rows

DATA = ("20news_miao/train.feat.gz", "20news_miao/test.feat.gz", "20news_miao/vocab.txt")
NAME = "refine_schedules"
EPOCHS = 50
SCHEDULES: dict[str, object] = {
    "0": 0,
    "2": 2,
    "4": 4,
    "6": 6,
    "0-then-6": [(0, 0), (25, 6)],
    "6-then-0": [(0, 6), (25, 0)],
    "6-then-2": "auto",
    "10-then-2": [(0, 10), (25, 2)],
}


def main(argv: Sequence[str] | None = None) -> None:
    """Fit and score the schedules asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--case", choices=SCHEDULES, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    train, valid, _ = news()
    for case in args.case or SCHEDULES:
        model = lt.NonlinearFactorAnalysis(
            **{**FIRST, "epochs": EPOCHS},
            refine_steps=SCHEDULES[case],
            random_state=args.seed,
        ).fit(train, valid=valid)
        seconds = sum(train.n_rows / record.rows_per_second for record in model.history_)
        scores = model.evaluate(valid, samples=10, refine_steps=100, completion=False, seed=0)
        figures = {
            "elbo_refined": {"per_doc": scores.elbo_refined.per_doc},
            "iw": {"per_doc": scores.iw.per_doc},
        }
        nats = {"elbo_refined": {"nats_per_row": scores.elbo_refined.nats_per_row}}
        print(f"{case}: {seconds:.0f} s, {figures}, {nats}", flush=True)
        common = {"benchmark": NAME, "case": f"20news_miao/{case}", "seed": args.seed}
        write_rows(
            NAME,
            metric_rows({"train_seconds": seconds}, unit="s", split="train", **common)
            + metric_rows(figures, unit="perplexity", split="valid", **common)
            + metric_rows(nats, unit="nats", split="valid", **common),
        )


if __name__ == "__main__":
    main()
