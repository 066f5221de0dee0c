"""Variational inference: encoder, ELBO, local refinement, importance-weighted bound."""

from longtail.inference.elbo import ElboTerms, elbo, log_weight
from longtail.inference.encoder import Encoder
from longtail.inference.full_covariance import COVARIANCE_STEPS, refine_full, row_curvature
from longtail.inference.natural import Pair, evaluate_pair, pair_elbo
from longtail.inference.network import HybridModel
from longtail.inference.noise import NoiseKey, Stream, normal_noise, sign_noise
from longtail.inference.objective import RowObjective
from longtail.inference.posterior import FullGaussianPosterior, GaussianPosterior
from longtail.inference.refine import RefineMethod, RefineSettings, refine
from longtail.inference.rows import Rows

__all__ = [
    "COVARIANCE_STEPS",
    "ElboTerms",
    "Encoder",
    "FullGaussianPosterior",
    "GaussianPosterior",
    "HybridModel",
    "NoiseKey",
    "Pair",
    "RefineMethod",
    "RefineSettings",
    "RowObjective",
    "Rows",
    "Stream",
    "elbo",
    "evaluate_pair",
    "log_weight",
    "normal_noise",
    "pair_elbo",
    "refine",
    "refine_full",
    "row_curvature",
    "sign_noise",
]
