"""Checks of what the estimator's methods are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from longtail.data.coerce import numbers_of, refuse_masked
from longtail.errors import DataError, ParameterError

__all__ = ["MOST", "MOST_ROWS", "is_whole", "latent_vectors", "row_totals", "whole"]

# Largest values: what is above them is a mistake, overflows, or would not end.
MOST = 1_000_000  # of widths, steps, draws and epochs
MOST_ROWS = 2**31 - 1  # of what is cut to the size of the data


def is_whole(value: Any, low: int, high: float = np.inf) -> bool:
    """Whether it is a whole number from `low` to `high`, and no truth value."""
    is_number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_number and bool(low <= value <= high)


def whole(name: str, value: Any, low: int, high: float = np.inf) -> int:
    """A whole number from `low` to `high`, or a ParameterError that names it."""
    if not is_whole(value, low, high):
        most = f" and ≤ {high:,}" if is_whole(value, low) else ""
        raise ParameterError(f"{name} must be a whole number ≥ {low}{most}; got {value!r}.")
    return int(value)


def row_totals(totals: Any, n: int) -> torch.Tensor:
    """A total for each of n rows, from one number or n of them: (n,) float32."""
    refuse_masked(totals, "the totals")
    try:
        array = numbers_of(totals)
    except DataError:  # lists of different lengths
        array = np.empty(0)
    numeric = array.dtype.kind in "iuf" and array.shape in ((), (n,))
    if not numeric or not np.all((array >= 0) & (array <= np.finfo(np.float32).max)):
        raise ParameterError(f"totals must be a number ≥ 0, or {n}, one a row; got {totals!r}.")
    return torch.from_numpy(np.broadcast_to(array, n).astype(np.float32))


def latent_vectors(Z: Any, n_components: int) -> torch.Tensor:
    """Finite rows of K numbers: (n, K) float32."""
    refuse_masked(Z, "the latent vectors")
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            array = np.asarray(numbers_of(Z), dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Latent vectors are rows of {n_components} numbers: {error}.") from error
    if array.ndim != 2 or array.shape[1] != n_components:
        raise DataError(
            f"Latent vectors are rows of {n_components} numbers; got an array of shape "
            f"{array.shape}."
        )
    if not np.isfinite(array).all():
        raise DataError("Latent vectors must be finite; got NaN or infinity.")
    return torch.from_numpy(array)
