"""The ladder of bounds, row by row, weakest to tightest.

1. ELBO at ψ(x), the encoder's own answer;
2. ELBO at ψ*, after local refinement;
3. the importance-weighted bound with S samples from q(ψ*) (Burda et al. 2016).

All have KL weight 1 and use the whole vocabulary. The expectations are averages over S draws,
so each row also carries the variance of its Monte Carlo error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longtail.data.batches import Batch
from longtail.inference import (
    GaussianPosterior,
    HybridModel,
    NoiseKey,
    RefineSettings,
    RowObjective,
    Rows,
    Stream,
    log_weight,
    normal_noise,
    refine,
)

__all__ = ["RowBounds", "row_bounds"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Per-row results for n rows, in their order; nats unless said otherwise.

    Attributes
    ----------
    elbo_amortized, elbo_refined, iw
        The three rungs: (n,).
    var_amortized, var_refined, var_iw
        Variance of each row's Monte Carlo error: (n,).
    kl
        KL(q(ψ*) ‖ p) per latent dimension: (n, K).
    mean
        Posterior means at ψ*: (n, K), no unit.
    """

    elbo_amortized: Array
    elbo_refined: Array
    iw: Array
    var_amortized: Array
    var_refined: Array
    var_iw: Array
    kl: Array
    mean: Array


@dataclass(frozen=True, eq=False)
class _Score:
    elbo: Tensor
    elbo_var: Tensor
    iw: Tensor
    iw_var: Tensor
    kl: Tensor


@torch.no_grad()
def row_bounds(
    model: HybridModel,
    batches: Iterable[Batch],
    *,
    refine: RefineSettings,
    samples: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> RowBounds:
    """Score every row on every rung.

    Parameters
    ----------
    refine
        How ψ(x) becomes ψ*.
    samples
        S, draws for each expectation.
    progress
        Called with the number of rows done after each batch.
    """
    parts: list[RowBounds] = []
    done = 0
    for batch in batches:
        parts.append(_bounds_of_batch(model, Rows.from_batch(batch, device), refine, samples, seed))
        done += len(batch)
        if progress is not None:
            progress(done)
    return RowBounds(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(RowBounds))
    )


def _bounds_of_batch(
    model: HybridModel, rows: Rows, settings: RefineSettings, samples: int, seed: int
) -> RowBounds:
    key = rows.noise_key(seed)
    amortized = model.amortized(rows.features).prior_where(rows.counts.totals() == 0)
    objective = model.objective(rows.counts)
    refined = refine(objective, amortized, key, settings)
    at_start = _score(objective, amortized, key, samples)
    at_end = _score(objective, refined, key, samples)
    columns = (
        at_start.elbo,
        at_end.elbo,
        at_end.iw,
        at_start.elbo_var,
        at_end.elbo_var,
        at_end.iw_var,
        at_end.kl,
        refined.mean,
    )
    return RowBounds(*(c.cpu().numpy().astype(np.float64) for c in columns))


def _score(objective: RowObjective, psi: GaussianPosterior, key: NoiseKey, samples: int) -> _Score:
    """Score ψ over all features, whatever the refinement has looked at."""
    generative = objective.model
    kl = generative.prior.kl(psi.mean, psi.log_var)
    log_p, log_w = [], []
    for s in range(samples):
        z = psi.sample(normal_noise(key, psi.mean.shape[1], Stream.BOUND, s))
        log_p.append(generative.log_likelihood(z, objective.counts, objective.data).double())
        log_w.append(log_weight(generative, psi, z, log_p[-1]))
    lik, weights = torch.stack(log_p), torch.stack(log_w)
    iw = torch.logsumexp(weights, 0) - math.log(samples)
    if samples > 1:
        elbo_var = lik.var(0) / samples
        # Delta method: Var[log w̄] ≈ Var[w] / (S w̄²).
        iw_var = (weights - iw).exp().var(0) / samples
    else:
        elbo_var = iw_var = torch.full_like(iw, math.nan)
    return _Score(lik.mean(0) - kl.sum(1), elbo_var, iw, iw_var, kl)
