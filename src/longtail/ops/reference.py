"""Readable versions of the kernels: dense, by automatic differentiation, slow.

They define what the fast kernels in `fused` must compute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longtail.ops.sparse import SparseRows

__all__ = ["multinomial_log_prob"]


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
