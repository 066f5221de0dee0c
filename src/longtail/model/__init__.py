"""The generative model: prior, decoder, likelihood, and their joint log p(x, z)."""

from longtail.model.decoder import Decoder
from longtail.model.generative import GenerativeModel
from longtail.model.likelihoods import Likelihood, Multinomial, get_likelihood
from longtail.model.prior import StandardNormal

__all__ = [
    "Decoder",
    "GenerativeModel",
    "Likelihood",
    "Multinomial",
    "StandardNormal",
    "get_likelihood",
]
