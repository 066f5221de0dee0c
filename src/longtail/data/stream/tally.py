"""Document frequencies of more features than memory holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from longtail.errors import ParameterError

__all__ = ["FeatureTally"]

# What a pruning leaves. Each makes every count that begins after it one row or more less certain,
# so it must make room for many.
_LEFT = 0.5


class FeatureTally:
    """The rows and the total of each feature, of which at most so many are held.

    Exact until there are more. Then the rarest are forgotten, and with them how often they came:
    a feature that comes again, or for the first time, may have been among them. So, as in lossy
    counting (Manku and Motwani 2002, "Approximate frequency counts over data streams"), every
    count is too low by at most the largest that was forgotten before the feature was last taken
    in, and a feature that is not held came in at most `lost_rows` rows.

    Parameters
    ----------
    most
        Features held, at most.
    """

    def __init__(self, most: int) -> None:
        if not isinstance(most, int) or most < 1:
            raise ParameterError(f"max_candidates must be 1 or more, but got {most}.")
        self._most = most
        self._codes: dict[str, int] = {}
        self._rows_with = np.zeros(0, dtype=np.int64)
        self._totals = np.zeros(0)
        self._missed_rows = np.zeros(0, dtype=np.int64)
        self.lost_rows = 0
        """Rows of a feature that is not held, at most; 0 if every feature is."""

    def __len__(self) -> int:
        """Return how many features are held."""
        return len(self._codes)

    def add(
        self,
        names: Sequence[str],
        rows_with: npt.NDArray[np.int64],
        totals: npt.NDArray[np.float64],
    ) -> None:
        """Add what some rows hold: distinct features, and the rows and the total of each."""
        known = len(self._codes)
        for name in names:
            self._codes.setdefault(name, len(self._codes))
        new = len(self._codes) - known
        self._rows_with = np.pad(self._rows_with, (0, new))
        self._totals = np.pad(self._totals, (0, new))
        self._missed_rows = np.pad(self._missed_rows, (0, new), constant_values=self.lost_rows)
        codes = np.fromiter((self._codes[name] for name in names), np.int64, len(names))
        self._rows_with[codes] += rows_with
        self._totals[codes] += totals
        if len(self._codes) > self._most:
            self._prune()

    def _prune(self) -> None:
        """Forget the rarest; all that are equally rare together, so that no order matters."""
        at_most = self._rows_with + self._missed_rows
        left = int(self._most * _LEFT)
        cut = np.partition(at_most, len(at_most) - left - 1)[len(at_most) - left - 1]
        kept = at_most > cut
        self.lost_rows = max(self.lost_rows, int(cut))
        names = [name for name, keep in zip(self._codes, kept.tolist(), strict=True) if keep]
        self._codes = {name: code for code, name in enumerate(names)}
        self._rows_with = self._rows_with[kept]
        self._totals = self._totals[kept]
        self._missed_rows = self._missed_rows[kept]

    def sorted(
        self,
    ) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The features held, by name.

        Returns
        -------
        names, rows_with, missed_rows, totals
            The rows of a feature are `rows_with`, or more, by at most `missed_rows`.
        """
        names = sorted(self._codes)
        order = np.fromiter((self._codes[name] for name in names), np.int64, len(names))
        return names, self._rows_with[order], self._missed_rows[order], self._totals[order]
