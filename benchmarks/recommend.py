"""Recommenders on the same held-out items: recall and NDCG of this library's model and of others.

``gowalla`` has a fixed split for each user: settings are chosen on the validation items with the
training items masked, the model is fitted again to both, and the test items are scored once, both
masked; recall@20 has the plain denominator, as in the tables of LightGCN and its kin.

``lastfm`` has held-out users (Liang et al. 2018): of each, 80 % of the artists are folded in and
20 % scored; recall@20 and recall@50 with the denominator min(k, held-out), and NDCG@100. Plays are
given as they are (``raw``), as 1 + log (``log``) or as 1 (``binary``); the split is the same.

``deezer`` is a graph of friendships: a tenth of the edges is held out, from both their ends, and a
row is ranked over all that are not its neighbours; settings are chosen by another tenth, with which
the model is fitted again. Both are ranked for some rows only: 3,000 to choose by, 10,000 to report.

This library's model ranks friends with the preset ``both-ends`` by the product of both directions'
probabilities, and with ``self-links`` it is also fitted to rows that hold their own node. It runs
by name of a preset (``--preset``) or with settings in JSON (``--settings``); it is also scored by
its inference network alone, without refining a row's posterior, and the difference is noted with
its standard error over rows. A program that has its rows is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

import longtail as lt
from benchmarks._recommenders import (
    HEAVY,
    PRESETS,
    PROGRAMS,
    SELF_LINKS,
    Predictive,
    Program,
    Scorer,
    longtail,
    named,
)
from benchmarks.rows import data_file, metric_rows, read_rows, write_rows

DATA = ("gowalla.parquet", "lastfm_2k_plays.parquet", "deezer_hu_friends.parquet")
NAME = "recommend"
SPLIT_SEED = 0
LASTFM_ROWS = 300  # validation rows, and as many test rows
WEIGHTINGS = ("binary", "log", "raw")
CORPORA = ("gowalla", *(f"lastfm-{weighting}" for weighting in WEIGHTINGS), "deezer")
CHOOSING_ROWS, REPORTED_ROWS = 3000, 10_000  # of the graph


@dataclass(frozen=True)
class Task:
    """What is fitted, and what is found out.

    Attributes
    ----------
    train, valid
        Counts to fit to; histories and held-out items to choose settings by.
    refit, test
        Counts to fit to once they are chosen, or None to keep the model; histories and held-out
        items to report.
    cutoffs, metrics
        Lengths of the lists; what is reported. Settings are chosen by the first.
    itself
        Rows are items too, in the same order, and no row is recommended itself.
    """

    train: lt.CountMatrix
    valid: tuple[lt.CountMatrix, lt.CountMatrix]
    refit: lt.CountMatrix | None
    test: tuple[lt.CountMatrix, lt.CountMatrix]
    cutoffs: tuple[int, ...]
    metrics: tuple[str, ...]
    itself: bool = False


def gowalla() -> Task:
    """A fixed split of each user's places."""
    frame = pl.read_parquet(data_file(DATA[0]))
    shape = (int(frame["user"].max()) + 1, int(frame["item"].max()) + 1)
    parts = {}
    for (split,), pairs in frame.group_by("split"):
        where = (pairs["user"].to_numpy(), pairs["item"].to_numpy())
        parts[split] = csr_array((np.ones(pairs.height, np.float32), where), shape=shape)
    both = csr_array(parts["train"] + parts["valid"])
    train, valid, both, test = map(
        lt.CountMatrix.from_any, (parts["train"], parts["valid"], both, parts["test"])
    )
    return Task(train, (train, valid), both, (both, test), (20,), ("recall@20", "ndcg@20"))


def lastfm(weighting: str) -> Task:
    """Held-out users, 80 % of whose artists are folded in."""
    frame = pl.read_parquet(data_file(DATA[1]))
    _, rows = np.unique(frame["user"].to_numpy(), return_inverse=True)
    _, columns = np.unique(frame["artist_id"].to_numpy(), return_inverse=True)
    plays = csr_array((frame["plays"].to_numpy().astype(np.float32), (rows, columns)))
    counts = lt.CountMatrix.from_any(plays)
    parts = lt.split_rows(counts, [LASTFM_ROWS, LASTFM_ROWS], seed=SPLIT_SEED)
    # An artist of held-out users alone cannot be recommended by anything.
    known = np.unique(parts[0].csr.indices)
    train, *held_out_users = (part.select_features(known) for part in parts)
    (valid, valid_held), (test, test_held) = (
        lt.split_items(part, seed=SPLIT_SEED) for part in held_out_users
    )
    return Task(
        train=weighted(train, weighting),
        valid=(weighted(valid, weighting), valid_held),
        refit=None,
        test=(weighted(test, weighting), test_held),
        cutoffs=(20, 50, 100),
        metrics=("ndcg@100", "recall_truncated@20", "recall_truncated@50"),
    )


def deezer() -> Task:
    """Friendships, a tenth of which is missing."""
    settings = {"row_column": "user", "feature_column": "friend", "symmetric": True}
    graph = lt.read_counts(data_file(DATA[2]), **settings)
    known, missing = lt.split_edges(graph, 0.1, seed=SPLIT_SEED)
    train, held_out = lt.split_edges(known, 0.1, seed=SPLIT_SEED + 1)
    order = np.random.default_rng(SPLIT_SEED).permutation(graph.n_rows)
    some, others = (np.sort(order[:n]) for n in (CHOOSING_ROWS, REPORTED_ROWS))
    return Task(
        train=train,
        valid=(train[some], held_out[some]),
        refit=known,
        test=(known[others], missing[others]),
        cutoffs=(20,),
        metrics=("recall@20", "ndcg@20"),
        itself=True,
    )


def weighted(counts: lt.CountMatrix, weighting: str) -> lt.CountMatrix:
    """Counts as they are, as 1 + log, or as 1."""
    values = {"raw": lambda x: x, "log": lambda x: 1 + np.log(x), "binary": np.ones_like}
    csr = csr_array(
        (values[weighting](counts.csr.data), counts.csr.indices, counts.csr.indptr),
        shape=counts.shape,
    )
    return lt.CountMatrix.from_any(csr, row_ids=counts.row_ids)


def task(corpus: str) -> Task:
    """The task of that name."""
    if corpus.startswith("lastfm-"):
        return lastfm(corpus.removeprefix("lastfm-"))
    return {"gowalla": gowalla, "deezer": deezer}[corpus]()


def judged(
    scorer: Scorer, part: tuple[lt.CountMatrix, lt.CountMatrix], todo: Task, fitted: lt.CountMatrix
) -> lt.Ranking:
    """Metrics of a scorer, fitted to some rows, on histories and what was held out of them."""
    observed, held_out = part
    if isinstance(scorer, Predictive) and scorer.both_ends:
        return scorer.model.rank(
            observed,
            held_out,
            cutoffs=todo.cutoffs,
            refine_steps=scorer.steps,
            network=fitted,
        )
    seen = observed
    if todo.itself:
        names = {name: i for i, name in enumerate(observed.vocabulary.names)}
        own = [names[str(row)] for row in observed.row_ids]
        one = csr_array((np.ones(len(own)), (range(len(own)), own)), shape=observed.shape)
        seen = lt.CountMatrix.from_any(
            csr_array(observed.csr + one), row_ids=observed.row_ids, vocabulary=observed.vocabulary
        )
    return lt.rank_scores(
        lambda rows: scorer(observed.csr[rows]), held_out, seen=seen, cutoffs=todo.cutoffs
    )


def holding_themselves(todo: Task) -> Task:
    """The same, of rows that hold their own node."""
    valid, test = ((lt.with_self_links(seen), held) for seen, held in (todo.valid, todo.test))
    train, refit = (None if c is None else lt.with_self_links(c) for c in (todo.train, todo.refit))
    assert train is not None
    return replace(todo, train=train, valid=valid, refit=refit, test=test)


def gain(refined: lt.Ranking, amortized: lt.Ranking, metric: str) -> dict[str, float]:
    """What refining rows adds to a metric: mean over rows and its standard error."""
    difference = (refined.per_row[metric] - amortized.per_row[metric]).drop_nulls().to_numpy()
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return {"mean": float(difference.mean()), "se": error}


def record(corpus: str, name: str, program: Program, peer: str, seed: int) -> None:
    """Choose settings on validation rows, score the test rows once, write the rows."""
    started = time.perf_counter()
    todo = task(corpus)
    if program.self_links:
        todo = holding_themselves(todo)
    best, best_value, best_scorer, on_valid = {}, -np.inf, None, None
    for settings in program.grid(corpus):
        scorer = program.fit(todo.train.csr, seed, **settings)
        found = judged(scorer, todo.valid, todo, todo.train)
        value = found[todo.metrics[0]]
        print(f"{corpus}/{name} {named(settings)}: {todo.metrics[0]} {value:.4f}", flush=True)
        if value > best_value:
            best, best_value, best_scorer, on_valid = settings, value, scorer, found
    last = todo.train if todo.refit is None else todo.refit
    if todo.refit is not None:
        best_scorer = program.fit(last.csr, seed, **best)
    assert best_scorer is not None
    assert on_valid is not None
    on_test = judged(best_scorer, todo.test, todo, last)
    common = {
        "benchmark": NAME,
        "case": f"{corpus}/{name}",
        "unit": "",
        "seed": seed,
        "peer": peer,
        "packages": [program.package] if program.package else [],
    }
    rows = []
    for split, found in (("test", on_test), ("valid", on_valid)):
        plain = found.to_dict()
        rows += metric_rows({m: plain[m] for m in todo.metrics}, split=split, **common)
    if isinstance(best_scorer, Predictive):
        amortized = judged(best_scorer.amortized(), todo.test, todo, last)
        plain = amortized.to_dict()
        extra = {f"amortized.{m}": plain[m] for m in todo.metrics}
        extra |= {f"refinement_gain.{m}": gain(on_test, amortized, m) for m in todo.metrics}
        rows += metric_rows(extra, split="test", **common)
    numbers = {
        name: value
        for name, value in best.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    rows += metric_rows({"chosen": numbers}, split="valid", **common)
    write_rows(NAME, rows)
    figures = ", ".join(f"{m} {on_test[m]:.4f}" for m in todo.metrics)
    print(f"{corpus}/{name} {named(best)}: test {figures}")
    print(f"{time.perf_counter() - started:.0f} s", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the programs and corpora asked for that have no rows yet."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--corpus", choices=CORPORA, action="append", help="default: all")
    parser.add_argument(
        "--program", choices=tuple(PROGRAMS), action="append", help="default: all but heavy ones"
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), action="append", default=[])
    parser.add_argument("--settings", help="of this library's model, in JSON; with --name")
    parser.add_argument("--name", help="what to call the model with --settings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--again", action="store_true", help="also those that have rows")
    args = parser.parse_args(argv)
    if (args.settings is None) != (args.name is None):
        parser.error("--settings and --name go together")
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    ours = {f"longtail-{preset}": PRESETS[preset] for preset in args.preset}
    own_nodes = {f"longtail-{preset}" for preset in SELF_LINKS}
    if args.settings is not None:
        ours[f"longtail-{args.name}"] = {"": (json.loads(args.settings),)}
    programs = args.program or ([] if ours else list(PROGRAMS))
    done = {(r["case"], r["seed"]) for r in read_rows(NAME)} if not args.again else set()
    for corpus in args.corpus or CORPORA:
        jobs = [(p, PROGRAMS[p], p) for p in programs]
        jobs += [
            (
                name,
                Program(
                    longtail,
                    grids,
                    only=() if "" in grids else tuple(grids),
                    self_links=name in own_nodes,
                ),
                "",
            )
            for name, grids in ours.items()
        ]
        for name, program, peer in jobs:
            if (f"{corpus}/{name}", str(args.seed)) in done:
                print(f"{corpus}/{name}: has its rows")
            elif program.only and corpus not in program.only:
                continue
            elif (corpus, name) in HEAVY and not args.program:
                print(f"{corpus}/{name}: left out; ask for it with --program {name}")
            else:
                record(corpus, name, program, peer, args.seed)


if __name__ == "__main__":
    main()
