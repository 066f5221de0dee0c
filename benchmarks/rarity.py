"""What refinement gains on each row, against how rare the row's words are.

The hypothesis behind hybrid inference: one network serves frequent words well and rare ones
badly, so that rows of rare words gain most. Two gains per token: of refining a plainly trained
model's ψ(x) to ψ*, and of training with refinement, both models at ψ*. A row's rarity is the mean
over its tokens of log n/df, from the training rows. Means by tenth of the rows in
``results/curves/rarity.csv``; Spearman's correlations as rows.

The models are those of the question ``depth`` of `fit_matrix`, two hidden layers, fitted if they
are not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

import longtail as lt
from benchmarks._experiments import QUESTIONS, read_corpus
from benchmarks._fits import fitted
from benchmarks.rows import RESULTS, metric_rows, replace_csv, write_rows

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
    "imdb_reviews.parquet",
)
NAME = "rarity"
CORPORA = ("20news", "imdb-full-10k")
CURVE = RESULTS / "curves" / "rarity.csv"
_GROUPS = 10

Array = npt.NDArray[np.float64]


def rarity(train: lt.CountMatrix, rows: lt.CountMatrix) -> Array:
    """Mean of log n/df over the tokens of each row; unmet words have df 1."""
    df = np.maximum(np.bincount(train.csr.indices, minlength=train.n_features), 1)
    weight = np.log(train.n_rows / df)
    return np.asarray(rows.csr @ weight / rows.csr.sum(1), dtype=np.float64)


def gains(corpus: str) -> tuple[Array, dict[str, Array]]:
    """Rarity of the test rows, and both gains in nats per token."""
    train, valid, test = read_corpus(corpus)
    per_row = {}
    for experiment in QUESTIONS["depth"]():
        if experiment.corpus != corpus or not experiment.scheme.endswith("-L2"):
            continue
        model = fitted(
            experiment.name.replace("/", "-"),
            train,
            valid,
            random_state=experiment.seed,
            **experiment.parameters,
        )
        per_row[experiment.scheme] = model.evaluate(test, seed=0, completion=False).per_row
    plain, hybrid = per_row["plain-L2"], per_row["hybrid-L2"]
    tokens = plain["tokens"].to_numpy()
    found = {
        "refined_over_amortized": plain["elbo_refined"] - plain["elbo_amortized"],
        "hybrid_over_plain": hybrid["elbo_refined"] - plain["elbo_refined"],
    }
    return rarity(train, test), {name: gain.to_numpy() / tokens for name, gain in found.items()}


def by_group(corpus: str, rare: Array, gain: dict[str, Array]) -> list[dict[str, Any]]:
    """Means and standard errors of the gains of each tenth of the rows, rarest last."""
    lines = []
    for number, rows in enumerate(np.array_split(np.argsort(rare, kind="stable"), _GROUPS)):
        for name, values in gain.items():
            lines.append(
                {
                    "corpus": corpus,
                    "group": number,
                    "rarity": f"{rare[rows].mean():.5g}",
                    "gain": name,
                    "nats_per_token": f"{values[rows].mean():.5g}",
                    "se": f"{values[rows].std(ddof=1) / np.sqrt(len(rows)):.3g}",
                    "rows": len(rows),
                }
            )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Write the curves and the correlations."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.parse_args(argv)
    table: list[dict[str, Any]] = []
    for corpus in CORPORA:
        rare, gain = gains(corpus)
        table += by_group(corpus, rare, gain)
        correlations = {name: float(spearmanr(rare, g).statistic) for name, g in gain.items()}
        print(corpus, correlations)
        rows = metric_rows(
            {"spearman": correlations},
            benchmark=NAME,
            case=corpus,
            seed=0,
            unit="correlation",
            split="test",
        )
        write_rows(NAME, rows)
    replace_csv(CURVE, tuple(table[0]), table)


if __name__ == "__main__":
    main()
