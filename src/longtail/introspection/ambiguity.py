"""Ambiguous features, found without naming contexts: those whose neighbours move most.

The ends of the latent directions serve as contexts: bags of their strongest features. A context c
calls for feature v by

    pull = log p(v | z_c) − log p(v),

nats, with z_c the posterior mean of its bag and p(v) the training frequency. A feature that two
contexts call for, and whose nearest features in them have little in common, means two things:

    score = (1 − overlap of the neighbours) · (the smaller pull).

Neighbours are those of `embeddings` in a context, at z_c alone. With J_h = ∂h/∂z, similarities with
all features, J J_vᵀ, need J_h J_vᵀ, an H-vector, and one V×H product: J itself, V×K, is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csr_array
from torch import Tensor

from longtail.data import CountMatrix, Vocabulary
from longtail.displays import NeighborhoodDisplay
from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.introspection.feature_vectors import Embeddings
from longtail.introspection.latent_directions import Directions, directions

__all__ = ["Ambiguities", "AmbiguousFeature", "ambiguous_features"]

Array = npt.NDArray[np.float64]
Bag = tuple[int, ...]  # columns
Near = tuple[tuple[int, float], ...]  # columns and similarities, nearest first

_CONTEXT_FEATURES = 3
_CONTEXT_COUNT = 10.0  # as the authors weigh a context's features
_TRIED = 4  # contexts tried for a feature, those with the strongest pull
_WEAK_END = 0.3  # of the direction's largest weight: below, an end says nothing
_CHUNK = 8_000_000  # similarities held at a time


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
        The features; no two of them between the same two directions' ends.
    candidates, contexts
        How many features and ends of directions were searched.
    vocabulary
        The model's features.
    """

    items: tuple[AmbiguousFeature, ...]
    candidates: int
    contexts: int
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

    def __str__(self) -> str:
        listed = self.vocabulary.listed
        lines = [
            f"{len(self)} of {self.candidates:,} frequent features whose neighbours move most "
            f"between {self.contexts} contexts"
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


def ambiguous_features(
    model: NonlinearFactorAnalysis,
    *,
    top: int = 6,
    k: int = 8,
    candidates: int = 1000,
    contexts: Directions | None = None,
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
    contexts
        Directions whose ends are the contexts; the 20 strongest if not given.
    seed
        Of the draws of z behind the directions, and of the refinement of the contexts' posteriors.
    progress
        Called with (contexts done, contexts in all).

    Raises
    ------
    NotFittedError, ParameterError
    """
    for name, value in (("top", top), ("k", k), ("candidates", candidates)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"{name} must be a whole number ≥ 1; got {value!r}.")
    model.check_fitted()
    found = contexts or directions(model, top=20, words=_CONTEXT_FEATURES + 1, seed=seed)
    ends = _ends(found, model.vocabulary_)
    frequent = np.argsort(-model.unigram_, kind="stable")[:candidates]
    search = _Search(model, ends, frequent, int(k), seed, progress)
    best = [pair for v in frequent.tolist() if (pair := search.best(v)) is not None]
    best.sort(key=lambda pair: -pair.score)
    kept: dict[tuple[int, int], _Pair] = {}
    for pair in best:
        if len(kept) < top:
            kept.setdefault(pair.ends, pair)
    name = model.vocabulary_.__getitem__
    items = tuple(
        AmbiguousFeature(
            feature=name(pair.feature),
            contexts=_two(tuple(map(name, bag)) for bag in pair.bags),
            pulls=pair.pulls,
            neighbors=_two(tuple(name(u) for u, _ in near) for near in pair.near),
            similarities=_two(tuple(s for _, s in near) for near in pair.near),
            overlap=pair.overlap,
            score=pair.score,
        )
        for pair in kept.values()
    )
    return Ambiguities(items, len(frequent), len(ends), model.vocabulary_)


def _two(items: Any) -> tuple[Any, Any]:
    first, second = items
    return first, second


def _ends(found: Directions, vocabulary: Vocabulary) -> list[Bag]:
    """The strongest features of each end that says something, one more than a context takes."""
    ends = []
    for direction in found:
        sides = (direction.positive.features, direction.negative.features)
        largest = max((side[0][1] for side in sides if side), default=0.0)
        for side in sides:
            if side and side[0][1] >= _WEAK_END * largest:
                names = [name for name, _ in side[: _CONTEXT_FEATURES + 1]]
                ends.append(tuple(map(vocabulary.index, names)))
    return ends


@dataclass(frozen=True)
class _Pair:
    """A feature between two contexts."""

    feature: int
    ends: tuple[int, int]
    bags: tuple[Bag, Bag]
    pulls: tuple[float, float]
    near: tuple[Near, Near]
    overlap: float
    score: float


class _Search:
    """Pulls of all contexts, and neighbours of each candidate in those that pull it most."""

    def __init__(
        self,
        model: NonlinearFactorAnalysis,
        ends: Sequence[Bag],
        frequent: npt.NDArray[np.int64],
        k: int,
        seed: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.k = k
        self.ends = ends
        self.generative = model.network_.generative
        # A feature is no context of itself: where it is among an end's first, the next stands in.
        self.bag_of = {
            v: [tuple(u for u in end if u != v)[:_CONTEXT_FEATURES] for end in ends]
            for v in frequent.tolist()
        }
        bags = list(dict.fromkeys(b for bags in self.bag_of.values() for b in bags if b))
        self.place = {bag: i for i, bag in enumerate(bags)}
        self.tried: dict[int, list[tuple[int, float]]] = {}
        self.near: dict[tuple[int, Bag], Near] = {}
        if not bags:
            return
        z = model.posterior(_rows(bags, model.vocabulary_), seed=seed).mean
        self.z = torch.from_numpy(z).to(self.generative.decoder.weight)
        asked = self._choose(bags, np.log(model.unigram_))
        for done, (bag, features) in enumerate(asked.items(), 1):
            self._neighbors(bag, features)
            if progress is not None:
                progress(done, len(asked))

    @torch.no_grad()
    def _choose(self, bags: list[Bag], log_frequency: Array) -> dict[Bag, list[int]]:
        """For each candidate the contexts that pull it most; which features each bag is asked."""
        likelihood, decoder = self.generative.likelihood, self.generative.decoder
        columns = np.array(list(self.bag_of), dtype=np.int64)
        pull = np.empty((len(bags), len(columns)))
        for rows in torch.split(torch.arange(len(bags)), max(1, _CHUNK // len(log_frequency))):
            log_p = likelihood.log_probabilities(decoder(self.z[rows]))
            pull[rows.numpy()] = log_p.double().cpu().numpy()[:, columns] - log_frequency[columns]
        asked: dict[Bag, list[int]] = {}
        for i, (v, own) in enumerate(self.bag_of.items()):
            pulls = [(e, float(pull[self.place[b], i])) for e, b in enumerate(own) if b]
            strongest = sorted((p for p in pulls if p[1] > 0), key=lambda p: -p[1])[:_TRIED]
            if len(strongest) > 1:
                self.tried[v] = strongest
                for e, _ in strongest:
                    asked.setdefault(own[e], []).append(v)
        return asked

    @torch.no_grad()
    def _neighbors(self, bag: Bag, features: list[int]) -> None:
        """The features nearest to each of these where the bag's posterior has its mean."""
        decoder, z = self.generative.decoder, self.z[[self.place[bag]]]
        j_h, h = (t[0] for t in decoder.hidden_jacobian(z))
        weight = decoder.weight
        logits = torch.addmv(decoder.bias, weight, h)[None]
        terms = self.generative.likelihood.jacobian_terms(logits, "probabilities")
        left, right = terms.left[0], terms.right[0]
        mixed = (terms.mix[0] @ weight) @ j_h  # Σ_u mix_u J_a,u: (K,)
        for part in torch.split(torch.tensor(features), max(1, _CHUNK // len(weight))):
            part = part.to(weight.device)
            own = left[part, None] * (weight[part] @ j_h) - right[part, None] * mixed  # (n, K)
            similarity = left[:, None] * (weight @ (j_h @ own.T)) - right[:, None] * (own @ mixed)
            self._keep(bag, part, similarity)

    def _keep(self, bag: Bag, features: Tensor, similarity: Tensor) -> None:
        similarity[list(bag)] = -torch.inf
        similarity[features, torch.arange(len(features))] = -torch.inf
        n = min(self.k, len(similarity) - len(bag) - 1)
        values, indices = (t.T.cpu().tolist() for t in similarity.topk(max(n, 0), dim=0))
        for v, found, similar in zip(features.tolist(), indices, values, strict=True):
            self.near[v, bag] = tuple(zip(found, similar, strict=True))

    def best(self, v: int) -> _Pair | None:
        """The pair of contexts with the highest score for a feature; None if there is no pair."""
        best: _Pair | None = None
        tried = self.tried.get(v, [])
        for i, (a, pull_a) in enumerate(tried):
            for b, pull_b in tried[i + 1 :]:
                bags = (self.bag_of[v][a], self.bag_of[v][b])
                near = (self.near[v, bags[0]], self.near[v, bags[1]])
                if bags[0] == bags[1] or not near[0]:
                    continue
                shared = {u for u, _ in near[0]} & {u for u, _ in near[1]}
                overlap = len(shared) / len(near[0])
                score = (1 - overlap) * min(pull_a, pull_b)
                if best is None or score > best.score:
                    best = _Pair(
                        v, (min(a, b), max(a, b)), bags, (pull_a, pull_b), near, overlap, score
                    )
        return best


def _rows(bags: Sequence[Bag], vocabulary: Vocabulary) -> CountMatrix:
    indices = np.concatenate([np.sort(bag) for bag in bags])
    indptr = np.cumsum([0, *map(len, bags)])
    csr = csr_array(
        (np.full(len(indices), _CONTEXT_COUNT, np.float32), indices, indptr),
        shape=(len(bags), len(vocabulary)),
    )
    return CountMatrix.from_any(csr, vocabulary=vocabulary)
