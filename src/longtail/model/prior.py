"""The prior over latent vectors, z ~ N(0, I_K)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["StandardNormal"]


class StandardNormal:
    """N(0, I_K)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z), summed over K: (..., K) → (...), nats."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """KL(N(μ, diag σ²) ‖ p) per latent dimension: ½ (μ² + σ² − 1 − log σ²), nats."""
        return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)

    def full_kl(self, mean: Tensor, root: Tensor) -> Tensor:
        """KL(N(μ, Λ⁻¹) ‖ p), Λ = L Lᵀ: ½ (‖L⁻¹‖² + ‖μ‖² − K) + log |L|, (B,), nats."""
        eye = torch.eye(mean.shape[1], dtype=root.dtype, device=root.device)
        inverse = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
        squares: Tensor = inverse.square().sum((1, 2)) + (mean.square() - 1).sum(1)
        return 0.5 * squares + root.diagonal(dim1=1, dim2=2).log().sum(1)

    def sample(self, n: int, n_components: int, generator: torch.Generator) -> Tensor:
        """Draw n latent vectors: (n, K)."""
        return torch.randn(n, n_components, generator=generator, dtype=torch.float32)
