"""The hot kernels, behind one door.

Callers import from here. Each log-probability has a readable version in `reference`, against which
the fast ones are tested.
"""

from longtail.ops.fused import multinomial_log_prob
from longtail.ops.log_probs import (
    bernoulli_log_prob,
    dirichlet_multinomial_log_prob,
    negative_binomial_log_prob,
    poisson_constant,
    poisson_log_prob,
)
from longtail.ops.sampled import sampled_multinomial_log_prob
from longtail.ops.sampling import FeatureSample, FeatureSampler
from longtail.ops.sparse import DataTerm, SparseRows, data_term

__all__ = [
    "DataTerm",
    "FeatureSample",
    "FeatureSampler",
    "SparseRows",
    "bernoulli_log_prob",
    "data_term",
    "dirichlet_multinomial_log_prob",
    "multinomial_log_prob",
    "negative_binomial_log_prob",
    "poisson_constant",
    "poisson_log_prob",
    "sampled_multinomial_log_prob",
]
