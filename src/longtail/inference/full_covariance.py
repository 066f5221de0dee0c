"""A posterior with correlations, for scoring: q(z) = N(μ, Λ⁻¹) with a full precision matrix.

The optimum of a row's ELBO over all Gaussians satisfies

    E_q[∇f] + μ = 0,    Λ = I + E_q[∇²f],    f(z) = −log p(x | z)

(Opper and Archambeau 2009). With ReLU layers the logits are linear in z but for kinks, so that
everywhere else

    ∇²f = N Jᵀ (diag p − p pᵀ) J,    J = ∂a/∂z,

the Gauss–Newton matrix, which is never indefinite. (That is a multinomial's; the likelihood has its
own, `Likelihood.curvature`, and the negative binomial its mean over x.) It stands for ∇²f here:
what the kinks add to its mean is left out, so that Λ is the optimum without hidden layers, and near
it with them. Any q gives a lower bound. Each iteration draws z± = μ ± L⁻ᵀ ε, L Lᵀ = Λ, and averages
towards both conditions, with ρ = 1/t in iteration t:

    Λ ← (1 − ρ) Λ + ρ (I + ∇²f(z₊ or z₋)),    μ ← μ − Λ⁻¹ (½ ∇f(z₊) + ½ ∇f(z₋) + μ) / (t + 1),

where a step goes no further from μ than a draw from q usually lies.

A row costs O(V·H·K) an iteration, K times what a gradient does: too much for training, and worth
it where a bound is reported, since a diagonal q is most of what is loose in the ELBO.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longtail.inference.noise import NoiseKey, Stream, normal_noise
from longtail.inference.objective import RowObjective
from longtail.inference.posterior import FullGaussianPosterior, GaussianPosterior
from longtail.ops import FeatureSample

__all__ = ["COVARIANCE_STEPS", "refine_full", "row_curvature"]

COVARIANCE_STEPS = 12
"""Iterations; chosen on validation rows of 20 Newsgroups."""

_CHUNK = 2**24  # numbers in the hidden layer's Jacobians of some rows: 64 MB in float32


@torch.no_grad()
def refine_full(
    objective: RowObjective, start: GaussianPosterior, key: NoiseKey, steps: int = COVARIANCE_STEPS
) -> FullGaussianPosterior:
    """Go on from a diagonal ψ* to a Gaussian with correlations.

    Parameters
    ----------
    objective
        The rows' ELBO, with KL weight 1.
    start
        ψ*, usually that of `refine`.
    steps
        Iterations, ≥ 1: two gradients and one curvature matrix for each row.

    Returns
    -------
    FullGaussianPosterior
        In float64. Working memory is some arrays of B·K² numbers.
    """
    k = start.mean.shape[1]
    identity = torch.eye(k, dtype=torch.float64, device=start.mean.device)
    # In double precision: long rows have precisions over many orders of magnitude.
    mean, scale = start.mean.double(), start.scale.double()
    psi = FullGaussianPosterior(mean, torch.diag_embed(1 / scale))
    precision = torch.zeros_like(psi.root)
    for t in range(steps):
        noise = normal_noise(key, k, Stream.COVARIANCE, t).double()
        offset = psi.sample(noise) - psi.mean
        pair = torch.stack([psi.mean + offset, psi.mean - offset]).to(start.mean.dtype)
        _, gradient = objective.log_likelihood(pair, t)
        found = identity + row_curvature(objective, pair[t % 2], t)
        precision.lerp_(found, 1 / (t + 1))
        root = torch.linalg.cholesky(precision)
        slope = psi.mean - gradient.double().mean(0)
        # In coordinates in which q has unit variance.
        step = torch.linalg.solve_triangular(root, slope[:, :, None], upper=False)
        step /= (step.norm(dim=1, keepdim=True) / k**0.5).clamp(min=1)
        step = torch.linalg.solve_triangular(root.mT, step, upper=True).squeeze(2)
        # The first step is the longest and the noisiest: half of it.
        psi = FullGaussianPosterior(psi.mean - step / (t + 2), root)
    return psi


@torch.no_grad()
def row_curvature(objective: RowObjective, z: Tensor, number: int) -> Tensor:
    """−∇² log p(x | z) of each row, the kinks of its ReLUs left out: (B, K) → (B, K, K).

    Where the objective samples features, so does this, with each row's own among them; `number`
    says which sample.
    """
    decoder, likelihood = objective.model.decoder, objective.model.likelihood
    sample = None if objective.sampler is None else objective.sampler.draw(number)
    exposure = objective.data.exposure
    assert exposure is not None
    n, k = z.shape
    found = z.new_empty((n, k, k), dtype=torch.float64)
    chunk = max(1, _CHUNK // (decoder.weight.shape[1] * k))
    for start in range(0, n, chunk):
        jacobian, hidden = decoder.hidden_jacobian(z[start : start + chunk])
        for d, (j, h) in enumerate(zip(jacobian, hidden, strict=True), start):
            w: Tensor = decoder.weight
            b: Tensor = decoder.bias
            features = weights = None
            if sample is not None:
                features, weights = _with_own(sample, objective.counts.features_of(d))
                w, b = w[features], b[features]
            found[d] = likelihood.curvature(w @ j, w @ h + b, exposure[d], features, weights)
    return found


def _with_own(sample: FeatureSample, own: Tensor) -> tuple[Tensor, Tensor]:
    """The sampled features and a row's own, with weights: its own stand for themselves alone."""
    others = ~torch.isin(sample.features, own)
    features = torch.cat([sample.features[others], own])
    return features, torch.cat([sample.weights[others], sample.weights.new_ones(len(own))])
