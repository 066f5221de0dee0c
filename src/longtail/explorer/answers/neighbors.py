"""A feature's neighbours in some contexts, and where they lie in a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longtail.estimator import Posterior
from longtail.explorer.answers.posterior import largest
from longtail.explorer.desk import Desk
from longtail.explorer.errors import NothingKnownError
from longtail.explorer.layout import Layout
from longtail.explorer.limits import LIMITS
from longtail.explorer.refining import RefineHow
from longtail.explorer.requests import NeighborsRequest
from longtail.explorer.responses import (
    ContextNeighbors,
    Feature,
    Neighbor,
    NeighborsAnswer,
    Unknown,
)
from longtail.introspection.latents import draw_latents
from longtail.introspection.products import JacobianProducts

__all__ = ["answer_neighbors"]

Array = npt.NDArray[np.float32]

_COUNT = 10.0  # of each context feature in its bag
_SAMPLES = 50  # the posterior is narrow
_AROUND = 50  # neighbours without a context that span the picture's plane


@dataclass(frozen=True, eq=False)
class _Context:
    """One context: its features, and the posterior of their bag; None without a context."""

    names: list[str]
    unknown: list[Unknown]
    posterior: Posterior | None


@dataclass(frozen=True, eq=False)
class _Near:
    """Similarities of all features to the asked one, the nearest, and how to get vectors."""

    similarity: Array
    columns: list[int]
    products: JacobianProducts | None


async def answer_neighbors(desk: Desk, request: NeighborsRequest) -> NeighborsAnswer:
    """Find the neighbours in each context."""
    if request.feature not in desk.vocabulary:
        raise NothingKnownError(await desk.compute(_unknown_words, desk, request.feature))
    contexts = await asyncio.gather(*(_context(desk, names) for names in request.contexts))
    return await desk.compute(_answer, desk, request, contexts)


def _unknown_words(desk: Desk, name: str) -> str:
    return desk.reader.unknown_words(desk.reader.unknown({name: 1.0})[0])


async def _context(desk: Desk, names: list[str]) -> _Context:
    bag = dict.fromkeys(names, _COUNT)
    unknown = desk.reader.unknown(bag)
    known = [name for name in bag if name in desk.vocabulary]
    if names and not known:
        said = await desk.compute(desk.reader.unknown_words, unknown[0])
        raise NothingKnownError(f"The model knows no feature of this context. {said}")
    if not known:
        return _Context([], [], None)
    how = RefineHow(
        desk.model.eval_refine_steps, kl_weight=float(desk.model.parameters_["kl_weight"])
    )
    row = desk.reader.counts([bag])
    found = await desk.refine(row, how)
    return _Context(known, unknown, Posterior(found.mean, found.scale))


def _answer(desk: Desk, request: NeighborsRequest, contexts: Sequence[_Context]) -> NeighborsAnswer:
    own = desk.vocabulary.index(request.feature)
    vectors = desk.overview.embeddings.vectors
    overall = desk.overview.embeddings.similarities(vectors[own])
    near = [_near(desk, own, context, request.k, overall) for context in contexts]
    shown = list(dict.fromkeys(v for one in near for v in one.columns))
    layout = Layout(vectors[own], vectors[_nearest(overall, _AROUND, {own})])
    return NeighborsAnswer(
        feature=Feature(**desk.describe(request.feature)),
        contexts=[
            _listed(desk, context, one, shown, _places(layout, one, own, shown, vectors))
            for context, one in zip(contexts, near, strict=True)
        ],
    )


def _near(desk: Desk, own: int, context: _Context, k: int, overall: Array) -> _Near:
    """As `Embeddings.neighbors`, without forming the Jacobian."""
    hidden = {own, *(desk.vocabulary.index(name) for name in context.names)}
    if context.posterior is None:
        return _Near(overall, _nearest(overall, k, hidden), None)
    points = draw_latents(desk.model, context.posterior, samples=_SAMPLES, seed=0).points
    products = JacobianProducts(desk.model.network_.generative, points, "probabilities")
    similarity = products.times(products.rows([own])[0])
    return _Near(similarity, _nearest(similarity, k, hidden), products)


def _nearest(similarity: Array, k: int, hidden: set[int]) -> list[int]:
    """The k most similar features, but for some."""
    order = largest(similarity, k + len(hidden))
    return [int(v) for v in order if int(v) not in hidden][:k]


def _places(
    layout: Layout, near: _Near, own: int, shown: list[int], vectors: Array
) -> npt.NDArray[np.float64]:
    if not shown:
        return np.zeros((0, 2))
    if near.products is None:
        return layout.places(vectors[shown])
    found = near.products.rows([own, *shown])
    return layout.turned(found[0], found[1:], vectors[shown])


def _listed(
    desk: Desk,
    context: _Context,
    near: _Near,
    shown: list[int],
    places: npt.NDArray[np.float64],
) -> ContextNeighbors:
    at = dict(zip(shown, places.tolist(), strict=True))

    def neighbor(v: int) -> Neighbor:
        named = desk.describe(desk.vocabulary[v])
        return Neighbor(**named, similarity=float(near.similarity[v]), x=at[v][0], y=at[v][1])

    listed = set(near.columns)
    return ContextNeighbors(
        context=[Feature(**desk.describe(name)) for name in context.names],
        unknown=context.unknown,
        neighbors=[neighbor(v) for v in near.columns],
        others=[neighbor(v) for v in shown if v not in listed][: LIMITS.neighbors],
    )
