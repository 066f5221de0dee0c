"""Features found as their names are typed."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt

from longtail.data import Vocabulary

__all__ = ["FeatureSearch"]

_SIMILAR_PREFIX = 3


class FeatureSearch:
    """Finds features by the beginning of their names, or by what their descriptions hold.

    Case does not count, but names that differ only in case stay two.

    Parameters
    ----------
    vocabulary
        The V features.
    frequencies
        (V,): frequent features come first.
    """

    def __init__(self, vocabulary: Vocabulary, frequencies: npt.NDArray[np.float64]) -> None:
        self._vocabulary = vocabulary
        self._frequencies = frequencies
        folded = [name.casefold() for name in vocabulary]
        self._order = sorted(range(len(folded)), key=folded.__getitem__)
        self._folded = [folded[i] for i in self._order]
        self._described = {
            vocabulary.index(name): text.casefold()
            for name, text in vocabulary.descriptions.items()
        }

    def find(self, typed: str, limit: int) -> tuple[list[int], bool]:
        """Columns, at most `limit`, and whether there are more.

        First the feature of exactly this name; then those that begin so; then those whose
        description holds it.
        """
        asked = typed.strip().casefold()
        begin = self._beginning(asked)
        # One more than asked for: it tells whether there are more.
        found = self._frequent(begin, limit + 1)
        exact = self._vocabulary.codes([typed])[0]
        if exact >= 0:
            found = [int(exact), *(i for i in found if i != exact)]
        if asked and len(found) <= limit:
            told = [i for i, text in self._described.items() if asked in text]
            known = set(found)
            found += [i for i in self._frequent(told, limit + 1) if i not in known]
        return found[:limit], len(found) > limit

    def similar(self, name: str, limit: int = 3) -> list[str]:
        """Names that are the same but for case, or else begin alike; cheap."""
        asked = name.casefold()
        for length in range(len(asked), _SIMILAR_PREFIX - 1, -1):
            alike = self._beginning(asked[:length])
            if alike:
                return [self._vocabulary[i] for i in self._frequent(alike, limit)]
        return []

    def _beginning(self, folded: str) -> list[int]:
        start = bisect_left(self._folded, folded)
        stop = bisect_left(self._folded, folded + "\U0010ffff", lo=start)
        return self._order[start:stop]

    def _frequent(self, columns: list[int], n: int) -> list[int]:
        order = np.argsort(-self._frequencies[columns], kind="stable")[:n]
        return [columns[int(i)] for i in order]
