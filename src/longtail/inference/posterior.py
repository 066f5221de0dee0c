"""The approximate posterior of each row: q(z) = N(μ, diag σ²), or N(μ, Λ⁻¹)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FullGaussianPosterior", "GaussianPosterior"]


@dataclass(frozen=True, eq=False)
class GaussianPosterior:
    """ψ = (μ, log σ²) for B rows.

    Attributes
    ----------
    mean
        μ: (B, K).
    log_var
        log σ²: (B, K).
    """

    mean: Tensor
    log_var: Tensor

    @property
    def scale(self) -> Tensor:
        """σ: (B, K)."""
        return (0.5 * self.log_var).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """The reparameterised draw z = μ + σ ε: (B, K)."""
        return self.mean + self.scale * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z), summed over K: (B,), nats."""
        squares = (z - self.mean).square() * (-self.log_var).exp()
        return -0.5 * (squares + self.log_var + math.log(2 * math.pi)).sum(-1)

    def detach(self) -> GaussianPosterior:
        """The same numbers, cut from any graph."""
        return GaussianPosterior(self.mean.detach(), self.log_var.detach())

    def prior_where(self, empty: Tensor) -> GaussianPosterior:
        """With the rows marked in `empty` (B,) set to the prior, the exact posterior of no data."""
        keep = ~empty[:, None]
        zero = torch.zeros_like(self.mean)
        return GaussianPosterior(
            torch.where(keep, self.mean, zero), torch.where(keep, self.log_var, zero)
        )


@dataclass(frozen=True, eq=False)
class FullGaussianPosterior:
    """ψ = (μ, L), Λ = L Lᵀ the precision, for B rows.

    Attributes
    ----------
    mean
        μ: (B, K).
    root
        L, lower triangular: (B, K, K).
    """

    mean: Tensor
    root: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """The reparameterised draw z = μ + L⁻ᵀ ε: (B, K)."""
        offset: Tensor = torch.linalg.solve_triangular(self.root.mT, noise[:, :, None], upper=True)
        return self.mean + offset.squeeze(2)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z): (B,), nats."""
        white = (self.root.mT @ (z - self.mean)[:, :, None]).squeeze(2)
        return -0.5 * (white.square() + math.log(2 * math.pi)).sum(-1) + self.log_root_det()

    def log_root_det(self) -> Tensor:
        """½ log |Λ|: (B,)."""
        return self.root.diagonal(dim1=1, dim2=2).log().sum(1)
