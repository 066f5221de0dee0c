"""One feature's neighbours in several contexts, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from longtail.displays import NeighborhoodDisplay
from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.introspection.feature_vectors import embeddings
from longtail.ops.ambient import neutral_torch

__all__ = ["neighborhoods"]


@neutral_torch()
def neighborhoods(
    model: NonlinearFactorAnalysis,
    feature: str,
    contexts: Sequence[Sequence[str]],
    *,
    k: int = 10,
    overall: bool = True,
    approximate: bool = False,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **settings: Any,
) -> NeighborhoodDisplay:
    """The nearest features of one feature in several contexts.

    Parameters
    ----------
    contexts
        Each a list of features.
    k
        Neighbours in each.
    overall
        Begin with the neighbours without a context.
    approximate
        Search an index; see `Embeddings.neighbors`.
    seed
        Of the draws of z.
    progress
        Called with (context, points done, points in all).
    settings
        Further arguments of `embeddings`, for the contexts; without any, for the one list.

    Returns
    -------
    NeighborhoodDisplay
        `.frame()`, `.plot()`, `.overlap()`.

    Raises
    ------
    NotFittedError, ParameterError, DataError
    """
    model.check_fitted()
    if not contexts and not overall:
        raise ParameterError("neighborhoods needs a context, or overall=True; got neither.")
    for name in (feature, *(word for context in contexts for word in context)):
        model.vocabulary_.index(name)  # an unknown one ends it before the work begins
    lists = {}
    for context in ([None] if overall else []) + list(contexts):
        label = "no context" if context is None else model.vocabulary_.listed(context)
        if label in lists:  # a name with a comma reads like two names
            label = str(list(context or []))
        vectors = embeddings(
            model,
            context,
            seed=seed,
            progress=None if progress is None else partial(progress, label),
            **({} if context is None and contexts else settings),
        )
        lists[label] = vectors.neighbors(feature, k, approximate=approximate)
    return NeighborhoodDisplay(model.vocabulary_.label(feature), lists)
