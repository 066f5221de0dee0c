"""Which numbers can be counts, and where the first one stands that cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["MAX_COUNT", "check_values"]

# float32 holds every whole number up to here, and not the next one.
MAX_COUNT = 2**24


def check_values(
    csr: csr_array, row_ids: pl.Series, vocabulary: Vocabulary, *, strict: bool
) -> None:
    """Check that every stored value can be a count in float32.

    Parameters
    ----------
    csr
        Real values of any type, shape (n, V), without explicit zeros.
    row_ids, vocabulary
        For naming the place of a fault.
    strict
        Whether fractional values are refused too.

    Raises
    ------
    DataError
        For NaN, infinity, negative values, values above 2^24 or too small for float32, and,
        if `strict`, fractional values; names the first place and how many there are.
    """
    values = csr.data
    if len(values) == 0:
        return
    smallest, largest = values.min(), values.max()  # a NaN anywhere makes both NaN
    tiny = np.finfo(np.float32).smallest_subnormal
    if not (smallest >= tiny and largest <= MAX_COUNT):
        _refuse(csr, row_ids, vocabulary)
    if strict:
        _fail_where(
            values != np.floor(values),
            "Fractional values in data, but counts='strict' expects whole numbers",
            "Round them, or pass counts='fractional' if they are meant as weights.",
            csr,
            row_ids,
            vocabulary,
        )


def _refuse(csr: csr_array, row_ids: pl.Series, vocabulary: Vocabulary) -> None:
    values = csr.data
    faults: list[tuple[npt.NDArray[np.bool_], str, str]] = [
        (
            ~np.isfinite(values),
            "NaN or inf in data, but counts must be finite numbers",
            "Replace missing counts with 0, or drop those rows.",
        ),
        (
            values < 0,
            "Negative values in data, but counts must be 0 or more",
            "Give raw counts, not centred or log-transformed values; if they are ratings, read "
            "them with min_value= and binarize=True.",
        ),
        (
            values > MAX_COUNT,
            f"Values above {MAX_COUNT:,} in data, the largest count that float32 holds exactly",
            "Divide the column by a constant, or check for identifiers taken as counts.",
        ),
        (
            np.abs(values) < np.finfo(np.float32).smallest_subnormal,
            "Values in data too small for float32, where they would become 0",
            "Rescale the data, or set such values to 0.",
        ),
    ]
    for wrong, expectation, remedy in faults:
        _fail_where(wrong, expectation, remedy, csr, row_ids, vocabulary)


def _fail_where(
    wrong: npt.NDArray[np.bool_],
    expectation: str,
    remedy: str,
    csr: csr_array,
    row_ids: pl.Series,
    vocabulary: Vocabulary,
) -> None:
    n_wrong = int(np.count_nonzero(wrong))
    if n_wrong == 0:
        return
    entry = int(np.argmax(wrong))
    row = int(np.searchsorted(csr.indptr, entry, side="right")) - 1
    column = int(csr.indices[entry])
    raise DataError(
        f"{expectation}: {_row_name(row_ids, row)}, {_feature_name(vocabulary, column)} holds "
        f"{_plain(csr.data[entry])} ({n_wrong:,} such value(s) in all). {remedy}"
    )


def _row_name(row_ids: pl.Series, row: int) -> str:
    identifier: Any = row_ids[row]
    return f"row {row}" if identifier == row else f"row {identifier!r} (at position {row})"


def _feature_name(vocabulary: Vocabulary, column: int) -> str:
    if not vocabulary.named:
        return f"column {column}"
    return f"feature {vocabulary[column]!r} (column {column})"


def _plain(value: Any) -> str:
    number = float(value)
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:g}"
