"""Deep generative models of sparse, long-tailed counts.

Public names are loaded when first used, so that importing the package is quick and reading data
does not load PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtail.cells import Annotation as Annotation
    from longtail.cells import annotate as annotate
    from longtail.costs import CostEstimate as CostEstimate
    from longtail.costs import CostPlan as CostPlan
    from longtail.costs import plan_cost as plan_cost
    from longtail.data import CountMatrix as CountMatrix
    from longtail.data import CountStream as CountStream
    from longtail.data import ReadSettings as ReadSettings
    from longtail.data import Vocabulary as Vocabulary
    from longtail.data import drop_duplicates as drop_duplicates
    from longtail.data import open_stream as open_stream
    from longtail.data import read_counts as read_counts
    from longtail.data import read_descriptions as read_descriptions
    from longtail.data import read_like as read_like
    from longtail.data import read_new as read_new
    from longtail.data import split_by_time as split_by_time
    from longtail.data import split_edges as split_edges
    from longtail.data import split_fold_in as split_fold_in
    from longtail.data import split_items as split_items
    from longtail.data import split_rows as split_rows
    from longtail.data import with_self_links as with_self_links
    from longtail.displays import save_plot as save_plot
    from longtail.estimator import NonlinearFactorAnalysis as NonlinearFactorAnalysis
    from longtail.estimator import Posterior as Posterior
    from longtail.estimator import Recommendations as Recommendations
    from longtail.estimator import UpdateReport as UpdateReport
    from longtail.estimator import load as load
    from longtail.evaluation import Evaluation as Evaluation
    from longtail.evaluation import Ranking as Ranking
    from longtail.evaluation import rank_lists as rank_lists
    from longtail.evaluation import rank_scores as rank_scores
    from longtail.introspection import Ambiguities as Ambiguities
    from longtail.introspection import CoOccurrence as CoOccurrence
    from longtail.introspection import Direction as Direction
    from longtail.introspection import Directions as Directions
    from longtail.introspection import Embeddings as Embeddings
    from longtail.introspection import Explanation as Explanation
    from longtail.introspection import Jacobian as Jacobian
    from longtail.introspection import Occurrence as Occurrence
    from longtail.introspection import Spectra as Spectra
    from longtail.introspection import Spectrum as Spectrum
    from longtail.introspection import ambiguous_features as ambiguous_features
    from longtail.introspection import class_precision as class_precision
    from longtail.introspection import contextual_similarity as contextual_similarity
    from longtail.introspection import contextual_vectors as contextual_vectors
    from longtail.introspection import directions as directions
    from longtail.introspection import effective_rank as effective_rank
    from longtail.introspection import embeddings as embeddings
    from longtail.introspection import explain_recommendation as explain_recommendation
    from longtail.introspection import explain_recommendations as explain_recommendations
    from longtail.introspection import jacobian as jacobian
    from longtail.introspection import neighborhoods as neighborhoods
    from longtail.introspection import spectrum as spectrum
    from longtail.introspection import topic_coherence as topic_coherence
    from longtail.introspection import topic_diversity as topic_diversity
    from longtail.introspection import word_similarity as word_similarity
    from longtail.presets import preset as preset
    from longtail.report import Report as Report
    from longtail.report import make_report as make_report
    from longtail.training import Callback as Callback
    from longtail.training import History as History
    from longtail.training import StopTraining as StopTraining
    from longtail.training import join_processes as join_processes
    from longtail.tuning import Tuning as Tuning
    from longtail.tuning import tune as tune

_HOMES = {
    "Ambiguities": "longtail.introspection",
    "Annotation": "longtail.cells",
    "Callback": "longtail.training",
    "CoOccurrence": "longtail.introspection",
    "CostEstimate": "longtail.costs",
    "CostPlan": "longtail.costs",
    "CountMatrix": "longtail.data",
    "CountStream": "longtail.data",
    "Direction": "longtail.introspection",
    "Directions": "longtail.introspection",
    "Embeddings": "longtail.introspection",
    "Evaluation": "longtail.evaluation",
    "Explanation": "longtail.introspection",
    "History": "longtail.training",
    "Jacobian": "longtail.introspection",
    "Occurrence": "longtail.introspection",
    "NonlinearFactorAnalysis": "longtail.estimator",
    "Posterior": "longtail.estimator",
    "Ranking": "longtail.evaluation",
    "ReadSettings": "longtail.data",
    "Recommendations": "longtail.estimator",
    "Report": "longtail.report",
    "Spectra": "longtail.introspection",
    "Spectrum": "longtail.introspection",
    "StopTraining": "longtail.training",
    "Tuning": "longtail.tuning",
    "UpdateReport": "longtail.estimator",
    "Vocabulary": "longtail.data",
    "ambiguous_features": "longtail.introspection",
    "annotate": "longtail.cells",
    "class_precision": "longtail.introspection",
    "contextual_similarity": "longtail.introspection",
    "contextual_vectors": "longtail.introspection",
    "directions": "longtail.introspection",
    "drop_duplicates": "longtail.data",
    "effective_rank": "longtail.introspection",
    "embeddings": "longtail.introspection",
    "explain_recommendation": "longtail.introspection",
    "explain_recommendations": "longtail.introspection",
    "jacobian": "longtail.introspection",
    "join_processes": "longtail.training",
    "load": "longtail.estimator",
    "make_report": "longtail.report",
    "neighborhoods": "longtail.introspection",
    "open_stream": "longtail.data",
    "rank_lists": "longtail.evaluation",
    "rank_scores": "longtail.evaluation",
    "plan_cost": "longtail.costs",
    "preset": "longtail.presets",
    "read_counts": "longtail.data",
    "read_descriptions": "longtail.data",
    "read_like": "longtail.data",
    "read_new": "longtail.data",
    "save_plot": "longtail.displays",
    "spectrum": "longtail.introspection",
    "split_by_time": "longtail.data",
    "split_edges": "longtail.data",
    "with_self_links": "longtail.data",
    "split_fold_in": "longtail.data",
    "split_items": "longtail.data",
    "split_rows": "longtail.data",
    "topic_coherence": "longtail.introspection",
    "topic_diversity": "longtail.introspection",
    "tune": "longtail.tuning",
    "word_similarity": "longtail.introspection",
}

__version__ = _version("longtail")
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'longtail' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
