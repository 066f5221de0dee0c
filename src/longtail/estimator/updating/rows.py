"""The rows of an update: new ones, in memory or streamed, and old ones that are rehearsed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from scipy.sparse import csr_array, vstack

from longtail.data import BatchSource, CountMatrix, Vocabulary, split_rows
from longtail.data.exposures import joined_exposures
from longtail.data.long_tables import refuse_long_table
from longtail.errors import DataError
from longtail.estimator.exposures import take_exposures
from longtail.estimator.prepare import MOST_VALID_ROWS, prepare, require_values
from longtail.estimator.running import RunningCounts
from longtail.estimator.updating.growing import Growth, choose_features
from longtail.estimator.updating.settings import UpdateSettings
from longtail.evaluation.evaluate import make_batches
from longtail.features import FeatureTransform

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["NewRows", "Retained", "new_rows", "retained_rows", "stacked"]


class Retained(NamedTuple):
    """Old rows over the grown vocabulary: to rehearse with, and to measure forgetting by."""

    train: CountMatrix
    held_out: CountMatrix


@dataclass(frozen=True, eq=False)
class NewRows:
    """New rows over the grown vocabulary, without empty ones.

    Attributes
    ----------
    growth
        The vocabulary, and what is new in it.
    seen
        Counts of the rows to learn from.
    sample
        Rows to learn from that are in memory: all, or some of a stream.
    valid
        Rows held out, if any.
    dropped, median_total, unseen_mass
        Empty rows left out; median total count of a row; share of the count that is left out.
    batches
        Makes batches of the rows, and of others to be mixed with them.
    rehearses
        Whether other rows can be mixed in.
    median_exposure
        Of a row, where exposures are given.
    """

    growth: Growth
    seen: RunningCounts
    sample: CountMatrix
    valid: CountMatrix | None
    dropped: int
    median_total: float
    unseen_mass: float
    batches: Callable[[FeatureTransform, CountMatrix | None], BatchSource]
    rehearses: bool = True
    median_exposure: float | None = None


def new_rows(
    model: NonlinearFactorAnalysis, X: Any, settings: UpdateSettings, seed: int
) -> NewRows:
    """Rows in memory, over the vocabulary that they make the model's grow to.

    Raises
    ------
    DataError
        If they are no counts, or none has a feature that the model knows or takes in.
    """
    counts = _given(model, X)
    growth = choose_features(
        counts.vocabulary,
        RunningCounts.of(counts.csr),
        model.vocabulary_,
        grow=settings.grow,
        min_df=settings.min_df,
        settings=model.read_settings_,
    )
    aligned, unseen = counts.align(growth.vocabulary)
    if aligned.nnz == 0:
        raise no_known_feature(counts.n_rows)
    fraction = float(model.validation_fraction)
    rows = prepare(aligned, None, validation_fraction=fraction, seed=seed, stacklevel=6)
    train = rows.train

    def batches(transform: FeatureTransform, more: CountMatrix | None) -> BatchSource:
        every = train if more is None else stacked(train, more)
        return make_batches(every, transform, int(model.batch_size))

    return NewRows(
        growth=growth,
        seen=RunningCounts.of(train.csr, train.exposure),
        sample=train,
        valid=rows.valid,
        dropped=rows.dropped,
        median_total=float(np.median(train.totals)),
        unseen_mass=unseen.mass,
        batches=batches,
        median_exposure=None if train.exposure is None else float(np.median(train.exposure)),
    )


def _given(model: NonlinearFactorAnalysis, X: Any) -> CountMatrix:
    """New rows with all their features; aligned by position where there are no names."""
    refuse_long_table(X, model.vocabulary_)
    counts = CountMatrix.from_any(X, counts=model.counts)
    if not (counts.vocabulary.named and model.vocabulary_.named):
        return model.align(counts)[0]
    require_values(model.likelihood, counts)
    return take_exposures(model.exposure, counts, stacklevel=6)


def no_known_feature(n_rows: int) -> DataError:
    """The error for rows that a model can learn nothing from."""
    return DataError(
        f"None of the {n_rows:,} new rows has a count of a feature that the model knows or takes "
        "in. Check how they were read, or lower min_df."
    )


def retained_rows(
    model: NonlinearFactorAnalysis, retain: Any, vocabulary: Vocabulary, seed: int
) -> Retained | None:
    """Old rows; as large a share as of the new ones is held out, and at least one row."""
    if retain is None:
        return None
    refuse_long_table(retain, model.vocabulary_)
    counts = CountMatrix.from_any(retain, counts=model.counts)
    require_values(model.likelihood, counts)
    counts = take_exposures(model.exposure, counts, what="retained rows", stacklevel=5)
    kept, _ = counts.align(vocabulary)[0].drop_empty()
    if kept.n_rows < 2:
        raise DataError(
            "retain= needs at least 2 rows with a known feature, to rehearse with and to measure "
            f"forgetting by; got {kept.n_rows}."
        )
    most = max(1, min(int(kept.n_rows * float(model.validation_fraction)), MOST_VALID_ROWS))
    return Retained(*split_rows(kept, [most], seed=seed))


def stacked(first: CountMatrix, second: CountMatrix) -> CountMatrix:
    """Rows of both, which have the same columns; their ids as text."""
    csr = csr_array(vstack([first.csr, second.csr], format="csr"))
    csr.has_canonical_format = True
    ids = pl.concat([first.row_ids.cast(pl.String), second.row_ids.cast(pl.String)])
    exposure = joined_exposures([first, second])
    return CountMatrix(csr, ids, first.vocabulary, exposure=exposure)
