"""How well lists of features hang together: NPMI coherence and diversity.

    NPMI(a, b) = log[p(a, b) / (p(a) p(b))] / −log p(a, b),

with probabilities of being in the same row (Bouma 2009; Röder et al. 2015 for topics): 1 for
features always together, 0 for independent ones, −1 for features never together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from longtail.data import CountMatrix

__all__ = ["CoOccurrence", "topic_coherence", "topic_diversity"]

Array = npt.NDArray[np.float64]


class CoOccurrence:
    """Which features come in the same rows.

    Parameters
    ----------
    rows
        Best rows that the lists were not made from.
    """

    def __init__(self, rows: CountMatrix) -> None:
        self.vocabulary = rows.vocabulary
        self.n_rows = rows.n_rows
        present = rows.csr.copy()
        present.data = np.ones_like(present.data, dtype=np.float64)
        self._present = present.tocsc()
        self.frequency: Array = np.asarray(present.sum(axis=0), dtype=np.float64).ravel()

    def npmi(self, left: Sequence[str], right: Sequence[str]) -> Array:
        """NPMI of each of `left` with each of `right`: (n, m).

        NaN where a feature is in none of the rows, or unknown.
        """
        a, b = self.vocabulary.codes(left), self.vocabulary.codes(right)
        both = (self._present[:, a.clip(0)].T @ self._present[:, b.clip(0)]).toarray()
        fa = np.where(a >= 0, self.frequency[a], 0)[:, None]
        fb = np.where(b >= 0, self.frequency[b], 0)[None, :]
        out = np.full(both.shape, -1.0)
        out[np.broadcast_to(both == self.n_rows, out.shape)] = 1.0
        some = (both > 0) & (both < self.n_rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.log(both * self.n_rows / (fa * fb)) / -np.log(both / self.n_rows)
        out[some] = value[some]
        out[np.broadcast_to((fa == 0) | (fb == 0), out.shape)] = np.nan
        return out

    def coherence(self, features: Sequence[str]) -> float:
        """Mean NPMI of the pairs of a list; NaN if no pair is in the rows."""
        pairs = self.npmi(features, features)[np.triu_indices(len(features), 1)]
        known = pairs[~np.isnan(pairs)]
        return float(known.mean()) if len(known) else float("nan")


def topic_coherence(lists: Sequence[Sequence[str]], rows: CountMatrix) -> Array:
    """NPMI coherence of each list of features over rows, best held-out ones: (n,)."""
    together = CoOccurrence(rows)
    return np.array([together.coherence(features) for features in lists])


def topic_diversity(lists: Sequence[Sequence[str]]) -> float:
    """Share of distinct features among all those listed (Dieng et al. 2020)."""
    listed = [feature for features in lists for feature in features]
    return len(set(listed)) / len(listed) if listed else float("nan")
