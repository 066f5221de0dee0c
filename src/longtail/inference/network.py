"""The hybrid model: a generative model, and the encoder that starts its local inference."""

from __future__ import annotations

from torch import nn

from longtail.inference.encoder import Encoder
from longtail.inference.noise import NoiseKey
from longtail.inference.objective import RowObjective
from longtail.inference.posterior import GaussianPosterior
from longtail.inference.refine import RefineSettings, refine
from longtail.model import GenerativeModel
from longtail.ops import FeatureSampler, SparseRows

__all__ = ["HybridModel"]


class HybridModel(nn.Module):
    """θ and the encoder together: ψ(x) by `amortized`, ψ* by `refined`.

    Parameters
    ----------
    generative, encoder
        θ and the inference network.
    refine_sampler
        Draws features for each refinement step; None: all take part.
    theta_sampler
        Draws features for each update of θ; None: all take part.
    """

    def __init__(
        self,
        generative: GenerativeModel,
        encoder: Encoder,
        refine_sampler: FeatureSampler | None = None,
        theta_sampler: FeatureSampler | None = None,
    ) -> None:
        super().__init__()
        self.generative = generative
        self.encoder = encoder
        self.refine_sampler = refine_sampler
        self.theta_sampler = theta_sampler

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
        return refine(self.objective(counts, kl_weight), start, key, settings)

    def objective(self, counts: SparseRows, kl_weight: float = 1.0) -> RowObjective:
        """What the rows' refinement climbs."""
        return RowObjective.of(self.generative, counts, kl_weight, self.refine_sampler)
