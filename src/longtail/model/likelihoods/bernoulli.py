"""The Bernoulli: which features a row has, each for itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail import ops
from longtail.model.likelihoods.base import JacobianKind, JacobianTerms, Likelihood
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = ["Bernoulli"]


class Bernoulli(Likelihood):
    """Σ_{v: x_v>0} a_v − Σ_v softplus(a_v), for x of 0 and 1: presence of a code, item or link.

    A row's total is itself informative: an empty row says that everything is absent. The features
    are observed once, so the exposure is 1.
    """

    name = "bernoulli"
    exposed = "unit"
    most = 1.0
    beyond_softmax = frozenset({"mean", "probabilities", "log_probabilities", "root_probabilities"})

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
        # What is held has no graph: θ then needs its products anew.
        held = None if weight.requires_grad or bias.requires_grad else data
        return ops.bernoulli_log_prob(h, weight, bias, x, held, sample)

    def curvature(
        self,
        jacobian: Tensor,
        logits: Tensor,
        exposure: Tensor,
        features: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return Jᵀ diag(σ(a) σ(−a)) J."""
        variance = torch.sigmoid(logits) * torch.sigmoid(-logits)
        if weights is not None:
            variance = variance * weights.to(variance)
        root = (variance.sqrt()[:, None] * jacobian).double()
        return root.T @ root

    def mean(self, logits: Tensor, exposure: Tensor) -> Tensor:
        """Return σ(a), whatever the exposure."""
        return torch.sigmoid(logits)

    def log_mean(self, logits: Tensor) -> Tensor:
        """Return log σ(a)."""
        return F.logsigmoid(logits)

    def jacobian_terms(self, logits: Tensor, of: JacobianKind) -> JacobianTerms:
        """Return those of σ; of root probabilities the Fisher information of a row."""
        zero, absent = torch.zeros_like(logits), torch.sigmoid(-logits)
        present = torch.sigmoid(logits)
        if of == "logits":
            return JacobianTerms(torch.ones_like(logits), zero, zero)
        if of == "mean":
            return JacobianTerms(present * absent, zero, zero)
        if of == "root_probabilities":
            return JacobianTerms((present * absent).sqrt(), zero, zero)
        q = self.probabilities(logits)
        factor = torch.ones_like(q) if of == "log_probabilities" else q
        return JacobianTerms(factor * absent, factor, q * absent)

    def sample(self, logits: Tensor, exposure: Tensor, generator: torch.Generator) -> Tensor:
        """Draw each feature for itself."""
        return torch.bernoulli(torch.sigmoid(logits), generator=generator)

    def baseline(self, unigram: Tensor, mean_total: float) -> Tensor:
        """Return the logits of the shares of training rows that have each feature."""
        # Smoothing may lift the share of a feature that every row has above 1.
        share = (unigram * mean_total).clamp(max=1 - 1e-4)
        return torch.logit(share)
