"""The multinomial: which feature each of a row's tokens is."""

from __future__ import annotations

import torch
from torch import Tensor

from longtail import ops
from longtail.model.likelihoods.base import JacobianKind, JacobianTerms, Likelihood, softmax_terms
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = ["Multinomial"]


class Multinomial(Likelihood):
    """Σ_{v: x_v>0} x_v a_v − N_d · logsumexp(a).

    The multinomial coefficient, constant in z and in the parameters, is left out, so that bounds
    divide by N_d, which is the exposure, into per-token perplexities.
    """

    name = "multinomial"
    per_token = True
    whole_counts = False

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
        if sample is None:
            return ops.multinomial_log_prob(h, weight, bias, x, data)
        return ops.sampled_multinomial_log_prob(h, weight, bias, x, data, sample)

    def curvature(
        self,
        jacobian: Tensor,
        logits: Tensor,
        exposure: Tensor,
        features: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return N Jᵀ (diag p − p pᵀ) J, p = softmax(a)."""
        p = torch.softmax(logits if weights is None else logits + weights.log().to(logits), 0)
        centred = jacobian - p @ jacobian
        root = (p.sqrt()[:, None] * centred).double()
        return exposure * (root.T @ root)

    def mean(self, logits: Tensor, exposure: Tensor) -> Tensor:
        """Return N_d · softmax(a)."""
        return exposure[:, None] * self.probabilities(logits)

    def jacobian_terms(self, logits: Tensor, of: JacobianKind) -> JacobianTerms:
        """Return those of softmax; of root probabilities the Fisher information of one token."""
        return softmax_terms(logits, of)

    def sample(self, logits: Tensor, exposure: Tensor, generator: torch.Generator) -> Tensor:
        """Draw N_d tokens for each row."""
        p = self.probabilities(logits)
        out = torch.zeros_like(p)
        for d, n in enumerate(exposure.long().tolist()):
            if n > 0:  # torch.multinomial refuses to draw nothing
                tokens = torch.multinomial(p[d], n, replacement=True, generator=generator)
                out[d] = torch.bincount(tokens, minlength=p.shape[1])
        return out

    def baseline(self, unigram: Tensor, mean_total: float) -> Tensor:
        """Return the log frequencies."""
        return unigram.log()
