"""Rows a second of `transform`, refined to within 0.5 % of converged, beside LDA's inference.

Film reviews over 20,000 words. A model of 10,000 reviews transforms 20,000 others, with the fewest
refinement steps M that bring the mean ELBO of 500 further rows to within 0.5 % of that with
M = 200. gensim's and tomotopy's LDA (K = 100) infer topics of the same rows, or of the first of
them where the case names their number.

How long inference takes depends little on how well a model was fitted, so none was fitted for
long: ours is plain, 10 epochs; gensim's LDA 2 passes in chunks of 2,000, tomotopy's 100
iterations. Inference has each program's defaults. Bringing rows into a program's own format is
not on the clock; what `transform` does with counts (matching the vocabulary, TF-IDF) is.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from threadpoolctl import threadpool_limits

import longtail as lt
from benchmarks._corpora import SPLIT_SEED, imdb_reviews
from benchmarks._fits import FIRST, fitted
from benchmarks._lda import bags_of_words
from benchmarks._peers import repeated_tokens
from benchmarks.rows import Row, metric_rows, quantiles, threads, write_rows

DATA = ("imdb_reviews.parquet",)
NAME = "transform_speed"

STEPS = (2, 4, 6, 8, 10, 15, 20, 30, 50, 100)
CONVERGED_STEPS = 200
WITHIN = 0.005
N_TOPICS = 100
_INFERENCE_CHUNK = 2000  # gensim's default chunk in training

MODEL = {**FIRST, "refine_steps": 0, "epochs": 10}


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """Rows for each purpose; none is in two of them."""

    transform: lt.CountMatrix
    judge: lt.CountMatrix
    valid: lt.CountMatrix
    train: lt.CountMatrix

    @classmethod
    def read(cls, n_transform: int, n_train: int, max_features: int) -> Parts:
        """Split the reviews at random."""
        rows = imdb_reviews(max_features)
        rest, *parts = lt.split_rows(rows, [n_transform, 500, 300, n_train], seed=SPLIT_SEED)
        del rest
        return cls(*parts)


# --- ours --------------------------------------------------------------------------------------


def mean_bound(model: lt.NonlinearFactorAnalysis, rows: lt.CountMatrix, steps: int) -> float:
    """Mean ELBO at ψ* after M steps, nats a row."""
    evaluation = model.evaluate(rows, refine_steps=steps, completion=False, seed=0)
    return evaluation.elbo_refined.nats_per_row


def enough_steps(
    model: lt.NonlinearFactorAnalysis, rows: lt.CountMatrix
) -> tuple[int, dict[int, float]]:
    """The fewest steps within 0.5 % of the converged bound, and the bounds by steps.

    Raises
    ------
    RuntimeError
        If none of `STEPS` is enough.
    """
    converged = mean_bound(model, rows, CONVERGED_STEPS)
    bounds = {CONVERGED_STEPS: converged}
    for steps in STEPS:
        bounds[steps] = mean_bound(model, rows, steps)
        short = (converged - bounds[steps]) / abs(converged)
        print(f"M={steps}: {bounds[steps]:.2f} nats a row, {short:.2%} short", flush=True)
        if short <= WITHIN:
            return steps, bounds
    raise RuntimeError(
        f"not even M={STEPS[-1]} comes within {WITHIN:.1%} of the bound with "
        f"M={CONVERGED_STEPS}, {converged:.2f} nats a row."
    )


def time_ours(
    model: lt.NonlinearFactorAnalysis, rows: lt.CountMatrix, steps: int, repeats: int
) -> list[float]:
    """Rows a second of `transform`, each time."""
    model.set_params(eval_refine_steps=steps)
    model.transform(rows[:500])  # warm up
    return rates(rows.n_rows, repeats, lambda: rows, model.transform)


# --- peers -------------------------------------------------------------------------------------


def time_gensim(
    train: lt.CountMatrix, rows: lt.CountMatrix, seed: int, repeats: int
) -> list[float]:
    """Rows a second of ``LdaModel.inference``."""
    from gensim.models import LdaModel

    model = LdaModel(
        bags_of_words(train),
        id2word=dict(enumerate(train.vocabulary.names)),
        num_topics=N_TOPICS,
        passes=2,
        eval_every=None,
        random_state=seed,
    )
    bags = bags_of_words(rows)
    chunks = [bags[i : i + _INFERENCE_CHUNK] for i in range(0, len(bags), _INFERENCE_CHUNK)]
    return rates(
        rows.n_rows, repeats, lambda: chunks, lambda chunks: [model.inference(c) for c in chunks]
    )


def time_tomotopy(
    train: lt.CountMatrix, rows: lt.CountMatrix, seed: int, repeats: int
) -> list[float]:
    """Rows a second of ``LDAModel.infer``: 100 iterations, its default."""
    import tomotopy

    model = tomotopy.LDAModel(k=N_TOPICS, seed=seed)
    for tokens in repeated_tokens(train):
        model.add_doc(tokens)
    model.train(100, workers=threads())
    # A word that was never met is no word of the model; a row of such words is no document.
    met = set(model.used_vocabs)
    tokens = [[w for w in row if w in met] for row in repeated_tokens(rows)]
    tokens = [row for row in tokens if row]

    def documents() -> list[Any]:
        return [model.make_doc(row) for row in tokens]

    return rates(len(tokens), repeats, documents, lambda docs: model.infer(docs, workers=threads()))


PEERS = {"gensim": time_gensim, "tomotopy": time_tomotopy}


def rates(
    n_rows: int, repeats: int, make: Callable[[], Any], work: Callable[[Any], object]
) -> list[float]:
    """Rows a second of `work` on what `make` makes anew each time, off the clock."""
    found = []
    for _ in range(repeats):
        made = make()
        start = time.perf_counter()
        work(made)
        found.append(n_rows / (time.perf_counter() - start))
        print(f"{n_rows} rows, {found[-1]:.1f} a second", flush=True)
    return found


# --- results -----------------------------------------------------------------------------------


def case_of(n_features: int, n_rows: int, all_rows: int) -> str:
    """Data and size; the number of rows is named where it is not that of all."""
    return f"imdb_reviews-V{n_features}/K{N_TOPICS}" + (
        "" if n_rows == all_rows else f"-rows{n_rows}"
    )


def run(
    seed: int, repeats: int, n_transform: int, n_train: int, n_peer: int, max_features: int
) -> list[Row]:
    """Measure all programs; return the rows."""
    parts = Parts.read(n_transform, n_train, max_features)
    model = fitted(
        f"imdb-V{max_features}-transform", parts.train, parts.valid, random_state=seed, **MODEL
    )
    steps, bounds = enough_steps(model, parts.judge)
    ours = time_ours(model, parts.transform, steps, repeats)
    case = case_of(max_features, n_transform, n_transform)
    common: dict[str, Any] = {"benchmark": NAME, "seed": seed, "split": "test"}
    rows = [
        *metric_rows({"rows_per_second": quantiles(ours)}, case=case, unit="rows/s", **common),
        *metric_rows({"refine_steps": steps}, case=case, unit="count", **common),
        *metric_rows(
            {"elbo_refined": {"nats_per_row": {f"M{m}": v for m, v in bounds.items()}}},
            case=case,
            unit="nats",
            **common,
        ),
    ]
    n_peer = min(n_peer, n_transform)
    case = case_of(max_features, n_peer, n_transform)
    for name, measure in PEERS.items():
        print(f"{name}: fitting LDA, then inference", flush=True)
        theirs = measure(parts.train, parts.transform[:n_peer], seed, repeats)
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"{name}: ours has {ratio:.2f} times its rows a second", flush=True)
        here = common | {"case": case, "peer": f"{name} LDA", "packages": [name]}
        rows += metric_rows({"rows_per_second": quantiles(theirs)}, unit="rows/s", **here)
        rows += metric_rows({"longtail_over_peer": ratio}, unit="ratio", **here)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run with the sizes asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000, help="rows to transform")
    parser.add_argument("--train-rows", type=int, default=10_000)
    parser.add_argument("--peer-rows", type=int, default=2000, help="the first of --rows")
    parser.add_argument("--features", type=int, default=20_000)
    parser.add_argument("--dry", action="store_true", help="print, write no rows")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    rows = run(args.seed, args.repeats, args.rows, args.train_rows, args.peer_rows, args.features)
    if not args.dry:
        write_rows(NAME, rows)


if __name__ == "__main__":
    main()
