"""How a fitted model goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from longtail.errors import ParameterError
from longtail.estimator.inputs import MOST, MOST_ROWS, is_whole

__all__ = ["UpdateSettings"]


@dataclass(frozen=True)
class UpdateSettings:
    """How a fitted model goes on: see `NonlinearFactorAnalysis.partial_fit`.

    Raises
    ------
    ParameterError
        With a line for every fault.
    """

    epochs: int = 10
    learning_rate: float | None = None
    grow: bool | int = True
    min_df: int = 5
    idf: Literal["keep", "update"] = "keep"
    forget: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check all at once."""
        rate, seed = self.learning_rate, self.seed
        faults = {
            f"epochs must be a whole number ≥ 0 and ≤ {MOST:,}": is_whole(self.epochs, 0, MOST),
            "learning_rate must be a number > 0 and ≤ 1, or None": rate is None
            or (_number(rate) and 0 < rate <= 1),
            "grow must be True, False, or a whole number ≥ 1": isinstance(self.grow, bool)
            or is_whole(self.grow, 1),
            f"min_df must be a whole number ≥ 1 and ≤ {MOST_ROWS:,}": is_whole(
                self.min_df, 1, MOST_ROWS
            ),
            "idf must be 'keep' or 'update'": self.idf in ("keep", "update"),
            "forget must be a number from 0 to 1": _number(self.forget) and 0 <= self.forget <= 1,
            "seed must be a whole number ≥ 0, or None": seed is None or is_whole(seed, 0),
        }
        wrong = [
            f"  {text}; got {getattr(self, text.split()[0])!r}"
            for text, is_right in faults.items()
            if not is_right
        ]
        if wrong:
            raise ParameterError("\n".join(["These settings of an update cannot be used:", *wrong]))


def _number(value: Any) -> bool:
    is_real = isinstance(value, int | float | np.integer | np.floating)
    return is_real and not isinstance(value, bool)
