"""Which z teaches the decoder: one of several draws from ψ*, by its importance weight.

θ should ascend log p(x), but a draw from q(z) = N(μ, diag σ²) stands for the posterior only as
well as q fits it, and q leaves out all correlations. Of S draws with weights

    w_s = p(x | z_s) (p(z_s) / q(z_s))^β

one is chosen with probability w_s / Σ w. Since ψ* is fixed, the gradient ∇_θ log p(x | z) of the
chosen draw is, on average, that of the importance-weighted bound log (1/S) Σ w_s (Burda et al.
2016). Weighing costs one product with the output layer for each draw, where there is a sample of
the features a small share of that, and only the chosen draw needs the gradient's products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longtail.inference import (
    GaussianPosterior,
    NoiseKey,
    RowObjective,
    Stream,
    log_weight,
    normal_noise,
)

__all__ = ["Chosen", "choose_draw"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """One draw for each row.

    Attributes
    ----------
    noise
        Its ε: (B, K).
    advantage
        Its log p(x | z) less the mean over all S draws: (B,), nats. What an estimate of
        E_q[log p(x | z)] from the chosen draw has too much.
    """

    noise: Tensor
    advantage: Tensor


@torch.no_grad()
def choose_draw(
    objective: RowObjective, psi: GaussianPosterior, key: NoiseKey, samples: int, number: int
) -> Chosen:
    """Draw `samples` z from ψ for each row and choose one by importance weight.

    Parameters
    ----------
    number
        Which sample of the features to weigh with, where the objective draws some.
    """
    k = psi.mean.shape[1]
    noise = torch.stack([normal_noise(key, k, Stream.TRAIN_DECODER, s) for s in range(samples)])
    noise = noise.to(psi.mean)
    z = psi.mean + psi.scale * noise
    sample = None if objective.sampler is None else objective.sampler.draw(number)
    model = objective.model
    log_p = model.log_likelihood(z, objective.counts, objective.data, frozen=True, sample=sample)
    ratio = log_weight(model, psi, z, torch.zeros_like(log_p))
    share = torch.softmax(log_p + objective.kl_weight * ratio, 0)
    place = torch.special.ndtr(normal_noise(key, 1, Stream.CHOICE, 0)).to(share).squeeze(1)
    chosen = (share.cumsum(0) < place).sum(0).clamp(max=samples - 1)
    rows = torch.arange(len(chosen), device=chosen.device)
    return Chosen(noise[chosen, rows], log_p[chosen, rows] - log_p.mean(0))
