"""What rows and columns are called, and which of them an index means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["row_positions", "rows_of_index", "vocabulary_for"]


def vocabulary_for(
    given: Vocabulary | Sequence[str] | None, found: tuple[str, ...] | None, n_features: int
) -> Vocabulary:
    """Return the vocabulary of a table: the one given, else its own names, else positions.

    Raises
    ------
    DataError
        If the one given has another size or no names, or differs from the table's own names.
    """
    if given is None:
        return Vocabulary.positional(n_features) if found is None else Vocabulary(found)
    vocabulary = given if isinstance(given, Vocabulary) else Vocabulary(given)
    if len(vocabulary) != n_features:
        raise DataError(
            f"Expected one feature name for each of {n_features} columns, but the vocabulary "
            f"has {len(vocabulary)}."
        )
    if found is not None and not vocabulary.named:
        raise DataError(
            f"The table names its columns (such as {found[0]!r}), and the vocabulary given has no "
            "names. Leave the vocabulary out."
        )
    if found is not None and vocabulary.names != found:
        first = next(i for i, name in enumerate(found) if name != vocabulary[i])
        raise DataError(
            f"The vocabulary given differs from the table's own column names, first at column "
            f"{first}: {vocabulary[first]!r} against {found[first]!r}. Leave the vocabulary out, "
            "and use .align(vocabulary) to reorder columns by name."
        )
    return vocabulary


def rows_of_index(index: tuple[Any, ...]) -> Any:
    """Return the rows of an index ``[rows, ...]`` or ``[rows, :]``.

    Raises
    ------
    DataError
        If it selects among the columns, too.
    """
    every = len(index) == 2 and (index[1] is Ellipsis or index[1] == slice(None))
    if not every or index[0] is Ellipsis:
        raise DataError(
            "Counts are indexed by their rows alone: counts[rows]. Use "
            "counts.select_features(columns) for columns, and counts.csr for single values."
        )
    return index[0]


def row_positions(rows: Any, n_rows: int) -> npt.NDArray[np.int64]:
    """Return any supported row index as positions between 0 and n − 1.

    Raises
    ------
    IndexError
        If a position is out of range.
    DataError
        If a mask has the wrong length, or the index is of another kind.
    """
    if isinstance(rows, slice):
        return np.arange(n_rows)[rows]
    index = np.asarray(rows)
    if index.ndim == 0 and index.dtype.kind in "iu":
        index = index.reshape(1)
    if index.ndim == 1 and len(index) == 0:
        index = index.astype(np.int64)
    if index.ndim != 1 or index.dtype.kind not in "iub":
        raise DataError(
            "Rows are selected with a slice, an array of positions or a boolean mask, but got "
            f"{index.dtype} of shape {index.shape}."
        )
    if index.dtype.kind == "b":
        if len(index) != n_rows:
            raise DataError(
                f"A row mask needs one value for each of {n_rows} rows, but has {len(index)}."
            )
        return np.flatnonzero(index)
    positions = index.astype(np.int64)
    outside = (positions < -n_rows) | (positions >= n_rows)
    if outside.any():
        raise IndexError(f"Row {positions[outside][0]} is out of range for {n_rows} rows.")
    return np.where(positions < 0, positions + n_rows, positions)
