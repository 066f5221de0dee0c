"""Scores of items by the posterior predictive of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from longtail.data import CountMatrix
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["PredictiveScores"]

Array = npt.NDArray[np.float32]


class PredictiveScores:
    """log p(item | row) of all items for a slice of the rows.

    Parameters
    ----------
    model
        Fitted.
    counts
        n×V, aligned with the model's vocabulary: the history that is folded in.
    refine_steps, seed, progress
        As for the model's `posterior`.
    """

    def __init__(
        self,
        model: NonlinearFactorAnalysis,
        counts: CountMatrix,
        refine_steps: int | None,
        seed: int | None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        posterior = model.posterior(counts, refine_steps=refine_steps, seed=seed, progress=progress)
        self.mean = posterior.mean
        self.empty = counts.totals == 0
        self.generative = model.network_.generative
        self.unigram = np.log(model.unigram_).astype(np.float32)

    @torch.no_grad()
    def __call__(self, rows: slice) -> Array:
        """(B, V), nats; of a row without history, the log of the training frequencies."""
        weight: torch.Tensor = self.generative.decoder.weight
        z = torch.from_numpy(self.mean[rows]).to(weight)
        logits = self.generative.decoder(z)
        scores: Array = self.generative.likelihood.log_probabilities(logits).cpu().numpy()
        scores[self.empty[rows]] = self.unigram
        return scores
