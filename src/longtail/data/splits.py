"""Seeded splits in which no row's content stands on two sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from longtail.data.counts import CountMatrix
from longtail.data.hashing import rows_equal
from longtail.errors import DataError, ParameterError

__all__ = ["check_seed", "drop_duplicates", "duplicate_groups", "split_rows"]


def duplicate_groups(X: CountMatrix) -> npt.NDArray[np.int64]:
    """Number the rows so that two rows share a number exactly when their counts are equal.

    Returns
    -------
    ndarray of int64, shape (n,)
        Numbers from 0 without gaps, in order of first appearance.
    """
    _, first, group = np.unique(X.row_keys(), return_index=True, return_inverse=True)
    # Equal hashes are a promise, not a proof: each row is compared with its group's first.
    rows = np.arange(X.n_rows)
    representative = first[group]
    repeats = np.flatnonzero(representative != rows)
    proven = rows_equal(X.csr, repeats, representative[repeats])
    if not proven.all():
        group = _regroup(X, group, np.unique(group[repeats[~proven]]))
    return _by_first_appearance(group)


def _regroup(
    X: CountMatrix, group: npt.NDArray[np.int64], mixed: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Split the groups `mixed`, whose rows share a hash but not their content."""
    group = group.copy()
    seen: dict[tuple[int, bytes, bytes], int] = {}
    fresh = X.n_rows  # above every number in use
    for row in np.flatnonzero(np.isin(group, mixed)):
        entries = slice(X.csr.indptr[row], X.csr.indptr[row + 1])
        content = (X.csr.indices[entries].tobytes(), X.csr.data[entries].tobytes())
        group[row] = seen.setdefault((int(group[row]), *content), fresh + len(seen))
    return group


def _by_first_appearance(group: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse]


def drop_duplicates(X: CountMatrix) -> tuple[CountMatrix, int]:
    """Keep the first of equal rows; return the rows kept and how many were dropped.

    Rows with equal counts in different exposures are not equal.
    """
    groups = duplicate_groups(X)
    if X.exposure is not None:
        both = np.column_stack([groups, X.exposure])
        groups = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    _, first = np.unique(groups, return_index=True)
    dropped = X.n_rows - len(first)
    return (X[np.sort(first)] if dropped else X), dropped


def split_rows(
    X: CountMatrix, sizes: Sequence[float | int], *, seed: int
) -> tuple[CountMatrix, ...]:
    """Split the rows at random into a rest and one part for each of `sizes`.

    Rows with equal content always land in the same part, so a part can miss its size by a few
    rows where whole groups of duplicates do not fit; it never exceeds it. Rows keep their
    order inside each part.

    Parameters
    ----------
    X
        The rows to split.
    sizes
        The size of each part, as a number of rows (int) or a share of all rows (float).
    seed
        Whole number, 0 or more: the same seed gives the same split of the same matrix.

    Returns
    -------
    tuple of CountMatrix
        ``(rest, part_1, …, part_k)``.

    Raises
    ------
    ParameterError
        If a size is not positive, or nothing would be left for the rest.
    DataError
        If the rows are so often duplicate that a part would stay empty.

    Examples
    --------
    ``train, validation = split_rows(counts, [500], seed=0)``
    """
    if isinstance(sizes, str | bytes) or not isinstance(sizes, Iterable):
        raise ParameterError(f"sizes must be a list, such as [0.2]; got {sizes!r}.")
    wanted = [_n_rows(size, X.n_rows) for size in sizes]
    if sum(wanted) >= X.n_rows:
        raise ParameterError(
            f"The parts {list(sizes)} take {sum(wanted)} rows, but there are {X.n_rows}, and at "
            "least one must be left for the rest. Ask for smaller parts."
        )
    check_seed(seed)
    groups = duplicate_groups(X)
    group_sizes = np.bincount(groups)
    part_of_group = np.zeros(len(group_sizes), dtype=np.int64)
    waiting = np.random.default_rng(seed).permutation(len(group_sizes)).tolist()
    for part, room in enumerate(wanted, start=1):
        taken, waiting = _take(waiting, group_sizes, room)
        if not taken:
            raise DataError(
                f"Cannot fill part {part} with {room} row(s): every remaining row has more than "
                f"{room - 1} duplicates, and duplicates stay together. Use drop_duplicates first."
            )
        part_of_group[taken] = part
    part_of_row = part_of_group[groups]
    if not (part_of_row == 0).any():
        raise DataError("Nothing is left for the rest; use drop_duplicates first.")
    return tuple(X[part_of_row == part] for part in range(len(wanted) + 1))


def _take(
    groups: list[int], sizes: npt.NDArray[np.int64], room: int
) -> tuple[list[int], list[int]]:
    """Take groups in order while they fit into `room` rows; return them and the others."""
    taken: list[int] = []
    skipped: list[int] = []
    for position, group in enumerate(groups):
        if room == 0:
            return taken, skipped + groups[position:]
        size = int(sizes[group])
        if size <= room:
            taken.append(group)
            room -= size
        else:
            skipped.append(group)
    return taken, skipped


def check_seed(seed: int) -> None:
    """Raise a ParameterError unless `seed` is a whole number from 0 on."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ParameterError(f"seed must be a whole number ≥ 0; got {seed!r}.")


def _n_rows(size: float | int, n_rows: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
        raise ParameterError(f"A part's size must be a number, but got {size!r}.")
    if isinstance(size, int | np.integer):
        if size < 1:
            raise ParameterError(f"A part's size in rows must be 1 or more, but got {size}.")
        return int(size)
    if not 0.0 < size < 1.0:
        raise ParameterError(
            f"A part's share must lie between 0 and 1, but got {size!r}; give a whole number "
            "(int) to ask for that many rows."
        )
    return max(1, round(float(size) * n_rows))
