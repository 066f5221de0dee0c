"""Cell types and held-out likelihood of single cells, beside scVI and principal components.

The cells (worm neurons, Cao et al. 2017) are split 80/10/10 at random; genes that fewer than ten
training cells express are left out. All programs see the same cells and genes, and stop by the
validation cells. Two of them are densities of the same thing: negative binomials whose means are
the cell's total times proportions, with a dispersion for each gene; before anything is scored, each
program's density is held against one formula. A cell's log-likelihood is bounded with S draws from
its posterior by the importance-weighted bound: from the inference network's own posterior
(``iw_amortized``), which is all that scVI has, and for this library from the refined one too
(``iw``). Cell types are predicted by the 15 nearest training cells in the latent space.

scVI starts each gene's dispersion at random. The program ``scvi-start`` is scVI with dispersions
that start where this library's do, at the likeliest of a model without a latent space, and with the
weight of the KL risen within 30 epochs instead of 400.

``--search`` fits variants of the settings and scores them on validation cells; ``CHOSEN`` is the
best of those, and the only one that test cells are scored with. ``--compare`` takes the differences
cell by cell, from the figures that earlier runs have left.

scvi-tools is not in the ``bench`` extra: it brings many packages. Each run is of one program, which
may have an environment of its own.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

import longtail as lt
from benchmarks._cells import (
    Array,
    Cells,
    accuracy,
    disagreement,
    fit_scvi,
    principal_components,
    read_cells,
    scvi_bounds,
    scvi_means,
)
from benchmarks.rows import RESULTS, metric_rows, read_rows, replace_csv, write_rows

DATA = ("worm_neuron_cells.h5",)
NAME = "cells"
PROGRAMS = ("longtail", "scvi", "scvi-start", "pca")
PEERS = {
    "longtail": "",
    "scvi": "scVI",
    "scvi-start": "scVI, dispersions started at the marginal ones, warm-up of 30 epochs",
    "pca": "PCA",
}
SAMPLES = 100
MANY = 500
EACH = RESULTS / "runs" / "cells.csv"
EACH_COLUMNS = ("case", "seed", "cell", "metric", "nats")
TOLERANCE = 1e-4  # of densities computed in single precision

BASE: dict[str, Any] = {
    "likelihood": "negative_binomial",
    "features": "log1p",
    "n_hidden": 128,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "batch_size": 128,
    "epochs": 60,
    "learning_rate": 2e-3,
    "weight_decay": 2.0,
    "patience": 15,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "epsilon-1e-2": {"output_epsilon": 1e-2},
    "plain": {"output_epsilon": 1e-2, "refine_steps": 0},
    "tfidf": {"output_epsilon": 1e-2, "features": "tfidf"},
}
CHOSEN = "tfidf"


def fit(cells: Cells, n_components: int, seed: int, variant: str) -> Any:
    """Fit this library's model, stopping by the validation cells."""
    model = lt.NonlinearFactorAnalysis(
        n_components, **(BASE | VARIANTS[variant]), random_state=seed, verbose=1
    )
    return model.fit(cells.train, valid=cells.valid)


def search(cells: Cells, n_components: int, seed: int, names: Sequence[str]) -> None:
    """Score variants of the settings on validation cells."""
    done = {row["case"] for row in read_rows(NAME)}
    for name in names:
        case = f"worm_neurons/K{n_components}/search/{name}"
        if case in done:
            print(f"{case}: has its rows")
            continue
        model = fit(cells, n_components, seed, name)
        found = model.evaluate(cells.valid, samples=SAMPLES, completion=False, seed=seed)
        figures = _bounds(found) | {"best_epoch": model.fit_info_["best_epoch"]}
        print(case, {k: v["nats_per_row"] for k, v in _bounds(found).items()}, flush=True)
        rows = metric_rows(
            figures, benchmark=NAME, case=case, unit="nats", seed=seed, split="valid"
        )
        write_rows(NAME, rows)


def _bounds(found: lt.Evaluation) -> dict[str, Any]:
    rungs = {
        "floor": found.floor,
        "elbo_amortized": found.elbo_amortized,
        "elbo_refined": found.elbo_refined,
        "iw": found.iw,
    }
    kept = ("nats_per_row", "se", "mc_se")
    return {
        name: {k: getattr(rung, k) for k in kept if hasattr(rung, k)}
        for name, rung in rungs.items()
    }


def run_longtail(cells: Cells, k: int, seed: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """Nats of each test cell by metric, and other figures."""
    model = fit(cells, k, seed, CHOSEN)
    _agree(disagreement(model, cells.test[:20]))
    each: dict[str, Array] = {}
    for samples, ending in ((SAMPLES, ""), (MANY, "_many")):
        refined = model.evaluate(cells.test, samples=samples, completion=False, seed=seed)
        plain = model.evaluate(
            cells.test, samples=samples, completion=False, seed=seed, refine_steps=0
        )
        each |= {
            f"iw_amortized{ending}": plain.per_row["iw"].to_numpy(),
            f"iw{ending}": refined.per_row["iw"].to_numpy(),
        }
        if samples == SAMPLES:
            names = ("floor", "elbo_amortized", "elbo_refined")
            each |= {name: refined.per_row[name].to_numpy() for name in names}
    each["refinement"] = each["elbo_refined"] - each["elbo_amortized"]
    figures: dict[str, Any] = {"best_epoch": model.fit_info_["best_epoch"]}
    for name, steps in (("knn", None), ("knn_amortized", 0)):
        train, test = (
            model.posterior(part, refine_steps=steps).mean for part in (cells.train, cells.test)
        )
        figures[name] = accuracy(train, test, cells)
    return each, figures


def run_scvi(
    cells: Cells, k: int, seed: int, **options: Any
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Nats of each test cell by metric, and other figures."""
    model = fit_scvi(cells, k, seed, **options)
    history = model.history["elbo_validation"].to_numpy().ravel()
    print("validation ELBO by epoch:", " ".join(f"{x:.1f}" for x in history), flush=True)
    few = scvi_bounds(model, cells.test, SAMPLES, seed)
    _agree(few.disagreement)
    on_valid = scvi_bounds(model, cells.valid, SAMPLES, seed)
    print(f"validation cells: {on_valid.iw.mean():.2f}", flush=True)
    each = {
        "elbo_amortized": few.elbo,
        "iw_amortized": few.iw,
        "iw_amortized_many": scvi_bounds(model, cells.test, MANY, seed).iw,
    }
    means = [scvi_means(model, part) for part in (cells.train, cells.test)]
    epochs = len(model.history["elbo_validation"])
    valid = {"valid_iw_amortized": float(on_valid.iw.mean())}
    return each, {"knn": accuracy(*means, cells), "epochs": epochs} | valid


def run_pca(cells: Cells, k: int, seed: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """No nats, and the accuracy of the cell types."""
    return {}, {"knn": accuracy(*principal_components(cells, k, seed), cells)}


RUNS = {
    "longtail": run_longtail,
    "scvi": run_scvi,
    "scvi-start": partial(run_scvi, marginal_start=True, warmup=30),
    "pca": run_pca,
}


def record(program: str, cells: Cells, k: int, seed: int) -> None:
    """Run a program and write its rows, and the nats of each cell."""
    case = f"worm_neurons/K{k}/{program}"
    each, figures = RUNS[program](cells, k, seed)
    metrics = {name: _summary(values) for name, values in each.items()}
    n = cells.test.n_rows
    for name in [name for name in figures if name.startswith("knn")]:
        p = figures.pop(name)
        metrics[name] = {"accuracy": p, "se": math.sqrt(p * (1 - p) / n)}
    print(case, metrics, figures, flush=True)
    units = {"nats": {}, "share": {}, "1": dict(figures)}
    for name, metric in metrics.items():
        units["share" if name.startswith("knn") else "nats"][name] = metric
    common = {"benchmark": NAME, "case": case, "seed": seed, "peer": PEERS[program]}
    packages = ["scvi-tools"] if program.startswith("scvi") else []
    rows = [
        row
        for unit, some in units.items()
        for row in metric_rows(some, unit=unit, split="test", packages=packages, **common)
    ]
    write_rows(NAME, rows)
    _write_each(case, seed, cells.test.row_ids.to_list(), each)


def compare(k: int, seed: int) -> None:
    """How much more likely each test cell is under this library's model than under scVI's."""
    ours = _read_each(f"worm_neurons/K{k}/longtail", seed)
    if not ours:
        raise SystemExit(f"K = {k} needs an earlier run of --program longtail")
    against = {
        "elbo_amortized": "elbo_amortized",
        "iw_amortized": "iw_amortized",
        "iw": "iw_amortized",
        "iw_amortized_many": "iw_amortized_many",
        "iw_many": "iw_amortized_many",
    }
    for program in ("scvi", "scvi-start"):
        theirs = _read_each(f"worm_neurons/K{k}/{program}", seed)
        metrics = {
            f"{name}_more": _summary(_difference(ours[name], theirs[other]))
            for name, other in against.items()
            if theirs
        }
        print(program, metrics)
        rows = metric_rows(
            metrics,
            benchmark=NAME,
            case=f"worm_neurons/K{k}/longtail-{program}",
            unit="nats",
            seed=seed,
            split="test",
            peer=PEERS[program],
        )
        write_rows(NAME, rows)


def _difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Array:
    assert ours.keys() == theirs.keys()
    return np.array([ours[cell] - theirs[cell] for cell in ours])


def _summary(nats: Array) -> dict[str, float]:
    return {"nats_per_row": float(nats.mean()), "se": float(nats.std(ddof=1) / len(nats) ** 0.5)}


def _agree(difference: float) -> None:
    print(f"density against the shared formula: {difference:.1e}", flush=True)
    assert difference < TOLERANCE, difference


def _write_each(case: str, seed: int, names: Sequence[str], each: Mapping[str, Array]) -> None:
    old = [r for r in _all_each() if (r["case"], r["seed"]) != (case, str(seed))]
    new = [
        {"case": case, "seed": seed, "cell": cell, "metric": metric, "nats": f"{value:.8g}"}
        for metric, values in each.items()
        for cell, value in zip(names, values, strict=True)
    ]
    replace_csv(EACH, EACH_COLUMNS, [*old, *new])


def _read_each(case: str, seed: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in _all_each():
        if (row["case"], row["seed"]) == (case, str(seed)):
            found.setdefault(row["metric"], {})[row["cell"]] = float(row["nats"])
    return found


def _all_each() -> list[dict[str, str]]:
    if not EACH.exists():
        return []
    with EACH.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(argv: Sequence[str] | None = None) -> None:
    """Run one program, the search, or the comparison."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument(
        "--program", choices=PROGRAMS, action="append", help="default: longtail, pca"
    )
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--search", nargs="*", choices=VARIANTS, help="default: all variants")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    k, seed = args.components, args.seed
    if args.compare:
        compare(k, seed)
        return
    cells = read_cells(seed)
    if args.search is not None:
        search(cells, k, seed, args.search or tuple(VARIANTS))
        return
    for program in args.program or ("longtail", "pca"):
        record(program, cells, k, seed)


if __name__ == "__main__":
    main()
