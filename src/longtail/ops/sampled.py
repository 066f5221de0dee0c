"""Sums over the features from a sample of them: cost that does not grow with V.

For a row d with logits a, and features drawn so that v is among them with probability π_v,

    Ẑ = Σ_{v drawn} exp(a_v)/π_v + Σ_{v: x_dv > 0} exp(a_v) (1 − [v drawn]/π_v)

is an unbiased estimate of Σ_v exp(a_v): the first sum is Horvitz and Thompson's (1952), the second
puts in a row's own features exactly. Those are what the sample would miss most: after refinement
the rare features that a row has are the ones that it makes likely. Its logarithm is biased
downwards, by half its relative variance; so it serves to find ψ*, never to report a bound. Other
sums, of a softplus of the logits say, are estimated in the same way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.ops.fused import log_sum_exp
from longtail.ops.sampling import FeatureSample
from longtail.ops.softplus import softplus_sum
from longtail.ops.sparse import DataTerm, SparseRows

__all__ = [
    "linear_term",
    "own_dots",
    "sampled_log_sum_exp",
    "sampled_multinomial_log_prob",
    "sampled_softplus_sum",
]


def own_dots(h: Tensor, weight: Tensor, x: SparseRows) -> Tensor:
    """h·W_v of every row's own features only: (..., B, H), (V, H) → (..., nnz)."""
    # One draw of z at a time: each is one sparse product.
    dots = torch.stack([x.dots(one, weight) for one in h.reshape(-1, *h.shape[-2:])])
    return dots.view(*h.shape[:-2], -1)


def linear_term(
    h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, data: DataTerm | None
) -> Tensor:
    """Σ_v x_v a_v of each row; without `data`, gradients reach W and b too."""
    if data is None:
        return (h * x.matmul(weight)).sum(-1) + x.matmul(bias[:, None]).squeeze(1)
    return (h * data.xw).sum(-1) + data.xb


def sampled_log_sum_exp(
    h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, sample: FeatureSample
) -> Tensor:
    """Estimate logsumexp(h Wᵀ + b) of each row, as `log_sum_exp` computes it: (..., B)."""
    drawn = sample.features
    log_z = log_sum_exp(h, weight[drawn], bias[drawn] + sample.weights.log().to(bias.dtype))
    own = x.restricted(sample.expansion != 1)  # those always drawn need no correction
    excess = (1 - sample.expansion[own.indices]).to(bias.dtype)
    rows = own.row_of_entry()
    logits = own_dots(h, weight, own) + bias[own.indices]
    # Against the largest of both parts: a row's own features may outweigh all that was drawn.
    top = log_z.detach().scatter_reduce(
        -1, rows.expand(logits.shape), logits.detach(), "amax", include_self=True
    )
    terms = (logits - top[..., rows]).exp()
    total = (log_z - top).exp().index_add(-1, rows, excess * terms)
    # Rounding may leave less than the row's own part where a large weight cancels.
    total = torch.maximum(total, torch.zeros_like(total).index_add(-1, rows, terms))
    return top + total.log()


def sampled_softplus_sum(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    x: SparseRows,
    sample: FeatureSample,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """Estimate Σ_v r_v softplus(h·W_v + b_v + c) of each row, as `softplus_sum` computes it."""
    scale = bias.new_ones(len(bias)) if scale is None else scale
    shift = h.new_zeros(h.shape[:-1]) if shift is None else shift
    drawn, weights = sample.features, sample.weights.to(bias.dtype)
    total = softplus_sum(h, weight[drawn], bias[drawn], scale[drawn] * weights, shift)
    own = x.restricted(sample.expansion != 1)
    excess = (1 - sample.expansion[own.indices]).to(bias.dtype) * scale[own.indices]
    rows = own.row_of_entry()
    logits = own_dots(h, weight, own) + bias[own.indices] + shift[..., rows]
    return total.index_add(-1, rows, excess * F.softplus(logits))


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
    log_z = sampled_log_sum_exp(h, weight, bias, x, sample)
    totals = x.totals() if data is None else data.totals
    return linear_term(h, weight, bias, x, data) - totals * log_z
