"""A sum over all features of a softplus of their logits, in one pass over V.

    S_d = Σ_v r_v softplus(h_d·W_v + b_v + c_d),    ∂/∂h = (r ∘ σ) W,    ∂/∂c = Σ_v r_v σ_v

It is what the Bernoulli (r = 1, c = 0) and the negative binomial need of the features that a row
does not have. As in `fused`, V is passed in blocks that stay in the processor's cache, value and
gradient come together, and blocks are computed again where W asks for a gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from longtail.ops.fused import blocks

__all__ = ["softplus_sum"]


def softplus_sum(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """Σ_v r_v softplus(h·W_v + b_v + c) of each row, differentiable in all arguments.

    Parameters
    ----------
    h
        (..., H).
    weight, bias
        (V, H), (V,).
    scale
        r, (V,); ones if not given.
    shift
        c, (...); zeros if not given.

    Returns
    -------
    Tensor
        (...).
    """
    scale = bias.new_ones(len(bias)) if scale is None else scale
    shift = h.new_zeros(h.shape[:-1]) if shift is None else shift
    result: Tensor = _SoftplusSum.apply(  # type: ignore[no-untyped-call]
        h, weight, bias, scale, shift
    )
    return result


class _SoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor
    ) -> Tensor:
        flat, c = h.reshape(-1, h.shape[-1]), shift.reshape(-1, 1)
        total = flat.new_zeros(len(flat))
        wants_h = ctx.needs_input_grad[0]
        weighted = torch.zeros_like(flat) if wants_h else None
        slope = flat.new_zeros(len(flat))
        for start, stop in blocks(len(flat), weight):
            w, r = weight[start:stop], scale[start:stop]
            u = torch.mm(flat, w.T).add_(bias[start:stop]).add_(c)
            total.addmv_(F.softplus(u), r)
            active = u.sigmoid_().mul_(r)
            slope.add_(active.sum(1))
            if weighted is not None:
                weighted.addmm_(active, w)
        ctx.save_for_backward(h, weight, bias, scale, shift, weighted, slope)
        return total.view(h.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, scale, shift, weighted, slope = ctx.saved_tensors
        grad_h = grad_w = grad_b = grad_r = None
        if ctx.needs_input_grad[0]:
            grad_h = grad[..., None] * weighted.view(h.shape)
        if any(ctx.needs_input_grad[1:4]):
            grad_w, grad_b = torch.empty_like(weight), torch.empty_like(bias)
            grad_r = torch.empty_like(scale)
            flat, c, g = h.reshape(-1, h.shape[-1]), shift.reshape(-1, 1), grad.reshape(-1, 1)
            for start, stop in blocks(len(flat), weight):
                part = slice(start, stop)
                u = torch.mm(flat, weight[part].T).add_(bias[part]).add_(c)
                grad_r[part] = (F.softplus(u) * g).sum(0)
                active = u.sigmoid_().mul_(g).mul_(scale[part])
                grad_b[part] = active.sum(0)
                grad_w[part] = active.T @ flat
        return grad_h, grad_w, grad_b, grad_r, grad * slope.view(grad.shape)
