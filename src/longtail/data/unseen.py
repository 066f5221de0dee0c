"""What an alignment by name leaves out, and why names may fail to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = [
    "NOTHING_UNSEEN",
    "Unseen",
    "differ_by_dots",
    "dots_hint",
    "none_in_common",
    "width_error",
]

_EXAMPLES = 5


@dataclass(frozen=True)
class Unseen:
    """What `CountMatrix.align` had to leave out.

    Parameters
    ----------
    rows
        Share of the rows that hold at least one unseen feature, in [0, 1].
    mass
        Share of the total count that fell on unseen features, in [0, 1].
    n_features
        Number of distinct unseen features that occur.
    examples
        The most frequent of them by total count, most frequent first.
    n_dotted
        How many of them the vocabulary has, but for full stops: see `differ_by_dots`.
    """

    rows: float
    mass: float
    n_features: int
    examples: tuple[str, ...]
    n_dotted: int = 0

    @property
    def hint(self) -> str:
        """What to do if full stops are to blame; empty otherwise."""
        return dots_hint(self.n_dotted)


NOTHING_UNSEEN = Unseen(rows=0.0, mass=0.0, n_features=0, examples=())


def differ_by_dots(names: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    """Say which names are unknown to a vocabulary, but known once full stops are removed.

    The code ``"250.00"`` differs in this way from the code ``"25000"``.

    Parameters
    ----------
    names
        Any sequence of strings, of length n.
    vocabulary
        What is known.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    bare = {name.replace(".", "") for name in vocabulary}
    unknown = vocabulary.codes(names) < 0
    known_bare = np.fromiter((n.replace(".", "") in bare for n in names), np.bool_, len(names))
    result: npt.NDArray[np.bool_] = unknown & known_bare
    return result


def dots_hint(n: int) -> str:
    """Return a sentence on `n` features that only full stops keep apart; empty for none."""
    if n == 0:
        return ""
    return (
        f" {n:,} of them differ from known features by full stops alone ('250.00' against "
        "'25000'): write the codes alike, or read both sets of data with strip_dots=True."
    )


def none_in_common(here: Vocabulary, expected: Vocabulary) -> DataError:
    """Return the error for two vocabularies without a common name."""
    return DataError(
        f"None of the {len(here):,} features here (such as {_some(here)}) is among the "
        f"{len(expected):,} expected (such as {_some(expected)}). Check that these are "
        "the right data, and that they were read with the same settings."
        + dots_hint(int(differ_by_dots(here.names, expected).sum()))
    )


def width_error(here: Vocabulary, expected: Vocabulary) -> DataError:
    """Return the error for columns that must match by position, and are not as many."""
    unnamed = "neither side has" if not (here.named or expected.named) else "one side does not have"
    return DataError(
        f"Expected {len(expected)} features, but these rows have {len(here)}. Columns are matched "
        f"by position, because {unnamed} feature names; give rows with the same columns, or "
        "names on both sides."
    )


def _some(vocabulary: Vocabulary) -> str:
    return ", ".join(map(repr, vocabulary.names[:_EXAMPLES]))
