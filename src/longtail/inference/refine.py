"""Local refinement: from the encoder's guess ψ(x) to each row's own optimum ψ*.

Stochastic optimisation of each row's ELBO(ψ; x, θ) with θ frozen; no gradient flows through the
steps. All state belongs to the row and the noise is keyed by the row's content, so a row's ψ*
does not depend on which rows share its batch.

Two methods: "natural" (see `natural`), which needs about a tenth of the gradient evaluations,
and "adam", that of Krishnan et al. 2018, kept for comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from longtail.inference.continuation import MANY_COUNTS, refine_by_continuation
from longtail.inference.natural import Pair, refine_natural
from longtail.inference.noise import NoiseKey, Stream, normal_noise
from longtail.inference.objective import RowObjective
from longtail.inference.posterior import GaussianPosterior

__all__ = ["RefineMethod", "RefineSettings", "refine"]

RefineMethod = Literal["natural", "adam"]

_BETA_1, _BETA_2, _EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class RefineSettings:
    """How rows are refined.

    Attributes
    ----------
    steps
        M, gradient evaluations per row; 0 leaves ψ(x) as it is.
    method
        "natural": diagonal natural gradients from antithetic pairs. "adam": plain Adam, fresh
        Gaussian noise at every step, constant step size.
    learning_rate
        Adam's step size; "natural" has none.
    converge
        Refine rows with many counts until they converge, see `continuation`: for scoring by
        "natural".
    """

    steps: int
    method: RefineMethod = "natural"
    learning_rate: float = 8e-3
    converge: bool = False

    @classmethod
    def published(cls, steps: int = 100, learning_rate: float = 8e-3) -> RefineSettings:
        """The setting of Krishnan et al. 2018: 8e-3 in evaluation, 1e-2 in training."""
        return cls(steps, "adam", learning_rate)


@torch.no_grad()
def refine(
    objective: RowObjective,
    start: GaussianPosterior,
    key: NoiseKey,
    settings: RefineSettings,
    first: Pair | None = None,
    watch: Callable[[int, GaussianPosterior], None] | None = None,
) -> GaussianPosterior:
    """Optimise each row's variational parameters, θ frozen.

    Parameters
    ----------
    objective
        The rows' ELBO.
    start
        ψ(x), usually the encoder's.
    key
        Seed and row keys of the noise.
    settings
        Method and number of evaluations.
    first
        The first pair of evaluations at `start`, if the caller has made it (method "natural").
    watch
        Called with (evaluations made, ψ) at the start and after every move; ψ must be copied to
        be kept. A run of fewer steps, an even number, is the beginning of a longer one.

    Returns
    -------
    GaussianPosterior
        ψ*, detached. Rows that say nothing about z get the prior, their exact posterior.
    """
    start = start.detach().prior_where(objective.silent)
    if watch is not None:
        watch(0, start)
    if settings.steps == 0:
        return start
    if settings.method == "adam":
        psi = _refine_adam(objective, start, key, settings, watch)
    else:
        psi = refine_natural(objective, start, key, settings.steps, first=first, watch=watch)
        if settings.converge:
            psi = _converged(objective, psi, key)
    return psi.prior_where(objective.silent)


def _converged(objective: RowObjective, psi: GaussianPosterior, key: NoiseKey) -> GaussianPosterior:
    """ψ with its rows of many counts refined by continuation."""
    if not (objective.data.totals >= MANY_COUNTS).any():  # effective counts are at most the totals
        return psi
    effective = objective.model.likelihood.effective_counts(objective.counts)
    many = (effective >= MANY_COUNTS).nonzero().flatten().tolist()
    mean, log_var = psi.mean.clone(), psi.log_var.clone()
    for d in many:
        own = NoiseKey(key.rows[d : d + 1], key.seed)
        row = refine_by_continuation(objective.row(d), own)
        mean[d], log_var[d] = row.mean[0], row.log_var[0]
    return GaussianPosterior(mean, log_var)


def _refine_adam(
    objective: RowObjective,
    start: GaussianPosterior,
    key: NoiseKey,
    settings: RefineSettings,
    watch: Callable[[int, GaussianPosterior], None] | None,
) -> GaussianPosterior:
    psi = torch.stack([start.mean, start.log_var])
    moment_1, moment_2 = torch.zeros_like(psi), torch.zeros_like(psi)
    for step in range(settings.steps):
        eps = normal_noise(key, psi.shape[2], Stream.REFINE, step).to(psi)
        gradient = _negative_elbo_gradient(objective, psi, eps, step)
        moment_1.mul_(_BETA_1).add_(gradient, alpha=1 - _BETA_1)
        moment_2.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        correct_1, correct_2 = 1 - _BETA_1 ** (step + 1), 1 - _BETA_2 ** (step + 1)
        scale = (moment_2 / correct_2).sqrt_().add_(_EPS)
        psi.addcdiv_(moment_1, scale, value=-settings.learning_rate / correct_1)
        if watch is not None:
            watch(step + 1, GaussianPosterior(psi[0], psi[1]))
    return GaussianPosterior(psi[0], psi[1])


def _negative_elbo_gradient(
    objective: RowObjective, psi: Tensor, eps: Tensor, number: int
) -> Tensor:
    """−∂ELBO/∂(μ, log σ²): (2, B, K)."""
    mean, log_var = psi[0], psi[1]
    beta, var = objective.kl_weight, log_var.exp()
    sigma_eps = var.sqrt() * eps
    _, g = objective.log_likelihood(mean + sigma_eps, number)
    return torch.stack([beta * mean - g, 0.5 * (beta * (var - 1) - g * sigma_eps)])
