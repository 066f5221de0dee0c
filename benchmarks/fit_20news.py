"""Held-out likelihood on 20 Newsgroups (Miao et al.'s preparation), beside LDA.

Fits the model on the training rows less 500 for validation, and scores the test rows once, on
every rung of the ladder. LDA is fitted by tomotopy's collapsed Gibbs sampler to the same rows;
both complete the same held-out halves of the same test rows.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import longtail as lt
from benchmarks._corpora import news
from benchmarks._fits import FIRST
from benchmarks.rows import metric_rows, threads, write_rows
from longtail.evaluation import Completion, split_tokens

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
)
NAME = "fit_20news"
CHECKPOINTS = Path(__file__).parent / ".checkpoints"


def fit_and_score(case: str, seed: int, **parameters: object) -> None:
    """Fit with these parameters; write rows. An interrupted fit goes on."""
    train, valid, test = news()
    model = lt.NonlinearFactorAnalysis(random_state=seed, verbose=1, **parameters)
    checkpoint = CHECKPOINTS / f"{NAME}-{case}-{seed}"
    model.fit(train, valid=valid, checkpoint=checkpoint, resume=True)
    name = f"20news_miao/L{model.decoder_layers}-K{model.n_components}-{case}"
    for split, rows in (("valid", valid), ("test", test)):
        evaluation = model.evaluate(rows, seed=0)
        print(f"{name}, {split} rows\n{evaluation}\n")
        scores = evaluation.to_dict()
        facts = ("rows", "dropped_rows", "tokens")
        bounds = {
            k: v for k, v in scores.items() if k not in (*facts, "seed", "unseen", "active_dims")
        }
        common = {"benchmark": NAME, "case": name, "seed": seed, "split": split}
        write_rows(
            NAME,
            [
                *metric_rows(_perplexities(bounds), unit="perplexity", **common),
                *metric_rows(_nats(bounds), unit="nats", **common),
                *metric_rows(
                    {"active_dims": {k: scores["active_dims"][k] for k in ("kl", "variance")}},
                    unit="dimensions",
                    **common,
                ),
                *metric_rows({k: scores[k] for k in facts}, unit="count", **common),
                *metric_rows(_settings(bounds), unit="count", **common),
            ],
        )
    shutil.rmtree(checkpoint)


def _only(bounds: dict, keys: Sequence[str]) -> dict:
    return {
        figure: {k: v for k, v in values.items() if k in keys and v is not None}
        for figure, values in bounds.items()
    }


def _perplexities(bounds: dict) -> dict:
    return _only(bounds, ("per_doc", "per_word"))


def _nats(bounds: dict) -> dict:
    return _only(bounds, ("nats_per_row", "se", "mc_se", "median", "p90"))


def _settings(bounds: dict) -> dict:
    return _only(bounds, ("samples", "steps", "skipped_rows"))


def lda(n_topics: int, seed: int, iterations: int = 1000) -> None:
    """Fit tomotopy's LDA and complete the same held-out halves."""
    import tomotopy

    train, _, test = news()
    model = tomotopy.LDAModel(k=n_topics, seed=seed)
    for tokens in _tokens(train.csr, train.vocabulary.names):
        model.add_doc(tokens)
    model.train(iterations, workers=threads())
    test, _ = test.drop_empty()
    observed, held_out = split_tokens(test.csr, test.row_keys(), seed=0)
    usable = np.flatnonzero((np.diff(observed.indptr) > 0) & (np.diff(held_out.indptr) > 0))
    observed, held_out = observed[usable], held_out[usable]
    documents = [model.make_doc(t) for t in _tokens(observed, train.vocabulary.names)]
    theta, _ = model.infer(documents, iterations=100, workers=threads())
    phi = np.zeros((n_topics, train.n_features))
    columns = train.vocabulary.codes(list(model.used_vocabs))
    for k in range(n_topics):
        phi[k, columns] = model.get_topic_word_dist(k)
    # Words that LDA has never met get the smallest probability it gives any word.
    phi = np.maximum(phi, phi[phi > 0].min())
    phi /= phi.sum(1, keepdims=True)
    rows = np.repeat(np.arange(held_out.shape[0]), np.diff(held_out.indptr))
    p = np.einsum("nk,kn->n", np.asarray(theta)[rows], phi[:, held_out.indices])
    log_prob = np.bincount(rows, held_out.data * np.log(p), held_out.shape[0])
    completion = Completion.from_rows(
        log_prob,
        np.asarray(held_out.sum(1), dtype=float),
        skipped_rows=test.n_rows - len(usable),
        samples=1,
        steps=100,
    )
    print(f"LDA K={n_topics}: completion {completion.per_word:.1f} per word")
    common = {
        "benchmark": NAME,
        "case": f"20news_miao/K{n_topics}",
        "seed": seed,
        "split": "test",
        "peer": "tomotopy LDA",
        "packages": ["tomotopy"],
    }
    values = {"completion": {"per_word": completion.per_word, "per_doc": completion.per_doc}}
    write_rows(
        NAME,
        [
            *metric_rows(values, unit="perplexity", **common),
        ],
    )


def _tokens(csr: csr_array, names: Sequence[str]) -> list[list[str]]:
    """Each row as a list of words, a word as often as it counts."""
    words = np.asarray(names, dtype=object)
    return [
        np.repeat(words[csr.indices[a:b]], csr.data[a:b].astype(int)).tolist()
        for a, b in zip(csr.indptr[:-1], csr.indptr[1:], strict=True)
    ]


# Weight decay and epochs were chosen on validation rows, weighted to be as far from the training
# rows as the (later) test rows are; everything else is the first default.
SETTINGS: dict[str, object] = {
    **FIRST,
    "weight_decay": 2.0,
    "epochs": 80,
    "eval_refine_steps": 200,
}
CASES: dict[str, dict[str, object]] = {
    "hybrid-anneal": SETTINGS,
    "plain-anneal": SETTINGS | {"refine_steps": 0},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fit_20news", description=__doc__)
    choices = [*CASES, "lda"]
    parser.add_argument("--case", choices=choices, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    for case in args.case or choices:
        if case == "lda":
            for n_topics in (50, 100, 200):
                lda(n_topics, args.seed)
        else:
            fit_and_score(case, args.seed, **CASES[case])


if __name__ == "__main__":
    main()
