"""The Poisson: how often each feature occurs, at a rate for each."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from longtail import ops
from longtail.model.likelihoods.base import (
    Exposure,
    JacobianKind,
    JacobianTerms,
    Likelihood,
    softmax_terms,
)
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = ["Poisson"]


class Poisson(Likelihood):
    """Σ_v [x_v (a_v + log s_d) − s_d exp(a_v) − log x_v!], s_d the row's exposure.

    Parameters
    ----------
    exposure
        "unit": s = 1, so that z explains how many counts a row has; "total": s = N_d, so that the
        rates are those of one count; "given": s is given with the rows, and the rates are those of
        one unit of it.
    """

    name = "poisson"
    beyond_softmax = frozenset({"mean", "root_probabilities"})

    def __init__(self, exposure: Exposure = "unit") -> None:
        super().__init__()
        self.exposed = exposure

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
        exposure = None if data is None else data.exposure
        exposure = self.exposure(x) if exposure is None else exposure
        constant = None if data is None else data.constant
        return ops.poisson_log_prob(h, weight, bias, x, exposure, data, sample, constant)

    def data_term(self, x: SparseRows, weight: Tensor, bias: Tensor) -> DataTerm:
        """Return the products with the counts, and the factorials."""
        data = super().data_term(x, weight, bias)
        constant = ops.poisson_constant(x, self.exposure(x))
        return replace(data, constant=constant.to(data.xb.dtype))

    def curvature(
        self,
        jacobian: Tensor,
        logits: Tensor,
        exposure: Tensor,
        features: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return s Jᵀ diag(exp a) J."""
        log_rate = logits if weights is None else logits + weights.log().to(logits)
        root = ((log_rate / 2).exp()[:, None] * jacobian).double()
        return exposure * (root.T @ root)

    def mean(self, logits: Tensor, exposure: Tensor) -> Tensor:
        """Return s · exp(a)."""
        return exposure[:, None] * logits.exp()

    def jacobian_terms(self, logits: Tensor, of: JacobianKind) -> JacobianTerms:
        """Return those of exp; of root probabilities the Fisher information at exposure 1."""
        if of not in ("mean", "root_probabilities"):
            return softmax_terms(logits, of)
        zero = torch.zeros_like(logits)
        return JacobianTerms((logits if of == "mean" else logits / 2).exp(), zero, zero)

    def sample(self, logits: Tensor, exposure: Tensor, generator: torch.Generator) -> Tensor:
        """Draw each feature for itself."""
        return torch.poisson(self.mean(logits, exposure), generator=generator)

    def baseline(self, unigram: Tensor, mean_total: float) -> Tensor:
        """Return the log of the mean counts per unit of exposure: a row, a count, or as given."""
        return (unigram if self.exposed == "total" else unigram * mean_total).log()
