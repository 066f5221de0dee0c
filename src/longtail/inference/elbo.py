"""The evidence lower bound, row by row.

    ELBO(ψ; x, θ) = E_q[log p(x | z)] − β Σ_k KL(q(z_k) ‖ p(z_k)),    q = N(μ, diag σ²)

The expectation is estimated with reparameterised draws z = μ + σ ε; the KL is exact. β is the
annealed KL weight; every reported bound has β = 1. The importance-weighted bound with S samples
(Burda et al. 2016),

    log (1/S) Σ_s w_s,    w_s = p(x | z_s) p(z_s) / q(z_s),

is built from the same draws: `log_weight` is log w_s.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from longtail.inference.posterior import FullGaussianPosterior, GaussianPosterior
from longtail.model import GenerativeModel
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = ["ElboTerms", "elbo", "log_weight"]


@dataclass(frozen=True, eq=False)
class ElboTerms:
    """The named terms of the bound, each per row: reduce them late.

    Attributes
    ----------
    log_likelihood
        One-sample estimate of E_q[log p(x | z)]: (B,), nats.
    kl
        KL per latent dimension: (B, K), nats.
    """

    log_likelihood: Tensor
    kl: Tensor

    def bound(self, kl_weight: float = 1.0) -> Tensor:
        """The ELBO of each row: (B,), nats."""
        return self.log_likelihood - kl_weight * self.kl.sum(1)


def elbo(
    model: GenerativeModel,
    posterior: GaussianPosterior,
    x: SparseRows,
    noise: Tensor,
    data: DataTerm | None = None,
    *,
    frozen: bool = False,
    sample: FeatureSample | None = None,
) -> ElboTerms:
    """The terms of ELBO(ψ; x, θ) from one draw per row.

    With `frozen`, θ gets no gradient; with a `sample` of features, the terms are estimates.
    """
    z = posterior.sample(noise)
    return ElboTerms(
        log_likelihood=model.log_likelihood(z, x, data, frozen=frozen, sample=sample),
        kl=model.prior.kl(posterior.mean, posterior.log_var),
    )


def log_weight(
    model: GenerativeModel,
    posterior: GaussianPosterior | FullGaussianPosterior,
    z: Tensor,
    log_likelihood: Tensor,
) -> Tensor:
    """log w = log p(x | z) + log p(z) − log q(z) of draws z ~ q: (B,), nats."""
    return log_likelihood + model.prior.log_prob(z) - posterior.log_prob(z)
