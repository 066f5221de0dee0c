"""Seconds of fitting until document completion beats LDA's best, beside LDA's own seconds.

Every program is fitted to the same 20 Newsgroups training rows, and completes the same held-out
halves of the same 500 validation rows at checkpoints on the way. The target is 1.01 × the best
perplexity that any of the LDA programs reaches within its budget, long enough to level off; a
program's time is that of its first checkpoint at or below the target.

The clock runs from the start of fitting, network building and TF-IDF included. It stands still
during scoring, for all. Bringing the rows into a program's own format, and its vocabulary, are not
on it. Our models hold no rows out of training (``validation_fraction=0``): the race's own scoring
takes the place of validation, and the clock holds everything else that `fit` does.

An LDA program hands over topics φ and the Dirichlet's α, whatever it is fitted by, and one
procedure completes rows with them: zero-order collapsed variational inference (CVB0; Asuncion et
al. 2009) of the observed half. Our models are completed as `evaluate` does by default.

Curves of all programs are kept in ``results/curves/lda_race.csv``. Programs that are not run again
take part with the curve found there: run all on one machine, with the same number of threads.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

import longtail as lt
from benchmarks._corpora import news
from benchmarks._peers import repeated_tokens
from benchmarks.rows import RESULTS, Row, metric_rows, replace_csv, threads, write_rows
from longtail.data import Batches
from longtail.data.hashing import row_keys
from longtail.evaluation import Completion, completion_rows, split_tokens
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, RefineSettings
from longtail.training import Callback, EpochRecord

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
)
NAME = "lda_race"
CURVES = RESULTS / "curves" / "lda_race.csv"  # apart: `RESULTS` itself holds rows only

# What our two models change of the defaults.
DEFAULT: dict[str, object] = {}
QUICK: dict[str, object] = {"refine_steps": 0, "epochs": 15}
OURS = {"default": DEFAULT, "quick": QUICK}

TOPICS = (50, 100)
TOLERANCE = 1.01
SPLIT_SEED = 0
_FOLD_IN_STEPS = 50  # of CVB0; the perplexity is level by then

Topics = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""φ (K, V), rows summing to 1, and α (K,)."""


# --- scoring -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """Both halves of the rows to complete; rows with fewer than two tokens are left out."""

    observed: csr_array
    held_out: csr_array

    @classmethod
    def of(cls, rows: lt.CountMatrix) -> Halves:
        """Split the tokens of each row."""
        observed, held_out = split_tokens(rows.csr, rows.row_keys(), SPLIT_SEED)
        usable = np.flatnonzero((np.diff(observed.indptr) > 0) & (np.diff(held_out.indptr) > 0))
        return cls(observed[usable], held_out[usable])

    def perplexity(self, log_prob: npt.NDArray[np.float64], samples: int, steps: int) -> float:
        """Per held-out token, of per-row log-probabilities."""
        totals = np.asarray(self.held_out.sum(1), dtype=np.float64)
        return Completion.from_rows(
            log_prob, totals, skipped_rows=0, samples=samples, steps=steps
        ).per_word

    def by_topics(self, topics: Topics) -> float:
        """Perplexity of the held-out halves under LDA."""
        phi, _ = topics
        theta = fold_in(topics, self.observed)
        target = self.held_out
        rows = _row_of_entry(target)
        p = np.einsum("nk,kn->n", theta[rows], phi[:, target.indices])
        log_prob = np.bincount(rows, target.data * np.log(p), target.shape[0])
        return self.perplexity(log_prob, samples=1, steps=_FOLD_IN_STEPS)

    def by_network(self, network: HybridModel, transform: FeatureTransform) -> float:
        """Perplexity of the held-out halves under our model, as `evaluate` scores by default."""
        defaults = lt.NonlinearFactorAnalysis()
        steps, samples = defaults.eval_refine_steps, defaults.eval_samples
        batches = Batches(
            self.observed,
            transform.apply(self.observed),
            row_keys(self.observed),
            defaults.batch_size,
        )
        scores = completion_rows(
            network,
            batches.ordered(),
            self.held_out,
            refine=RefineSettings(steps),
            samples=samples,
            seed=SPLIT_SEED,
        )
        return self.perplexity(scores.log_prob, samples, steps)


def fold_in(topics: Topics, observed: csr_array) -> npt.NDArray[np.float64]:
    """Expected topic shares θ of rows, topics fixed: (n, K), by CVB0.

    γ_dvk ∝ φ_kv (α_k + N_dk − γ_dvk), N_dk = Σ_v x_dv γ_dvk: each token's topic given the others'.
    """
    phi, alpha = topics
    rows = _row_of_entry(observed)
    of_word = np.ascontiguousarray(phi[:, observed.indices].T)
    counts = observed.data[:, None].astype(np.float64)
    gamma = _shares(of_word * alpha)
    for _ in range(_FOLD_IN_STEPS):
        in_row = np.add.reduceat(counts * gamma, observed.indptr[:-1])
        gamma = _shares(of_word * (alpha + in_row[rows] - gamma))
    return _shares(alpha + np.add.reduceat(counts * gamma, observed.indptr[:-1]))


def _shares(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return weights / weights.sum(1, keepdims=True)


def _row_of_entry(counts: csr_array) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))


# --- the clock ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Point:
    """Completion perplexity after some seconds of fitting."""

    step: int
    seconds: float
    per_word: float


@dataclasses.dataclass
class Curve:
    """The points of one program, and the clock of its fitting."""

    program: str
    case: str
    points: list[Point] = dataclasses.field(default_factory=list)
    _seconds: float = 0.0
    _running_since: float = math.nan

    def start(self) -> None:
        """Let the clock run."""
        self._running_since = time.perf_counter()

    def checkpoint(self, step: int, score: Callable[[], float]) -> None:
        """Score with the clock stopped."""
        self._seconds += time.perf_counter() - self._running_since
        point = Point(step, self._seconds, score())
        self.points.append(point)
        print(
            f"{self.program:12} {self.case:16} step {step:<5} "
            f"{point.seconds:8.2f} s {point.per_word:9.2f}",
            flush=True,
        )
        self.start()

    @property
    def best(self) -> float:
        """The lowest perplexity on the way."""
        return min(point.per_word for point in self.points)

    def seconds_to(self, target: float) -> float:
        """Seconds at the first point at or below the target; infinity if there is none."""
        return min((p.seconds for p in self.points if p.per_word <= target), default=math.inf)


def spread(budget: int, every: int, growth: float) -> list[int]:
    """Steps to stop at: `every` step-th at first, later ones in proportion to the step."""
    steps = [0]
    while steps[-1] < budget:
        steps.append(min(budget, steps[-1] + max(every, int(steps[-1] * growth))))
    return steps[1:]


# --- the programs ------------------------------------------------------------------------------


def tomotopy_lda(
    train: lt.CountMatrix, halves: Halves, curve: Curve, n_topics: int, seed: int, budget: int
) -> None:
    """Collapsed Gibbs sampling; α is optimised every 10 iterations, its default."""
    import tomotopy

    model = tomotopy.LDAModel(k=n_topics, seed=seed)
    for tokens in repeated_tokens(train):
        model.add_doc(tokens)

    def score() -> float:
        phi = np.zeros((n_topics, train.n_features))
        columns = train.vocabulary.codes(list(model.used_vocabs))
        for k in range(n_topics):
            phi[k, columns] = model.get_topic_word_dist(k)
        # Words that it has never met get the smallest probability it gives any word.
        phi = np.maximum(phi, phi[phi > 0].min())
        return halves.by_topics((_shares(phi), np.asarray(model.alpha, dtype=np.float64)))

    done = 0
    curve.start()
    for step in spread(budget, every=10, growth=0.05):
        model.train(step - done, workers=threads())
        done = step
        curve.checkpoint(step, score)


class Passes:
    """A corpus that reports each pass over it when the next one begins.

    gensim's schedule of step sizes is that of one call for all passes, and it asks for the rows
    anew at the beginning of each.
    """

    def __init__(self, rows: list[list[tuple[int, float]]], report: Callable[[int], None]) -> None:
        self.rows = rows
        self.report = report
        self.begun = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        if self.begun:
            self.report(self.begun)
        self.begun += 1
        return iter(self.rows)


def gensim_lda(
    train: lt.CountMatrix, halves: Halves, curve: Curve, n_topics: int, seed: int, budget: int
) -> None:
    """Online variational Bayes (LdaModel), chunks of 1,000; α and η are optimised."""
    from gensim.models import LdaModel

    model = LdaModel(
        id2word=dict(enumerate(train.vocabulary.names)),
        num_topics=n_topics,
        chunksize=1000,
        passes=budget,
        alpha="auto",
        eta="auto",
        eval_every=None,
        random_state=seed,
    )

    def report(step: int) -> None:
        topics = (model.get_topics().astype(np.float64), model.alpha.astype(np.float64))
        curve.checkpoint(step, lambda: halves.by_topics(topics))

    corpus = Passes(bags_of_words(train), report)
    curve.start()
    model.update(corpus)
    report(budget)


def sklearn_lda(
    train: lt.CountMatrix, halves: Halves, curve: Curve, n_topics: int, seed: int, budget: int
) -> None:
    """Online variational Bayes, batches of 512 (the steps); α and η are 1/K, the default."""
    from sklearn.decomposition import LatentDirichletAllocation

    model = LatentDirichletAllocation(
        n_topics,
        learning_method="online",
        batch_size=512,
        total_samples=train.n_rows,
        random_state=seed,
    )

    def score() -> float:
        alpha = np.full(n_topics, model.doc_topic_prior_)
        return halves.by_topics((_shares(model.components_), alpha))

    size = model.batch_size
    batches = [train.csr[i : i + size] for i in range(0, train.n_rows, size)]
    done = 0
    curve.start()
    # Stops within an epoch too: the first few epochs do most.
    for step in spread(budget * len(batches), every=4, growth=0.05):
        for number in range(done, step):
            model.partial_fit(batches[number % len(batches)])
        done = step
        curve.checkpoint(step, score)


class Racing(lt.NonlinearFactorAnalysis):
    """The same model, handing its network to `on_epoch` after each epoch."""

    on_epoch: Callable[[int, HybridModel, FeatureTransform], None]

    def _train(
        self,
        network: HybridModel,
        rows: Any,
        transform: FeatureTransform,
        seed: int,
        callbacks: Sequence[Callback],
        *args: Any,
    ) -> Any:
        report = self.on_epoch

        class EpochEnd(Callback):
            def on_epoch_end(self, record: EpochRecord) -> None:
                report(record.epoch, network, transform)

        return super()._train(network, rows, transform, seed, [*callbacks, EpochEnd()], *args)


def longtail_model(train: lt.CountMatrix, halves: Halves, curve: Curve, seed: int) -> None:
    """One of ours, by the curve's case."""
    parameters = {"validation_fraction": 0, "device": "cpu", "random_state": seed}
    model = Racing(**(parameters | OURS[curve.case]))
    stops = {*spread(int(model.epochs), every=1, growth=0.1), int(model.epochs)}

    def on_epoch(epoch: int, network: HybridModel, transform: FeatureTransform) -> None:
        if epoch in stops:
            curve.checkpoint(epoch, lambda: halves.by_network(network, transform))

    model.on_epoch = on_epoch
    curve.start()
    model.fit(train)


def bags_of_words(rows: lt.CountMatrix) -> list[list[tuple[int, float]]]:
    """Each row as gensim wants it: pairs of a feature's number and its count."""
    c = rows.csr
    return [
        list(zip(c.indices[a:b].tolist(), c.data[a:b].tolist(), strict=True))
        for a, b in zip(c.indptr[:-1], c.indptr[1:], strict=True)
    ]


LDA = {"tomotopy": tomotopy_lda, "gensim": gensim_lda, "scikit-learn": sklearn_lda}
PROGRAMS = (*LDA, "longtail")


def race(program: str, seed: int, budgets: Mapping[str, int]) -> list[Curve]:
    """Run one program in all its cases."""
    train, valid, _ = news()
    halves = Halves.of(valid)
    # Neither gensim nor scikit-learn shuffles, and the rows may come in the order of their groups.
    train = train[np.random.default_rng(seed).permutation(train.n_rows)]
    curves = []
    if program == "longtail":
        for case in OURS:
            curves.append(Curve(program, case))
            longtail_model(train, halves, curves[-1], seed)
    else:
        for n_topics in TOPICS:
            curves.append(Curve(program, f"K{n_topics}"))
            LDA[program](train, halves, curves[-1], n_topics, seed, budgets[program])
    return curves


# --- results -----------------------------------------------------------------------------------

Curves = dict[tuple[str, str], Curve]
_COLUMNS = ("program", "case", "seed", "threads", "step", "seconds", "per_word")


def read_curves(path: Path = CURVES) -> list[dict[str, str]]:
    """The points on file; an absent file has none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def curves_of(points: Sequence[Mapping[str, str]], seed: int) -> Curves:
    """The curves of a seed and this number of threads."""
    curves: Curves = {}
    for cells in points:
        if (cells["seed"], cells["threads"]) != (str(seed), str(threads())):
            continue
        program, case = cells["program"], cells["case"]
        # Cases that have been given up would otherwise race on.
        if program != "longtail" or case in OURS:
            curve = curves.setdefault((program, case), Curve(program, case))
            curve.points.append(
                Point(int(cells["step"]), float(cells["seconds"]), float(cells["per_word"]))
            )
    return curves


def write_curves(curves: Sequence[Curve], seed: int, path: Path = CURVES) -> None:
    """Put curves in the place of their earlier ones; the file is replaced as a whole."""
    new = [
        {
            "program": curve.program,
            "case": curve.case,
            "seed": str(seed),
            "threads": str(threads()),
            "step": str(point.step),
            "seconds": f"{point.seconds:.4f}",
            "per_word": f"{point.per_word:.4f}",
        }
        for curve in curves
        for point in curve.points
    ]
    replaced = {_curve_key(cells) for cells in new}
    kept = [cells for cells in read_curves(path) if _curve_key(cells) not in replaced]
    replace_csv(path, _COLUMNS, [*kept, *new])


def _curve_key(cells: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(cells[column] for column in ("program", "case", "seed", "threads"))


def result_rows(curves: Curves, seed: int) -> list[Row]:
    """Rows of all programs; none unless an LDA program has a curve to set the target.

    A target that is never reached takes infinitely long.
    """
    lda = [curve for curve in curves.values() if curve.program in LDA]
    ours = [curve for curve in curves.values() if curve.program not in LDA]
    if missing := [p for p in PROGRAMS if all(c.program != p for c in curves.values())]:
        print(f"not in the race yet: {', '.join(missing)}")
    if not lda:
        return []
    target = TOLERANCE * min(curve.best for curve in lda)
    fastest = min(curve.seconds_to(target) for curve in lda)
    print(f"target {target:.2f} per word; the fastest LDA takes {fastest:.2f} s")
    common: dict[str, Any] = {"benchmark": NAME, "seed": seed, "split": "valid"}
    rows = metric_rows(
        {"target": {"per_word": target}},
        case="20news_miao/target",
        unit="perplexity",
        peer="LDA",
        **common,
    )
    for curve in curves.values():
        seconds = curve.seconds_to(target)
        print(f"{curve.program:12} {curve.case:16} best {curve.best:8.2f}, target {seconds:8.2f} s")
        here = common | {"case": f"20news_miao/{curve.case}"}
        if curve.program in LDA:
            here |= {"peer": f"{curve.program} LDA", "packages": [curve.program]}
        rows += metric_rows({"seconds_to_target": seconds}, unit="s", **here)
        rows += metric_rows({"completion": {"per_word": curve.best}}, unit="perplexity", **here)
    ratios = {curve.case: fastest / curve.seconds_to(target) for curve in ours}
    if ratios:
        ratios["best"] = max(ratios.values())
    for case, ratio in ratios.items():
        print(f"the fastest LDA takes {ratio:.2f} times as long as {case}")
        rows += metric_rows(
            {"lda_over_longtail": ratio}, case=f"20news_miao/{case}", unit="ratio", **common
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the programs asked for, and compare all that have run."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--program", choices=PROGRAMS, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tomotopy-iterations", type=int, default=1000)
    parser.add_argument("--gensim-passes", type=int, default=15)
    parser.add_argument("--sklearn-epochs", type=int, default=30)
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    budgets = {
        "tomotopy": args.tomotopy_iterations,
        "gensim": args.gensim_passes,
        "scikit-learn": args.sklearn_epochs,
    }
    curves = curves_of(read_curves(), args.seed)
    for program in args.program or PROGRAMS:
        new = race(program, args.seed, budgets)
        curves |= {(curve.program, curve.case): curve for curve in new}
        if not args.dry:
            write_curves(new, args.seed)
    rows = result_rows(curves, args.seed)
    if not args.dry:
        write_rows(NAME, rows)


if __name__ == "__main__":
    main()
