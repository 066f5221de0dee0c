"""Held-out rows: the ladder of bounds, document completion, ranking."""

from longtail.evaluation.bounds import RowBounds, row_bounds
from longtail.evaluation.completion import (
    CompletionRows,
    completion_rows,
    observed_share,
    split_tokens,
)
from longtail.evaluation.evaluate import EvaluationSettings, evaluate_rows
from longtail.evaluation.ranking import CUTOFFS, rank_lists, rank_scores
from longtail.evaluation.ranking_results import Ranking, RowMean
from longtail.evaluation.results import (
    ActiveDims,
    Bound,
    Completion,
    Evaluation,
    Floor,
    Gap,
)

__all__ = [
    "CUTOFFS",
    "ActiveDims",
    "Bound",
    "Completion",
    "CompletionRows",
    "Evaluation",
    "EvaluationSettings",
    "Floor",
    "Gap",
    "Ranking",
    "RowBounds",
    "RowMean",
    "completion_rows",
    "evaluate_rows",
    "observed_share",
    "rank_lists",
    "rank_scores",
    "row_bounds",
    "split_tokens",
]
