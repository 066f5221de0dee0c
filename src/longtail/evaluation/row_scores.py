"""Every figure of every row, before anything is averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from longtail.data import Batches, CountMatrix
from longtail.data.hashing import row_keys
from longtail.evaluation.bounds import RowBounds, row_bounds
from longtail.evaluation.completion import (
    CompletionRows,
    completion_rows,
    observed_share,
    split_tokens,
)
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, RefineSettings
from longtail.ops import SparseRows
from longtail.ops.ambient import neutral_torch

__all__ = ["EvaluationSettings", "RowScores", "make_batches", "score_rows"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationSettings:
    """How rows are scored.

    Attributes
    ----------
    refine
        How ψ(x) becomes ψ*.
    samples
        S, draws for every expectation.
    batch_size
        Rows scored at a time: changes memory, not results.
    seed
        Of the noise and of the completion split.
    completion
        Score document completion too.
    covariance_steps
        Iterations from ψ* towards a full covariance; 0 leaves that rung out.
    """

    refine: RefineSettings = field(default_factory=lambda: RefineSettings(50))
    samples: int = 20
    batch_size: int = 500
    seed: int = 0
    completion: bool = True
    covariance_steps: int = 0

    @property
    def last_step(self) -> int:
        """Gradients before the tightest bounds."""
        return self.refine.steps + 2 * self.covariance_steps


@dataclass(frozen=True, eq=False)
class RowScores:
    """Scores of n rows, none of them empty.

    Attributes
    ----------
    row_ids
        Length n.
    tokens
        N_d, within the vocabulary: (n,).
    keys
        Content keys; rows with the same one share their Monte Carlo error: (n,).
    floor
        Log-probability under the training-set word frequencies, nats: (n,).
    bounds
        The rungs.
    completion
        Of the rows that can be split, None if there is none of them or it was not asked for.
    completed
        Positions of these rows.
    """

    row_ids: pl.Series
    tokens: Array
    keys: npt.NDArray[np.uint64]
    floor: Array
    bounds: RowBounds
    completion: CompletionRows | None
    completed: npt.NDArray[np.int64]

    @property
    def gap(self) -> Array:
        """What refinement added, nats: (n,)."""
        return self.bounds.elbo_refined - self.bounds.elbo_amortized

    def frame(self) -> pl.DataFrame:
        """One line a row: the columns of `Evaluation.per_row`."""
        columns = {
            "row_id": self.row_ids,
            "tokens": self.tokens,
            "floor": self.floor,
            "elbo_amortized": self.bounds.elbo_amortized,
            "elbo_refined": self.bounds.elbo_refined,
            "elbo_full": self.bounds.elbo_full,
            "iw": self.bounds.iw,
            "gap": self.gap,
        }
        return pl.DataFrame({k: v for k, v in columns.items() if v is not None})


def make_batches(counts: CountMatrix, transform: FeatureTransform, batch_size: int) -> Batches:
    """Pair counts with the encoder's features."""
    features = transform.apply(counts.csr)
    return Batches(
        counts.csr, features, counts.row_keys(), batch_size, counts.row_ids, counts.exposure
    )


@neutral_torch()
def score_rows(
    model: HybridModel,
    counts: CountMatrix,
    transform: FeatureTransform,
    unigram: npt.NDArray[np.float64],
    mean_total: float,
    settings: EvaluationSettings,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> RowScores:
    """Score rows that are aligned with the model's vocabulary and have counts.

    Parameters
    ----------
    counts
        n×V, without empty rows.
    unigram
        Training-set word frequencies, (V,), summing to 1.
    mean_total
        Mean total count of a training row; per unit of exposure, where exposures are given.
    progress
        Called with (stage, rows done, rows in all).
    """

    def stage(name: str) -> Callable[[int], None] | None:
        if progress is None:
            return None
        report = progress
        return lambda done: report(name, done, counts.n_rows)

    bounds = row_bounds(
        model,
        make_batches(counts, transform, settings.batch_size).ordered(),
        refine=settings.refine,
        samples=settings.samples,
        seed=settings.seed,
        covariance_steps=settings.covariance_steps,
        device=device,
        progress=stage("bounds"),
    )
    completion, completed = None, np.empty(0, dtype=np.int64)
    if settings.completion:
        completion, completed = _completion(
            model, counts, transform, settings, device, stage("completion")
        )
    return RowScores(
        row_ids=counts.row_ids,
        tokens=counts.totals,
        keys=counts.row_keys(),
        floor=_floor(model, counts, unigram, mean_total),
        bounds=bounds,
        completion=completion,
        completed=completed,
    )


def _floor(
    model: HybridModel, counts: CountMatrix, unigram: npt.NDArray[np.float64], mean_total: float
) -> Array:
    x = SparseRows.from_scipy(counts.csr, dtype=torch.float64, exposure=counts.exposure)
    result: Array = model.generative.likelihood.floor(
        torch.from_numpy(unigram), mean_total, x
    ).numpy()
    return result


def _completion(
    model: HybridModel,
    counts: CountMatrix,
    transform: FeatureTransform,
    settings: EvaluationSettings,
    device: torch.device | str,
    progress: Callable[[int], None] | None,
) -> tuple[CompletionRows | None, npt.NDArray[np.int64]]:
    # Where a feature is there or not, it is observed or held out whole.
    by_feature = model.generative.likelihood.most == 1
    observed, held_out = split_tokens(
        counts.csr, counts.row_keys(), settings.seed, by_feature=by_feature
    )
    usable = np.flatnonzero((np.diff(observed.indptr) > 0) & (np.diff(held_out.indptr) > 0))
    if len(usable) == 0:
        return None, usable
    exposure = counts.exposure
    if exposure is not None:
        exposure = exposure * observed_share(counts.csr, observed, by_feature=by_feature)
        exposure = exposure[usable]
    observed, held_out = observed[usable], held_out[usable]
    # Keyed by the observed half too: the held-out half does not even reach the noise.
    batches = Batches(
        observed,
        transform.apply(observed),
        row_keys(observed),
        settings.batch_size,
        exposure=exposure,
    )
    scores = completion_rows(
        model,
        batches.ordered(),
        held_out,
        refine=settings.refine,
        samples=settings.samples,
        seed=settings.seed,
        device=device,
        progress=progress,
    )
    return scores, usable
