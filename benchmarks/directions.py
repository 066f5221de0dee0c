"""Coherence and diversity of latent directions' word lists, by how the directions are chosen.

The model of the docstrings that `contexts` uses; ten words at each end; NPMI over held-out rows.
LDA with as many topics as there are directions (tomotopy) is beside them: its lists have one end,
so the stronger end of each direction is scored too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import longtail as lt
from benchmarks._corpora import docstrings
from benchmarks._fits import fitted
from benchmarks._peers import repeated_tokens
from benchmarks.contexts import SETTINGS
from benchmarks.rows import metric_rows, threads, write_rows

NAME = "directions"


def record(case: str, lists: list[list[str]], test: lt.CountMatrix, peer: str = "") -> None:
    """Score lists of words; write rows."""
    values = {
        "coherence_npmi": float(np.nanmean(lt.topic_coherence(lists, test))),
        "diversity": lt.topic_diversity(lists),
        "lists": len(lists),
    }
    print(case, peer, values, flush=True)
    common = {"benchmark": NAME, "case": case, "seed": 0, "split": "test", "peer": peer}
    packages = ["tomotopy"] if peer else []
    write_rows(NAME, metric_rows(values, unit="score", packages=packages, **common))


def main(argv: Sequence[str] | None = None) -> None:
    """Score all ways of choosing directions, then LDA."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.parse_args(argv)
    train, valid, test = docstrings()
    model = fitted("docstrings", train, valid, **SETTINGS)
    corpus = f"docstrings-{train.n_rows}x{train.n_features}"
    for by in ("varimax", "singular", "dimension"):
        found = lt.directions(model, by=by)
        record(
            f"{corpus}/{by}-both-ends",
            [end.names for d in found.items for end in (d.positive, d.negative)],
            test,
        )
        record(f"{corpus}/{by}-stronger-end", [d.positive.names for d in found.items], test)
    import tomotopy

    lda = tomotopy.LDAModel(k=len(found), seed=0)
    for tokens in repeated_tokens(train):
        lda.add_doc(tokens)
    lda.train(500, workers=threads())
    lists = [[word for word, _ in lda.get_topic_words(k, 10)] for k in range(len(found))]
    record(f"{corpus}/K{len(found)}", lists, test, "tomotopy LDA")


if __name__ == "__main__":
    main()
