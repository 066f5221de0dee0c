"""Embeddings of features, overall and in context: the rows of a Jacobian.

Row v of E[∂g/∂z] says how feature v answers to each latent dimension; features that answer alike
mean alike. Averaged over the prior that is one vector a feature. Averaged over the posterior of a
bag of context features it is the feature's vector *there*: the decoder's curvature moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from longtail.data import CountMatrix, Vocabulary
from longtail.data.checks import MAX_COUNT
from longtail.data.files import as_path
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis, Posterior
from longtail.estimator.exposures import at_typical_exposure
from longtail.estimator.inputs import whole
from longtail.introspection.closed_form import JacobianKind
from longtail.introspection.jacobians import jacobian
from longtail.introspection.neighbors import Metric, NearestRows, check_metric, unit
from longtail.ops.ambient import neutral_torch
from longtail.output_files import replacing, write_table

__all__ = ["Context", "Embeddings", "context_posterior", "embeddings"]

Array = npt.NDArray[np.float32]
Context = Sequence[str] | Mapping[str, float]

_TABLES = (".parquet", ".csv")
_TEXTS = (".txt", ".vec", ".w2v")
# Kinds whose rows are the longer, the likelier the feature.
_WEIGHTED: tuple[JacobianKind, ...] = ("probabilities", "root_probabilities", "mean")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A vector for every feature.

    Attributes
    ----------
    vocabulary
        The V features.
    vectors
        (V, K) float32.
    metric
        How they are best compared, unless a method is told otherwise: "cosine", "dot" (inner
        product) or "euclidean" (minus the distance).
    context
        The features of the context, which are never among the neighbours; empty for global
        vectors.
    """

    vocabulary: Vocabulary
    vectors: Array
    metric: Metric = "cosine"
    context: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        check_metric(self.metric)
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.vocabulary):
            raise DataError(
                f"{len(self.vocabulary)} features need as many vectors; got an array of shape "
                f"{self.vectors.shape}."
            )

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __contains__(self, feature: object) -> bool:
        return feature in self.vocabulary

    def __getitem__(self, feature: str) -> Array:
        """The vector of a feature, (K,)."""
        vector: Array = self.vectors[self.vocabulary.index(feature)]
        return vector

    def similarity(self, a: str, b: str, metric: Metric | None = None) -> float:
        """Similarity of two features: larger is nearer.

        Raises
        ------
        DataError
            If one is unknown, with suggestions by spelling.
        """
        check_metric(metric or self.metric)
        left, right = self[a].astype(np.float64), self[b].astype(np.float64)
        match metric or self.metric:
            case "euclidean":
                return -float(np.linalg.norm(left - right))
            case "dot":
                return float(left @ right)
            case _:
                lengths = np.linalg.norm(left) * np.linalg.norm(right)
                return float(left @ right / lengths) if lengths else 0.0

    def neighbors(
        self,
        feature: str | Sequence[str],
        k: int = 10,
        *,
        metric: Metric | None = None,
        exclude: Sequence[str] = (),
        approximate: bool = False,
    ) -> pl.DataFrame:
        """The features nearest to one feature, or to the mean direction of several.

        Parameters
        ----------
        k
            How many.
        exclude
            Not these; nor the features asked for, nor those of the context.
        approximate
            Search an index, which the first such call builds: see `NearestRows`.

        Returns
        -------
        polars.DataFrame
            rank (from 1), feature, description (if there are any), similarity.

        Raises
        ------
        DataError
            If a feature is unknown, with suggestions by spelling.
        """
        asked = [feature] if isinstance(feature, str) else list(feature)
        if not asked:
            raise ParameterError("neighbors needs at least one feature; got none.")
        k = min(whole("k", k, 1), len(self.vocabulary))
        rows = [self.vocabulary.index(name) for name in asked]
        own = self.vectors[rows]
        # Directions are averaged, so that a long vector does not decide alone; places as they are.
        by_place = (metric or self.metric) == "euclidean"
        query = own[0] if len(rows) == 1 else (own if by_place else unit(own)).mean(0)
        hidden = {*rows, *(self.vocabulary.index(name) for name in (*exclude, *self.context))}
        found, similarity = self.nearest(query[None], k + len(hidden), metric, approximate)
        kept = [i for i, row in enumerate(found[0]) if int(row) not in hidden][:k]
        names = self.vocabulary.columns([self.vocabulary[int(found[0, i])] for i in kept])
        return pl.DataFrame(
            {
                "rank": range(1, len(kept) + 1),
                **names,
                "similarity": similarity[0, kept].astype(np.float64),
            },
            schema={"rank": pl.Int64, **dict.fromkeys(names, pl.String), "similarity": pl.Float64},
        )

    def nearest(
        self,
        queries: Array,
        k: int,
        metric: Metric | None = None,
        approximate: bool = False,
    ) -> tuple[npt.NDArray[np.int64], Array]:
        """Rows nearest to each vector (n, K), nearest first: indices, similarities (n, k)."""
        return self._search(metric or self.metric, approximate).search(queries, k)

    def similarities(self, query: Array, metric: Metric | None = None) -> Array:
        """Similarity of each feature to one vector, (K,) → (V,)."""
        return self._search(metric or self.metric, False).similarities(query)

    def _search(self, metric: Metric, approximate: bool) -> NearestRows:
        key = (metric, approximate)
        if key not in self._searches:
            self._searches[key] = NearestRows(self.vectors, metric, approximate=approximate)
        return self._searches[key]

    @cached_property
    def _searches(self) -> dict[tuple[str, bool], NearestRows]:
        return {}

    def frame(self) -> pl.DataFrame:
        """One line a feature: name, description (if there are any), vector v0 to v{K−1}."""
        columns: dict[str, Any] = self.vocabulary.columns(self.vocabulary.names)
        return pl.DataFrame(columns | {f"v{k}": c for k, c in enumerate(self.vectors.T)})

    def save(self, path: str | Path) -> Path:
        """Write the vectors: .parquet or .csv, or word2vec's text format as .txt, .vec or .w2v.

        In the text format, which ends a name at a space, white space in names becomes ``_``.

        Raises
        ------
        ParameterError
            If the extension is none of these, or two names become one.
        WriteError
        """
        path = as_path(path)
        check_embeddings_path(path)
        if path.suffix in _TABLES:
            write_table(self.frame(), path)
        else:
            self._write_text(path)
        return path

    def _write_text(self, path: Path) -> None:
        names = ["_".join(name.split()) or "_" for name in self.vocabulary]
        if len(set(names)) < len(names):
            raise ParameterError(
                "Some feature names differ only in white space, which word2vec's text format "
                "cannot hold. Write .parquet or .csv."
            )
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(f"{len(names)} {self.vectors.shape[1]}\n")
            for name, vector in zip(names, self.vectors, strict=True):
                file.write(f"{name} {' '.join(f'{x:.7g}' for x in vector)}\n")


def check_embeddings_path(path: Path) -> None:
    """Check that embeddings could be written to this name.

    Raises
    ------
    ParameterError
    """
    if path.suffix not in (*_TABLES, *_TEXTS):
        raise ParameterError(
            f"Embeddings are written as {', '.join(_TABLES)}, or in word2vec's text format as "
            f"{', '.join(_TEXTS)}; got {path.name!r}."
        )


@neutral_torch()
def embeddings(
    model: NonlinearFactorAnalysis,
    context: Context | CountMatrix | None = None,
    *,
    of: JacobianKind | None = None,
    at: Any = "prior",
    metric: Metric | None = None,
    power: float | None = None,
    count: float = 10,
    samples: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embeddings of all features, overall or in a context.

    Parameters
    ----------
    model
        Fitted.
    context
        Features, each taken `count` times; a mapping from features to counts; or one row of
        counts. The vectors are then those at the posterior of that bag.
    of
        Which Jacobian; see `jacobian`. Without a context the log-probabilities, compared by
        cosine. In a context the probabilities, compared by inner product: a neighbour answers to
        z as the feature does *and* is likely in the context. (At one z, cosines do not know which
        features the context makes likely.)
    at
        Without a context: over what z; see `jacobian`.
    metric
        "cosine", "dot" or "euclidean".
    power
        Singular values σ of the Jacobian become σ^power, which evens out strong and weak
        directions below 1. Without a context 0.5, as for vectors from factorised co-occurrences
        (Levy, Goldberg and Dagan 2015); in a context 1, the Jacobian itself.
    count
        Of each feature of a context given as a list.
    samples
        Draws of z: 1,000, or 100 in a context, whose posterior is narrow.
    seed
        Of the draws.
    progress
        Called with (points done, points in all).

    Raises
    ------
    NotFittedError, ParameterError
    DataError
        If a feature of the context is unknown, with suggestions by spelling.
    """
    if metric is not None:
        check_metric(metric)
    if power is not None and not (_is_real(power) and 0 <= power <= 1):
        raise ParameterError(f"power must be in [0, 1]; got {power!r}.")
    names: tuple[str, ...] = ()
    if context is not None:
        if not (isinstance(at, str) and at == "prior"):
            raise ParameterError("Give either a context or `at`, not both.")
        bag = context_bag(model, context, count)
        names = tuple(name for name, _ in bag.top_features(0, bag.nnz))
        at = context_posterior(model, bag)
    if power is None:
        power = 1.0 if names else 0.5
    j = jacobian(
        model,
        of or ("probabilities" if names else "log_probabilities"),
        at,
        samples=samples if samples is not None else (100 if names else 1000),
        seed=seed,
        progress=progress,
    )
    return Embeddings(
        model.vocabulary_,
        _evened(j.matrix, power),
        metric or ("dot" if names and of in (None, *_WEIGHTED) else "cosine"),
        names,
    )


def _evened(matrix: Array, power: float) -> Array:
    """U σ^p of the singular value decomposition U σ Vᵀ."""
    if power == 1:
        return matrix
    k = matrix.shape[1]
    # From MᵀM = V σ² Vᵀ: cheaper than decomposing V × K, and kept in the axes of z.
    m = matrix.astype(np.float64)
    values, vectors = np.linalg.eigh(m.T @ m)
    sigma = np.sqrt(values.clip(min=0))
    seen = sigma > k * np.finfo(np.float32).eps * sigma[-1]
    scale = np.zeros(k)
    scale[seen] = sigma[seen] ** (power - 1)
    result: Array = (m @ (vectors * scale) @ vectors.T).astype(np.float32)
    return result


def context_posterior(
    model: NonlinearFactorAnalysis, context: Context | CountMatrix, count: float = 10
) -> Posterior:
    """The refined posterior of a bag of context features."""
    return model.posterior(context_bag(model, context, count))


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def context_bag(
    model: NonlinearFactorAnalysis, context: Context | CountMatrix, count: float
) -> CountMatrix:
    """The context as one row of counts over the model's vocabulary.

    Where exposures are given with the rows, it has that of a typical training row, unless it is a
    row that has its own.
    """
    model.check_fitted()
    if isinstance(context, CountMatrix):
        bag, _ = model.align(at_typical_exposure(model, context))
        if bag.n_rows != 1 or bag.nnz == 0:
            raise DataError(
                f"A context is one row with a feature of the model's vocabulary; got {bag.n_rows} "
                f"rows and {bag.nnz} such features."
            )
        return bag
    if isinstance(context, str):
        raise ParameterError(f"context must be a list of features; got the string {context!r}.")
    weights = dict(context) if isinstance(context, Mapping) else dict.fromkeys(context, count)
    bad = [v for v in weights.values() if not (_is_real(v) and 0 < v <= MAX_COUNT)]
    if not weights or bad:
        raise ParameterError(
            "A context needs at least one feature, each with a count above 0; got "
            f"{repr(bad[0]) if bad else 'none'}. A count is at most {MAX_COUNT:,}."
        )
    columns = [model.vocabulary_.index(name) for name in weights]
    shape = (1, len(model.vocabulary_))
    values = np.fromiter(weights.values(), dtype=np.float32)
    csr = csr_array((values, (np.zeros(len(columns), int), columns)), shape=shape)
    bag = CountMatrix.from_any(csr, vocabulary=model.vocabulary_)
    return at_typical_exposure(model, bag)
