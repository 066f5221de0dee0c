"""The hot kernels, behind one door.

Callers import from here. Each kernel has a readable version in `reference` and a fast one in
`fused`; the two are tested against each other.
"""

from longtail.ops.fused import multinomial_log_prob
from longtail.ops.sampled import FeatureSample, FeatureSampler, sampled_multinomial_log_prob
from longtail.ops.sparse import DataTerm, SparseRows, data_term

__all__ = [
    "DataTerm",
    "FeatureSample",
    "FeatureSampler",
    "SparseRows",
    "data_term",
    "multinomial_log_prob",
    "sampled_multinomial_log_prob",
]
