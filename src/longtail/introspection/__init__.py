"""What a fitted model has learned: Jacobians, spectra, directions, embeddings."""

from longtail.introspection.ambiguity import (
    Ambiguities,
    AmbiguousFeature,
    ambiguous_features,
)
from longtail.introspection.coherence import CoOccurrence, topic_coherence, topic_diversity
from longtail.introspection.contextual import Occurrence, contextual_similarity, contextual_vectors
from longtail.introspection.explanations import (
    Explanation,
    explain_recommendation,
    explain_recommendations,
)
from longtail.introspection.feature_vectors import Embeddings, embeddings
from longtail.introspection.in_contexts import neighborhoods
from longtail.introspection.jacobians import Jacobian, jacobian
from longtail.introspection.judging import (
    ClassPrecision,
    RankCorrelation,
    class_precision,
    word_similarity,
)
from longtail.introspection.latent_directions import Direction, Directions, directions
from longtail.introspection.spectra import Spectra, Spectrum, effective_rank, spectrum

__all__ = [
    "Ambiguities",
    "AmbiguousFeature",
    "ClassPrecision",
    "CoOccurrence",
    "Direction",
    "Directions",
    "Embeddings",
    "Explanation",
    "Jacobian",
    "Occurrence",
    "RankCorrelation",
    "Spectra",
    "Spectrum",
    "ambiguous_features",
    "class_precision",
    "contextual_similarity",
    "contextual_vectors",
    "directions",
    "effective_rank",
    "embeddings",
    "explain_recommendation",
    "explain_recommendations",
    "jacobian",
    "neighborhoods",
    "spectrum",
    "topic_coherence",
    "topic_diversity",
    "word_similarity",
]
