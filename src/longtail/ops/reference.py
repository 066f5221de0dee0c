"""Readable versions of the kernels: dense, by automatic differentiation, slow.

They define what the fast kernels must compute.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.ops.sparse import SparseRows

__all__ = [
    "bernoulli_log_prob",
    "dirichlet_multinomial_log_prob",
    "multinomial_log_prob",
    "negative_binomial_log_prob",
    "poisson_log_prob",
]


def multinomial_log_prob(h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows) -> Tensor:
    """log p(x | z) = Σ_v x_v log softmax(W h + b)_v for each row; the coefficient is left out.

    Parameters
    ----------
    h
        Last hidden layer: (B, H), or (S, B, H) for S draws of z for each row.
    weight, bias
        Output layer: (V, H) and (V,).
    x
        Counts: B×V.

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B).
    """
    log_p = torch.log_softmax(h @ weight.T + bias, dim=-1)
    return (x.to_dense().to(h.dtype) * log_p).sum(-1)


def bernoulli_log_prob(h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows) -> Tensor:
    """Σ_v x_v log σ(a_v) + (1 − x_v) log σ(−a_v) for each row of 0 and 1."""
    a, dense = h @ weight.T + bias, x.to_dense().to(h.dtype)
    return (dense * F.logsigmoid(a) + (1 - dense) * F.logsigmoid(-a)).sum(-1)


def poisson_log_prob(
    h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, exposure: Tensor
) -> Tensor:
    """Σ_v x_v log λ_v − λ_v − log x_v!, λ_v = s exp(a_v); exposures s > 0, (B,)."""
    log_rate = h @ weight.T + bias + exposure.log()[:, None]
    dense = x.to_dense().to(h.dtype)
    return (dense * log_rate - log_rate.exp() - torch.lgamma(dense + 1)).sum(-1)


def negative_binomial_log_prob(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_dispersion: Tensor,
    x: SparseRows,
    exposure: Tensor,
) -> Tensor:
    """Negative binomial of mean μ = s·softmax(a) and dispersion r: variance μ + μ²/r.

    Σ_v lnΓ(x+r) − lnΓ(r) − ln x! + x ln(μ/(r+μ)) + r ln(r/(r+μ)).
    """
    mu = exposure[:, None] * torch.softmax(h @ weight.T + bias, dim=-1)
    dense, r = x.to_dense().to(h.dtype), log_dispersion.exp()
    known = torch.lgamma(dense + r) - torch.lgamma(r) - torch.lgamma(dense + 1)
    return (known + torch.xlogy(dense, mu / (r + mu)) + r * (r / (r + mu)).log()).sum(-1)


def dirichlet_multinomial_log_prob(
    h: Tensor, weight: Tensor, bias: Tensor, log_concentration: Tensor, x: SparseRows
) -> Tensor:
    """lnΓ(α) − lnΓ(N+α) + Σ_v lnΓ(x+c) − lnΓ(c), c = α·softmax(a): without the coefficient."""
    c = log_concentration.exp() * torch.softmax(h @ weight.T + bias, dim=-1)
    dense, alpha = x.to_dense().to(h.dtype), log_concentration.exp()
    row = torch.lgamma(alpha) - torch.lgamma(dense.sum(-1) + alpha)
    return row + (torch.lgamma(dense + c) - torch.lgamma(c)).sum(-1)
