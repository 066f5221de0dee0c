"""(row, feature, count) entries → counts: repeats added up, thresholds, graphs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array, csr_array

from longtail.data.coerce import as_row_ids, to_table
from longtail.data.counts import CountMatrix
from longtail.data.graphs import with_self_links
from longtail.data.settings import ReadSettings
from longtail.data.tables import tidy_ids
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning

__all__ = [
    "Entries",
    "NothingToCountError",
    "count_edges",
    "count_entries",
    "count_matrix",
    "no_counts",
]


@dataclass(frozen=True)
class Entries:
    """Entries in the order of a file.

    Parameters
    ----------
    rows, features
        The keys of each entry: strings or whole numbers without nulls, length m.
    values
        Finite numbers, shape (m,), or None where each entry counts 1.
    """

    rows: pl.Series
    features: pl.Series
    values: npt.NDArray[np.float64] | None = None

    def __getitem__(self, kept: npt.NDArray[np.bool_]) -> Entries:
        """Select entries by a mask."""
        mask = pl.Series(kept, dtype=pl.Boolean)
        values = None if self.values is None else self.values[kept]
        return Entries(self.rows.filter(mask), self.features.filter(mask), values)


def count_entries(entries: Entries, row_order: pl.Series, settings: ReadSettings) -> CountMatrix:
    """Count the entries of each pair of a row and a feature.

    Parameters
    ----------
    entries
        What to count.
    row_order
        The distinct row keys, in the order that the result has. Some may have no entry.
    settings
        ``strip_dots`` applies.

    Returns
    -------
    CountMatrix
        Features sorted by name; without row ids other than 0, 1, ….
    """
    features = _without_dots(entries.features) if settings.strip_dots else entries.features
    names = features.unique().cast(pl.String).sort()
    columns = _codes(features, names.cast(features.dtype))
    weights = np.ones(len(features)) if entries.values is None else entries.values
    matrix = coo_array(
        (weights, (_codes(entries.rows, row_order), columns)), shape=(len(row_order), len(names))
    )
    # Entries below min_value are gone already; what is added up here is kept.
    return count_matrix(
        matrix, replace(settings, min_value=None), vocabulary=Vocabulary(names.to_list())
    )


def no_counts(row_ids: Any | None, n_rows: int) -> CountMatrix:
    """Rows without a count, and without a feature."""
    csr = csr_array((n_rows, 0), dtype=np.float32)
    csr.has_canonical_format = True
    return CountMatrix(csr, as_row_ids(row_ids, n_rows), Vocabulary([]))


class NothingToCountError(DataError):
    """No row of a file holds anything to count: an error in training data, not in new data.

    Attributes
    ----------
    counts
        The rows, all empty.
    """

    def __init__(self, message: str, counts: CountMatrix) -> None:
        super().__init__(message)
        self.counts = counts


def count_edges(entries: Entries, source: str, *, self_links: bool = False) -> CountMatrix:
    """Count the edges of an undirected graph, each as two entries.

    Rows and features are the nodes that have an edge, in the same order: by number if all are
    whole numbers, else by name. Edges from a node to itself are left out with a `DataWarning`.
    An edge listed again, in either direction, counts once; with weights, they are added up.

    Parameters
    ----------
    entries
        ``rows`` and ``features`` are the ends of each edge, ``values`` the weights.
    source
        Where they come from, for messages.
    self_links
        Make every node a neighbour of its own; see `with_self_links`.

    Raises
    ------
    DataError
        If no edge is left.
    """
    ends = pl.concat([entries.rows.cast(pl.String), entries.features.cast(pl.String)])
    names = _ordered(ends)
    codes = _codes(ends, names)
    first, second = codes[: len(entries.rows)], codes[len(entries.rows) :]
    values = entries.values
    kept = ~_loops(first, second, names, source)
    if values is not None:
        kept &= values != 0
    if not kept.any():
        raise DataError(
            f"{source} holds no edge between two different nodes (with a weight other than 0); "
            "expected at least one."
        )
    weights = np.ones(int(kept.sum())) if values is None else values[kept]
    smaller, larger = np.minimum(first, second)[kept], np.maximum(first, second)[kept]
    upper, n_repeated = _add_up(
        coo_array((weights, (smaller, larger)), shape=(len(names), len(names)))
    )
    if values is None:  # listed again, perhaps from its other end, it is the same edge
        upper.data[:] = 1
        n_repeated = 0
    connected = np.unique(np.concatenate([smaller, larger]))
    both = (upper + upper.T).tocsr()[connected][:, connected]
    listed = names.gather(connected)
    counts = CountMatrix.from_any(
        both, row_ids=tidy_ids(listed), vocabulary=Vocabulary(listed.to_list())
    )
    if self_links:
        counts = with_self_links(counts)
    return replace(counts, n_repeated=n_repeated)


def _ordered(nodes: pl.Series) -> pl.Series:
    """Return the distinct nodes: by number if all are whole numbers, else by name."""
    names = nodes.unique()
    numbers = tidy_ids(names)
    return names.sort() if numbers.dtype == pl.String else names.gather(numbers.arg_sort())


def _loops(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], names: pl.Series, source: str
) -> npt.NDArray[np.bool_]:
    """Return which edges lead from a node to itself, and say so."""
    loops: npt.NDArray[np.bool_] = first == second
    if loops.any():
        node = names[int(first[np.argmax(loops)])]
        warnings.warn(
            f"{int(loops.sum()):,} of {len(loops):,} edges of {source} lead from a node to itself "
            f"(the first at node {node!r}) and are left out.",
            DataWarning,
            stacklevel=2,
        )
    return loops


def _add_up(matrix: coo_array) -> tuple[csr_array, int]:
    """Sum the entries of equal places; return how many repeated the place of another."""
    summed = csr_array(matrix.astype(np.float64, copy=False))
    summed.sum_duplicates()
    return summed, int(matrix.nnz - summed.nnz)


def count_matrix(
    matrix: Any,
    settings: ReadSettings,
    *,
    row_ids: Any | None = None,
    vocabulary: Vocabulary | None = None,
) -> CountMatrix:
    """Make counts of a matrix that was read from a file; ``min_value`` applies.

    Parameters
    ----------
    matrix
        What `CountMatrix.from_any` takes. Entries of a coo_array that have the same place are
        added up, and those that repeat another are counted in the result's ``n_repeated``.
    settings
        How it was read.
    row_ids, vocabulary
        See `CountMatrix.from_any`.
    """
    n_repeated = 0
    least = settings.min_value
    if least is not None and not isinstance(matrix, coo_array):
        matrix = to_table(matrix).csr.tocoo()
    if isinstance(matrix, coo_array) and matrix.dtype.kind in "biuf":
        if least is not None:
            kept = ~(matrix.data < least)  # a NaN stays, to be refused by name
            triples = (matrix.data[kept], (matrix.row[kept], matrix.col[kept]))
            matrix = coo_array(triples, shape=matrix.shape)
        matrix, n_repeated = _add_up(matrix)
    counts = CountMatrix.from_any(matrix, row_ids=row_ids, vocabulary=vocabulary)
    return replace(counts, n_repeated=n_repeated)


def _without_dots(features: pl.Series) -> pl.Series:
    """Remove every full stop from names.

    Raises
    ------
    DataError
        If a name consists of nothing else.
    """
    bare = features.cast(pl.String).str.replace_all(".", "", literal=True)
    if (bare == "").any():
        nothing = features.filter(bare == "")[0]
        raise DataError(
            f"The feature {nothing!r} consists of full stops alone, so nothing of it is left with "
            "strip_dots=True. Rename it, or leave strip_dots out."
        )
    return bare


def _codes(keys: pl.Series, ordered: pl.Series) -> npt.NDArray[np.int64]:
    """Return the position of each key in `ordered`, which holds each of them once."""
    lookup = pl.DataFrame({"key": ordered}).with_row_index("code")
    joined = pl.DataFrame({"key": keys}).join(lookup, on="key", how="left", maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)
