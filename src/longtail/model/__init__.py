"""The generative model: prior, decoder, likelihood, and their joint log p(x, z)."""

from longtail.model.decoder import Decoder
from longtail.model.generative import GenerativeModel
from longtail.model.likelihoods import (
    Bernoulli,
    DirichletMultinomial,
    Likelihood,
    Multinomial,
    NegativeBinomial,
    Poisson,
    get_likelihood,
)
from longtail.model.prior import StandardNormal

__all__ = [
    "Bernoulli",
    "Decoder",
    "DirichletMultinomial",
    "GenerativeModel",
    "Likelihood",
    "Multinomial",
    "NegativeBinomial",
    "Poisson",
    "StandardNormal",
    "get_likelihood",
]
