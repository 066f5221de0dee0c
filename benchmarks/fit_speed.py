"""Time of a whole fit on 20news_miao: plain, hybrid, and the published recipe in plain PyTorch.

Three fits of the same rows with the same decoder (2 layers of 400, K = 100): by the library
without refinement ("plain") and at its first defaults ("hybrid"), both until the validation bound
stops rising; and by the autograd port of the published recipe with its M = 100 ("port"; see
`_port`).

After each epoch the 500 validation rows are scored, off the clock and for all three in one way:
the library's ELBO at ψ* with M = 100, S = 5, seed 0. The clock is that of the training epochs
alone: no reading, TF-IDF, validation or checkpoint is on it. The curves of bound by time are kept
in ``results/curves/fit_speed.csv``; the comparisons are made from them, so that one fit can be run
again without the others.

Of each fit: ``fit.seconds``, all its epochs; ``fit.seconds_to_best``, until its best bound;
``fit.seconds_to_converged``, until a bound within 0.1 % of that. ``hybrid_over_plain`` has the
ratio of each. ``port_over_hybrid_to_final_bound`` divides the port's time to its best bound by the
hybrid fit's time to that bound, and ``port_over_hybrid_to_converged_bound`` the times to within
0.1 % of it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import longtail as lt
from benchmarks._corpora import news
from benchmarks._fits import FIRST
from benchmarks._port import PublishedRecipe, RecipeSettings
from benchmarks.rows import RESULTS, Row, machine, metric_rows, replace_csv, threads, write_rows
from longtail.estimator.start import Start
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, RefineSettings
from longtail.training import Callback, EpochRecord, TrainingConfig

DATA = (
    "20news_miao/train.feat.gz",
    "20news_miao/test.feat.gz",
    "20news_miao/vocab.txt",
)
NAME = "fit_speed"
CASE = "20news_miao/L2-K100"
CURVES = RESULTS / "curves" / f"{NAME}.csv"  # apart: `RESULTS` itself holds rows only
CHECKPOINTS = Path(__file__).parent / ".checkpoints"

SCORING = RefineSettings(100)
SCORING_SAMPLES = 5
CONVERGED = 0.001  # share of the best bound

RUNS = ("plain", "hybrid", "port")
PARAMETERS: dict[str, dict[str, Any]] = {"plain": {**FIRST, "refine_steps": 0}, "hybrid": FIRST}
PORT_PEER = "published recipe, autograd port"


# --- curves ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Point:
    """The bound after an epoch, and the training seconds until then."""

    epoch: int
    seconds: float
    nats_per_row: float
    per_doc: float


Curve = list[Point]
Key = tuple[str, int, int, str]
"""Run, seed, threads, machine."""

_COLUMNS = ("run", "seed", "threads", "machine", *(f.name for f in dataclasses.fields(Point)))


def best(curve: Curve) -> Point:
    """The point with the best bound."""
    return max(curve, key=lambda point: point.nats_per_row)


def converged_bound(curve: Curve) -> float:
    """A bound 0.1 % short of the best."""
    bound = best(curve).nats_per_row
    return bound - CONVERGED * abs(bound)


def seconds_to(curve: Curve, bound: float) -> float | None:
    """Training seconds until the first epoch that reaches a bound; None if none does."""
    return next((point.seconds for point in curve if point.nats_per_row >= bound), None)


def read_curves(path: Path = CURVES) -> dict[Key, Curve]:
    """All curves that are kept; none if there is no file."""
    curves: dict[Key, Curve] = {}
    if not path.exists():
        return curves
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            key = (line["run"], int(line["seed"]), int(line["threads"]), line["machine"])
            point = Point(
                int(line["epoch"]),
                float(line["seconds"]),
                float(line["nats_per_row"]),
                float(line["per_doc"]),
            )
            curves.setdefault(key, []).append(point)
    return curves


def write_curve(key: Key, curve: Curve, path: Path = CURVES) -> None:
    """Keep a curve in place of the last of its key; a crash leaves the old file."""
    curves = read_curves(path) | {key: curve}
    table = []
    for kept, points in curves.items():
        for p in points:
            numbers = (f"{v:.10g}" for v in (p.seconds, p.nats_per_row, p.per_doc))
            table.append(dict(zip(_COLUMNS, (*kept, p.epoch, *numbers), strict=True)))
    replace_csv(path, _COLUMNS, table)


# --- fits --------------------------------------------------------------------------------------


class Recorder:
    """Scores a network after each epoch, always in the same way, and collects the curve.

    Parameters
    ----------
    train, valid
        The rows that are fitted, for their TF-IDF, and those that are scored.
    keep
        Called with the curve after each epoch.
    """

    def __init__(
        self, name: str, train: lt.CountMatrix, valid: lt.CountMatrix, keep: Callable[[Curve], None]
    ) -> None:
        self.name = name
        self.transform = FeatureTransform.fit("tfidf", train.csr)
        self.valid = make_batches(valid, self.transform, 500)
        self.totals = valid.totals
        self.keep = keep
        self.curve: Curve = []

    def record(self, network: HybridModel, epoch: int, seconds: float) -> None:
        """Score the network as it is now."""
        bounds = row_bounds(
            network, self.valid.ordered(), refine=SCORING, samples=SCORING_SAMPLES, seed=0
        ).elbo_refined
        per_doc = float(np.exp(np.mean(-bounds / self.totals)))
        point = Point(epoch, seconds, float(bounds.mean()), per_doc)
        self.curve.append(point)
        print(
            f"{self.name}, epoch {epoch}: {seconds:.1f} s, "
            f"{point.nats_per_row:.2f} nats a row, {per_doc:.1f} per document",
            flush=True,
        )
        self.keep(self.curve)


class Watched(lt.NonlinearFactorAnalysis):
    """The same model; a `Watch` sees its network during the fit."""

    watch: Watch

    def _train(self, start: Start, *args: Any) -> Any:
        self.watch.network = start.network
        return super()._train(start, *args)


class Watch(Callback):
    """Records the network after each epoch with the seconds of training, validation left out."""

    network: HybridModel

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.n_rows = 0
        self.seconds = 0.0

    def on_fit_begin(self, config: TrainingConfig, n_rows: int, first_epoch: int) -> None:
        """Note the number of training rows."""
        self.n_rows = n_rows

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Score; a record's own `seconds` would hold the validation too."""
        self.seconds += self.n_rows / record.rows_per_second
        self.recorder.record(self.network, record.epoch, self.seconds)


def fit_library(
    recorder: Recorder, train: lt.CountMatrix, valid: lt.CountMatrix, **parameters: Any
) -> None:
    """Fit by the library, until the validation bound has stopped rising."""
    model = Watched(device="cpu", **parameters)
    model.watch = Watch(recorder)
    model.fit(train, valid=valid, callbacks=[model.watch])
    print(f"{recorder.name}: {model.fit_info_['stopped']}", flush=True)


def fit_port(
    recorder: Recorder,
    train: lt.CountMatrix,
    epochs: int,
    settings: RecipeSettings,
    checkpoint: Path | None,
) -> None:
    """Fit by the port; an interrupted fit goes on from its checkpoint, if it has one."""
    recipe = PublishedRecipe(train.csr, recorder.transform.apply(train.csr), settings)
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        recipe.load_state_dict(state["recipe"])
        recorder.curve += [Point(**point) for point in state["curve"]]
        print(f"{recorder.name}: goes on after epoch {recipe.epoch}", flush=True)

    def on_epoch(epoch: int, seconds: float) -> None:
        recorder.record(recipe.network, epoch, seconds)
        if checkpoint is not None:
            curve = [dataclasses.asdict(point) for point in recorder.curve]
            save({"recipe": recipe.state_dict(), "curve": curve}, checkpoint)

    recipe.fit(epochs, on_epoch)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


def save(state: dict[str, Any], path: Path) -> None:
    """Save a state; a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


# --- results -----------------------------------------------------------------------------------


def times(curve: Curve) -> dict[str, float]:
    """Training seconds in all, to the best bound, and to within 0.1 % of it."""
    to_converged = seconds_to(curve, converged_bound(curve))
    assert to_converged is not None
    return {
        "seconds": curve[-1].seconds,
        "seconds_to_best": best(curve).seconds,
        "seconds_to_converged": to_converged,
    }


def run_rows(run: str, curve: Curve, seed: int) -> list[Row]:
    """What one fit took and reached."""
    common: dict[str, Any] = {"benchmark": NAME, "case": f"{CASE}-{run}", "seed": seed}
    if run == "port":
        common["peer"] = PORT_PEER
    top = best(curve)
    bound = {"valid": {"elbo_refined": {"per_doc": top.per_doc}}}
    nats = {"valid": {"elbo_refined": {"nats_per_row": top.nats_per_row}}}
    return [
        *metric_rows({"fit": times(curve)}, unit="s", split="train", **common),
        *metric_rows({"fit": {"epochs": curve[-1].epoch}}, unit="count", split="train", **common),
        *metric_rows(bound, unit="perplexity", split="valid", **common),
        *metric_rows(nats, unit="nats", split="valid", **common),
    ]


def comparisons(curves: dict[str, Curve]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ratios, and the seconds they were made of, as far as the fits are there."""
    ratios: dict[str, Any] = {}
    seconds: dict[str, Any] = {}
    if {"plain", "hybrid"} <= curves.keys():
        plain, hybrid = times(curves["plain"]), times(curves["hybrid"])
        ratios["hybrid_over_plain"] = {name: hybrid[name] / plain[name] for name in plain}
    if {"hybrid", "port"} <= curves.keys():
        port = curves["port"]
        for name, bound in (
            ("final", best(port).nats_per_row),
            ("converged", converged_bound(port)),
        ):
            theirs, ours = seconds_to(port, bound), seconds_to(curves["hybrid"], bound)
            if theirs is None or ours is None:
                print(f"The hybrid fit never reaches the port's {name} bound, {bound:.2f} nats.")
                continue
            seconds[f"hybrid_to_port_{name}_bound"] = ours
            ratios[f"port_over_hybrid_to_{name}_bound"] = theirs / ours
    return ratios, seconds


def comparison_rows(curves: dict[str, Curve], seed: int) -> list[Row]:
    """The comparisons as rows."""
    ratios, seconds = comparisons(curves)
    common: dict[str, Any] = {"benchmark": NAME, "case": CASE, "seed": seed, "split": "train"}
    return [
        *metric_rows(ratios, unit="ratio", **common),
        *metric_rows({"seconds": seconds}, unit="s", **common),
    ]


def show(curves: dict[str, Curve], rows: Sequence[Row]) -> None:
    """Print the fits as a table, and the comparisons."""
    head = ("fit", "epochs", "seconds", "to best", "to 0.1 %", "nats a row", "per document")
    print("\n" + head[0].ljust(8) + "".join(word.rjust(14) for word in head[1:]))
    for run, curve in curves.items():
        top = best(curve)
        cells = [
            f"{curve[-1].epoch}",
            *(f"{value:.1f}" for value in times(curve).values()),
            f"{top.nats_per_row:.2f}",
            f"{top.per_doc:.1f}",
        ]
        print(run.ljust(8) + "".join(cell.rjust(14) for cell in cells))
    print()
    for row in rows:
        print(f"{row.metric} = {row.value:.4g} {'' if row.unit == 'ratio' else row.unit}".rstrip())


def run_fit(run: str, args: argparse.Namespace) -> Curve:
    """Fit once; return the curve, which is also kept unless the run is dry."""
    train, valid, _ = news()
    key: Key = (run, args.seed, threads(), machine())

    def keep(curve: Curve) -> None:
        if not args.dry:
            write_curve(key, curve)

    recorder = Recorder(run, train, valid, keep)
    if run == "port":
        checkpoint = CHECKPOINTS / f"{NAME}-port-{args.seed}-{threads()}.pt"
        settings = RecipeSettings(steps=args.port_steps, seed=args.seed)
        fit_port(recorder, train, args.port_epochs, settings, None if args.dry else checkpoint)
    else:
        parameters = PARAMETERS[run] | ({"epochs": args.epochs} if args.epochs else {})
        fit_library(recorder, train, valid, random_state=args.seed, **parameters)
    return recorder.curve


def main(argv: Sequence[str] | None = None) -> None:
    """Run the fits asked for, then compare all that are there."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--run", choices=RUNS, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--port-epochs", type=int, default=40)
    parser.add_argument("--port-steps", type=int, default=100, help="M of the port; needs --dry")
    parser.add_argument("--epochs", type=int, help="of the library's fits; needs --dry")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    args = parser.parse_args(argv)
    if not args.dry and (args.epochs or args.port_steps != 100):
        parser.error("--epochs and --port-steps are for trials, which are not kept: add --dry")
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)

    fitted = {run: run_fit(run, args) for run in args.run or RUNS}
    # Times compare only within one seed, number of threads and machine; a trial with itself.
    kept = {} if args.dry else read_curves()
    here = (args.seed, threads(), machine())
    curves = {run: fitted.get(run) or kept.get((run, *here)) for run in RUNS}
    curves = {run: curve for run, curve in curves.items() if curve}
    compared = comparison_rows(curves, args.seed)
    show(curves, compared)
    if not args.dry:
        rows = [row for run, curve in fitted.items() for row in run_rows(run, curve, args.seed)]
        write_rows(NAME, [*rows, *compared])


if __name__ == "__main__":
    main()
