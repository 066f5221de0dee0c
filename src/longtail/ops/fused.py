"""Fast kernels in stock PyTorch: one pass over V in cache-sized blocks, no graph over B×V.

For the multinomial, with P = softmax(h Wᵀ + b) and N the row totals,

    log p      = h·(X W) + X b − N·logsumexp(h Wᵀ + b)
    ∂/∂h       = X W − N·(P W)
    ∂/∂W       = Xᵀ h − (N P)ᵀ h
    ∂/∂b       = Xᵀ 1 − (N P)ᵀ 1

so the non-zeros and one pass over V suffice. For the Poisson with exposures s, N·logsumexp(a)
becomes s·Σ exp(a) = s·exp(logsumexp(a)), and N P becomes s·exp(a): the same pass.

The pass goes through V in blocks whose logits stay in the processor's cache: each block is
exponentiated where it lies, against the largest logit met so far, and added to Σ exp and to
(exp)·W, which shrink when a larger logit appears (the online softmax of Milakov and Gimelshein
2018). The gradient with respect to h thus comes with the value, for the price of the two products.
Only where W asks for a gradient are the blocks needed again: they are kept if they are small
together, and computed again if they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longtail.ops.sparse import DataTerm, SparseRows, data_term

__all__ = [
    "Normaliser",
    "blocks",
    "log_normaliser",
    "log_sum_exp",
    "multinomial_log_prob",
    "poisson_kernel",
]

# Logits of one block. On a CPU 4 MB: measured best between 0.5 and 16 MB (they fit the second
# cache of a core). On a GPU large enough to fill it.
_BLOCK_CPU, _BLOCK_GPU = 2**20, 2**25
# Blocks that the weights' gradient needs are kept up to this many numbers (256 MB in float32):
# beyond, computing them again is cheaper than what they cost other programs.
_KEEP = 2**26


def multinomial_log_prob(
    h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, data: DataTerm | None = None
) -> Tensor:
    """log p(x | z) of each row under a multinomial; the coefficient is left out.

    Parameters
    ----------
    h
        Last hidden layer: (B, H), or (S, B, H) for S draws of z for each row.
    weight, bias
        Output layer: (V, H) and (V,). Their gradients are computed only if they ask for them.
    x
        Counts: B×V.
    data
        `data_term(x, weight, bias)` if the caller holds it.

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B).
    """
    data = data_term(x, weight, bias) if data is None else data
    result: Tensor = _LogProb.apply(  # type: ignore[no-untyped-call]
        h, weight, bias, x, data, None
    )
    return result


def poisson_kernel(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    x: SparseRows,
    exposure: Tensor,
    data: DataTerm | None = None,
) -> Tensor:
    """Σ_v x_v a_v − s Σ_v exp(a_v): what depends on z of a Poisson log-probability.

    Parameters
    ----------
    exposure
        s of each row: (B,).

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B); the other parameters are those of `multinomial_log_prob`.
    """
    data = data_term(x, weight, bias) if data is None else data
    result: Tensor = _LogProb.apply(  # type: ignore[no-untyped-call]
        h, weight, bias, x, data, exposure
    )
    return result


def log_sum_exp(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """logsumexp(h Wᵀ + b), differentiable in all three: (..., H) → (...)."""
    result: Tensor = _LogSumExp.apply(h, weight, bias)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True, eq=False)
class Normaliser:
    """What one pass over V leaves behind.

    Attributes
    ----------
    log_z
        logsumexp(h Wᵀ + b): (n,).
    mean_weight
        Its gradient with respect to h, softmax(h Wᵀ + b) W: (n, H); None if not asked for.
    """

    log_z: Tensor
    mean_weight: Tensor | None


def log_normaliser(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    gradient: bool = True,
    keep: list[tuple[Tensor, Tensor]] | None = None,
) -> Normaliser:
    """logsumexp(h Wᵀ + b) for each row of h, and its gradient, in one pass over V.

    Parameters
    ----------
    h, weight, bias
        (n, H), (V, H), (V,), cut from any graph.
    gradient
        Compute `mean_weight` too.
    keep
        Collects each block's exp(logits − top) and its top (n, 1), for whoever needs them again.
    """
    n = h.shape[0]
    top = h.new_full((n, 1), -torch.inf)
    total = h.new_zeros(n, 1)
    weighted = h.new_zeros(h.shape) if gradient else None
    space: Tensor | None = None
    for start, stop in blocks(n, weight):
        w = weight[start:stop]
        if keep is not None or space is None:
            space = h.new_empty(n * (stop - start))
        # Adding the bias afterwards, in the cache, is faster than a product that starts from it.
        p = torch.mm(h, w.T, out=space[: n * len(w)].view(n, len(w))).add_(bias[start:stop])
        risen = torch.maximum(top, p.amax(1, keepdim=True))
        shrink = (top - risen).exp_()
        top = risen
        p.sub_(top).exp_()
        total.mul_(shrink).add_(p.sum(1, keepdim=True))
        if weighted is not None:
            weighted.mul_(shrink).addmm_(p, w)
        if keep is not None:
            keep.append((p, top))
    if weighted is not None:
        weighted.div_(total)
    return Normaliser((top + total.log()).squeeze(1), weighted)


def blocks(n_rows: int, weight: Tensor) -> Iterator[tuple[int, int]]:
    """Cut V into the fewest blocks that are small enough, all nearly equal."""
    n_features = weight.shape[0]
    size = _BLOCK_CPU if weight.device.type == "cpu" else _BLOCK_GPU
    most = max(16, size // max(1, n_rows))
    count = -(-n_features // most)
    # Multiples of 16 keep the products' columns aligned.
    step = -(-n_features // count // 16) * 16 if count > 1 else n_features
    for start in range(0, n_features, step):
        yield start, min(start + step, n_features)


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        x: SparseRows,
        data: DataTerm,
        exposure: Tensor | None,
    ) -> Tensor:
        flat = h.reshape(-1, h.shape[-1])
        wants_h, wants_theta = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:3])
        keep: list[tuple[Tensor, Tensor]] | None = None
        if wants_theta and len(flat) * len(weight) <= _KEEP:
            keep = []
        normaliser = log_normaliser(flat, weight, bias, gradient=wants_h, keep=keep)
        log_z = normaliser.log_z.view(h.shape[:-1])
        # What is subtracted, and its derivative with respect to log Z: N log Z, or s Z.
        if exposure is None:
            subtracted, slope = data.totals * log_z, data.totals.expand_as(log_z)
        else:
            subtracted = slope = exposure * log_z.exp()
        # Saved rather than held, so that torch frees the blocks as soon as backward is over.
        kept = [] if keep is None else [tensor for block in keep for tensor in block]
        ctx.save_for_backward(
            h, weight, bias, normaliser.log_z, normaliser.mean_weight, slope, *kept
        )
        ctx.x, ctx.data = x, data
        return (h * data.xw).sum(-1) + data.xb - subtracted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, log_z, mean_weight, slope, *kept = ctx.saved_tensors
        x, data = ctx.x, ctx.data
        scale, grad = (grad * slope)[..., None], grad[..., None]
        grad_h = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_h = grad * data.xw - scale * mean_weight.view(h.shape)
        if any(ctx.needs_input_grad[1:3]):
            # Draws of a row share its counts, so their gradients meet before the sparse product.
            rows = (-1, *h.shape[-2:])
            grad_w = x.t_matmul((grad * h).view(rows).sum(0))
            grad_b = x.t_matmul(grad.expand(*h.shape[:-1], 1).reshape(-1, h.shape[-2], 1).sum(0))
            flat = h.reshape(-1, h.shape[-1])
            pairs = list(zip(kept[::2], kept[1::2], strict=True)) or None
            _subtract_expected(
                grad_w, grad_b, flat, weight, bias, log_z, scale.reshape(-1, 1), pairs
            )
            grad_b = grad_b.squeeze(1)
        return grad_h, grad_w, grad_b, None, None, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = h.reshape(-1, h.shape[-1])
        normaliser = log_normaliser(flat, weight, bias, gradient=ctx.needs_input_grad[0])
        ctx.save_for_backward(h, weight, bias, normaliser.log_z, normaliser.mean_weight)
        return normaliser.log_z.view(h.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, log_z, mean_weight = ctx.saved_tensors
        grad_h = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_h = grad[..., None] * mean_weight.view(h.shape)
        if any(ctx.needs_input_grad[1:]):
            grad_w, grad_b = torch.zeros_like(weight), torch.zeros_like(bias)[:, None]
            flat = h.reshape(-1, h.shape[-1])
            _subtract_expected(
                grad_w, grad_b, flat, weight, bias, log_z, -grad.reshape(-1, 1), None
            )
            grad_b = grad_b.squeeze(1)
        return grad_h, grad_w, grad_b


def _subtract_expected(
    grad_w: Tensor,
    grad_b: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_z: Tensor,
    scale: Tensor,
    kept: list[tuple[Tensor, Tensor]] | None,
) -> None:
    """Subtract Pᵀ (scale·h) and Pᵀ scale, block by block; P is never normalised itself."""
    for i, (start, stop) in enumerate(blocks(h.shape[0], weight)):
        if kept is None:
            p = torch.addmm(bias[start:stop], h, weight[start:stop].T)
            p.sub_(log_z[:, None]).exp_()
            factor = scale
        else:
            p, top = kept[i]
            factor = scale * (top - log_z[:, None]).exp_()
        grad_w[start:stop].addmm_(p.T, factor * h, alpha=-1)
        grad_b[start:stop].addmm_(p.T, factor, alpha=-1)
