"""The evaluation of a set of rows: every rung, the floor, completion, dimensions in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from longtail.data import Batches, CountMatrix
from longtail.data.counts import Unseen
from longtail.data.hashing import row_keys
from longtail.errors import DataError
from longtail.evaluation.bounds import RowBounds, row_bounds
from longtail.evaluation.completion import completion_rows, split_tokens
from longtail.evaluation.results import ActiveDims, Bound, Completion, Evaluation, Floor, Gap
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, RefineSettings
from longtail.ops import SparseRows

__all__ = ["EvaluationSettings", "evaluate_rows", "make_batches"]


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


def make_batches(counts: CountMatrix, transform: FeatureTransform, batch_size: int) -> Batches:
    """Pair counts with the encoder's features."""
    features = transform.apply(counts.csr)
    return Batches(counts.csr, features, counts.row_keys(), batch_size, counts.row_ids)


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
    unigram
        Training-set word frequencies, (V,), summing to 1.
    mean_total
        Mean total count of a training row.
    unseen
        What alignment left out, for the report.
    progress
        Called with (stage, rows done, rows in all).

    Raises
    ------
    DataError
        If every row is empty.
    """
    counts, dropped = counts.drop_empty()
    if counts.n_rows == 0:
        raise DataError(
            f"None of the {dropped} rows has a count in the model's vocabulary: nothing to score. "
            "Check that the rows were read with the settings of the training data."
        )

    def stage(name: str) -> Callable[[int], None] | None:
        if progress is None:
            return None
        report = progress
        return lambda done: report(name, done, counts.n_rows)

    rows = row_bounds(
        model,
        make_batches(counts, transform, settings.batch_size).ordered(),
        refine=settings.refine,
        samples=settings.samples,
        seed=settings.seed,
        covariance_steps=settings.covariance_steps,
        device=device,
        progress=stage("bounds"),
    )
    floor = _floor(model, counts, unigram, mean_total)
    completion = (
        _completion(model, counts, transform, settings, device, stage("completion"))
        if settings.completion
        else None
    )
    per_token = model.generative.likelihood.per_token
    return _assemble(counts, dropped, unseen, rows, floor, completion, settings, per_token)


def _floor(
    model: HybridModel,
    counts: CountMatrix,
    unigram: npt.NDArray[np.float64],
    mean_total: float,
) -> npt.NDArray[np.float64]:
    x = SparseRows.from_scipy(counts.csr, dtype=torch.float64)
    result: npt.NDArray[np.float64] = model.generative.likelihood.floor(
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
) -> Completion | None:
    # Where a feature is there or not, it is observed or held out whole.
    by_feature = model.generative.likelihood.most == 1
    observed, held_out = split_tokens(
        counts.csr, counts.row_keys(), settings.seed, by_feature=by_feature
    )
    usable = np.flatnonzero((np.diff(observed.indptr) > 0) & (np.diff(held_out.indptr) > 0))
    if len(usable) == 0:
        return None
    observed, held_out = observed[usable], held_out[usable]
    # Keyed by the observed half too: the held-out half does not even reach the noise.
    batches = Batches(observed, transform.apply(observed), row_keys(observed), settings.batch_size)
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
    return Completion.from_rows(
        scores.log_prob,
        scores.totals,
        skipped_rows=counts.n_rows - len(usable),
        samples=settings.samples,
        steps=settings.refine.steps,
    )


def _assemble(
    counts: CountMatrix,
    dropped: int,
    unseen: Unseen | None,
    rows: RowBounds,
    floor: npt.NDArray[np.float64],
    completion: Completion | None,
    settings: EvaluationSettings,
    per_token: bool,
) -> Evaluation:
    samples, steps = settings.samples, settings.refine.steps
    totals = counts.totals if per_token else None
    gap = rows.elbo_refined - rows.elbo_amortized
    # Noise is keyed by content: m equal rows share one error, of variance m² in their sum.
    _, group, sizes = np.unique(counts.row_keys(), return_inverse=True, return_counts=True)
    copies = sizes[group]
    last = steps + 2 * settings.covariance_steps  # gradients before the tightest bounds

    def bound(values: npt.NDArray[np.float64], var: npt.NDArray[np.float64], steps: int) -> Bound:
        return Bound.from_rows(values, var * copies, totals, samples=samples, steps=steps)

    full = None
    if rows.elbo_full is not None and rows.var_full is not None:
        full = bound(rows.elbo_full, rows.var_full, last)
    per_row = {
        "row_id": counts.row_ids,
        "tokens": counts.totals,
        "floor": floor,
        "elbo_amortized": rows.elbo_amortized,
        "elbo_refined": rows.elbo_refined,
        "elbo_full": rows.elbo_full,
        "iw": rows.iw,
        "gap": gap,
    }
    return Evaluation(
        rows=counts.n_rows,
        dropped_rows=dropped,
        tokens=float(counts.totals.sum()),
        unseen={
            "rows": unseen.rows if unseen else 0.0,
            "mass": unseen.mass if unseen else 0.0,
        },
        floor=Floor.from_rows(floor, totals),
        elbo_amortized=bound(rows.elbo_amortized, rows.var_amortized, 0),
        elbo_refined=bound(rows.elbo_refined, rows.var_refined, steps),
        elbo_full=full,
        iw=bound(rows.iw, rows.var_iw, last),
        completion=completion,
        gap=Gap.from_rows(gap),
        active_dims=ActiveDims.from_rows(rows.kl, rows.mean),
        seed=settings.seed,
        per_row=pl.DataFrame({k: v for k, v in per_row.items() if v is not None}),
    )
