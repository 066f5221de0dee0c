"""Which z teaches the decoder: one of several draws from ψ*, by its importance weight.

θ should ascend log p(x), but a draw from q(z) = N(μ, diag σ²) stands for the posterior only as
well as q fits it, and q leaves out all correlations. Of S draws with weights

    w_s = p(x | z_s) (p(z_s) / q(z_s))^β

one is chosen with probability w_s / Σ w. Since ψ* is fixed, the gradient ∇_θ log p(x | z) of the
chosen draw is, on average, that of log (1/S) Σ w_s: with β = 1 the importance-weighted bound (Burda
et al. 2016), while the KL weight still rises its annealed likeness.

Weighing costs one product with the output layer for each draw; only the chosen draw needs the
products of a gradient. Where refinement looks at a sample of the features, so does weighing, with
another sample at each update. Its error, N times that of the estimated normaliser, is then of the
order of the weights' own spread in long rows: the choice is still made by weight, less sharply.
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
    log_likelihood
        The mean of log p(x | z) over all S draws, with which E_q[log p(x | z)] is estimated: (B,),
        nats.
    """

    noise: Tensor
    log_likelihood: Tensor


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
    z = psi.sample(noise)
    sample = None if objective.sampler is None else objective.sampler.draw(number)
    model = objective.model
    log_p = model.log_likelihood(z, objective.counts, objective.data, frozen=True, sample=sample)
    ratio = model.prior.log_prob(z) - psi.log_prob(z)
    share = torch.softmax(log_p + objective.kl_weight * ratio, 0)
    place = torch.special.ndtr(normal_noise(key, 1, Stream.CHOICE, 0)).to(share).squeeze(1)
    chosen = (share.cumsum(0) < place).sum(0).clamp(max=samples - 1)
    rows = torch.arange(len(chosen), device=chosen.device)
    return Chosen(noise[chosen, rows], log_p.mean(0))
