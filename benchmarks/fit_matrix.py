"""Whole fits by data, depth, input, training scheme, annealing and seed: one result row each.

A run that has its row is not run again, an interrupted fit goes on from its last epoch, and
``--list`` says what remains. Fitted models stay in ``benchmarks/.models``, so that another
score needs no other fit. Only validation rows are scored unless ``--split test`` is given.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import longtail as lt
from benchmarks._experiments import QUESTIONS, Experiment, all_experiments, read_corpus
from benchmarks._fits import fitted
from benchmarks.rows import RESULTS, command, machine, replace_csv, threads, versions

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
    "imdb_reviews.parquet",
    "debian_descriptions.parquet",
    "nhds2010_diagnoses.parquet",
)
KEY = ("digest", "split", "steps", "samples", "covariance")
TABLE = RESULTS / "runs" / "fit_matrix.csv"
COLUMNS = (
    "corpus", "scheme", "seed", "split", "rows", "tokens", "train_rows", "vocabulary", "depth",
    "input", "refined_in_training", "kl_anneal", "learning_rate", "floor_per_doc",
    "elbo_amortized_per_doc", "elbo_per_doc", "elbo_se", "elbo_nats", "elbo_full_per_doc",
    "elbo_full_nats", "iw_per_doc", "iw_nats",
    "completion_per_word", "completion_per_doc", "dims_kl", "dims_variance", "gap_nats", "steps",
    "samples", "covariance", "epochs_run", "best_epoch", "train_nats", "train_seconds", "settings",
    "digest", "threads", "machine", "versions", "command",
)  # fmt: skip


def read_table() -> dict[tuple[str, ...], dict[str, Any]]:
    """All rows so far, by what was fitted and how it was scored."""
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {tuple(row[k] for k in KEY): row for row in csv.DictReader(file)}


def run(
    experiment: Experiment, split: str, steps: int, samples: int, full_covariance: bool
) -> dict[str, Any]:
    """Fit, or open what was fitted, and score the rows of a split."""
    train, valid, test = _corpus(experiment.corpus)
    started = time.perf_counter()
    model = fitted(
        experiment.name.replace("/", "-"),
        train,
        valid,
        random_state=experiment.seed,
        **experiment.parameters,
    )
    print(f"{experiment.name}: fitted or opened in {time.perf_counter() - started:.0f} s")
    rows = valid if split == "valid" else test
    model.set_params(eval_refine_steps=steps, eval_samples=samples)
    how = {"split": split, "steps": steps, "samples": samples}
    how["covariance"] = "full" if full_covariance else "diagonal"
    return _describe(experiment, model) | _score(model, rows, full_covariance) | how


@functools.lru_cache(1)
def _corpus(name: str) -> tuple[lt.CountMatrix, lt.CountMatrix, lt.CountMatrix]:
    return read_corpus(name)


def _describe(experiment: Experiment, model: lt.NonlinearFactorAnalysis) -> dict[str, Any]:
    history = model.history_.frame()
    return {
        "corpus": experiment.corpus,
        "scheme": experiment.scheme,
        "seed": experiment.seed,
        "train_rows": model.fit_info_["train_rows"],
        "vocabulary": model.n_features_in_,
        "depth": model.decoder_layers,
        "input": model.features,
        "refined_in_training": model.refine_steps,
        "kl_anneal": model.kl_anneal,
        "learning_rate": model.learning_rate,
        "epochs_run": history.height,
        "best_epoch": model.fit_info_["best_epoch"],
        "train_nats": f"{history['train_nats_per_row'][-1]:.6g}",
        "train_seconds": f"{history['seconds'].sum():.4g}",
        "settings": json.dumps(experiment.settings, sort_keys=True),
        "digest": experiment.digest,
        "threads": threads(),
        "machine": machine(),
        "versions": versions(),
        "command": command(),
    }


def _score(
    model: lt.NonlinearFactorAnalysis, rows: lt.CountMatrix, full_covariance: bool
) -> dict[str, Any]:
    scores = model.evaluate(rows, seed=0, full_covariance=full_covariance)
    completion = scores.completion
    assert completion is not None
    figures = {
        "floor_per_doc": scores.floor.per_doc,
        "elbo_amortized_per_doc": scores.elbo_amortized.per_doc,
        "elbo_per_doc": scores.elbo_refined.per_doc,
        "elbo_nats": scores.elbo_refined.nats_per_row,
        "elbo_se": scores.elbo_refined.se,
        "iw_per_doc": scores.iw.per_doc,
        "iw_nats": scores.iw.nats_per_row,
        "completion_per_word": completion.per_word,
        "completion_per_doc": completion.per_doc,
        "gap_nats": scores.elbo_refined.nats_per_row - scores.elbo_amortized.nats_per_row,
    }
    if scores.elbo_full is not None:
        figures["elbo_full_per_doc"] = scores.elbo_full.per_doc
        figures["elbo_full_nats"] = scores.elbo_full.nats_per_row
    return {name: f"{value:.6g}" for name, value in figures.items()} | {
        "rows": scores.rows,
        "tokens": scores.tokens,
        "dims_kl": scores.active_dims.kl,
        "dims_variance": scores.active_dims.variance,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run what remains of the questions asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fit_matrix", description=__doc__)
    parser.add_argument("--question", choices=[*QUESTIONS], action="append", help="default: all")
    parser.add_argument("--scheme", action="append", help="only schemes that contain this")
    parser.add_argument("--corpus", action="append", help="only these corpora")
    parser.add_argument("--seed", action="append", type=int, help="only these seeds")
    parser.add_argument("--split", choices=["valid", "test"], default="valid")
    parser.add_argument("--steps", type=int, default=50, help="M of ψ*")
    parser.add_argument("--samples", type=int, default=20, help="S of the expectations")
    parser.add_argument(
        "--full-covariance", action="store_true", help="tighter bounds of the same fits; slow"
    )
    parser.add_argument("--list", action="store_true", help="say what remains, run nothing")
    args = parser.parse_args(argv)
    chosen = [
        e
        for e in all_experiments(args.question)
        if (not args.scheme or any(s in e.scheme for s in args.scheme))
        and (not args.corpus or e.corpus in args.corpus)
        and (not args.seed or e.seed in args.seed)
    ]
    covariance = "full" if args.full_covariance else "diagonal"
    scoring = (args.split, str(args.steps), str(args.samples), covariance)
    done = read_table()
    left = [e for e in chosen if (e.digest, *scoring) not in done]
    print(f"{len(chosen) - len(left)} of {len(chosen)} runs have their row ({args.split} rows).")
    for number, experiment in enumerate(left, 1):
        if args.list:
            print(f"  {experiment.name}")
            continue
        print(f"[{number}/{len(left)}] {experiment.name}", file=sys.stderr, flush=True)
        row = run(experiment, args.split, args.steps, args.samples, args.full_covariance)
        # Read again: another process may have added rows meanwhile.
        table = read_table() | {(experiment.digest, *scoring): row}
        replace_csv(TABLE, COLUMNS, table.values())
