"""The negative binomial: counts that vary more than a Poisson's, as those of single cells do."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import gammaln
from torch import Tensor, nn

from longtail import ops
from longtail.model.likelihoods.base import (
    Exposure,
    JacobianKind,
    JacobianTerms,
    Likelihood,
    softmax_terms,
)
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = [
    "DISPERSION_GROUPS",
    "NegativeBinomial",
    "dispersion_curve",
    "likeliest_log_dispersion",
    "marginal_log_dispersion",
]

_GRID = np.linspace(math.log(1e-3), math.log(1e4), 49)
DISPERSION_GROUPS = 64
"""Groups of similar exposure in which the rows that lack a feature count."""


class NegativeBinomial(Likelihood):
    """Mean μ_v = s_d·softmax(a)_v, variance μ_v + μ_v²/r_v, with a dispersion r_v per feature.

    The exposure s_d is the row's total count N_d, the library size of a cell. Or it is given, in
    units of its own, such as size factors about 1: then it is multiplied by the training rows'
    counts per unit, so that s_d is the total to expect of the row.

    Parameters
    ----------
    marginal
        log r of a model that ignores z, (V,): where the dispersions start, and those of the floor.
        See `marginal_log_dispersion`.
    exposure
        "total": N_d; "given": what is given with the rows.
    rate
        Counts per unit of the exposures that are given.
    """

    name = "negative_binomial"

    def __init__(self, marginal: Tensor, exposure: Exposure = "total", rate: float = 1.0) -> None:
        super().__init__()
        self.exposed = exposure
        if exposure == "given":
            self.rate: Tensor
            self.register_buffer("rate", torch.tensor([rate], dtype=torch.float64))
        self.log_dispersion = nn.Parameter(marginal.clone())
        self.marginal: Tensor
        self.register_buffer("marginal", marginal.clone())

    def log_prob(
        self,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        x: SparseRows,
        data: DataTerm | None = None,
        *,
        sample: FeatureSample | None = None,
        frozen: bool = False,
    ) -> Tensor:
        """Return log p(x | z) of each row."""
        log_r = self.log_dispersion.detach() if frozen else self.log_dispersion
        held = None if data is None else data.exposure
        exposure = self.exposure(x) if held is None else held
        return self._log_prob(h, weight, bias, log_r, x, exposure, sample)

    def _log_prob(
        self,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        log_dispersion: Tensor,
        x: SparseRows,
        exposure: Tensor,
        sample: FeatureSample | None,
    ) -> Tensor:
        log_r = log_dispersion.to(h.dtype)
        return ops.negative_binomial_log_prob(h, weight, bias, log_r, x, exposure, sample)

    def scaled(self, given: Tensor) -> Tensor:
        """Return the totals to expect of rows with these exposures."""
        return given * self.rate.to(given) if self.exposed == "given" else given

    def effective_counts(self, x: SparseRows) -> Tensor:
        """Return Σ_v x_v r_v / (x_v + r_v): the Fisher information about log μ where μ = x."""
        r = self.log_dispersion.detach().exp()[x.indices].to(x.values)
        return x.with_values(x.values * r / (x.values + r)).totals()

    def curvature(
        self,
        jacobian: Tensor,
        logits: Tensor,
        exposure: Tensor,
        features: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the mean over x, J_lᵀ diag(μ r / (μ + r)) J_l, J_l = J − 1 pᵀ J.

        −∇² itself depends on the counts and can be indefinite.
        """
        log_r = self.log_dispersion if features is None else self.log_dispersion[features]
        each = logits if weights is None else logits + weights.log().to(logits)
        log_z = torch.logsumexp(each, 0)
        centred = jacobian - (each - log_z).exp() @ jacobian
        information = _information(logits - log_z + exposure.log(), log_r.to(logits))
        if weights is not None:
            information = information * weights.to(information)
        root = (information.sqrt()[:, None] * centred).double()
        return root.T @ root

    def mean(self, logits: Tensor, exposure: Tensor) -> Tensor:
        """Return s · softmax(a)."""
        return exposure[:, None] * self.probabilities(logits)

    def jacobian_terms(self, logits: Tensor, of: JacobianKind) -> JacobianTerms:
        """Return those of softmax: the dispersions change how much counts say, not their mean."""
        return softmax_terms(logits, of)

    def sample(self, logits: Tensor, exposure: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a rate from a gamma distribution, then a Poisson count."""
        r = self.log_dispersion.detach().exp().to(logits).expand_as(logits).contiguous()
        gamma = torch._standard_gamma(r, generator=generator)
        return torch.poisson(gamma / r * self.mean(logits, exposure), generator=generator)

    def baseline(self, unigram: Tensor, mean_total: float) -> Tensor:
        """Return the log frequencies."""
        return unigram.log()

    def floor(self, unigram: Tensor, mean_total: float, x: SparseRows) -> Tensor:
        """Return log p(x) under the frequencies and the dispersions of a model that ignores z."""
        bias = self.baseline(unigram, mean_total)
        h, weight = bias.new_zeros(x.shape[0], 1), bias.new_zeros(len(bias), 1)
        exposure = self.exposure(x)
        if self.exposed == "given":  # the rate of all training rows so far, not of the first fit
            exposure = exposure * (mean_total / self.rate).to(exposure)
        return self._log_prob(h, weight, bias, self.marginal, x, exposure, None)


def _information(log_mean: Tensor, log_dispersion: Tensor) -> Tensor:
    """Fisher information about log μ in one count, μ r / (μ + r)."""
    return log_mean.exp() * torch.sigmoid(log_dispersion - log_mean)


def marginal_log_dispersion(
    counts: csr_array, unigram: NDArray[np.float64], exposure: NDArray[np.float64]
) -> NDArray[np.float64]:
    """log r of each feature that is likeliest where its means are s_d·f_v: (V,).

    On a grid between r = 0.001 and 10,000, whose numbers for all features are held. The rows that
    lack a feature count in groups of similar exposure, so that no n×V array is needed.

    Parameters
    ----------
    counts
        n×V.
    unigram
        f, (V,), summing to 1.
    exposure
        s, (n,), positive.
    """
    order = np.argsort(exposure, kind="stable")
    groups = np.array_split(exposure[order], min(DISPERSION_GROUPS, len(order)))
    sizes = np.array([len(g) for g in groups], dtype=np.float64)
    typical = np.array([g.mean() for g in groups])
    return likeliest_log_dispersion(
        dispersion_curve(counts, unigram, exposure), unigram, sizes, typical
    )


def dispersion_curve(
    counts: csr_array, unigram: NDArray[np.float64], exposure: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the counts that are not 0 add to the log-likelihood of each dispersion: (grid, V).

    Those of some rows and of others add up to those of all. See `marginal_log_dispersion`.
    """
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    columns, values = counts.indices, counts.data.astype(np.float64)
    log_mean = np.log(exposure[rows]) + np.log(unigram[columns])
    curve = np.empty((len(_GRID), counts.shape[1]))
    for row, log_r in zip(curve, _GRID, strict=True):
        r = math.exp(log_r)
        terms = gammaln(values + r) - gammaln(r) - values * np.logaddexp(0, log_r - log_mean)
        row[:] = np.bincount(columns, weights=terms, minlength=counts.shape[1])
    return curve


def likeliest_log_dispersion(
    curve: NDArray[np.float64],
    unigram: NDArray[np.float64],
    sizes: NDArray[np.float64],
    typical: NDArray[np.float64],
) -> NDArray[np.float64]:
    """log r of each feature that is likeliest: (V,).

    Parameters
    ----------
    curve
        See `dispersion_curve`.
    unigram
        f, (V,).
    sizes, typical
        Rows of groups of similar exposure, and their mean exposure.
    """
    curve = curve.copy()
    for row, log_r in zip(curve, _GRID, strict=True):
        r = math.exp(log_r)
        for size, s in zip(sizes, typical, strict=True):
            row -= size * r * np.log1p(s * unigram / r)
    # The top of a parabola through the best point and its neighbours.
    best = curve.argmax(0).clip(1, len(_GRID) - 2)
    below, at, above = (curve[best + k, np.arange(curve.shape[1])] for k in (-1, 0, 1))
    bend = np.minimum(below - 2 * at + above, -1e-12)
    step = _GRID[1] - _GRID[0]
    found: NDArray[np.float64] = _GRID[best] + step * (0.5 * (below - above) / bend).clip(-1, 1)
    return found
