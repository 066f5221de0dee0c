"""Held-out likelihood: the ladder of bounds, document completion, and what they are made of."""

from longtail.evaluation.bounds import RowBounds, row_bounds
from longtail.evaluation.completion import CompletionRows, completion_rows, split_tokens
from longtail.evaluation.evaluate import EvaluationSettings, evaluate_rows
from longtail.evaluation.results import (
    ActiveDims,
    Bound,
    Completion,
    Evaluation,
    Floor,
    Gap,
)

__all__ = [
    "ActiveDims",
    "Bound",
    "Completion",
    "CompletionRows",
    "Evaluation",
    "EvaluationSettings",
    "Floor",
    "Gap",
    "RowBounds",
    "completion_rows",
    "evaluate_rows",
    "row_bounds",
    "split_tokens",
]
