"""Rows of several requests, inferred together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import vstack

from longtail.data import CountMatrix
from longtail.data.exposures import joined_exposures
from longtail.estimator import NonlinearFactorAnalysis
from longtail.evaluation.bounds import score_posterior
from longtail.evaluation.evaluate import make_batches
from longtail.inference import GaussianPosterior, RefineSettings, Rows, refine
from longtail.ops.ambient import neutral_torch

__all__ = ["RefineHow", "RefineJob", "Refined", "refine_jobs", "refine_rows"]

Array = npt.NDArray[np.float32]

# After how many evaluations the bound is looked at: early ones gain the most.
_LOOKS = (2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class RefineHow:
    """How rows are refined. Jobs that agree in this are computed together.

    Attributes
    ----------
    steps
        M.
    kl_weight
        1 for bounds; the model's own to transform and to recommend.
    samples
        S, draws for each bound; 0 leaves the bounds out.
    on_the_way
        Whether the ELBO is told at some steps between the first and the last, too.
    """

    steps: int
    kl_weight: float = 1.0
    samples: int = 0
    on_the_way: bool = False


@dataclass(frozen=True, eq=False)
class RefineJob:
    """Rows over the model's vocabulary, and what is asked of them."""

    counts: CountMatrix
    how: RefineHow


@dataclass(frozen=True, eq=False)
class Refined:
    """Posteriors of n rows.

    Attributes
    ----------
    mean_before, scale_before
        At ψ(x): (n, K).
    mean, scale
        At ψ*: (n, K).
    evaluations
        T numbers of gradient evaluations, from 0 to M; empty without samples.
    elbo, variance
        After each: (T, n), nats, and the variance of the Monte Carlo error.
    iw, iw_variance
        The importance-weighted bound at ψ*: (n,), nats; NaN without samples.
    """

    mean_before: Array
    scale_before: Array
    mean: Array
    scale: Array
    evaluations: tuple[int, ...]
    elbo: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    iw: npt.NDArray[np.float64]
    iw_variance: npt.NDArray[np.float64]

    def rows(self, start: int, stop: int) -> Refined:
        """Some of the rows."""
        some = slice(start, stop)
        return Refined(
            self.mean_before[some],
            self.scale_before[some],
            self.mean[some],
            self.scale[some],
            self.evaluations,
            self.elbo[:, some],
            self.variance[:, some],
            self.iw[some],
            self.iw_variance[some],
        )


def refine_jobs(model: NonlinearFactorAnalysis, jobs: Sequence[RefineJob]) -> list[Refined]:
    """The answers to several jobs; those that are alike are computed as one batch."""
    groups: dict[RefineHow, list[int]] = defaultdict(list)
    for i, job in enumerate(jobs):
        groups[job.how].append(i)
    answers: dict[int, Refined] = {}
    for how, members in groups.items():
        counts = _stacked([jobs[i].counts for i in members])
        together = refine_rows(model, counts, how)
        start = 0
        for i in members:
            stop = start + jobs[i].counts.n_rows
            answers[i] = together.rows(start, stop)
            start = stop
    return [answers[i] for i in range(len(jobs))]


@neutral_torch()
@torch.no_grad()
def refine_rows(model: NonlinearFactorAnalysis, counts: CountMatrix, how: RefineHow) -> Refined:
    """Infer rows, watching the bound on the way.

    A row's noise depends on its content and the model's seed alone, so its answer does not depend
    on which rows it is computed with.
    """
    network = model.network_
    batches = make_batches(counts, model.transform_, counts.n_rows)
    device = network.generative.decoder.weight.device
    rows = Rows.from_batch(next(batches.ordered()), device)
    objective = network.objective(rows.counts, how.kl_weight)
    key = rows.noise_key(model.seed_)
    looks: list[tuple[int, GaussianPosterior]] = []
    wanted = {0, how.steps, *(_LOOKS if how.on_the_way else ())}

    def watch(evaluations: int, psi: GaussianPosterior) -> None:
        if evaluations in wanted:
            looks.append((evaluations, GaussianPosterior(psi.mean.clone(), psi.log_var.clone())))

    settings = RefineSettings(how.steps, model.parameters_["refine_method"], converge=True)
    amortized = network.amortized(rows.features).prior_where(objective.silent)
    psi = refine(objective, amortized, key, settings, watch=watch)
    looks[-1] = (looks[-1][0], psi)  # of rows that say nothing: the prior
    if not how.samples:
        looks.clear()
    scores = [score_posterior(objective, at, key, how.samples) for _, at in looks]
    shape = (len(looks), counts.n_rows)
    nothing = np.full(counts.n_rows, np.nan)
    return Refined(
        mean_before=_array(amortized.mean),
        scale_before=_array(amortized.scale),
        mean=_array(psi.mean),
        scale=_array(psi.scale),
        evaluations=tuple(n for n, _ in looks),
        elbo=np.reshape([_exact(s.elbo) for s in scores], shape),
        variance=np.reshape([_exact(s.elbo_var) for s in scores], shape),
        iw=_exact(scores[-1].iw) if scores else nothing,
        iw_variance=_exact(scores[-1].iw_var) if scores else nothing,
    )


def _stacked(parts: Sequence[CountMatrix]) -> CountMatrix:
    if len(parts) == 1:
        return parts[0]
    csr = vstack([part.csr for part in parts], format="csr")
    csr.has_canonical_format = True
    ids = pl.Series("row_id", range(csr.shape[0]))
    return CountMatrix(csr, ids, parts[0].vocabulary, exposure=joined_exposures(parts))


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.cpu().numpy()
    return array


def _exact(tensor: torch.Tensor) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = tensor.cpu().double().numpy()
    return array
