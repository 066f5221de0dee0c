"""The ladder of bounds, row by row, weakest to tightest.

1. ELBO at ψ(x), the encoder's own answer;
2. ELBO at ψ*, after local refinement;
3. if asked for, the ELBO at ψ* with a full covariance, refined further;
4. the importance-weighted bound with S samples from the last q (Burda et al. 2016).

All have KL weight 1 and use the whole vocabulary. The expectations are averages over S draws,
so each row also carries the variance of its Monte Carlo error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longtail.data.batches import Batch
from longtail.inference import (
    FullGaussianPosterior,
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
    refine_full,
)
from longtail.ops.ambient import neutral_torch

__all__ = ["PosteriorScore", "RowBounds", "row_bounds", "score_posterior"]

Array = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 256  # of few rows, several draws are scored by one pass over the features


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Per-row results for n rows, in their order; nats unless said otherwise.

    Attributes
    ----------
    elbo_amortized, elbo_refined, iw
        Three rungs: (n,).
    var_amortized, var_refined, var_iw
        Variance of each row's Monte Carlo error: (n,).
    kl
        KL(q(ψ*) ‖ p) per latent dimension: (n, K).
    mean
        Posterior means at ψ*: (n, K), no unit.
    elbo_full, var_full
        The ELBO with a full covariance and its variance, if it was asked for: (n,).
    """

    elbo_amortized: Array
    elbo_refined: Array
    iw: Array
    var_amortized: Array
    var_refined: Array
    var_iw: Array
    kl: Array
    mean: Array
    elbo_full: Array | None = None
    var_full: Array | None = None


@dataclass(frozen=True, eq=False)
class PosteriorScore:
    """Bounds of B rows at some ψ, nats, and the variances of their Monte Carlo errors: (B,)."""

    elbo: Tensor
    elbo_var: Tensor
    iw: Tensor
    iw_var: Tensor


@neutral_torch()
@torch.no_grad()
def row_bounds(
    model: HybridModel,
    batches: Iterable[Batch],
    *,
    refine: RefineSettings,
    samples: int,
    seed: int,
    covariance_steps: int = 0,
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
    covariance_steps
        Iterations towards a full covariance, see `refine_full`; 0 leaves ψ* diagonal.
    progress
        Called with the number of rows done after each batch.
    """
    parts: list[dict[str, Array]] = []
    done = 0
    for batch in batches:
        rows = Rows.from_batch(batch, device)
        found = _bounds_of_batch(model, rows, refine, samples, seed, covariance_steps)
        parts.append({k: v.cpu().numpy().astype(np.float64) for k, v in found.items()})
        done += len(batch)
        if progress is not None:
            progress(done)
    return RowBounds(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def _bounds_of_batch(
    model: HybridModel,
    rows: Rows,
    settings: RefineSettings,
    samples: int,
    seed: int,
    covariance_steps: int,
) -> dict[str, Tensor]:
    """The fields of `RowBounds` for a batch."""
    key = rows.noise_key(seed)
    objective = model.objective(rows.counts)
    amortized = model.amortized(rows.features).prior_where(objective.silent)
    refined = refine(objective, amortized, key, settings)
    at_start = score_posterior(objective, amortized, key, samples)
    at_end = score_posterior(objective, refined, key, samples)
    found = {
        "elbo_amortized": at_start.elbo,
        "var_amortized": at_start.elbo_var,
        "elbo_refined": at_end.elbo,
        "var_refined": at_end.elbo_var,
        "kl": objective.model.prior.kl(refined.mean, refined.log_var),
        "mean": refined.mean,
    }
    if covariance_steps:
        full = refine_full(objective, refined, key, covariance_steps)
        at_end = score_posterior(objective, full, key, samples)
        found |= {"elbo_full": at_end.elbo, "var_full": at_end.elbo_var}
    return found | {"iw": at_end.iw, "var_iw": at_end.iw_var}


def score_posterior(
    objective: RowObjective,
    psi: GaussianPosterior | FullGaussianPosterior,
    key: NoiseKey,
    samples: int,
) -> PosteriorScore:
    """Score ψ over all features, whatever the refinement has looked at.

    `samples` draws for each expectation, the same for every ψ of a row.
    """
    generative = objective.model
    if isinstance(psi, FullGaussianPosterior):
        kl = generative.prior.full_kl(psi.mean, psi.root)
    else:
        kl = generative.prior.kl(psi.mean, psi.log_var).sum(1)
    log_p: list[Tensor] = []
    log_w: list[Tensor] = []
    n_rows, k = psi.mean.shape
    at_once = max(1, _ROWS_AT_ONCE // max(1, n_rows))
    for first in range(0, samples, at_once):
        draws = range(first, min(first + at_once, samples))
        noise = (normal_noise(key, k, Stream.BOUND, s).to(psi.mean.dtype) for s in draws)
        z = [psi.sample(eps) for eps in noise]
        at = torch.stack(z).to(objective.data.xw.dtype)
        found = generative.log_likelihood(at, objective.counts, objective.data).double()
        log_p += found.unbind()
        log_w += [log_weight(generative, psi, *pair) for pair in zip(z, found, strict=True)]
    lik, weights = torch.stack(log_p), torch.stack(log_w)
    iw = torch.logsumexp(weights, 0) - math.log(samples)
    if samples > 1:
        elbo_var = lik.var(0) / samples
        # Delta method: Var[log w̄] ≈ Var[w] / (S w̄²).
        iw_var = (weights - iw).exp().var(0) / samples
    else:
        elbo_var = iw_var = torch.full_like(iw, math.nan)
    return PosteriorScore(lik.mean(0) - kl, elbo_var, iw, iw_var)
