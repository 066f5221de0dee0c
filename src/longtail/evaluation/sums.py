"""Sums over rows that add up over parts: figures of rows that are never all in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LogProbSums", "Moments"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and squared deviations of values, or of columns of them.

    Parts are joined as Chan, Golub and LeVeque (1983) do: without the cancellation that a sum of
    squares would suffer.

    Attributes
    ----------
    n
        How many values there are.
    mean
        Their mean: () or (K,).
    squares
        Σ (value − mean)²: of the same shape.
    """

    n: int
    mean: Any
    squares: Any

    @classmethod
    def of(cls, values: Array) -> Moments:
        """Summarise values (n,) or (n, K)."""
        if len(values) == 0:
            nothing = np.zeros(values.shape[1:])
            return cls(0, nothing, nothing)
        return cls(len(values), values.mean(0), values.var(0) * len(values))

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        return Moments(
            n,
            self.mean + apart * (other.n / n),
            self.squares + other.squares + apart**2 * (self.n * other.n / n),
        )

    @property
    def total(self) -> float:
        """Σ value."""
        return float(self.n * self.mean)

    @property
    def se(self) -> float:
        """Standard error of the mean; NaN of a single value."""
        if self.n < 2:
            return float("nan")
        return float(np.sqrt(self.squares / (self.n - 1) / self.n))


@dataclass(frozen=True, eq=False)
class LogProbSums:
    """Per-row log-probabilities, summed.

    Attributes
    ----------
    rows
        Of log p, nats.
    per_token
        Of −log p / N_d; None under a likelihood that does not score tokens.
    tokens
        Σ N_d; None likewise.
    """

    rows: Moments
    per_token: Moments | None
    tokens: float | None

    @classmethod
    def of(cls, log_prob: Array, totals: Array | None) -> LogProbSums:
        """Sum log-probabilities (n,) of rows with totals (n,), None: no tokens."""
        if totals is None:
            return cls(Moments.of(log_prob), None, None)
        per_token = Moments.of(-log_prob / totals)
        return cls(Moments.of(log_prob), per_token, float(totals.sum()))

    def __add__(self, other: LogProbSums) -> LogProbSums:
        def both(mine: Any, theirs: Any) -> Any:
            return None if mine is None or theirs is None else mine + theirs

        return LogProbSums(
            self.rows + other.rows,
            both(self.per_token, other.per_token),
            both(self.tokens, other.tokens),
        )

    def summary(self) -> dict[str, Any]:
        """Perplexities, mean and standard error over rows, as `Floor` names them."""
        rows = {"nats_per_row": float(self.rows.mean), "se": self.rows.se}
        if self.per_token is None or self.tokens is None:
            return rows | {"per_doc": None, "per_doc_se": None, "per_word": None}
        per_doc = float(np.exp(self.per_token.mean))
        return rows | {
            "per_doc": per_doc,
            # Delta method: d exp(u) = exp(u) du.
            "per_doc_se": per_doc * self.per_token.se,
            "per_word": float(np.exp(-self.rows.total / self.tokens)),
        }
