"""The normaliser from a sample of the features: cost that does not grow with V.

For a row d with logits a, and features drawn so that v is among them with probability π_v,

    Ẑ = Σ_{v drawn} exp(a_v)/π_v + Σ_{v: x_dv > 0} exp(a_v) (1 − [v drawn]/π_v)

is an unbiased estimate of Σ_v exp(a_v): the first sum is Horvitz and Thompson's (1952), the second
puts in a row's own features exactly. Those are what the sample would miss most: after refinement
the rare features that a row has are the ones that it makes likely. Its logarithm is biased
downwards, by half its relative variance; so it serves to find ψ*, never to report a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from longtail.ops.fused import log_normaliser
from longtail.ops.sparse import DataTerm, SparseRows

__all__ = ["FeatureSample", "FeatureSampler", "sampled_multinomial_log_prob"]

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class FeatureSample:
    """Features drawn once.

    Attributes
    ----------
    features
        int64 (n,), ascending.
    weights
        1/π of each: float64 (n,).
    expansion
        The same over all features, 0 where not drawn: (V,).
    """

    features: Tensor
    weights: Tensor
    expansion: Tensor


class FeatureSampler(nn.Module):
    """Draws features with probabilities proportional to size, systematically.

    Frequent features have π = 1: they are always there, exactly. From the rest every draw takes
    an evenly spread selection, and successive draws (a golden-ratio sequence) other ones.

    Parameters
    ----------
    frequencies
        (V,), positive; their scale does not matter.
    size
        n, features a draw has on average.
    uniform
        Share of the probability that is spread evenly, so that no weight is huge.
    """

    def __init__(self, frequencies: Tensor, size: int, *, uniform: float = 0.1) -> None:
        super().__init__()
        p = frequencies.double() / frequencies.double().sum()
        p = (1 - uniform) * p + uniform / len(p)
        # Buffers follow the model to its device; they are not saved, being made from frequencies.
        self.inclusion: Tensor
        self.cumulated: Tensor
        self.register_buffer("inclusion", _inclusion(p, min(size, len(p))), persistent=False)
        self.register_buffer("cumulated", self.inclusion.cumsum(0), persistent=False)

    def draw(self, number: int) -> FeatureSample:
        """The draw of a given number: a pure function of it."""
        offset = (0.5 + number * _GOLDEN) % 1.0
        ticks = (self.cumulated - offset).floor()
        before = torch.cat([ticks.new_tensor([-1.0]), ticks[:-1]])
        features = (ticks > before).nonzero().flatten()
        weights = 1 / self.inclusion[features]
        expansion = torch.zeros_like(ticks)
        expansion[features] = weights
        return FeatureSample(features, weights, expansion)


def _inclusion(p: Tensor, size: int) -> Tensor:
    """min(1, c p) with c such that they sum to `size`."""
    descending = p.sort(descending=True).values
    # With the k most frequent at 1, the others share size − k: the first k at which they fit.
    rest = descending.flip(0).cumsum(0).flip(0)
    k = torch.arange(len(p), device=p.device)
    fits = (size - k) * descending <= rest
    first = int(fits.nonzero()[0]) if bool(fits.any()) else len(p)
    if first == len(p):
        return torch.ones_like(p)
    return (p * (size - first) / rest[first]).clamp_(max=1)


def sampled_multinomial_log_prob(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    x: SparseRows,
    data: DataTerm | None,
    sample: FeatureSample,
) -> Tensor:
    """Estimate log p(x | z) of each row, as `multinomial_log_prob` computes it exactly.

    Parameters
    ----------
    h
        Last hidden layer: (B, H) or (S, B, H).
    weight, bias
        Output layer: (V, H) and (V,).
    x
        Counts: B×V.
    data
        `data_term(x, weight, bias)` where θ is frozen; None lets gradients reach W and b.
    sample
        The features drawn.
    """
    if data is None:
        data = DataTerm(x.matmul(weight), x.matmul(bias[:, None]).squeeze(1), x.totals())
    flat = h.reshape(-1, h.shape[-1])
    drawn: Tensor = _LogNormaliser.apply(  # type: ignore[no-untyped-call]
        flat, weight[sample.features], bias[sample.features] + sample.weights.log().to(bias.dtype)
    )
    log_z = drawn.view(h.shape[:-1])
    own = x.restricted(sample.expansion != 1)  # those always drawn need no correction
    excess = (1 - sample.expansion[own.indices]).to(bias.dtype)
    rows = own.row_of_entry()
    own_bias = bias[own.indices]
    # One draw of z at a time: each is one sparse product.
    dots = torch.stack([own.dots(one, weight) for one in h.reshape(-1, *h.shape[-2:])])
    logits = dots.view(*h.shape[:-2], -1) + own_bias
    # Against the largest of both parts: a row's own features may outweigh all that was drawn.
    top = log_z.detach().scatter_reduce(
        -1, rows.expand(logits.shape), logits.detach(), "amax", include_self=True
    )
    terms = (logits - top[..., rows]).exp()
    total = (log_z - top).exp().index_add(-1, rows, excess * terms)
    # Rounding may leave less than the row's own part where a large weight cancels.
    total = torch.maximum(total, torch.zeros_like(total).index_add(-1, rows, terms))
    log_z = top + total.log()
    return (h * data.xw).sum(-1) + data.xb - data.totals * log_z


class _LogNormaliser(torch.autograd.Function):
    """logsumexp(h Wᵀ + b), with its gradients."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        normaliser = log_normaliser(h, weight, bias)
        ctx.save_for_backward(h, weight, bias, normaliser.log_z, normaliser.mean_weight)
        return normaliser.log_z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, log_z, mean_weight = ctx.saved_tensors
        scale = grad[:, None]
        grad_w = grad_b = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            p = torch.addmm(bias - log_z[:, None], h, weight.T).exp_()
            grad_w, grad_b = p.T @ (scale * h), (p.T @ scale).squeeze(1)
        return scale * mean_weight, grad_w, grad_b
