"""min_df, max_df and max_features: which features are common enough to keep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from longtail.data.counts import CountMatrix
from longtail.data.settings import ReadSettings
from longtail.errors import DataError

__all__ = ["has_limits", "kept_features", "limit_features"]


def has_limits(settings: ReadSettings) -> bool:
    """Whether the settings ask for anything but the defaults, which keep every feature."""
    chosen = (settings.min_df, settings.max_df, settings.max_features)
    return chosen != (ReadSettings.min_df, ReadSettings.max_df, None)


def limit_features(X: CountMatrix, settings: ReadSettings) -> CountMatrix:
    """Remove the features that are too rare, too common or too many.

    See `kept_features`; those that are kept keep their order.

    Raises
    ------
    DataError
        If nothing would be left; says how common the most common feature is.
    """
    rows_with = np.bincount(X.csr.indices, minlength=X.n_features)
    chosen = kept_features(rows_with, _feature_totals(X), X.n_rows, settings)
    return X if len(chosen) == X.n_features else X.select_features(chosen)


def kept_features(
    rows_with: npt.NDArray[np.int64],
    totals: npt.NDArray[np.float64],
    n_rows: int,
    settings: ReadSettings,
) -> npt.NDArray[np.int64]:
    """Choose the features that the limits keep, by their numbers.

    As in scikit-learn's CountVectorizer: first min_df and max_df, by the number of rows that
    hold a feature; then the max_features with the largest total counts, ties in column order.
    A feature that no row holds is never kept.

    Parameters
    ----------
    rows_with, totals
        Rows that hold each feature, and its total count, shape (V,).
    n_rows
        Of which limits that are shares are shares.
    settings
        The limits.

    Raises
    ------
    DataError
        If nothing would be left.
    """
    fewest = _n_rows(settings.min_df, n_rows)
    most = _n_rows(settings.max_df, n_rows)
    kept = (rows_with >= max(fewest, 1)) & (rows_with <= most)
    if not kept.any():
        raise DataError(
            f"No feature is left with min_df={settings.min_df} and max_df={settings.max_df}: "
            f"{len(rows_with):,} features were read from {n_rows:,} rows, and a feature had to be "
            f"in {fewest:g} to {most:g} of them, while the most common is in "
            f"{max(rows_with, default=0):,} and the rarest in {min(rows_with, default=0):,}. "
            "Lower min_df or raise max_df."
        )
    chosen = np.flatnonzero(kept)
    if settings.max_features is not None and settings.max_features < len(chosen):
        largest = np.argsort(-totals[chosen], kind="stable")[: settings.max_features]
        chosen = np.sort(chosen[largest])
    return chosen


def _n_rows(limit: int | float, n_rows: int) -> float:
    return limit * n_rows if isinstance(limit, float) else limit


def _feature_totals(X: CountMatrix) -> npt.NDArray[np.float64]:
    weights = X.csr.data.astype(np.float64)
    totals = np.bincount(X.csr.indices, weights=weights, minlength=X.n_features)
    return totals.astype(np.float64, copy=False)
