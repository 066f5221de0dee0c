"""New rows of an update that are not in memory."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import csr_array, vstack

from longtail.data import BatchSource, CountMatrix
from longtail.data.stream import CountStream, StreamBatches, StreamStatistics
from longtail.data.unseen import no_names_error
from longtail.errors import DataWarning
from longtail.estimator.exposures import refuse_streamed
from longtail.estimator.prepare import n_held_out, require_values, what_is_taken
from longtail.estimator.running import RunningCounts
from longtail.estimator.updating.growing import Growth, choose_features
from longtail.estimator.updating.rows import NewRows, no_known_feature
from longtail.estimator.updating.settings import UpdateSettings
from longtail.features import FeatureTransform

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["streamed_rows"]

_SAMPLE_ROWS = 50_000  # in memory, from which new features' parameters start


def streamed_rows(
    model: NonlinearFactorAnalysis, stream: CountStream, settings: UpdateSettings, seed: int
) -> NewRows:
    """Rows of a stream: a pass that counts its features, one over the grown vocabulary.

    Raises
    ------
    DataError
        If they cannot be read, have exposures, or none has a feature that the model knows or
        takes in.
    """
    refuse_streamed(model.exposure, stream)
    stream, growth = _growth(model, stream, settings, seed)
    fraction = float(model.validation_fraction)
    stream, found = stream.statistics(
        seed=seed,
        most_valid=n_held_out(stream.n_rows, fraction),
        n_valid=lambda n_rows: n_held_out(n_rows, fraction),
        check=lambda counts: _check(model, counts),
    )
    if found.n_rows == 0:
        raise no_known_feature(stream.n_rows)

    n_filled = found.n_rows + (0 if found.valid is None else found.valid.rows.n_rows)
    for said in what_is_taken(
        n_rows=n_filled + found.n_empty,
        n_empty=found.n_empty,
        n_values=found.n_values,
        n_fractional=found.n_fractional,
    ):
        # Past `continue_fit` and `partial_fit`: at the caller's line.
        warnings.warn(said, DataWarning, stacklevel=4)

    def batches(transform: FeatureTransform, more: CountMatrix | None) -> BatchSource:
        return StreamBatches(
            stream, found.block_rows, found.held_out, transform.apply, int(model.batch_size)
        )

    return NewRows(
        growth=growth,
        seen=_counts(found),
        sample=_sample(stream, found),
        valid=None if found.valid is None else found.valid.rows,
        dropped=found.n_empty,
        median_total=found.row_totals.median(),
        unseen_mass=found.unknown_mass,
        batches=batches,
        rehearses=False,
    )


def _growth(
    model: NonlinearFactorAnalysis, stream: CountStream, settings: UpdateSettings, seed: int
) -> tuple[CountStream, Growth]:
    """The stream over the vocabulary that it makes the model's grow to."""
    known, own = model.vocabulary_, stream.vocabulary
    if not known.named:
        raise no_names_error(own)
    growth = Growth(known)
    if bool((known.codes(own.names) < 0).any()):
        stream, found = stream.statistics(seed=seed, most_valid=0, n_valid=lambda n_rows: 0)
        growth = choose_features(
            own,
            replace(_counts(found), rows=float(stream.n_rows)),
            known,
            grow=settings.grow,
            min_df=settings.min_df,
            settings=model.read_settings_,
        )
    return replace(stream, vocabulary=growth.vocabulary), growth


def _check(model: NonlinearFactorAnalysis, counts: CountMatrix) -> None:
    if model.counts == "strict":
        CountMatrix.from_any(counts, counts="strict")
    require_values(model.likelihood, counts)


def _counts(found: StreamStatistics) -> RunningCounts:
    return RunningCounts(float(found.n_rows), found.rows_with.astype(np.float64), found.totals)


def _sample(stream: CountStream, found: StreamStatistics) -> CountMatrix:
    """Training rows from the first blocks of a random order, as many as may be in memory."""
    parts: list[CountMatrix] = []
    filled = np.flatnonzero(found.block_rows)
    for number in np.random.default_rng([stream.n_rows, len(filled)]).permutation(filled):
        rows = stream.read(int(number))
        taken = np.flatnonzero(
            (np.diff(rows.csr.indptr) > 0) & ~np.isin(rows.row_keys(), found.held_out)
        )
        parts.append(rows[taken[: _SAMPLE_ROWS - sum(map(len, parts))]])
        if sum(map(len, parts)) >= _SAMPLE_ROWS:
            break
    csr = csr_array(vstack([part.csr for part in parts], format="csr"))
    csr.has_canonical_format = True
    return CountMatrix(csr, pl.concat([part.row_ids for part in parts]), stream.vocabulary)
