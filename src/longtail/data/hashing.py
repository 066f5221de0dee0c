"""A key for every sparse row that depends on the row's own content and on nothing else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

__all__ = ["mix", "row_keys", "rows_equal"]

# Constants of splitmix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
# generators"), written out because a changed key would change every seeded result.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

# Entries hashed at a time: keeps the temporaries to tens of megabytes whatever the matrix.
_BLOCK_ENTRIES = 1 << 21


def mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Apply splitmix64's finaliser, a bijection of 64-bit words in which every bit counts."""
    words = words + _GOLDEN
    words ^= words >> np.uint64(30)
    words *= _MIX_1
    words ^= words >> np.uint64(27)
    words *= _MIX_2
    words ^= words >> np.uint64(31)
    return words


def row_keys(csr: csr_array) -> npt.NDArray[np.uint64]:
    """Return a 64-bit content key for each row.

    A sum, modulo 2^64, of one mixed word for each (column, value) entry, mixed once more. So
    equal rows have equal keys in whatever matrix, batch or order they stand, and unequal rows
    have unequal keys but for a chance of about 2^-64 a pair.

    Parameters
    ----------
    csr
        float32 values, shape (n, V), without duplicate entries or explicit zeros.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    n_rows = csr.shape[0]
    sums = np.zeros(n_rows, dtype=np.uint64)
    starts = np.searchsorted(csr.indptr, np.arange(0, csr.nnz + 1, _BLOCK_ENTRIES), side="left")
    bounds = np.unique(np.concatenate([[0], starts, [n_rows]]))
    for first, last in pairwise(bounds.tolist()):
        begin, end = int(csr.indptr[first]), int(csr.indptr[last])
        values = np.ascontiguousarray(csr.data[begin:end], dtype=np.float32)
        words = csr.indices[begin:end].astype(np.uint64) << np.uint64(32)
        words |= values.view(np.uint32)
        # Differences of a running sum (exact modulo 2^64) give 0 for an empty row, where
        # np.add.reduceat would give a neighbour's entry.
        running = np.zeros(end - begin + 1, dtype=np.uint64)
        np.cumsum(mix(words), out=running[1:])
        pointers = csr.indptr[first : last + 1] - begin
        sums[first:last] = running[pointers[1:]] - running[pointers[:-1]]
    return mix(sums)


def rows_equal(
    csr: csr_array, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Compare row ``first[i]`` with row ``second[i]`` entry by entry, for all i at once.

    Parameters
    ----------
    csr
        Canonical CSR, shape (n, V).
    first, second
        Row positions, shape (m,).

    Returns
    -------
    ndarray of bool, shape (m,)
    """
    lengths = np.diff(csr.indptr)
    equal: npt.NDArray[np.bool_] = lengths[first] == lengths[second]
    candidates = np.flatnonzero(equal)
    left, right = csr[first[candidates]], csr[second[candidates]]
    differs = (left.indices != right.indices) | (left.data != right.data)
    owner = np.repeat(np.arange(len(candidates)), np.diff(left.indptr))
    equal[candidates[owner[differs]]] = False
    return equal
