"""What has been counted so far: rows, and each feature's rows and total, over all fits of a model.

They are what the TF-IDF and the training frequencies are made of, so a model that keeps them can go
on with new rows as if it had them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from longtail.errors import ParameterError

__all__ = ["SMOOTHING", "RunningCounts"]

Array = npt.NDArray[np.float64]

SMOOTHING = 0.5
"""Pseudo-count of every feature, so that one never seen in training has a probability."""

_WHOLE = 1e-3  # how far from a whole number a recovered count may be


@dataclass(frozen=True, eq=False)
class RunningCounts:
    """Counts over the training rows of a model, in the order of its vocabulary.

    Attributes
    ----------
    rows
        Training rows; a fraction where earlier ones have been partly forgotten.
    df
        Rows that hold each feature: float64 (V,).
    totals
        Total count of each feature: float64 (V,).
    recovered
        What of them was worked out afterwards, and how exactly, in words; empty if nothing was.
    exposure
        Σ of the rows' exposures, where they are given; None: not given.
    """

    rows: float
    df: Array
    totals: Array
    recovered: str = ""
    exposure: float | None = None

    @classmethod
    def of(cls, csr: csr_array, exposure: Array | None = None) -> RunningCounts:
        """Count the rows of a matrix, (n, V), whose exposures may be given, (n,)."""
        n_features = csr.shape[1]
        df = np.bincount(csr.indices, minlength=n_features).astype(np.float64)
        totals = np.bincount(
            csr.indices, weights=csr.data.astype(np.float64), minlength=n_features
        ).astype(np.float64)  # of a matrix without entries, bincount counts in int64
        given = None if exposure is None else float(exposure.sum())
        return cls(float(csr.shape[0]), df, totals, exposure=given)

    @classmethod
    def recover(
        cls,
        unigram: Array,
        idf: npt.NDArray[np.float32] | None,
        *,
        rows: int,
        tokens: float,
    ) -> RunningCounts:
        """Work out the counts behind a model that was saved without them.

        The frequencies give the totals: f_v = (t_v + ½) / (T + V/2). The inverse document
        frequencies give the document frequencies, df_v = (1 + n) exp(1 − idf_v) − 1; float32 tells
        them apart up to about a million rows. Without idf a feature is taken to come once a row
        as long as there are rows.

        Parameters
        ----------
        unigram, idf
            Of the model, (V,).
        rows, tokens
            n and T, its training rows and their total count.
        """
        totals = _whole(unigram * (tokens + SMOOTHING * len(unigram)) - SMOOTHING).clip(min=0)
        if idf is None:
            df = np.minimum(totals, rows)
            said = "document frequencies are at most those that the feature totals allow"
            return cls(float(rows), df, totals, said)
        found = (1.0 + rows) * np.exp(1.0 - idf.astype(np.float64)) - 1.0
        df = np.rint(found).clip(0, rows)
        # A step of float32 in idf, times d df / d idf = 1 + df.
        unsure = int(((1 + df) * np.spacing(idf) >= 0.5).sum())
        said = "document frequencies and feature totals were worked out from the saved model"
        if unsure:
            said += f"; the document frequencies of {unsure:,} features are approximate"
        return cls(float(rows), df, totals, said)

    @property
    def mean_total(self) -> float:
        """Mean total count of a training row."""
        return float(self.totals.sum()) / self.rows

    @property
    def rate(self) -> float:
        """Counts per unit of exposure: of a row, where none are given."""
        return float(self.totals.sum()) / (self.rows if self.exposure is None else self.exposure)

    @property
    def mean_size(self) -> float:
        """Mean exposure of a training row, where they are given; else its mean total count."""
        return self.mean_total if self.exposure is None else self.exposure / self.rows

    def idf(self) -> npt.NDArray[np.float32]:
        """Inverse document frequencies, as `FeatureTransform.fit` has them: (V,)."""
        idf = np.log((1.0 + self.rows) / (1.0 + self.df)) + 1.0
        result: npt.NDArray[np.float32] = idf.astype(np.float32)
        return result

    def unigram(self) -> Array:
        """Training frequencies, smoothed by half a count each: (V,)."""
        smoothed: Array = (self.totals + SMOOTHING) / (self.totals + SMOOTHING).sum()
        return smoothed

    def widened(self, n_features: int) -> RunningCounts:
        """The same for a vocabulary to which features have been added at the end."""
        more = (0, n_features - len(self.df))
        return RunningCounts(
            self.rows,
            np.pad(self.df, more),
            np.pad(self.totals, more),
            self.recovered,
            self.exposure,
        )

    def plus(self, other: RunningCounts, *, forget: float = 0.0) -> RunningCounts:
        """These and other counts over the same vocabulary.

        Parameters
        ----------
        forget
            Share of these counts that is forgotten first, in [0, 1].

        Raises
        ------
        ParameterError
            If only one of them is of rows with exposures.
        """
        kept = 1.0 - forget
        exposure = None
        if self.exposure is not None and other.exposure is not None:
            exposure = kept * self.exposure + other.exposure
        elif self.exposure is not other.exposure:
            raise ParameterError("counts of rows with exposures and of rows without do not add up")
        return RunningCounts(
            kept * self.rows + other.rows,
            kept * self.df + other.df,
            kept * self.totals + other.totals,
            self.recovered,
            exposure,
        )

    # --- in a saved model ------------------------------------------------------------------------

    def tensors(self) -> dict[str, Array]:
        """Arrays to save."""
        return {"running.df": self.df, "running.totals": self.totals}

    def facts(self) -> dict[str, Any]:
        """The rest, ready for JSON."""
        return {"rows": self.rows, "recovered": self.recovered, "exposure": self.exposure}

    @classmethod
    def from_saved(
        cls, facts: Mapping[str, Any] | None, tensors: Mapping[str, npt.NDArray[Any]], V: int
    ) -> RunningCounts | None:
        """What `tensors` and `facts` wrote; None for a model that was saved without.

        Raises
        ------
        ParameterError
            If they do not fit V features, or are no counts.
        """
        if facts is None:
            return None
        df, totals = tensors["running.df"], tensors["running.totals"]
        rows = float(facts["rows"])
        for name, array in (("document frequencies", df), ("feature totals", totals)):
            if array.shape != (V,) or array.dtype != np.float64:
                raise ParameterError(f"{array.dtype} {array.shape} {name} of {V} features")
            if not np.all(np.isfinite(array) & (array >= 0)):
                raise ParameterError(f"the {name} are not all counts")
        if not 0 < rows < np.inf or df.max(initial=0) > rows * (1 + 1e-9):
            raise ParameterError(f"document frequencies up to {df.max():g} in {rows:g} rows")
        exposure = facts.get("exposure")  # models have been saved without
        if exposure is not None and not 0 < float(exposure) < np.inf:
            raise ParameterError(f"{exposure!r} as the sum of exposures above 0")
        return cls(rows, df, totals, str(facts["recovered"]), exposure)


def _whole(values: Array) -> Array:
    """Round what is a whole number but for rounding errors."""
    nearest = np.rint(values)
    near = np.abs(values - nearest) <= _WHOLE
    result: Array = np.where(near, nearest, values)
    return result
