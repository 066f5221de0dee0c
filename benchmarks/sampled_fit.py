"""Whole fits of a large vocabulary: all features, or samples of them, in refinement and for θ.

6,000 film reviews over 20,000 words, 12 epochs. Rows a second are those of training alone; the
bound is that of validation rows over all features after 50 refinement steps on all features.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import longtail as lt
from benchmarks._corpora import imdb_subset
from benchmarks._fits import FIRST
from benchmarks.rows import metric_rows, write_rows

DATA = ("imdb_reviews.parquet",)
NAME = "sampled_fit"
EPOCHS = 12
CASES: dict[str, dict[str, object]] = {
    "plain": {"refine_steps": 0},
    "hybrid-all": {"refine_features": "all"},
    "hybrid-sampled": {},
    "hybrid-sampled-theta": {"theta_features": 2000},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Fit and score the cases asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    train, valid, _ = imdb_subset(6000, 1000, 20_000)
    for case in args.case or CASES:
        model = lt.NonlinearFactorAnalysis(
            **{**FIRST, "epochs": EPOCHS, "validation_fraction": 0, **CASES[case]},
            random_state=args.seed,
        ).fit(train)
        speed = sorted(record.rows_per_second for record in model.history_)
        # Scored alike, whatever it was fitted with.
        model.network_.refine_sampler = None
        scores = model.evaluate(valid, samples=10, refine_steps=50, completion=False, seed=0)
        figures = {"per_doc": scores.elbo_refined.per_doc}
        nats = {"nats_per_row": scores.elbo_refined.nats_per_row, "se": scores.elbo_refined.se}
        rate = {"min": speed[0], "median": speed[len(speed) // 2], "max": speed[-1]}
        print(f"{case}: {rate['median']:.0f} rows/s, {figures}, {nats}", flush=True)
        common = {"benchmark": NAME, "case": f"imdb-6000x20000/{case}", "seed": args.seed}
        write_rows(
            NAME,
            metric_rows({"rows_per_second": rate}, unit="rows/s", split="train", **common)
            + metric_rows({"elbo_refined": figures}, unit="perplexity", split="valid", **common)
            + metric_rows({"elbo_refined": nats}, unit="nats", split="valid", **common),
        )


if __name__ == "__main__":
    main()
