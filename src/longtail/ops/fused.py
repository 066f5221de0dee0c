"""Fast kernels in stock PyTorch: one B×V buffer, no autograd graph over it.

For the multinomial, with P = softmax(h Wᵀ + b) and N the row totals,

    log p      = h·(X W) + X b − N·logsumexp(h Wᵀ + b)
    ∂/∂h       = X W − N·(P W)
    ∂/∂W       = Xᵀ h − (N P)ᵀ h
    ∂/∂b       = Xᵀ 1 − (N P)ᵀ 1

so the non-zeros and one pass over V suffice. The buffer holds exp(logits − max) and is never
normalised: the normaliser is applied to the (B, H) factor beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longtail.ops.sparse import DataTerm, SparseRows, data_term

__all__ = ["multinomial_log_prob"]


def multinomial_log_prob(
    h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, data: DataTerm | None = None
) -> Tensor:
    """log p(x | z) of each row under a multinomial; the coefficient is left out.

    Parameters
    ----------
    h
        Last hidden layer: (B, H).
    weight, bias
        Output layer: (V, H) and (V,). Their gradients are computed only if they ask for them.
    x
        Counts: B×V.
    data
        `data_term(x, weight, bias)` if the caller holds it.

    Returns
    -------
    Tensor
        Nats, (B,).
    """
    data = data_term(x, weight, bias) if data is None else data
    result: Tensor = _MultinomialLogProb.apply(  # type: ignore[no-untyped-call]
        h, weight, bias, x, data
    )
    return result


class _MultinomialLogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, data: DataTerm
    ) -> Tensor:
        p = torch.addmm(bias, h, weight.T)
        top = p.amax(1, keepdim=True)
        p.sub_(top).exp_()
        z = p.sum(1)
        ctx.save_for_backward(h, weight, p, z)
        ctx.x, ctx.data = x, data
        log_normaliser = top.squeeze(1) + z.log()
        return (h * data.xw).sum(1) + data.xb - data.totals * log_normaliser

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, p, z = ctx.saved_tensors
        x, data = ctx.x, ctx.data
        scale = (grad * data.totals / z)[:, None]
        grad_h = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_h = grad[:, None] * data.xw - scale * (p @ weight)
        if ctx.needs_input_grad[1]:
            grad_w = x.t_matmul(grad[:, None] * h).addmm_(p.T, scale * h, alpha=-1)
        if ctx.needs_input_grad[2]:
            grad_b = (x.t_matmul(grad[:, None]) - p.T @ scale).squeeze(1)
        return grad_h, grad_w, grad_b, None, None
