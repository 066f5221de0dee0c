"""What refinement climbs: the ELBO of each row as a function of its own ψ, θ frozen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longtail.model import GenerativeModel
from longtail.ops import DataTerm, FeatureSampler, SparseRows

__all__ = ["RowObjective"]


@dataclass(frozen=True, eq=False)
class RowObjective:
    """log p(x | z) − β KL(q ‖ N(0, I)) of B rows; what does not depend on z is held.

    Attributes
    ----------
    model
        θ, which gets no gradient.
    counts
        B×V.
    data
        The products of the counts with the output layer.
    kl_weight
        β: the current one in training, 1 in evaluation.
    sampler
        Draws the features that stand for all of them; None: all are used.
    """

    model: GenerativeModel
    counts: SparseRows
    data: DataTerm
    kl_weight: float = 1.0
    sampler: FeatureSampler | None = None

    @classmethod
    def of(
        cls,
        model: GenerativeModel,
        counts: SparseRows,
        kl_weight: float = 1.0,
        sampler: FeatureSampler | None = None,
    ) -> RowObjective:
        """The objective of these rows."""
        return cls(model, counts, model.data_term(counts), kl_weight, sampler)

    def row(self, number: int) -> RowObjective:
        """The objective of one of the rows, made anew: its rounding owes nothing to the others."""
        return RowObjective.of(self.model, self.counts.row(number), self.kl_weight, self.sampler)

    @property
    def silent(self) -> Tensor:
        """Which rows say nothing about z, so that their posterior is the prior: bool (B,)."""
        assert self.data.exposure is not None
        return self.data.exposure == 0

    def log_likelihood(self, z: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """log p(x | z) of each row and its gradient: (..., B, K) → (..., B) and (..., B, K).

        `number` says which evaluation this is: each has a sample of its own.
        """
        sample = None if self.sampler is None else self.sampler.draw(number)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            log_p = self.model.log_likelihood(z, self.counts, self.data, frozen=True, sample=sample)
            (gradient,) = torch.autograd.grad(log_p.sum(), z)
        return log_p.detach(), gradient
