"""Variational inference: encoder, ELBO, local refinement, importance-weighted bound."""

from longtail.inference.elbo import ElboTerms, elbo, log_weight
from longtail.inference.encoder import Encoder
from longtail.inference.network import HybridModel
from longtail.inference.noise import NoiseKey, Stream, normal_noise
from longtail.inference.posterior import GaussianPosterior
from longtail.inference.refine import RefineSettings, refine
from longtail.inference.rows import Rows

__all__ = [
    "ElboTerms",
    "Encoder",
    "GaussianPosterior",
    "HybridModel",
    "NoiseKey",
    "RefineSettings",
    "Rows",
    "Stream",
    "elbo",
    "log_weight",
    "normal_noise",
    "refine",
]
