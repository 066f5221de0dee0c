"""Time of local refinement to the bound that the published setting reaches.

Fitted models refine rows that they were not fitted to until they reach the mean ELBO that a
straightforward autograd port reaches with 100 steps of Adam at 8e-3 (the authors' evaluation).
Every ψ is scored in the same way, over all features. The time is that of a whole refinement with
as many steps as it needs: it is not asked to stop early. "exact" refines on all features,
"default" as the library does, which draws some of them where there are many.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

import longtail as lt
from benchmarks import _corpora, _port
from benchmarks._fits import FIRST, fitted
from benchmarks.refine_step import interleaved
from benchmarks.rows import metric_rows, quantiles, write_rows
from longtail.evaluation.evaluate import make_batches
from longtail.inference import (
    GaussianPosterior,
    RefineSettings,
    RowObjective,
    Rows,
    Stream,
    elbo,
    normal_noise,
    refine,
)
from longtail.ops import FeatureSampler

DATA = ("20news_miao/train.feat.gz", "imdb_reviews.parquet", "nhds2010_diagnoses.parquet")
NAME = "refine_speed"
K = 100
MOST_STEPS = 60


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows to refine under a fitted model, and how any ψ is scored."""

    model: lt.NonlinearFactorAnalysis
    rows: Rows
    csr: csr_array

    @classmethod
    def of(cls, model: lt.NonlinearFactorAnalysis, counts: lt.CountMatrix, n: int) -> Problem:
        """The first `n` non-empty rows."""
        counts = counts.align(model.vocabulary_)[0].drop_empty()[0]
        counts = counts[np.arange(min(n, counts.n_rows))]
        batch = next(iter(make_batches(counts, model.transform_, n).ordered()))
        for p in model.network_.parameters():
            p.requires_grad_(False)
        return cls(model, Rows.from_batch(batch), batch.counts)

    @property
    def start(self) -> GaussianPosterior:
        """ψ(x)."""
        return self.model.network_.amortized(self.rows.features).detach()

    def refined(self, steps: int, sampler: FeatureSampler | None) -> GaussianPosterior:
        """ψ* after so many steps of the library's refinement."""
        objective = RowObjective.of(self.model.network_.generative, self.rows.counts, 1.0, sampler)
        return refine(objective, self.start, self.rows.noise_key(0), RefineSettings(steps))

    @torch.no_grad()
    def bounds(self, psi: GaussianPosterior, draws: int = 20) -> Tensor:
        """ELBO of each row over all features, nats."""
        key, generative = self.rows.noise_key(1), self.model.network_.generative
        terms = [
            elbo(generative, psi, self.rows.counts, normal_noise(key, K, Stream.BOUND, s)).bound()
            for s in range(draws)
        ]
        return torch.stack(terms).mean(0)

    def scores(self, psi: GaussianPosterior) -> dict[str, float]:
        """Mean bound, nats a row, and minus the log of perplexity per document."""
        bounds = self.bounds(psi)
        return {
            "nats": float(bounds.mean()),
            "per_doc": float((bounds / self.rows.counts.totals()).mean()),
        }


def problems() -> dict[str, Callable[[], Problem]]:
    """Each data set with a model of it, fitted if it is not kept."""

    def news(layers: int, steps: int) -> Problem:
        train, valid, _ = _corpora.news()
        name = f"20news_miao-L{layers}-M{steps}"
        settings = {**FIRST, "decoder_layers": layers, "refine_steps": steps, "epochs": 30}
        return Problem.of(fitted(name, train, valid, random_state=0, **settings), valid, 500)

    def imdb() -> Problem:
        train, valid, _ = _corpora.imdb_subset(6000, 1000, 20_000)
        settings = {**FIRST, "refine_steps": 4, "epochs": 20}
        model = fitted("imdb-V20000", train, valid, random_state=0, **settings)
        return Problem.of(model, valid, 500)

    def nhds() -> Problem:
        train, valid, _ = lt.split_rows(_corpora.diagnoses(), [2000, 2000], seed=0)
        settings = {**FIRST, "refine_steps": 4, "epochs": 5}
        model = fitted("nhds-speed", train, valid, random_state=0, **settings)
        return Problem.of(model, valid, 500)

    cases = {f"20news_miao/L{n}-hybrid": partial(news, n, 10) for n in (2, 0, 1, 3)}
    plain = {"20news_miao/L2-plain": partial(news, 2, 0)}
    return cases | plain | {"imdb-6000x20000": imdb, "nhds2010": nhds}


def run(case: str, problem: Problem, repeats: int) -> None:
    """Time the library's refinements to the port's bound; write the ratios."""
    decoder, dense, start = (
        problem.model.network_.generative.decoder,
        _port.dense(problem.csr),
        problem.start,
    )
    generator = torch.Generator().manual_seed(0)

    def port() -> GaussianPosterior:
        return GaussianPosterior(
            *_port.refine(decoder, dense, start.mean, start.log_var, 100, 8e-3, generator=generator)
        )

    target = problem.scores(port())
    sampler = problem.model.network_.refine_sampler
    variants = {"exact": None} | ({"default": sampler} if sampler is not None else {})
    needed: dict[tuple[str, str], int] = {}
    for variant, chosen in variants.items():
        for steps in range(2, MOST_STEPS + 1, 2):
            scores = problem.scores(problem.refined(steps, chosen))
            for figure, value in scores.items():
                if value >= target[figure]:
                    needed.setdefault((variant, figure), steps)
            if all((variant, figure) in needed for figure in target):
                break
    functions = {
        f"{variant}.{figure}": partial(problem.refined, steps, variants[variant])
        for (variant, figure), steps in needed.items()
    }
    seconds = interleaved(functions | {"port": port}, repeats)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {f"port_over_{name}": median["port"] / median[name] for name in functions}
    steps = {f"steps_{v}.{figure}": m for (v, figure), m in needed.items()}
    print(f"{case}: " + ", ".join(f"{k} {v:.4g}" for k, v in (ratios | steps).items()), flush=True)
    common = {"benchmark": NAME, "case": case, "seed": 0, "split": "valid"}
    bound = {f"target.{figure}": value for figure, value in target.items()}
    times = {f"seconds.{name}": quantiles(values) for name, values in seconds.items()}
    write_rows(
        NAME,
        metric_rows(ratios, unit="", **common)
        + metric_rows(steps, unit="count", **common)
        + metric_rows(bound, unit="nats", **common)
        + metric_rows(times, unit="s", **common),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the cases asked for."""
    known = problems()
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--case", choices=known, action="append", help="default: all")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    for case in args.case or known:
        run(case, known[case](), args.repeats)


if __name__ == "__main__":
    main()
