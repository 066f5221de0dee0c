"""The rows of an update: new ones, and old ones that are rehearsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
from scipy.sparse import csr_array, vstack

from longtail.data import CountMatrix, Vocabulary, split_rows
from longtail.errors import DataError
from longtail.estimator.prepare import MOST_VALID_ROWS, TrainingRows, prepare, require_values
from longtail.estimator.updating.growing import Growth

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["Retained", "given_rows", "new_rows", "retained_rows", "stacked"]


class Retained(NamedTuple):
    """Old rows over the grown vocabulary: to rehearse with, and to measure forgetting by."""

    train: CountMatrix
    held_out: CountMatrix


def given_rows(model: NonlinearFactorAnalysis, X: Any) -> CountMatrix:
    """New rows with all their features; aligned by position where there are no names."""
    counts = CountMatrix.from_any(X, counts=model.counts)
    if not (counts.vocabulary.named and model.vocabulary_.named):
        return model.align(counts)[0]
    require_values(model.likelihood, counts)
    return counts


def new_rows(
    model: NonlinearFactorAnalysis, counts: CountMatrix, growth: Growth, seed: int
) -> tuple[TrainingRows, float]:
    """Rows to train and to validate on, and the share of the count that is left out."""
    aligned, unseen = counts.align(growth.vocabulary)
    if aligned.nnz == 0:
        raise DataError(
            f"None of the {counts.n_rows:,} new rows has a count of a feature that the model "
            "knows or takes in. Check how they were read, or lower min_df."
        )
    fraction = float(model.validation_fraction)
    rows = prepare(aligned, None, validation_fraction=fraction, seed=seed, stacklevel=6)
    return rows, unseen.mass


def retained_rows(
    model: NonlinearFactorAnalysis, retain: Any, vocabulary: Vocabulary, seed: int
) -> Retained | None:
    """Old rows; as large a share as of the new ones is held out, and at least one row."""
    if retain is None:
        return None
    counts = CountMatrix.from_any(retain, counts=model.counts)
    require_values(model.likelihood, counts)
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
    return CountMatrix(csr, ids, first.vocabulary)
