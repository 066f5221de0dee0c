"""What an update changed, measured on rows that it did not learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from longtail.data import CountMatrix
from longtail.estimator.running import RunningCounts
from longtail.estimator.updating.report import BoundChange, Drift, IdfChange
from longtail.estimator.updating.rows import Retained
from longtail.estimator.updating.settings import UpdateSettings
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.training import TrainingConfig

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["bounds", "drift", "forgetting", "idf_change"]

_SAMPLES = 5  # draws for the bounds: as in validation
_DRIFT_ROWS = 500


def bounds(
    model: NonlinearFactorAnalysis, rows: CountMatrix, config: TrainingConfig
) -> npt.NDArray[np.float64]:
    """ELBO at ψ* of rows without empty ones, over the model's features: (n,)."""
    return row_bounds(
        model.network_,
        make_batches(rows, model.transform_, config.batch_size).ordered(),
        refine=config.valid_refine,
        samples=_SAMPLES,
        seed=model.seed_,
        device=next(model.network_.parameters()).device,
    ).elbo_refined


def forgetting(
    model: NonlinearFactorAnalysis,
    updated: NonlinearFactorAnalysis,
    retained: Retained | None,
    config: TrainingConfig,
) -> BoundChange | None:
    """The bounds of held-out old rows over the features that the old model knew."""
    if retained is None:
        return None
    narrow, _ = retained.held_out.align(model.vocabulary_)[0].drop_empty()
    if narrow.n_rows == 0:
        return None
    wide, _ = narrow.align(updated.vocabulary_)
    return BoundChange.of(bounds(model, narrow, config), bounds(updated, wide, config))


def drift(
    model: NonlinearFactorAnalysis,
    updated: NonlinearFactorAnalysis,
    valid: CountMatrix | None,
    retained: Retained | None,
) -> Drift | None:
    """How far the latent vectors of held-out rows moved: of old ones if there are any."""
    rows = valid if retained is None else retained.held_out
    if rows is None:
        return None
    narrow, _ = rows.align(model.vocabulary_)
    both = np.flatnonzero(np.diff(narrow.csr.indptr))[:_DRIFT_ROWS]
    if len(both) == 0:
        return None
    old, new = model.posterior(narrow[both]), updated.posterior(rows[both])
    return Drift.between(
        "new" if retained is None else "retained",
        *(a.astype(np.float64) for a in (old.mean, new.mean, old.scale)),
    )


def idf_change(
    model: NonlinearFactorAnalysis, running: RunningCounts, settings: UpdateSettings
) -> IdfChange | None:
    """How far running document frequencies have moved from those that the encoder read with."""
    old = model.transform_.idf
    if old is None:
        return None
    change = np.abs(running.idf()[: len(old)].astype(np.float64) - old)
    return IdfChange(
        applied=settings.idf == "update",
        mean=float(change.mean()),
        largest=float(change.max()),
        feature=model.vocabulary_[int(change.argmax())],
    )
