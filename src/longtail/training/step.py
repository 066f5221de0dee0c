"""One parameter update: refine the batch, then ascend both bounds.

1. ψ = encoder(f(x));
2. ψ* = refine(ψ, M steps), θ frozen;
3. the encoder ascends ELBO(ψ(x)) with θ frozen, θ ascends ELBO(ψ*) with ψ* fixed.

The first two evaluations of refinement, made at ψ(x), are also those that teach the encoder. The
two losses share no parameters, so one backward pass serves both. With M = 0, ψ* = ψ and
both are the one ELBO of a plain variational auto-encoder. With S > 1 draws, θ ascends the
importance-weighted bound at ψ* instead: see `resample`.
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
    evaluate_pair,
    normal_noise,
    pair_elbo,
    refine,
)
from longtail.training.resample import choose_draw

__all__ = ["StepTerms", "step_terms"]


@dataclass(frozen=True, eq=False)
class StepTerms:
    """What one batch contributes.

    Attributes
    ----------
    loss
        Scalar whose gradient is the update's, nats a row.
    amortized, refined
        Terms at ψ(x) and at ψ* (the same object for a plain variational auto-encoder).
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
    settings: RefineSettings,
    *,
    kl_weight: float,
    key: NoiseKey,
    update: int = 0,
    samples: int = 1,
    divisor: float | None = None,
) -> StepTerms:
    """Compute the loss of a batch.

    Parameters
    ----------
    key
        The noise of this update, which is counted from 0.
    samples
        S, draws of which one teaches the decoder.
    divisor
        Of the sum over rows; their number if not given. In a process that has a part of the
        batch, the rows of the whole batch over the number of processes: the average of all
        gradients is then that of the whole batch, however unequal the parts.
    """
    divisor = len(rows.keys) if divisor is None else divisor
    psi = model.amortized(rows.features)
    k = psi.mean.shape[1]
    sample = None if model.theta_sampler is None else model.theta_sampler.draw(update)
    if settings.steps == 0 and samples == 1:
        noise = normal_noise(key, k, Stream.TRAIN_ENCODER, 0)
        terms = elbo(model.generative, psi, rows.counts, noise, sample=sample)
        return StepTerms(-terms.bound(kl_weight).sum() / divisor, terms, terms, psi.detach())
    objective = model.objective(rows.counts, kl_weight)
    data = objective.data if sample is None else None
    if settings.steps == 0:
        noise = normal_noise(key, k, Stream.TRAIN_ENCODER, 0)
        amortized = elbo(
            model.generative, psi, rows.counts, noise, objective.data, frozen=True, sample=sample
        )
        star = psi.detach()
    else:
        pair = evaluate_pair(objective, psi.detach(), key, 0)
        amortized = pair_elbo(objective, psi, pair)
        star = refine(objective, psi, key, settings, first=pair)
    if samples == 1:
        noise, known = normal_noise(key, k, Stream.TRAIN_DECODER, 0), None
    else:
        chosen = choose_draw(objective, star, key, samples, update)
        noise, known = chosen.noise, chosen.log_likelihood
    refined = elbo(model.generative, star, rows.counts, noise, data, sample=sample)
    # With ψ* fixed the KL has no gradient: only the likelihood teaches θ.
    loss = -(amortized.bound(kl_weight).sum() / divisor) - refined.log_likelihood.sum() / divisor
    if known is not None:  # the chosen draw is among the better ones
        refined = ElboTerms(known, refined.kl)
    return StepTerms(loss, amortized, refined, star)
