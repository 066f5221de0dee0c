"""The evaluation of a set of rows: every rung, the floor, completion, dimensions in use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from longtail.data import CountMatrix
from longtail.data.counts import Unseen
from longtail.data.unseen import dots_hint
from longtail.errors import DataError
from longtail.evaluation.results import ActiveDims, Bound, Completion, Evaluation, Floor, Gap
from longtail.evaluation.row_scores import (
    EvaluationSettings,
    RowScores,
    make_batches,
    score_rows,
)
from longtail.features import FeatureTransform
from longtail.inference import HybridModel
from longtail.ops.ambient import neutral_torch

__all__ = ["EvaluationSettings", "evaluate_rows", "make_batches", "nothing_to_score"]


@neutral_torch()
def evaluate_rows(
    model: HybridModel,
    counts: CountMatrix,
    transform: FeatureTransform,
    unigram: npt.NDArray[np.float64],
    mean_total: float,
    settings: EvaluationSettings,
    *,
    unseen: Unseen | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Score rows that are aligned with the model's vocabulary.

    Parameters
    ----------
    counts
        n×V; rows without counts are dropped, and counted in the result.
    unseen
        What alignment left out, for the report.
    unigram, mean_total, progress
        See `score_rows`.

    Raises
    ------
    DataError
        If every row is empty.
    """
    counts, dropped = counts.drop_empty()
    if counts.n_rows == 0:
        raise nothing_to_score(dropped, unseen)
    scores = score_rows(
        model, counts, transform, unigram, mean_total, settings, device=device, progress=progress
    )
    per_token = model.generative.likelihood.per_token
    return _assemble(scores, dropped, unseen, settings, per_token)


def nothing_to_score(rows: int, unseen: Unseen | None = None) -> DataError:
    """The error for rows that are all empty."""
    hint = dots_hint(unseen.n_dotted) if unseen else ""
    return DataError(
        f"None of the {rows} rows has a count in the model's vocabulary: nothing to score. "
        f"Check that the rows were read with the settings of the training data.{hint}"
    )


def _assemble(
    scores: RowScores,
    dropped: int,
    unseen: Unseen | None,
    settings: EvaluationSettings,
    per_token: bool,
) -> Evaluation:
    samples, steps, last = settings.samples, settings.refine.steps, settings.last_step
    rows = scores.bounds
    totals = scores.tokens if per_token else None
    # Noise is keyed by content: m equal rows share one error, of variance m² in their sum.
    _, group, sizes = np.unique(scores.keys, return_inverse=True, return_counts=True)
    copies = sizes[group]

    def bound(values: npt.NDArray[np.float64], var: npt.NDArray[np.float64], steps: int) -> Bound:
        return Bound.from_rows(values, var * copies, totals, samples=samples, steps=steps)

    full = None
    if rows.elbo_full is not None and rows.var_full is not None:
        full = bound(rows.elbo_full, rows.var_full, last)
    completion = None
    if scores.completion is not None:
        completion = Completion.from_rows(
            scores.completion.log_prob,
            scores.completion.totals,
            skipped_rows=len(scores.tokens) - len(scores.completed),
            samples=samples,
            steps=steps,
        )
    return Evaluation(
        rows=len(scores.tokens),
        dropped_rows=dropped,
        tokens=float(scores.tokens.sum()),
        unseen={
            "rows": unseen.rows if unseen else 0.0,
            "mass": unseen.mass if unseen else 0.0,
        },
        floor=Floor.from_rows(scores.floor, totals),
        elbo_amortized=bound(rows.elbo_amortized, rows.var_amortized, 0),
        elbo_refined=bound(rows.elbo_refined, rows.var_refined, steps),
        elbo_full=full,
        iw=bound(rows.iw, rows.var_iw, last),
        completion=completion,
        gap=Gap.from_rows(scores.gap),
        active_dims=ActiveDims.from_rows(rows.kl, rows.mean),
        seed=settings.seed,
        per_row=scores.frame(),
    )
