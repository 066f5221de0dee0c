"""What an alignment by name leaves out, and why names may fail to match."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from longtail.data.pandas_frames import is_whole
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning

__all__ = [
    "NOTHING_UNSEEN",
    "Unseen",
    "differ_by_dots",
    "dots_hint",
    "no_names_error",
    "none_in_common",
    "notice_numbers",
    "notice_position",
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
    n_unknown_rows
        Rows with counts of unseen features only.
    """

    rows: float
    mass: float
    n_features: int
    examples: tuple[str, ...]
    n_dotted: int = 0
    n_unknown_rows: int = 0

    @property
    def hint(self) -> str:
        """Number of rows without a known feature, and a remedy if full stops are to blame."""
        if self.n_unknown_rows == 0:
            return dots_hint(self.n_dotted)
        return (
            f" Rows without any known feature: {self.n_unknown_rows:,}; they are taken as rows "
            "without counts." + dots_hint(self.n_dotted)
        )


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


def no_names_error(here: Vocabulary | None = None) -> DataError:
    """Return the error for named features of rows that meet columns without names."""
    such = "" if here is None else f" (such as {_some(here)})"
    return DataError(
        f"These rows name their features{such}, but the model or vocabulary that they are matched "
        "with has no names, so nothing says which column is which. Fit to counts with names: "
        "CountMatrix.from_any(X, vocabulary=names)."
    )


def notice_position(here: Vocabulary, expected: Vocabulary) -> None:
    """Warn that columns are matched by position where one side alone has names.

    Names that are the column numbers in order say the same as no names.
    """
    if here.named == expected.named or here.names == expected.names:
        return
    if here.named:
        said = (
            f"These rows have feature names (such as {_some(here)}), but the model or vocabulary "
            "that they are matched with has none"
        )
        remedy = "Fit to named counts: a DataFrame, or CountMatrix.from_any(X, vocabulary=names)"
    else:
        said = (
            "These rows have no feature names, but the model or vocabulary that they are matched "
            f"with has (such as {_some(expected)})"
        )
        remedy = "Name the columns: CountMatrix.from_any(X, vocabulary=names)"
    warnings.warn(
        f"{said}: columns are matched by position, and another order would go unnoticed. {remedy}.",
        DataWarning,
        stacklevel=_levels_to_caller(),
    )


def notice_numbers(vocabulary: Vocabulary, items: Sequence[Any], called: str) -> None:
    """Warn where features could be meant by name, and are taken by column number.

    Parameters
    ----------
    vocabulary
        Of the model.
    items
        Names or column numbers.
    called
        The argument that they are given as.
    """
    if not vocabulary.named and any(isinstance(item, str) for item in items):
        said = "because the model's features have no names. Fit to counts with names to use names"
    elif vocabulary.named and any(is_whole(item) and str(item) in vocabulary for item in items):
        said = (
            "not as a name, although the model's features are called by numbers. Give names as "
            "text, such as '7'"
        )
    else:
        return
    warnings.warn(
        f"{called}: what is given is taken as a column number, {said}.",
        DataWarning,
        stacklevel=_levels_to_caller(),
    )


def _levels_to_caller() -> int:
    """Return the stacklevel of the first line outside this package and scikit-learn's wrappers."""
    inside = (__name__.partition(".")[0], "sklearn")
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    return level


def _some(vocabulary: Vocabulary) -> str:
    return ", ".join(map(repr, vocabulary.names[:_EXAMPLES]))
