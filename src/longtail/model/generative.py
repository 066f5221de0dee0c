"""The generative model: log p(x, z) = log p(z) + log p(x | z)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longtail.model.decoder import Decoder
from longtail.model.likelihoods import Likelihood
from longtail.model.prior import StandardNormal
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = ["GenerativeModel"]


class GenerativeModel(nn.Module):
    """Prior, decoder and likelihood. θ, in the method's notation, is the decoder's parameters."""

    def __init__(self, prior: StandardNormal, decoder: Decoder, likelihood: Likelihood) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood

    def log_likelihood(
        self,
        z: Tensor,
        x: SparseRows,
        data: DataTerm | None = None,
        *,
        frozen: bool = False,
        sample: FeatureSample | None = None,
    ) -> Tensor:
        """log p(x | z): (..., B, K) → (..., B), nats.

        Parameters
        ----------
        data
            `self.data_term(x)`, if the caller holds it. A `sample` with gradients to θ needs None.
        frozen
            Give no gradient to the parameters θ (and spare its cost); z still gets one.
        sample
            Estimate from these features and each row's own, instead of from all.
        """
        w: Tensor = self.decoder.weight
        b: Tensor = self.decoder.bias
        if frozen:
            w, b = w.detach(), b.detach()
        h = self.decoder.hidden(z, frozen=frozen)
        return self.likelihood.log_prob(h, w, b, x, data, sample=sample, frozen=frozen)

    @torch.no_grad()
    def data_term(self, x: SparseRows) -> DataTerm:
        """The products of the counts with the output layer, which do not depend on z."""
        return self.likelihood.data_term(x, self.decoder.weight, self.decoder.bias)
