"""Likelihoods p(x | z), in the sparse form: non-zeros plus one reduction over V.

A likelihood says how a row of counts is scored, what its mean is, how to draw one, and what a
model that ignores z would reach (the floor). `Multinomial` is the default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from longtail import ops
from longtail.errors import ParameterError
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = ["LIKELIHOODS", "Likelihood", "Multinomial", "get_likelihood"]


class Likelihood(ABC):
    """What every likelihood offers; all log-probabilities are in nats, one per row."""

    name: ClassVar[str]

    @abstractmethod
    def log_prob(
        self, h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, data: DataTerm | None = None
    ) -> Tensor:
        """log p(x | z) from the last hidden layer: h (..., B, H), W (V, H), b (V,) → (..., B)."""

    @abstractmethod
    def sampled_log_prob(
        self,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        x: SparseRows,
        data: DataTerm | None,
        sample: FeatureSample,
    ) -> Tensor:
        """Estimate `log_prob` from a sample of the features, and a row's own: (..., B)."""

    @abstractmethod
    def curvature(self, jacobian: Tensor, logits: Tensor, total: Tensor) -> Tensor:
        """−∇²_z log p(x | z) of one row whose logits are linear in z.

        Parameters
        ----------
        jacobian
            J = ∂a/∂z: (V, K).
        logits
            a: (V,). A feature that stands for several adds the log of their number.
        total
            The row's total count, a scalar.

        Returns
        -------
        Tensor
            (K, K), positive semidefinite, in float64: with long rows it spans many orders of
            magnitude.
        """

    @abstractmethod
    def mean(self, logits: Tensor, totals: Tensor) -> Tensor:
        """E[x | z] for rows with the given total counts: (B, V), (B,) → (B, V)."""

    @abstractmethod
    def log_probabilities(self, logits: Tensor) -> Tensor:
        """log of the normalised mean E[x | z] / Σ_v E[x_v | z]: (B, V) → (B, V), nats."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """The normalised mean: (B, V) → (B, V)."""
        return self.log_probabilities(logits).exp()

    @abstractmethod
    def sample(self, logits: Tensor, totals: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x ~ p(x | z) with the given total counts: (B, V)."""

    @abstractmethod
    def floor(self, unigram: Tensor, x: SparseRows) -> Tensor:
        """log p(x) under the training frequencies alone, (V,) summing to 1: (B,)."""


class Multinomial(Likelihood):
    """Σ_{v: x_v>0} x_v a_v − N_d · logsumexp(a).

    The multinomial coefficient, constant in z and in the parameters, is left out, so that bounds
    divide by N_d into per-token perplexities.
    """

    name = "multinomial"

    def log_prob(
        self, h: Tensor, weight: Tensor, bias: Tensor, x: SparseRows, data: DataTerm | None = None
    ) -> Tensor:
        """Return log p(x | z) of each row."""
        return ops.multinomial_log_prob(h, weight, bias, x, data)

    def sampled_log_prob(
        self,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        x: SparseRows,
        data: DataTerm | None,
        sample: FeatureSample,
    ) -> Tensor:
        """Return an estimate of log p(x | z) of each row."""
        return ops.sampled_multinomial_log_prob(h, weight, bias, x, data, sample)

    def curvature(self, jacobian: Tensor, logits: Tensor, total: Tensor) -> Tensor:
        """Return N Jᵀ (diag p − p pᵀ) J, p = softmax(a)."""
        p = torch.softmax(logits, 0)
        centred = jacobian - p @ jacobian
        root = (p.sqrt()[:, None] * centred).double()
        return total * (root.T @ root)

    def mean(self, logits: Tensor, totals: Tensor) -> Tensor:
        """Return N_d · softmax(a)."""
        return totals[:, None] * self.probabilities(logits)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return log softmax(a)."""
        return torch.log_softmax(logits, dim=1)

    def sample(self, logits: Tensor, totals: Tensor, generator: torch.Generator) -> Tensor:
        """Draw N_d tokens for each row."""
        p = self.probabilities(logits)
        out = torch.zeros_like(p)
        for d, n in enumerate(totals.long().tolist()):
            if n > 0:  # torch.multinomial refuses to draw nothing
                tokens = torch.multinomial(p[d], n, replacement=True, generator=generator)
                out[d] = torch.bincount(tokens, minlength=p.shape[1])
        return out

    def floor(self, unigram: Tensor, x: SparseRows) -> Tensor:
        """Return Σ_v x_v log f_v."""
        return x.matmul(unigram.log()[:, None]).squeeze(1)


LIKELIHOODS: dict[str, type[Likelihood]] = {Multinomial.name: Multinomial}


def get_likelihood(name: str) -> Likelihood:
    """The likelihood of that name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name not in LIKELIHOODS:
        known = ", ".join(sorted(LIKELIHOODS))
        raise ParameterError(f"likelihood must be one of {known}; got {name!r}.")
    return LIKELIHOODS[name]()
