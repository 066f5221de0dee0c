"""The hybrid model: a generative model, and the encoder that starts its local inference."""

from __future__ import annotations

from torch import nn

from longtail.inference.encoder import Encoder
from longtail.inference.noise import NoiseKey
from longtail.inference.posterior import GaussianPosterior
from longtail.inference.objective import RowObjective
from longtail.inference.refine import RefineSettings, refine
from longtail.model import GenerativeModel
from longtail.ops import SparseRows

__all__ = ["HybridModel"]


class HybridModel(nn.Module):
    """θ and the encoder together: ψ(x) by `amortized`, ψ* by `refined`."""

    def __init__(self, generative: GenerativeModel, encoder: Encoder) -> None:
        super().__init__()
        self.generative = generative
        self.encoder = encoder

    def amortized(self, features: SparseRows) -> GaussianPosterior:
        """ψ(x), the encoder's answer from f(x)."""
        posterior: GaussianPosterior = self.encoder(features)
        return posterior

    def refined(
        self,
        counts: SparseRows,
        start: GaussianPosterior,
        key: NoiseKey,
        settings: RefineSettings,
        kl_weight: float = 1.0,
    ) -> GaussianPosterior:
        """ψ*, refined from `start` on the raw counts."""
        objective = RowObjective.of(self.generative, counts, kl_weight)
        return refine(objective, start, key, settings)
