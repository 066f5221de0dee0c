"""Graphs, whose rows are features too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from longtail.data.counts import CountMatrix
from longtail.errors import DataError

__all__ = ["with_self_links"]


def with_self_links(X: CountMatrix) -> CountMatrix:
    """Make every node a neighbour of its own, where it is not one yet.

    Each row then says whose it is. A node stands among its neighbours in the rows of all of them
    and in its own, so that friends of friends end up close together; without, a model only knows a
    node by whom it is found with. Links that are there keep their values, the new ones have 1.

    Parameters
    ----------
    X
        Rows named like features, as `read_counts(..., symmetric=True)` makes them; all of a graph
        or some.

    Raises
    ------
    DataError
        If a row is no feature.
    """
    own = X.vocabulary.codes([str(row_id) for row_id in X.row_ids])
    unknown = np.flatnonzero(own < 0)
    if len(unknown):
        raise DataError(
            f"In a graph every row is a feature too, but {len(unknown):,} of {X.n_rows:,} rows are "
            f"none; the first is {X.row_ids[int(unknown[0])]!r}. Give rows whose ids are names of "
            "features, such as read_counts(..., symmetric=True) makes."
        )
    there = np.asarray(X.csr[np.arange(X.n_rows), own]).ravel() > 0
    missing = np.flatnonzero(~there)
    ones = np.ones(len(missing), dtype=np.float32)
    loops = csr_array((ones, (missing, own[missing])), shape=X.shape)
    csr = csr_array(X.csr + loops)
    csr.sort_indices()
    csr.has_canonical_format = True
    return replace(X, csr=csr)
