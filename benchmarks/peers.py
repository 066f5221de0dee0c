"""Held-out halves of rows completed by other programs: LDA three times, ProdLDA, scvi-tools.

The rows and their halves are those that `fit_matrix` scores. A program's number of topics (and, for
LDA, when to stop) is the one best on the validation rows; the test rows are completed once, by
that. LDA's rows are completed by CVB0 with the topics φ and the Dirichlet's α handed over; ProdLDA
and scvi-tools' AmortizedLDA by their own inference networks, at its mean, as they offer no other
way. Where a program has a bound of its own for whole rows, that perplexity per token is noted,
after its last step; bounds of different programs are of different tightness.

ProdLDA (package ``topmost``) and ``scvi-tools`` are not in the ``bench`` extra: they bring many
packages. Install them where they are wanted. A program with a row is not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks._corpora import Parts
from benchmarks._experiments import read_corpus
from benchmarks._lda import LDA, Halves, OwnBound, Topics
from benchmarks._neural_peers import NEURAL
from benchmarks.rows import metric_rows, read_rows, write_rows

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
    "imdb_reviews.parquet",
    "nhds2010_diagnoses.parquet",
)
NAME = "peers"
CORPORA = ("20news", "imdb-full-20k", "nhds2010")
TOPICS = (50, 100, 200)
PACKAGES = {"ProdLDA": "topmost", "AmortizedLDA": "scvi-tools"}
BUDGETS = {"tomotopy": 600, "gensim": 15, "scikit-learn": 20, "ProdLDA": 200, "AmortizedLDA": 200}


@dataclasses.dataclass
class Best:
    """The model of a program that completes validation rows best, over topics and steps.

    Attributes
    ----------
    perplexity, case
        On the validation rows; its number of topics and steps.
    complete
        Completes other halves with it.
    own_bound
        By the program's own bound, test rows, after the last step with that number of topics.
    """

    perplexity: float = math.inf
    case: str = ""
    complete: Callable[[Halves], float] | None = None
    own_bound: float = math.nan


@dataclasses.dataclass
class Watch:
    """Keeps the best topics of an LDA program."""

    valid: Halves
    n_topics: int
    best: Best
    bound: OwnBound | None = None

    def start(self) -> None:
        """Take no notice: nothing is timed."""

    def checkpoint(
        self, step: int, topics: Callable[[], Topics], bound: OwnBound | None = None
    ) -> None:
        """Score these topics on the validation rows."""
        found = topics()
        perplexity = self.valid.by_topics(found)
        self.bound = bound
        print(f"K{self.n_topics} step {step}: {perplexity:.2f}", flush=True)
        if perplexity < self.best.perplexity:
            self.best.perplexity = perplexity
            self.best.case = f"K{self.n_topics}-{step}"
            self.best.complete = lambda halves: halves.by_topics(found)


def run(program: str, parts: Parts, seed: int, budget: int) -> Best:
    """Fit a program with each number of topics, and keep what completes validation rows best."""
    train, valid, test = parts
    # Neither gensim nor scikit-learn shuffles, and the rows may come in the order of their groups.
    train = train[np.random.default_rng(seed).permutation(train.n_rows)]
    halves = Halves.of(valid)
    best = Best()
    for n_topics in TOPICS:
        before = best.case
        bound: OwnBound | None
        if program in LDA:
            watch = Watch(halves, n_topics, best)
            LDA[program](train, watch, n_topics, seed, budget)
            bound = watch.bound
        else:
            peer = NEURAL[program](train, n_topics, seed, budget)
            perplexity, bound = peer.complete(halves), peer.bound
            print(f"K{n_topics}: {perplexity:.2f}", flush=True)
            if perplexity < best.perplexity:
                best.perplexity, best.case = perplexity, f"K{n_topics}-{budget}"
                best.complete = peer.complete
        if best.case != before and bound is not None:
            best.own_bound = bound(test)
    return best


def record(program: str, corpus: str, seed: int, budget: int) -> None:
    """Run a program and write its rows."""
    started = time.perf_counter()
    parts = read_corpus(corpus)
    best = run(program, parts, seed, budget)
    assert best.complete is not None
    on_test = best.complete(Halves.of(parts[2]))
    print(f"{program} on {corpus}: {best.case}, valid {best.perplexity:.1f}, test {on_test:.1f}")
    common = {
        "benchmark": NAME,
        "case": f"{corpus}/{program}",
        "seed": seed,
        "peer": f"{program} {best.case}",
        "packages": [PACKAGES.get(program, program)],
    }
    figures: dict[str, Mapping[str, object]] = {"completion": {"per_word": on_test}}
    if math.isfinite(best.own_bound):
        figures["own_bound"] = {"per_word": best.own_bound}
    rows = metric_rows(figures, unit="perplexity", split="test", **common)
    rows += metric_rows(
        {"completion": {"per_word": best.perplexity}}, unit="perplexity", split="valid", **common
    )
    write_rows(NAME, rows)
    print(f"{time.perf_counter() - started:.0f} s", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the programs and corpora asked for that have no rows yet."""
    programs = (*LDA, *NEURAL)
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--program", choices=programs, action="append", help="default: all")
    parser.add_argument("--corpus", choices=CORPORA, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, help="iterations, passes or epochs")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--again", action="store_true", help="also those that have rows")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    done = {row["case"] for row in read_rows(NAME)} if not args.again else set()
    for corpus in args.corpus or CORPORA:
        for program in args.program or programs:
            if f"{corpus}/{program}" in done:
                print(f"{corpus}/{program}: has its rows")
                continue
            record(program, corpus, args.seed, args.budget or BUDGETS[program])


if __name__ == "__main__":
    main()
