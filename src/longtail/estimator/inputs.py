"""Checks of what the estimator's methods are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from longtail.data.coerce import numbers_of, refuse_masked
from longtail.errors import DataError, ParameterError

__all__ = ["latent_vectors", "row_totals", "whole"]


def whole(name: str, value: Any, low: int) -> int:
    """A whole number ≥ `low`, or a ParameterError that names it."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < low:
        raise ParameterError(f"{name} must be a whole number ≥ {low}; got {value!r}.")
    return int(value)


def row_totals(totals: Any, n: int) -> torch.Tensor:
    """A total for each of n rows, from one number or n of them: (n,) float32."""
    refuse_masked(totals, "the totals")
    array = numbers_of(totals)
    numeric = array.dtype.kind in "iuf" and array.shape in ((), (n,))
    if not numeric or not np.all(np.isfinite(array) & (array >= 0)):
        raise ParameterError(f"totals must be a number ≥ 0, or {n}, one a row; got {totals!r}.")
    return torch.from_numpy(np.broadcast_to(array, n).astype(np.float32))


def latent_vectors(Z: Any, n_components: int) -> torch.Tensor:
    """Finite rows of K numbers: (n, K) float32."""
    refuse_masked(Z, "the latent vectors")
    array = np.asarray(numbers_of(Z), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != n_components:
        raise DataError(
            f"Latent vectors are rows of {n_components} numbers; got an array of shape "
            f"{array.shape}."
        )
    if not np.isfinite(array).all():
        raise DataError("Latent vectors must be finite; got NaN or infinity.")
    return torch.from_numpy(array)
