"""Which latent dimensions live: plain and hybrid training, each with and without annealing.

The 2×2 of Krishnan, Liang and Hoffman (2018), on 20 Newsgroups and on film reviews: same decoder
(2 layers of 400, K = 100), same number of epochs, the epoch with the best bound at ψ* on
validation rows. It is run from the encoder start that is usual for variational auto-encoders,
without weight decay ("textbook"), and from the library's own defaults ("library").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import longtail as lt
from benchmarks._corpora import imdb_subset, news
from benchmarks._fits import fitted

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
    "imdb_reviews.parquet",
)
NAME = "spectra"
CORPORA = {"20news_miao": news, "imdb_reviews-6000x10000": imdb_subset}
STARTS = {"textbook": {"weight_decay": 0.0}, "library": {}}
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
        epochs=epochs,
        patience=None,
        **STARTS[start],
        **SCHEMES[scheme],
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Fit what is asked for, then measure."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--corpus", choices=[*CORPORA], action="append", help="default: all")
    parser.add_argument("--start", choices=[*STARTS], action="append", help="default: all")
    parser.add_argument("--scheme", choices=[*SCHEMES], action="append", help="default: all")
    parser.add_argument("--seed", type=int, action="append", help="default: 0")
    parser.add_argument("--epochs", type=int, default=50)
    args = parser.parse_args(argv)
    for corpus in args.corpus or CORPORA:
        parts = CORPORA[corpus]()
        for seed in args.seed or [0]:
            for start in args.start or STARTS:
                for scheme in args.scheme or SCHEMES:
                    model_of(corpus, start, scheme, seed, parts, args.epochs)


if __name__ == "__main__":
    main()
