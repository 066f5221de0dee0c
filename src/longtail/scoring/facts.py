"""What is known of the rows of a part, kept in its file: adds up over parts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from longtail.evaluation.sums import Moments

__all__ = ["Facts"]


@dataclass(frozen=True, eq=False)
class Facts:
    """Counts and sums over rows.

    Attributes
    ----------
    rows, empty_rows
        Rows, and those of them without a count in the model's vocabulary.
    mass
        Total count, unseen features included.
    unseen_rows, unseen_mass
        Rows with features outside the vocabulary, and the total count of these.
    short_rows
        Rows for which too few items were left to recommend.
    kl, mean
        Of an evaluation: moments over rows of the KL and of the posterior mean of each latent
        dimension, (K,).
    """

    rows: int = 0
    empty_rows: int = 0
    mass: float = 0.0
    unseen_rows: float = 0.0
    unseen_mass: float = 0.0
    short_rows: int = 0
    kl: Moments | None = None
    mean: Moments | None = None

    def __add__(self, other: Facts) -> Facts:
        return Facts(
            **{f.name: _sum(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        )

    @property
    def unseen(self) -> dict[str, float]:
        """Shares of the rows and of the mass, as reports have them."""
        return {
            "rows": self.unseen_rows / self.rows if self.rows else 0.0,
            "mass": self.unseen_mass / self.mass if self.mass else 0.0,
        }

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        plain = asdict(self)
        for name in ("kl", "mean"):
            moments: Moments | None = getattr(self, name)
            if moments is not None:
                plain[name] = [moments.n, moments.mean.tolist(), moments.squares.tolist()]
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """What `to_json` wrote."""
        plain: dict[str, Any] = json.loads(text)
        for name in ("kl", "mean"):
            if plain[name] is not None:
                n, mean, squares = plain[name]
                plain[name] = Moments(n, np.asarray(mean), np.asarray(squares))
        return cls(**plain)


def _sum(mine: Any, theirs: Any) -> Any:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return mine + theirs
