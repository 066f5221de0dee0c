"""Log-probabilities of rows under all likelihoods but the multinomial.

In the sparse form: the non-zeros of a row, and one or two sums over V. Each takes a sample of the
features instead of all of them if it is given one. The multinomial is in `fused`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.ops.fused import log_sum_exp, poisson_kernel
from longtail.ops.sampled import (
    linear_term,
    own_dots,
    sampled_log_sum_exp,
    sampled_softplus_sum,
)
from longtail.ops.sampling import FeatureSample
from longtail.ops.softplus import softplus_sum
from longtail.ops.sparse import DataTerm, SparseRows

__all__ = [
    "bernoulli_log_prob",
    "dirichlet_multinomial_log_prob",
    "negative_binomial_log_prob",
    "poisson_constant",
    "poisson_log_prob",
]


def bernoulli_log_prob(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    x: SparseRows,
    data: DataTerm | None = None,
    sample: FeatureSample | None = None,
) -> Tensor:
    """Σ_{v: x_v>0} a_v − Σ_v softplus(a_v), for x of 0 and 1.

    Parameters
    ----------
    h
        Last hidden layer: (B, H), or (S, B, H) for S draws of z for each row.
    weight, bias
        Output layer: (V, H) and (V,).
    x
        B×V.
    data
        `data_term(x, weight, bias)` where θ is frozen; None lets gradients reach W and b.
    sample
        Estimate the sum over V from these features and each row's own.

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B).
    """
    linear = linear_term(h, weight, bias, x, data)
    if sample is None:
        return linear - softplus_sum(h, weight, bias)
    return linear - sampled_softplus_sum(h, weight, bias, x, sample)


def poisson_log_prob(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    x: SparseRows,
    exposure: Tensor,
    data: DataTerm | None = None,
    sample: FeatureSample | None = None,
    constant: Tensor | None = None,
) -> Tensor:
    """Σ_v [x_v (a_v + log s) − s exp(a_v) − log x_v!].

    Parameters
    ----------
    exposure
        s of each row: (B,). 0 only where a row is empty.
    constant
        `poisson_constant(x, exposure)`, if the caller holds it.

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B); the other parameters are those of `bernoulli_log_prob`.
    """
    constant = poisson_constant(x, exposure).to(h.dtype) if constant is None else constant
    if sample is None:
        return poisson_kernel(h, weight, bias, x, exposure, data) + constant
    expected = exposure * sampled_log_sum_exp(h, weight, bias, x, sample).exp()
    return linear_term(h, weight, bias, x, data) - expected + constant


def poisson_constant(x: SparseRows, exposure: Tensor) -> Tensor:
    """Σ_v [x_v log s − log x_v!], which does not depend on z: (B,), in float64."""
    rows, values = x.row_of_entry(), x.values.double()
    terms = torch.xlogy(values, exposure.double()[rows]) - torch.lgamma(values + 1)
    return terms.new_zeros(x.shape[0]).index_add(0, rows, terms)


def negative_binomial_log_prob(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_dispersion: Tensor,
    x: SparseRows,
    exposure: Tensor,
    sample: FeatureSample | None = None,
) -> Tensor:
    """Negative binomial of mean μ_v = s·softmax(a)_v and dispersion r_v.

    With t_v = log μ_v − log r_v,

        log p = Σ_{v: x_v>0} [lnΓ(x_v + r_v) − lnΓ(r_v) − ln x_v! + x_v log σ(t_v)]
                − Σ_v r_v softplus(t_v),

    since r + μ = r (1 + exp t): besides the non-zeros, a normaliser and a sum of softplus.

    Parameters
    ----------
    log_dispersion
        log r: (V,).
    exposure
        s of each row: (B,).

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B); the other parameters are those of `bernoulli_log_prob`.
    """
    r, base = log_dispersion.exp(), bias - log_dispersion
    if sample is None:
        shift = exposure.log() - log_sum_exp(h, weight, bias)
        absent = softplus_sum(h, weight, base, r, shift)
    else:
        shift = exposure.log() - sampled_log_sum_exp(h, weight, bias, x, sample)
        absent = sampled_softplus_sum(h, weight, base, x, sample, r, shift)
    rows = x.row_of_entry()
    t = own_dots(h, weight, x) + base[x.indices] + shift[..., rows]
    # In double precision: for large r the first two are huge and nearly cancel.
    values, own = x.values.double(), log_dispersion.double().exp()[x.indices]
    known = torch.lgamma(values + own) - torch.lgamma(own) - torch.lgamma(values + 1)
    terms = known.to(h.dtype) + x.values * F.logsigmoid(t)
    return (-absent).index_add(-1, rows, terms)


def dirichlet_multinomial_log_prob(
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_concentration: Tensor,
    x: SparseRows,
    sample: FeatureSample | None = None,
) -> Tensor:
    """Dirichlet-multinomial of parameters c = α·softmax(a), without its coefficient.

        log p = lnΓ(α) − lnΓ(N + α) + Σ_{v: x_v>0} [lnΓ(x_v + c_v) − lnΓ(c_v)]

    A feature that a row lacks adds nothing: besides the non-zeros only the normaliser of the
    softmax is a sum over V. As lnΓ(c) = lnΓ(1 + c) − ln c, the smallest c do no harm.

    Parameters
    ----------
    log_concentration
        log α: (1,).

    Returns
    -------
    Tensor
        Nats, (B,) or (S, B); the other parameters are those of `bernoulli_log_prob`.
    """
    if sample is None:
        log_z = log_sum_exp(h, weight, bias)
    else:
        log_z = sampled_log_sum_exp(h, weight, bias, x, sample)
    rows = x.row_of_entry()
    log_p = own_dots(h, weight, x) + bias[x.indices] - log_z[..., rows]
    # In double precision: for large α the gamma functions are huge and nearly cancel.
    log_alpha, values = log_concentration.double(), x.values.double()
    log_c = log_alpha + log_p.double()
    c, alpha, totals = log_c.exp(), log_alpha.exp(), x.totals().double()
    own = log_c + torch.lgamma(values + c) - torch.lgamma(1 + c)
    known = torch.lgamma(alpha) - torch.lgamma(totals + alpha)
    return known.expand(own.shape[:-1] + known.shape).index_add(-1, rows, own).to(h.dtype)
