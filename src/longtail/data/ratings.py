"""Values that are opinions rather than counts: how to tell, and what to say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["HOW_TO_BINARIZE", "describe_ratings"]

HOW_TO_BINARIZE = (
    "If they are ratings, read which items are liked instead: min_value=4 leaves out entries below "
    "4 (choose the threshold that fits the scale), and binarize=True makes 1 of every other."
)

_LARGEST = 10
_FEWEST = 20


def describe_ratings(values: npt.NDArray[np.float64]) -> str | None:
    """Describe values that look like ratings; None if they do not.

    They do if all are halves or whole numbers from 0.5 to 10 and either

    * there are three different ones or more, and some are not whole numbers; or
    * there are 20 or more, from 1 to 5 or to 10, every whole number occurs, and 1 is not the
      most frequent, as it is where something is counted.

    Parameters
    ----------
    values
        Finite, 0 or more, shape (m,).
    """
    if len(values) == 0 or values.min() < 0.5 or values.max() > _LARGEST:
        return None
    if np.any(values * 2 != np.floor(values * 2)):
        return None
    levels, times = np.unique(values, return_counts=True)
    in_halves = bool(np.any(levels != np.floor(levels)))
    if in_halves:
        looks_so = len(levels) >= 3
    else:
        complete = levels[0] == 1 and levels[-1] in (5, 10) and len(levels) == levels[-1]
        looks_so = complete and len(values) >= _FEWEST and int(times.argmax()) > 0
    if not looks_so:
        return None
    step = "halves" if in_halves else "whole numbers"
    return f"{len(levels)} different values from {levels[0]:g} to {levels[-1]:g}, in {step}"
