"""Ambiguous features, found without naming contexts: those whose neighbours move most.

The frequent features nearest to a feature v, overall, are parted in two where their directions
differ most (by the sign of their first principal component). The nearest ones of either part make
a bag, a context c, which calls for v by

    pull = log p(v | z_c) − log p(v),

nats, with z_c the posterior mean of the bag and p(v) the training frequency. A feature that both
of its contexts call for, and whose nearest features in them have little in common, means two
things:

    score = (1 − overlap of the neighbours) · (the smaller pull).

Neighbours in a context are those of `embeddings`, at z_c alone. With J_h = ∂h/∂z, similarities with
all features, J J_vᵀ, need J_h J_vᵀ, an H-vector, and one V×H product: J itself, V×K, is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csr_array
from torch import Tensor

from longtail.data import CountMatrix, Vocabulary
from longtail.displays import NeighborhoodDisplay
from longtail.displays.base import table_html
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.exposures import at_typical_exposure
from longtail.estimator.inputs import MOST_ROWS, whole
from longtail.introspection.feature_vectors import Embeddings, embeddings
from longtail.introspection.neighbors import NearestRows, unit
from longtail.ops.ambient import neutral_torch

__all__ = ["Ambiguities", "AmbiguousFeature", "ambiguous_features"]

Bag = tuple[int, ...]  # columns
Near = tuple[tuple[int, float], ...]  # columns and similarities, nearest first

_CONTEXT_FEATURES = 3
_CONTEXT_COUNT = 10.0  # as the authors weigh a context's features
_PARTED = 24  # nearest features that are parted in two
_FREQUENT = 4  # times as many features may stand in contexts as are candidates
_STEPS = 10  # of refinement: a bag's place need not be known to the last digit


@dataclass(frozen=True)
class AmbiguousFeature:
    """A feature and the two contexts between which its neighbours move.

    Attributes
    ----------
    feature
        Its name.
    contexts
        The features of each.
    pulls
        log p(feature | context) − log p(feature) in each, nats.
    neighbors, similarities
        The nearest features in each, nearest first, and the inner products with them.
    overlap
        Share of the neighbours that both have.
    score
        (1 − overlap) times the smaller pull.
    """

    feature: str
    contexts: tuple[tuple[str, ...], tuple[str, ...]]
    pulls: tuple[float, float]
    neighbors: tuple[tuple[str, ...], tuple[str, ...]]
    similarities: tuple[tuple[float, ...], tuple[float, ...]]
    overlap: float
    score: float


@dataclass(frozen=True, eq=False)
class Ambiguities:
    """The most ambiguous features, first the most.

    Attributes
    ----------
    items
        The features; no two of them share a feature of their contexts.
    candidates
        How many features were searched.
    vocabulary
        The model's features.
    """

    items: tuple[AmbiguousFeature, ...]
    candidates: int
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> AmbiguousFeature:
        return self.items[i]

    def frame(self) -> pl.DataFrame:
        """One line a feature and context: feature, context, pull, neighbors, overlap, score."""
        lines = [
            {
                "feature": item.feature,
                "context": list(item.contexts[i]),
                "pull": item.pulls[i],
                "neighbors": list(item.neighbors[i]),
                "overlap": item.overlap,
                "score": item.score,
            }
            for item in self.items
            for i in (0, 1)
        ]
        return pl.DataFrame(
            lines,
            schema={
                "feature": pl.String,
                "context": pl.List(pl.String),
                "pull": pl.Float64,
                "neighbors": pl.List(pl.String),
                "overlap": pl.Float64,
                "score": pl.Float64,
            },
        )

    def display(self, i: int, overall: Embeddings | None = None) -> NeighborhoodDisplay:
        """The neighbours of the item at position `i` side by side, as a figure with its table.

        Parameters
        ----------
        overall
            Global vectors, for a first list without a context.
        """
        item, words = self.items[i], self.vocabulary
        lists = {}
        if overall is not None:
            lists["no context"] = overall.neighbors(item.feature, len(item.neighbors[0]))
        for context, near, similar in zip(
            item.contexts, item.neighbors, item.similarities, strict=True
        ):
            lists[words.listed(context)] = pl.DataFrame(
                {"rank": range(1, len(near) + 1), **words.columns(near), "similarity": similar}
            )
        return NeighborhoodDisplay(words.label(item.feature), lists)

    def _repr_html_(self) -> str:
        return table_html(self.frame())

    def __str__(self) -> str:
        listed = self.vocabulary.listed
        lines = [
            f"{len(self)} of {self.candidates:,} frequent features whose neighbours move most "
            "between two contexts"
        ]
        for item in self.items:
            lines.append(
                f"\n{self.vocabulary.label(item.feature)}: {item.overlap:.0%} of the neighbours "
                "in common"
            )
            lines += [
                f"  with {listed(context)}: {listed(near)}"
                for context, near in zip(item.contexts, item.neighbors, strict=True)
            ]
        return "\n".join(lines)


@neutral_torch()
def ambiguous_features(
    model: NonlinearFactorAnalysis,
    *,
    top: int = 6,
    k: int = 8,
    candidates: int = 500,
    vectors: Embeddings | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Ambiguities:
    """Find the features whose neighbours move most between two contexts.

    Parameters
    ----------
    top
        How many to return, at most.
    k
        Neighbours that are compared.
    candidates
        The features most frequent in training are searched, this many: what the model says of
        rare ones in context is uncertain.
    vectors
        Global embeddings, if the caller holds them.
    seed
        Of the draws of z behind the embeddings, and of the contexts' posteriors.
    progress
        Called with (contexts done, contexts in all).

    Raises
    ------
    NotFittedError, ParameterError
    """
    for name, value in (("top", top), ("k", k), ("candidates", candidates)):
        whole(name, value, 1, MOST_ROWS)
    model.check_fitted()
    if vectors is None:
        vectors = embeddings(model, seed=seed)
    by_frequency = np.argsort(-model.unigram_, kind="stable")
    contexts = _parted(vectors, by_frequency, int(candidates))
    found = _search(model, contexts, int(k), seed, progress)
    found.sort(key=lambda moved: -moved.score)
    kept: list[_Moved] = []
    used: set[int] = set()
    for moved in found:
        own = {u for bag in moved.bags for u in bag}
        if len(kept) < top and moved.score > 0 and not own & used:
            kept.append(moved)
            used |= own
    items = tuple(_named(moved, model.vocabulary_) for moved in kept)
    return Ambiguities(items, min(int(candidates), len(by_frequency)), model.vocabulary_)


def _parted(
    vectors: Embeddings, by_frequency: npt.NDArray[np.int64], candidates: int
) -> dict[int, tuple[Bag, Bag]]:
    """The two contexts of each candidate; those of which one would be empty are left out."""
    asked, frequent = by_frequency[:candidates], by_frequency[: _FREQUENT * candidates]
    directions = unit(vectors.vectors)
    nearest = NearestRows(vectors.vectors[frequent], "cosine")
    near, _ = nearest.search(vectors.vectors[asked], _PARTED + 1)
    contexts = {}
    for v, row in zip(asked.tolist(), frequent[near], strict=True):
        others = row[row != v][:_PARTED]
        around = directions[others].astype(np.float64)
        around -= around.mean(0)
        if len(others) < 2 or not np.abs(around).max() > 0:
            continue
        along = around @ np.linalg.svd(around, full_matrices=False)[2][0]
        sides = (others[along > 0], others[along <= 0])
        first, second = (tuple(side[:_CONTEXT_FEATURES].tolist()) for side in sides)
        if first and second:
            contexts[v] = (first, second)
    return contexts


@dataclass(frozen=True)
class _Moved:
    """A feature between its two contexts, by columns."""

    feature: int
    bags: tuple[Bag, Bag]
    pulls: tuple[float, float]
    near: tuple[Near, Near]
    overlap: float
    score: float


@torch.no_grad()
def _search(
    model: NonlinearFactorAnalysis,
    contexts: dict[int, tuple[Bag, Bag]],
    k: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> list[_Moved]:
    """Every candidate between its contexts."""
    if not contexts:
        return []
    # Bernoulli rows hold presence alone.
    most = model.network_.generative.likelihood.most
    count = _CONTEXT_COUNT if most is None else min(_CONTEXT_COUNT, most)
    bags = list(dict.fromkeys(bag for pair in contexts.values() for bag in pair))
    steps = min(_STEPS, int(model.eval_refine_steps))
    rows = at_typical_exposure(model, _rows(bags, count, model.vocabulary_))
    means = torch.from_numpy(model.posterior(rows, refine_steps=steps, seed=seed).mean)
    asked: dict[Bag, list[int]] = {}
    for v, pair in contexts.items():
        for bag in pair:
            asked.setdefault(bag, []).append(v)
    log_frequency = np.log(model.unigram_)
    pull: dict[tuple[int, Bag], float] = {}
    near: dict[tuple[int, Bag], Near] = {}
    for i, (bag, features) in enumerate(zip(bags, map(asked.__getitem__, bags), strict=True)):
        log_p, similarity = _at(model, means[[i]], features)
        similarity[list(bag)] = -torch.inf
        similarity[features, range(len(features))] = -torch.inf
        n = max(0, min(k, len(similarity) - len(bag) - 1))
        values, indices = (t.T.cpu().tolist() for t in similarity.topk(n, dim=0))
        for j, v in enumerate(features):
            pull[v, bag] = float(log_p[v]) - float(log_frequency[v])
            near[v, bag] = tuple(zip(indices[j], values[j], strict=True))
        if progress is not None:
            progress(i + 1, len(bags))
    found = []
    for v, (a, b) in contexts.items():
        if near[v, a]:
            common = {u for u, _ in near[v, a]} & {u for u, _ in near[v, b]}
            overlap = len(common) / len(near[v, a])
            pulls = (pull[v, a], pull[v, b])
            score = (1 - overlap) * min(pulls)
            found.append(_Moved(v, (a, b), pulls, (near[v, a], near[v, b]), overlap, score))
    return found


def _at(model: NonlinearFactorAnalysis, z: Tensor, features: list[int]) -> tuple[Tensor, Tensor]:
    """log p of all features at one z, (V,), and their similarities with some, J J_vᵀ: (V, n)."""
    generative = model.network_.generative
    weight = generative.decoder.weight
    j_h, h = (t[0] for t in generative.decoder.hidden_jacobian(z.to(weight)))
    logits = torch.addmv(generative.decoder.bias, weight, h)[None]
    terms = generative.likelihood.jacobian_terms(logits, "probabilities")
    left, right = terms.left[0], terms.right[0]
    mixed = (terms.mix[0] @ weight) @ j_h  # Σ_u mix_u J_a,u: (K,)
    own = left[features, None] * (weight[features] @ j_h) - right[features, None] * mixed
    similarity = left[:, None] * (weight @ (j_h @ own.T)) - right[:, None] * (own @ mixed)
    return generative.likelihood.log_probabilities(logits)[0], similarity


def _named(moved: _Moved, vocabulary: Vocabulary) -> AmbiguousFeature:
    name = vocabulary.__getitem__
    (near_a, near_b), (bag_a, bag_b) = moved.near, moved.bags
    return AmbiguousFeature(
        feature=name(moved.feature),
        contexts=(tuple(map(name, bag_a)), tuple(map(name, bag_b))),
        pulls=moved.pulls,
        neighbors=(tuple(name(u) for u, _ in near_a), tuple(name(u) for u, _ in near_b)),
        similarities=(tuple(s for _, s in near_a), tuple(s for _, s in near_b)),
        overlap=moved.overlap,
        score=moved.score,
    )


def _rows(bags: Sequence[Bag], count: float, vocabulary: Vocabulary) -> CountMatrix:
    indices = np.concatenate([np.sort(bag) for bag in bags])
    indptr = np.cumsum([0, *map(len, bags)])
    csr = csr_array(
        (np.full(len(indices), count, np.float32), indices, indptr),
        shape=(len(bags), len(vocabulary)),
    )
    return CountMatrix.from_any(csr, vocabulary=vocabulary)
