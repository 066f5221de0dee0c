"""What the encoder sees: f(x), a sparse transform of the raw counts.

Only the encoder reads these features; the likelihood always scores the raw counts. All four
transforms map a zero to a zero, so the result has the sparsity pattern of the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from longtail.errors import DataError, ParameterError

__all__ = ["FeatureKind", "FeatureTransform"]

FeatureKind = Literal["tfidf", "l1", "log1p", "binary"]


@dataclass(frozen=True, eq=False)
class FeatureTransform:
    """A fitted transform f from counts to encoder features.

    Make one with `fit`, or from saved state with ``FeatureTransform(kind, idf)``.

    Parameters
    ----------
    kind
        ``"tfidf"``: counts times inverse document frequency, rows scaled to Euclidean length 1;
        ``"l1"``: counts divided by the row's total; ``"log1p"``: log(1 + count);
        ``"binary"``: 1 wherever the count is not 0.
    idf
        float32, shape (V,): the inverse document frequencies for ``"tfidf"``; None otherwise.

    Raises
    ------
    ParameterError
        If `kind` is not one of the four, or `idf` is missing or superfluous.
    """

    kind: FeatureKind
    idf: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the parts against each other and freeze the idf."""
        if self.kind not in get_args(FeatureKind):
            raise ParameterError(
                f"The feature transform must be one of {', '.join(get_args(FeatureKind))}, "
                f"but got {self.kind!r}."
            )
        if (self.kind == "tfidf") != (self.idf is not None):
            raise ParameterError(
                f"The transform {self.kind!r} {'needs' if self.kind == 'tfidf' else 'takes no'} "
                "inverse document frequencies (idf); make it with FeatureTransform.fit."
            )
        if self.idf is not None:
            idf = np.array(self.idf, dtype=np.float32)
            if idf.ndim != 1 or not np.all(np.isfinite(idf) & (idf > 0)):
                raise ParameterError(
                    "The idf must be a vector of positive finite numbers, one a feature, but got "
                    f"shape {idf.shape}, with {int((~(np.isfinite(idf) & (idf > 0))).sum())} "
                    "other values."
                )
            idf.flags.writeable = False
            object.__setattr__(self, "idf", idf)

    @classmethod
    def fit(cls, kind: FeatureKind, csr: csr_array) -> FeatureTransform:
        """Fit on the training rows (and on nothing else: idf must not see test rows).

        Parameters
        ----------
        kind
            See the class.
        csr
            Counts, shape (n, V), without duplicate entries or explicit zeros.

        Notes
        -----
        The idf is smoothed as in scikit-learn's ``TfidfTransformer(smooth_idf=True)``:
        ``idf_v = log((1 + n) / (1 + df_v)) + 1``, with df_v the number of rows that hold v.
        """
        if kind != "tfidf":
            return cls(kind)
        n_rows, n_features = csr.shape
        rows_with = np.bincount(csr.indices, minlength=n_features).astype(np.float64)
        idf = np.log((1.0 + n_rows) / (1.0 + rows_with)) + 1.0
        return cls(kind, idf.astype(np.float32))

    def apply(self, csr: csr_array) -> csr_array:
        """Transform counts to features.

        Parameters
        ----------
        csr
            Counts, shape (n, V).

        Returns
        -------
        csr_array of float32, shape (n, V)
            With the same sparsity pattern as the input; an empty row stays empty.

        Raises
        ------
        DataError
            If V differs from the number of features fitted on.
        """
        values = csr.data.astype(np.float64)
        if self.kind == "tfidf":
            assert self.idf is not None
            if csr.shape[1] != len(self.idf):
                raise DataError(
                    f"The transform was fitted on {len(self.idf)} features, but these rows have "
                    f"{csr.shape[1]}; align them with CountMatrix.align first."
                )
            values *= self.idf[csr.indices]
            values /= np.repeat(np.sqrt(_row_sums(csr, values**2)), np.diff(csr.indptr))
        elif self.kind == "l1":
            values /= np.repeat(_row_sums(csr, values), np.diff(csr.indptr))
        elif self.kind == "log1p":
            values = np.log1p(values)
        else:
            values = np.ones_like(values)
        return _with_values(csr, values.astype(np.float32))


def _row_sums(csr: csr_array, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum `values`, laid out like ``csr.data``, over each row; shape (n,)."""
    rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    sums = np.bincount(rows, weights=values, minlength=csr.shape[0])
    return sums.astype(np.float64, copy=False)


def _with_values(csr: csr_array, values: npt.NDArray[Any]) -> csr_array:
    """Return a matrix with the pattern of `csr` and other values; the index arrays are shared."""
    result = csr_array((values, csr.indices, csr.indptr), shape=csr.shape, copy=False)
    result.has_sorted_indices = csr.has_sorted_indices
    return result
