"""Exposures that are given with the rows: who needs them, and what stands for them where none is.

An estimator with ``exposure="given"`` takes s_d of each row from its counts. Everywhere behind the
checks of this module counts have exposures exactly where the likelihood uses them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from longtail.data import CountMatrix
from longtail.data.exposures import HOW_TO_GIVE_EXPOSURES
from longtail.data.stream import CountStream
from longtail.errors import DataError, DataWarning

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["GIVEN", "at_typical_exposure", "refuse_streamed", "take_exposures", "typical_size"]

GIVEN = "given"


def take_exposures(
    exposure: str, counts: CountMatrix, *, what: str = "rows", stacklevel: int = 3
) -> CountMatrix:
    """Rows with exposures exactly if the estimator's parameter `exposure` says that it uses them.

    Parameters
    ----------
    what
        The rows, for messages.
    stacklevel
        Of the notice that they are not used.

    Raises
    ------
    DataError
        If they are needed, and there are none.
    """
    if exposure == GIVEN:
        if counts.exposure is None:
            raise DataError(
                f"exposure='given' needs an exposure for each row, but these {counts.n_rows:,} "
                f"{what} have none. {HOW_TO_GIVE_EXPOSURES} Or choose another exposure=."
            )
        return counts
    if counts.exposure is None:
        return counts
    warnings.warn(
        f"The exposures of the {what} are not used, because the model has exposure={exposure!r}. "
        "Fit with exposure='given' and likelihood='poisson' or 'negative_binomial' to use them.",
        DataWarning,
        stacklevel=stacklevel,
    )
    return counts.with_exposure(None)


def refuse_streamed(exposure: str, stream: CountStream) -> None:
    """Check that a fit of streamed rows leaves no exposure out of account.

    Raises
    ------
    DataError
        If they are needed or given: training takes them only from rows in memory.
    """
    if exposure == GIVEN or stream.settings.exposure_column is not None:
        raise DataError(
            "Training does not take exposures from a stream, and would have to ignore them. Read "
            "the rows into memory, with read_counts(path, exposure_column=…) or stream.load() "
            "(--no-stream), or leave exposure='given' and exposure_column out."
        )


def typical_size(model: NonlinearFactorAnalysis) -> float:
    """Median over training rows of what `Likelihood.typical_exposure` takes: s given, or N_d."""
    kind = "median_exposure" if model.parameters_["exposure"] == GIVEN else "median_total"
    return float(model.fit_info_[kind])


def at_typical_exposure(model: NonlinearFactorAnalysis, counts: CountMatrix) -> CountMatrix:
    """Rows made up for a question, which have no exposure of their own, with a typical one.

    That is the median of the training rows'. Rows that have exposures keep them; a model that does
    not use any gets the rows as they are.
    """
    model.check_fitted()
    if model.parameters_["exposure"] != GIVEN or counts.exposure is not None:
        return counts
    return counts.with_exposure(np.full(counts.n_rows, typical_size(model)))
