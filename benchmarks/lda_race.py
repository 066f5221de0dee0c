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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import longtail as lt
from benchmarks._corpora import news
from benchmarks._fits import FIRST
from benchmarks._lda import LDA, Halves, OwnBound, Topics, spread
from benchmarks.rows import RESULTS, Row, metric_rows, replace_csv, threads, write_rows
from longtail.estimator.start import Start
from longtail.features import FeatureTransform
from longtail.inference import HybridModel
from longtail.training import Callback, EpochRecord

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
)
NAME = "lda_race"
CURVES = RESULTS / "curves" / "lda_race.csv"  # apart: `RESULTS` itself holds rows only

# Our two models: the first defaults, and what is quicker than they are.
DEFAULT: dict[str, object] = FIRST
QUICK: dict[str, object] = {**FIRST, "refine_steps": 0, "epochs": 15}
OURS = {"default": DEFAULT, "quick": QUICK}

TOPICS = (50, 100)
TOLERANCE = 1.01


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


@dataclasses.dataclass
class Timed:
    """Scores topics with the clock of a curve stopped."""

    curve: Curve
    halves: Halves

    def start(self) -> None:
        """Let the clock run."""
        self.curve.start()

    def checkpoint(
        self, step: int, topics: Callable[[], Topics], bound: OwnBound | None = None
    ) -> None:
        """Score these topics; the bound is not raced."""
        self.curve.checkpoint(step, lambda: self.halves.by_topics(topics()))


# --- the programs ------------------------------------------------------------------------------


class Racing(lt.NonlinearFactorAnalysis):
    """The same model, handing its network to `on_epoch` after each epoch."""

    on_epoch: Callable[[int, HybridModel, FeatureTransform], None]

    def _train(self, start: Start, seed: int, callbacks: Sequence[Callback], *args: Any) -> Any:
        report = self.on_epoch

        class EpochEnd(Callback):
            def on_epoch_end(self, record: EpochRecord) -> None:
                report(record.epoch, start.network, start.transform)

        return super()._train(start, seed, [*callbacks, EpochEnd()], *args)


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
            LDA[program](train, Timed(curves[-1], halves), n_topics, seed, budgets[program])
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
