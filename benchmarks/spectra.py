"""Which latent dimensions live: plain and hybrid training, each with and without annealing.

The 2×2 of Krishnan, Liang and Hoffman (2018), on 20 Newsgroups and on film reviews: same decoder
(2 layers of 400, K = 100), same number of epochs, the epoch with the best bound at ψ* on
validation rows. It is run from the encoder start that is usual for variational auto-encoders,
without weight decay ("textbook"), and from the library's first defaults ("library").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import longtail as lt
from benchmarks._corpora import imdb_subset, news
from benchmarks._fits import FIRST, fitted
from benchmarks.rows import ROOT, metric_rows, write_rows

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
    "imdb_reviews.parquet",
)
NAME = "spectra"
IMAGES = ROOT / "docs" / "images"
_TEST_ROWS = 2000
CORPORA = {"20news_miao": news, "imdb_reviews-6000x10000": imdb_subset}
STARTS = {"textbook": {**FIRST, "weight_decay": 0.0}, "library": FIRST}
SCHEMES = {
    "plain": {"refine_steps": 0, "kl_anneal": 0.0},
    "plain-anneal": {"refine_steps": 0},
    "hybrid": {"kl_anneal": 0.0},
    "hybrid-anneal": {},
}


def model_of(
    corpus: str, start: str, scheme: str, seed: int, parts: tuple, epochs: int
) -> lt.NonlinearFactorAnalysis:
    """The fitted model of one cell."""
    return fitted(
        f"{corpus}-{start}-{scheme}-{seed}",
        parts[0],
        parts[1],
        textbook=start == "textbook",
        random_state=seed,
        patience=None,
        **{**STARTS[start], **SCHEMES[scheme], "epochs": epochs},
    )


def measure(model: lt.NonlinearFactorAnalysis, test: lt.CountMatrix, case: str, seed: int) -> None:
    """Live directions by every view, and held-out bounds; write rows."""
    found = lt.spectrum(model, test)[""].to_dict()
    published = lt.spectrum(model, of="probabilities")[""].to_dict()
    scores = model.evaluate(test, seed=0).to_dict()
    counts = {
        "directions": {"information": found["live"], "information_mean": found["live_mean"]},
        "dimensions": found["dimensions"],
        "probabilities": {"above_tenth": published["live_mean"]},
        "best_epoch": model.fit_info_["best_epoch"],
        "rows": scores["rows"],
    }
    ranks = {
        "effective_rank": found["effective_rank"],
        "probabilities": {"effective_rank": published["effective_rank"]},
    }
    bounds = {
        name: {k: scores[name][k] for k in ("per_doc", "per_doc_se", "per_word")}
        for name in ("elbo_amortized", "elbo_refined", "iw")
    } | {"completion": {"per_word": scores["completion"]["per_word"]}}
    print(case, seed, counts, {k: round(v["per_word"], 1) for k, v in bounds.items()}, flush=True)
    common = {"benchmark": NAME, "case": case, "seed": seed, "split": "test"}
    write_rows(
        NAME,
        [
            *metric_rows(counts, unit="count", **common),
            *metric_rows(ranks, unit="directions", **common),
            *metric_rows(bounds, unit="perplexity", **common),
        ],
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Fit what is asked for, then measure, then draw."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--corpus", choices=[*CORPORA], action="append", help="default: all")
    parser.add_argument("--start", choices=[*STARTS], action="append", help="default: all")
    parser.add_argument("--scheme", choices=[*SCHEMES], action="append", help="default: all")
    parser.add_argument("--seed", type=int, action="append", help="default: 0")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--fit-only", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    for corpus in args.corpus or CORPORA:
        parts = CORPORA[corpus]()
        test = parts[2].drop_empty()[0]
        rng = np.random.default_rng(0)
        test = test[np.sort(rng.permutation(test.n_rows)[:_TEST_ROWS])]
        for seed in args.seed or [0]:
            for start in args.start or STARTS:
                models = {
                    scheme: model_of(corpus, start, scheme, seed, parts, args.epochs)
                    for scheme in args.scheme or SCHEMES
                }
                if args.fit_only:
                    continue
                for scheme, model in models.items():
                    measure(model, test, f"{corpus}/L2-K100-{start}-{scheme}", seed)
                if seed == 0 and len(models) == len(SCHEMES):
                    name = f"spectra_{corpus.split('-')[0]}_{start}.png"
                    lt.save_plot(lt.spectrum(models).plot(), IMAGES / name)


if __name__ == "__main__":
    main()
