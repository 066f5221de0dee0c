"""Nearest rows of a matrix of vectors, exactly or approximately."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from longtail.errors import MissingExtraError, ParameterError

__all__ = ["Metric", "NearestRows", "check_metric", "unit"]

Metric = Literal["cosine", "dot", "euclidean"]
Array = npt.NDArray[np.float32]

_CHUNK = 8_000_000  # similarities held at a time


def check_metric(metric: str) -> None:
    """Check that there is such a metric.

    Raises
    ------
    ParameterError
    """
    if metric not in get_args(Metric):
        raise ParameterError(
            f"metric must be one of {', '.join(get_args(Metric))}; got {metric!r}."
        )


class NearestRows:
    """Search among the rows of a matrix.

    Parameters
    ----------
    vectors
        (V, K).
    metric
        Similarity: ``"cosine"``; ``"dot"``, the inner product; ``"euclidean"``, minus the
        distance.
    approximate
        Search a graph of neighbours (HNSW, by usearch, from the extra ``longtail[ann]``) and not
        every row. Worth its building time for many queries of a large V.
    """

    def __init__(self, vectors: Array, metric: Metric, *, approximate: bool = False) -> None:
        check_metric(metric)
        self.metric = metric
        self.vectors = unit(vectors) if metric == "cosine" else vectors
        self._index = self._build() if approximate else None

    def similarities(self, query: Array) -> Array:
        """Of one vector (K,) with every row: (V,)."""
        if self.metric == "cosine":
            query = unit(query[None])[0]
        if self.metric == "euclidean":
            distance: Array = -norms(self.vectors - query)
            return distance
        result: Array = self.vectors @ query
        return result

    def search(self, queries: Array, k: int) -> tuple[npt.NDArray[np.int64], Array]:
        """The k nearest rows of each query (n, K), nearest first: indices and similarities (n, k).

        A query that is a row of the matrix finds itself.
        """
        k = min(k, len(self.vectors))
        if self._index is not None:
            return self._search_index(queries, k)
        found, values = [], []
        step = max(1, _CHUNK // len(self.vectors))
        for start in range(0, len(queries), step):
            s = np.stack([self.similarities(q) for q in queries[start : start + step]])
            near = np.argpartition(-s, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(s, near, 1), axis=1, kind="stable")
            near = np.take_along_axis(near, order, 1)
            found.append(near.astype(np.int64))
            values.append(np.take_along_axis(s, near, 1))
        return np.concatenate(found), np.concatenate(values)

    def _build(self) -> Any:
        try:
            from usearch.index import Index
        except ImportError as error:
            raise MissingExtraError(
                "Approximate neighbours need usearch, which the extra brings: "
                "pip install longtail[ann]. approximate=False needs nothing."
            ) from error
        kind = "l2sq" if self.metric == "euclidean" else "ip"
        index = Index(ndim=self.vectors.shape[1], metric=kind, dtype="f32")
        index.add(np.arange(len(self.vectors)), np.ascontiguousarray(self.vectors))
        return index

    def _search_index(self, queries: Array, k: int) -> tuple[npt.NDArray[np.int64], Array]:
        assert self._index is not None
        queries = unit(queries) if self.metric == "cosine" else queries
        matches = self._index.search(np.ascontiguousarray(queries), k)
        keys = np.atleast_2d(matches.keys).astype(np.int64)
        distances = np.atleast_2d(matches.distances)
        if self.metric == "euclidean":
            return keys, (-np.sqrt(distances)).astype(np.float32)
        return keys, (1 - distances).astype(np.float32)


def unit(vectors: Array) -> Array:
    """Rows scaled to length 1; rows of zeros stay."""
    lengths = norms(vectors)
    lengths[lengths == 0] = 1
    result: Array = vectors / lengths[:, None]
    return result


def norms(vectors: Array) -> Array:
    """Euclidean length of each row."""
    lengths: Array = np.linalg.norm(vectors, axis=1).astype(np.float32)
    return lengths
