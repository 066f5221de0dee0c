"""One parameter update: refine the batch, then ascend both bounds.

1. ψ = encoder(f(x));
2. ψ* = refine(ψ, M steps), θ frozen;
3. the encoder ascends ELBO(ψ(x)) with θ frozen, θ ascends ELBO(ψ*) with ψ* fixed.

The two losses share no parameters, so one backward pass serves both. With M = 0, ψ* = ψ and
both are the one ELBO of a plain variational auto-encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from longtail.inference import (
    ElboTerms,
    GaussianPosterior,
    HybridModel,
    NoiseKey,
    RefineSettings,
    Rows,
    Stream,
    elbo,
    normal_noise,
)

__all__ = ["StepTerms", "step_terms"]


@dataclass(frozen=True, eq=False)
class StepTerms:
    """What one batch contributes.

    Attributes
    ----------
    loss
        Scalar whose gradient is the update's, nats a row.
    amortized, refined
        Terms at ψ(x) and at ψ* (the same object when M = 0).
    psi
        ψ*, detached.
    """

    loss: Tensor
    amortized: ElboTerms
    refined: ElboTerms
    psi: GaussianPosterior


def step_terms(
    model: HybridModel,
    rows: Rows,
    refine: RefineSettings,
    *,
    kl_weight: float,
    key: NoiseKey,
) -> StepTerms:
    """Compute the loss of a batch; `key` holds the noise of this update."""
    psi = model.amortized(rows.features)
    hybrid = refine.steps > 0
    noise = normal_noise(key, psi.mean.shape[1], Stream.TRAIN_ENCODER, 0)
    amortized = elbo(model.generative, psi, rows.counts, noise, frozen=hybrid)
    loss = -amortized.bound(kl_weight).mean()
    if not hybrid:
        return StepTerms(loss, amortized, amortized, psi.detach())
    star = model.refined(rows.counts, psi, key, refine, kl_weight)
    noise = normal_noise(key, psi.mean.shape[1], Stream.TRAIN_DECODER, 0)
    refined = elbo(model.generative, star, rows.counts, noise)
    # With ψ* fixed the KL has no gradient: only the likelihood teaches θ.
    return StepTerms(loss - refined.log_likelihood.mean(), amortized, refined, star)
