"""Local refinement: from the inference network's guess ψ(x) to the optimised ψ*.

M steps of Adam on each row's own ELBO(ψ; x, θ), with θ frozen:

    ∂ELBO/∂μ        = g − β μ
    ∂ELBO/∂log σ²   = ½ g σ ε + ½ β (1 − σ²),        g = ∂ log p(x | z)/∂z at z = μ + σ ε

Every second step reuses −ε, which cancels the odd part of the noise, and the step size falls
linearly to zero. All state belongs to the row, and the noise is keyed by the row, so a row's ψ*
does not depend on its batch. No gradient flows through the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from longtail.inference.noise import NoiseKey, Stream, normal_noise
from longtail.inference.posterior import GaussianPosterior
from longtail.model import GenerativeModel
from longtail.ops import DataTerm, SparseRows

__all__ = ["RefineSettings", "refine"]

_BETA_1, _BETA_2, _EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class RefineSettings:
    """How rows are refined.

    Attributes
    ----------
    steps
        M, gradient evaluations per row; 0 leaves ψ(x) as it is.
    learning_rate
        Adam's step size at the first step.
    decay
        "linear" to zero over the M steps, or "constant".
    noise
        "alternating": every second step reuses −ε; "independent": fresh at each step.
    """

    steps: int
    learning_rate: float = 0.1
    decay: Literal["linear", "constant"] = "linear"
    noise: Literal["alternating", "independent"] = "alternating"

    @classmethod
    def published(cls, steps: int = 100, learning_rate: float = 8e-3) -> RefineSettings:
        """The setting of Krishnan et al. 2018: plain Adam, fresh noise, constant step."""
        return cls(steps, learning_rate, decay="constant", noise="independent")

    def step_size(self, step: int) -> float:
        """Adam's step size at a step counted from 0."""
        left = 1 - step / self.steps if self.decay == "linear" else 1.0
        return self.learning_rate * left


def refine(
    model: GenerativeModel,
    x: SparseRows,
    start: GaussianPosterior,
    key: NoiseKey,
    settings: RefineSettings,
    kl_weight: float = 1.0,
) -> GaussianPosterior:
    """Optimise each row's variational parameters, θ frozen.

    Parameters
    ----------
    x
        Raw counts: B×V.
    start
        ψ(x), usually the encoder's.
    key
        Seed and row keys of the noise.
    kl_weight
        β: the current one in training, 1 in evaluation.

    Returns
    -------
    GaussianPosterior
        ψ*, detached. Rows without counts get the prior, their exact posterior.
    """
    start = start.detach()
    if settings.steps == 0:
        return start
    data = model.data_term(x)
    psi = torch.stack([start.mean, start.log_var])
    moment_1, moment_2 = torch.zeros_like(psi), torch.zeros_like(psi)
    eps = torch.zeros_like(start.mean)
    for step in range(settings.steps):
        eps = _noise(key, eps, step, settings)
        gradient = _negative_elbo_gradient(model, x, data, psi, eps, kl_weight)
        moment_1.mul_(_BETA_1).add_(gradient, alpha=1 - _BETA_1)
        moment_2.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        correct_1, correct_2 = 1 - _BETA_1 ** (step + 1), 1 - _BETA_2 ** (step + 1)
        scale = (moment_2 / correct_2).sqrt_().add_(_EPS)
        psi.addcdiv_(moment_1, scale, value=-settings.step_size(step) / correct_1)
    return GaussianPosterior(psi[0], psi[1]).prior_where(data.totals == 0)


def _noise(key: NoiseKey, previous: Tensor, step: int, settings: RefineSettings) -> Tensor:
    if settings.noise == "alternating" and step % 2 == 1:
        return -previous
    return normal_noise(key, previous.shape[1], Stream.REFINE, step).to(previous)


def _negative_elbo_gradient(
    model: GenerativeModel,
    x: SparseRows,
    data: DataTerm,
    psi: Tensor,
    eps: Tensor,
    kl_weight: float,
) -> Tensor:
    """−∂ELBO/∂(μ, log σ²): (2, B, K)."""
    mean, log_var = psi[0], psi[1]
    var = log_var.exp()
    sigma_eps = var.sqrt() * eps
    with torch.enable_grad():
        z = (mean + sigma_eps).requires_grad_()
        log_p = model.log_likelihood(z, x, data, frozen=True)
        (g,) = torch.autograd.grad(log_p.sum(), z)
    return torch.stack([kl_weight * mean - g, 0.5 * (kl_weight * (var - 1) - g * sigma_eps)])
