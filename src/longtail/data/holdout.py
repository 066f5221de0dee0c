"""Hold out a part of each row at random, or edges of a graph at both ends.

Each split is ``(observed, held_out)``, of the same rows and features. An entry goes to
one side with its whole value, so no feature of a row stands on both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from longtail.data.counts import CountMatrix
from longtail.data.splits import check_seed, split_rows
from longtail.errors import DataError, ParameterError

__all__ = ["check_share", "split_edges", "split_fold_in", "split_items"]

Pair = tuple[CountMatrix, CountMatrix]


def split_items(X: CountMatrix, share: float = 0.2, *, seed: int) -> Pair:
    """Hold out a share of each row's entries at random.

    Of m entries, ⌊share · m⌋ are held out, as Liang et al. 2018 do: a row with few keeps them all.
    Every row keeps at least one. Which ones depends on the row's content and the seed only, not on
    the other rows or their order.

    Parameters
    ----------
    share
        Between 0 and 1.
    seed
        Whole number, 0 or more.

    Returns
    -------
    observed, held_out
        They add up to X.

    Raises
    ------
    ParameterError
        If `share` or `seed` is out of range.
    """
    check_share(share)
    check_seed(seed)
    held = np.zeros(X.nnz, dtype=bool)
    keys = X.row_keys()
    for row in range(X.n_rows):
        start, stop = int(X.csr.indptr[row]), int(X.csr.indptr[row + 1])
        n = _n_held(stop - start, share)
        if n:
            rng = np.random.default_rng([seed, int(keys[row])])
            held[start + rng.permutation(stop - start)[:n]] = True
    return _parts(X, held)


def split_fold_in(
    X: CountMatrix, sizes: Sequence[float | int], *, share: float = 0.2, seed: int
) -> tuple[CountMatrix, tuple[Pair, ...]]:
    """Hold out rows, and of each of them a share of its entries: strong generalisation.

    The protocol of Liang et al. 2018: a model is fitted to the first part and never meets the rows
    of the others. Of those it is shown the observed entries (fold-in) and judged by the rest.

    Parameters
    ----------
    sizes
        Of each part, in rows (int) or as a share of all rows (float), as for `split_rows`.
    share, seed
        As in `split_items`.

    Returns
    -------
    train, parts
        `parts` has an ``(observed, held_out)`` for each of `sizes`.

    Raises
    ------
    ParameterError, DataError
        As `split_rows` and `split_items` do.

    Examples
    --------
    ``train, (valid, (observed, held_out)) = split_fold_in(counts, [200, 200], seed=0)``
    """
    check_share(share)
    train, *parts = split_rows(X, sizes, seed=seed)
    return train, tuple(split_items(part, share, seed=seed) for part in parts)


def split_edges(X: CountMatrix, share: float = 0.2, *, seed: int) -> Pair:
    """Hold out a share of the edges of an undirected graph, from both their ends.

    Parameters
    ----------
    X
        Square and symmetric: row i and feature i are the same node. Loops, such as those of
        `with_self_links`, stay observed.
    share
        Of the edges, each counted once; at least one is held out. A node may lose all of its own.
    seed
        Whole number, 0 or more.

    Returns
    -------
    observed, held_out
        Both symmetric; they add up to X.

    Raises
    ------
    ParameterError
        If `share` or `seed` is out of range.
    DataError
        If X is not symmetric, names its rows and features differently, or has fewer than two edges.
    """
    check_share(share)
    check_seed(seed)
    _check_symmetric(X)
    rows = np.repeat(np.arange(X.n_rows), np.diff(X.csr.indptr))
    columns = X.csr.indices.astype(np.int64)
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    edge = low * X.n_features + high
    edges = np.unique(edge[low != high])
    if len(edges) < 2:
        raise DataError(f"The graph has {len(edges)} edge(s); at least 2 are needed for a split.")
    n = max(1, _n_held(len(edges), share))
    chosen = np.random.default_rng(seed).permutation(len(edges))[:n]
    return _parts(X, np.isin(edge, edges[chosen]))


def _n_held(m: int, share: float) -> int:
    # 0.29 · 100 is just below 29 in floating point.
    return min(int(share * m + 1e-9), m - 1) if m else 0


def _parts(X: CountMatrix, held: npt.NDArray[np.bool_]) -> Pair:
    return _entries(X, ~held), _entries(X, held)


def _entries(X: CountMatrix, kept: npt.NDArray[np.bool_]) -> CountMatrix:
    before = np.concatenate([[0], np.cumsum(kept)])
    csr = csr_array(
        (
            X.csr.data[kept],
            X.csr.indices[kept],
            before[X.csr.indptr].astype(X.csr.indptr.dtype),
        ),
        shape=X.shape,
    )
    csr.has_canonical_format = True
    # Whole features are hidden, in all of the row's exposure.
    return CountMatrix(csr, X.row_ids, X.vocabulary, X.settings, exposure=X.exposure)


def check_share(share: float) -> None:
    """Raise a ParameterError unless `share` lies between 0 and 1."""
    numeric = isinstance(share, int | float | np.floating) and not isinstance(share, bool)
    if not numeric or not 0 < share < 1:
        raise ParameterError(f"share must lie between 0 and 1; got {share!r}.")


def _check_symmetric(X: CountMatrix) -> None:
    if X.n_rows != X.n_features:
        raise DataError(
            f"A graph needs as many features as rows, each node being both; got {X.n_rows:,} rows "
            f"and {X.n_features:,} features."
        )
    if X.vocabulary.named:
        names = X.row_ids.cast(pl.String)
        differs = np.flatnonzero((names != pl.Series(X.vocabulary.names)).to_numpy())
        if len(differs):
            at = int(differs[0])
            raise DataError(
                "Row i and feature i must be the same node, but at position "
                f"{at} the row is {names[at]!r} and the feature {X.vocabulary[at]!r}. Put the "
                "features into the order of the rows."
            )
    difference = (X.csr - X.csr.T).tocoo()
    wrong = np.flatnonzero(difference.data)
    if len(wrong):
        i, j = int(difference.row[wrong[0]]), int(difference.col[wrong[0]])
        raise DataError(
            f"The counts must be symmetric, but entry ({i}, {j}) is {X.csr[i, j]:g} and entry "
            f"({j}, {i}) is {X.csr[j, i]:g}. Enter each edge at both its ends: X + X.T."
        )
