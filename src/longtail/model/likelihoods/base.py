"""What every likelihood p(x | z) offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from longtail.data.exposures import HOW_TO_GIVE_EXPOSURES
from longtail.errors import DataError
from longtail.ops import DataTerm, FeatureSample, SparseRows, data_term

__all__ = ["Exposure", "JacobianKind", "JacobianTerms", "Likelihood", "softmax_terms"]

Exposure = Literal["total", "unit", "given"]
JacobianKind = Literal["probabilities", "log_probabilities", "logits", "root_probabilities", "mean"]


@dataclass(frozen=True, eq=False)
class JacobianTerms:
    """How the Jacobian of some function of the logits follows from theirs, J_a.

        J_v = left_v J_a,v − right_v Σ_u mix_u J_a,u

    Attributes
    ----------
    left, right, mix
        (S, V) for S points.
    """

    left: Tensor
    right: Tensor
    mix: Tensor


class Likelihood(nn.Module, ABC):
    """Log-probabilities in nats, one a row, from the last hidden layer and the output layer.

    A row's counts are scored in the sparse form: its non-zeros and reductions over V. Parameters
    of its own, such as dispersions, are a part of θ.
    """

    name: ClassVar[str]
    per_token: ClassVar[bool] = False
    """Whether a bound divides by N_d into a perplexity per token."""
    whole_counts: ClassVar[bool] = True
    """Whether it is a density of whole numbers only."""
    exposed: Exposure = "total"
    """What a row's expected counts are proportional to: its total, 1, or what is given with it."""
    most: ClassVar[float | None] = None
    """The largest value that it can score; None: any."""

    beyond_softmax: ClassVar[frozenset[JacobianKind]] = frozenset()
    """The Jacobians whose terms are not those of `softmax_terms`."""

    @abstractmethod
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
        """log p(x | z): h (..., B, H), W (V, H), b (V,) → (..., B).

        Parameters
        ----------
        data
            `self.data_term(x, weight, bias)`, if the caller holds it. With a `sample`, only where
            θ is frozen.
        sample
            Estimate from these features and each row's own.
        frozen
            Give no gradient to the likelihood's own parameters.
        """

    def data_term(self, x: SparseRows, weight: Tensor, bias: Tensor) -> DataTerm:
        """What does not depend on z, for refinement to hold."""
        return replace(data_term(x, weight, bias), exposure=self.exposure(x))

    def exposure(self, x: SparseRows) -> Tensor:
        """s of each row, what its expected counts are proportional to: (B,).

        Raises
        ------
        DataError
            If it is one that is given, and the rows have none.
        """
        if self.exposed == "given":
            if x.exposure is None:
                raise DataError(
                    "The model's exposures are given with the rows, but these rows have none. "
                    + HOW_TO_GIVE_EXPOSURES
                )
            return self.scaled(x.exposure)
        totals = x.totals()
        return totals if self.exposed == "total" else torch.ones_like(totals)

    def silent(self, x: SparseRows) -> Tensor:
        """Which rows say nothing about z, so that their posterior is the prior: bool (B,)."""
        return self.exposure(x) == 0

    def scaled(self, given: Tensor) -> Tensor:
        """s of exposures that are given: in the units in which the likelihood counts."""
        return given

    def typical_exposure(self, size: float) -> float:
        """s of a typical row, whose total count is known, or the exposure given with it."""
        if self.exposed == "unit":
            return 1.0
        return float(self.scaled(torch.tensor([size], dtype=torch.float32).double()))

    def independent(self, exposure: float) -> float:
        """How many tokens that know nothing of each other say as much as a row of this exposure.

        Times the information in one of them, it is the row's: at most, where it varies.
        """
        return exposure

    def effective_counts(self, x: SparseRows) -> Tensor:
        """How many counts that know nothing of each other say as much as each row's: (B,)."""
        return x.totals()

    @abstractmethod
    def curvature(
        self,
        jacobian: Tensor,
        logits: Tensor,
        exposure: Tensor,
        features: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """−∇²_z log p(x | z) of one row whose logits are linear in z; or its mean over x.

        Parameters
        ----------
        jacobian
            J = ∂a/∂z: (V, K).
        logits
            a: (V,).
        exposure
            s of the row, a scalar.
        features
            Which features these are, int64 (V,); None: all of them.
        weights
            How many features each stands for, (V,); None: one.

        Returns
        -------
        Tensor
            (K, K), positive semidefinite, in float64: with long rows it spans many orders of
            magnitude.
        """

    @abstractmethod
    def mean(self, logits: Tensor, exposure: Tensor) -> Tensor:
        """E[x | z] for rows with the given exposures: (B, V), (B,) → (B, V)."""

    def log_mean(self, logits: Tensor) -> Tensor:
        """log E[x | z] but for a constant of each row, elementwise: (B, V) → (B, V)."""
        return logits

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """log of the normalised mean E[x | z] / Σ_v E[x_v | z]: (B, V) → (B, V), nats."""
        return torch.log_softmax(self.log_mean(logits), dim=1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The normalised mean: (B, V) → (B, V)."""
        return self.log_probabilities(logits).exp()

    @abstractmethod
    def jacobian_terms(self, logits: Tensor, of: JacobianKind) -> JacobianTerms:
        """From the Jacobian of the logits to that of another function of them: (S, V)."""

    @abstractmethod
    def sample(self, logits: Tensor, exposure: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x ~ p(x | z) with the given exposures: (B, V)."""

    @abstractmethod
    def baseline(self, unigram: Tensor, mean_total: float) -> Tensor:
        """The logits of a model that ignores z: (V,).

        Parameters
        ----------
        unigram
            Training frequencies, (V,), summing to 1.
        mean_total
            Mean total count of a training row; per unit of exposure, where exposures are given.
        """

    def floor(self, unigram: Tensor, mean_total: float, x: SparseRows) -> Tensor:
        """log p(x) of a model that ignores z: (B,)."""
        bias = self.baseline(unigram, mean_total)
        h, weight = bias.new_zeros(x.shape[0], 1), bias.new_zeros(len(bias), 1)
        return self.log_prob(h, weight, bias, x)


def softmax_terms(logits: Tensor, of: JacobianKind) -> JacobianTerms:
    """Where the normalised mean is p = softmax(a): J_l,v = J_a,v − Σ_u p_u J_a,u."""
    p = torch.softmax(logits, 1)
    if of == "logits":
        return JacobianTerms(torch.ones_like(p), torch.zeros_like(p), p)
    factor = {
        "log_probabilities": torch.ones_like(p),
        "root_probabilities": p.sqrt(),
        "probabilities": p,
        "mean": p,
    }[of]
    return JacobianTerms(factor, factor, p)
