"""Validation rows after an epoch: the bound that chooses the best one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from longtail.data import CountMatrix
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.evaluation.results import KL_THRESHOLD
from longtail.features import FeatureTransform
from longtail.inference import HybridModel
from longtail.training.config import TrainingConfig
from longtail.training.processes import Processes

__all__ = ["VALID_SAMPLES", "Validated", "Validation"]

VALID_SAMPLES = 5

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Validated:
    """How the validation rows fared.

    Attributes
    ----------
    nats
        Mean ELBO at ψ* of a row, nats.
    objective
        The same with the KL weight that is trained for.
    active
        Latent dimensions in use.
    amortized, refined
        Perplexities per document at ψ(x) and ψ*; None where counts are not tokens.
    """

    nats: float
    objective: float
    active: int
    amortized: float | None = None
    refined: float | None = None


class Validation:
    """The rows, each scored by one of the processes.

    Parameters
    ----------
    counts
        All validation rows, in every process.
    """

    def __init__(
        self,
        counts: CountMatrix,
        transform: FeatureTransform,
        config: TrainingConfig,
        processes: Processes,
        device: torch.device,
    ) -> None:
        own = counts if processes.world == 1 else counts[processes.rank :: processes.world]
        self._batches = make_batches(own, transform, config.batch_size) if own.n_rows else None
        self._totals = counts.totals
        self._config = config
        self._processes = processes
        self._device = device

    def __call__(self, model: HybridModel) -> Validated:
        """Score them all; the same result in all processes."""
        amortized, refined, kl = self._bounds(model)
        nats = float(refined.mean())
        per_doc: dict[str, Any] = {}
        if model.generative.likelihood.per_token:
            for name, bound in (("amortized", amortized), ("refined", refined)):
                per_doc[name] = float(np.exp(np.mean(-bound / self._totals)))
        return Validated(
            nats=nats,
            objective=nats + (1 - self._config.kl_weight) * float(kl.sum(1).mean()),
            active=int((kl.mean(0) > KL_THRESHOLD).sum()),
            **per_doc,
        )

    def _bounds(self, model: HybridModel) -> tuple[Array, Array, Array]:
        """ELBO at ψ(x) and at ψ*, and the KL per dimension, of all rows in their order."""
        own = None
        if self._batches is not None:
            rows = row_bounds(
                model,
                self._batches.ordered(),
                refine=self._config.valid_refine,
                samples=VALID_SAMPLES,
                seed=self._config.seed,
                device=self._device,
            )
            own = rows.elbo_amortized, rows.elbo_refined, rows.kl
        parts = self._processes.gather(own)
        first = parts[0]
        assert first is not None  # there are rows, and the first process has the first of them
        found = [np.empty((len(self._totals), *a.shape[1:])) for a in first]
        for rank, part in enumerate(parts):
            for whole, piece in zip(found, part or (), strict=part is not None):
                whole[rank :: len(parts)] = piece
        return found[0], found[1], found[2]
