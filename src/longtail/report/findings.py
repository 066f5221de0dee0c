"""Everything that a report computes, before any of it is put into words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from longtail.data import CountMatrix, split_items
from longtail.data.counts import Unseen
from longtail.displays import project
from longtail.errors import DataError
from longtail.estimator import NonlinearFactorAnalysis, Posterior
from longtail.estimator.inputs import whole
from longtail.evaluation import Evaluation, Ranking, rank_scores
from longtail.introspection import (
    Ambiguities,
    Directions,
    Embeddings,
    Explanation,
    Spectra,
    ambiguous_features,
    directions,
    embeddings,
    explain_recommendations,
    jacobian,
)
from longtail.introspection.spectra import spectrum_of

__all__ = ["HIDDEN_SHARE", "Findings", "Recommended", "ReportSettings", "find", "is_recommender"]

Progress = Callable[[str, int, int], None]

_DIRECTIONS, _WORDS = 12, 8
_DRAWS = 200
_CUTOFFS = (10, 20, 50)
HIDDEN_SHARE = 0.2
_USERS, _LISTED, _EXPLAINED = 5, 5, 3


@dataclass(frozen=True)
class ReportSettings:
    """How much is looked at.

    Attributes
    ----------
    max_rows
        Rows that are scored and mapped, at most: drawn at random from those given.
    points
        Points of a map, at most: the most frequent features.
    samples, refine_steps
        S and M of the held-out figures; the model's own if None.
    recommend
        Judge recommendations. None: if the model is one of presence, by its likelihood or by what
        its encoder sees.
    seed
        Of everything random.
    """

    max_rows: int = 1000
    points: int = 1500
    samples: int | None = None
    refine_steps: int | None = None
    recommend: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name, low in (("max_rows", 1), ("points", 1), ("seed", 0)):
            whole(name, getattr(self, name), low)


@dataclass(frozen=True, eq=False)
class Recommended:
    """Recommendations to rows a part of whose items was hidden.

    Attributes
    ----------
    rankings
        How well the hidden items are found, by recommender.
    users
        For some rows: what was seen of them, what was hidden, and the explained recommendations.
    listed
        The names of all recommendations to each of these rows.
    """

    rankings: dict[str, Ranking]
    users: tuple[tuple[CountMatrix, frozenset[str], tuple[Explanation, ...]], ...]
    listed: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a report is written from.

    Attributes
    ----------
    given, unseen
        The rows as they came, over the model's vocabulary, and what that left out; None without.
    rows, evaluation, posterior
        Those scored, none of them empty; their held-out figures and refined posteriors.
    spectra, directions, vectors, ambiguities
        What the model alone says.
    mapped, feature_places
        The most frequent features, by column, and their places on a plane.
    row_places
        Places of the rows scored.
    recommended
        None if nothing is recommended.
    """

    model: NonlinearFactorAnalysis
    settings: ReportSettings
    given: CountMatrix | None
    unseen: Unseen | None
    rows: CountMatrix | None
    evaluation: Evaluation | None
    posterior: Posterior | None
    spectra: Spectra
    directions: Directions
    vectors: Embeddings
    ambiguities: Ambiguities
    mapped: npt.NDArray[np.int64]
    feature_places: npt.NDArray[np.float32]
    row_places: npt.NDArray[np.float32] | None
    recommended: Recommended | None

    @property
    def recommender(self) -> bool:
        """Whether recommendations belong to the report."""
        return is_recommender(self.model, self.settings)


def is_recommender(model: NonlinearFactorAnalysis, settings: ReportSettings) -> bool:
    """Whether the model is one of presence, or was said to recommend."""
    if settings.recommend is not None:
        return settings.recommend
    fitted = model.parameters_
    return bool(fitted["likelihood"] == "bernoulli" or fitted["features"] == "binary")


def find(
    model: NonlinearFactorAnalysis,
    rows: Any,
    settings: ReportSettings,
    *,
    unseen: Unseen | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Compute everything.

    Parameters
    ----------
    rows
        Held-out rows, or None.
    unseen
        What was outside the vocabulary, if the rows have been aligned already.
    progress
        Called with (stage, done, in all).

    Raises
    ------
    NotFittedError, DataError
    """
    model.check_fitted()
    report: Progress = progress or (lambda stage, done, total: None)
    seed = settings.seed
    given, scored = None, None
    if rows is not None:
        given, found = model.align(rows)
        unseen = unseen or found
        scored = _drawn(given, settings)
    evaluation, posterior = None, None
    if scored is not None:
        evaluation = model.evaluate(
            scored,
            samples=settings.samples,
            refine_steps=settings.refine_steps,
            seed=seed,
            unseen=unseen,
            progress=report,
        )
        n = scored.n_rows
        posterior = model.posterior(
            scored,
            refine_steps=settings.refine_steps,
            seed=seed,
            progress=lambda done: report("posteriors", done, n),
        )
    averaged = jacobian(
        model,
        "root_probabilities",
        samples=_DRAWS,
        seed=seed,
        progress=partial(report, "directions"),
    )
    spectra = spectrum_of(model, averaged, posterior)
    told = directions(model, scored, top=_DIRECTIONS, words=_WORDS, averaged=averaged)
    vectors = embeddings(model, seed=seed, progress=partial(report, "embeddings"))
    ambiguities = ambiguous_features(
        model, vectors=vectors, seed=seed, progress=partial(report, "ambiguous features")
    )
    report("maps", 0, 2)
    mapped = np.argsort(-model.unigram_, kind="stable")[: settings.points]
    feature_places = project(vectors.vectors[mapped], seed)
    report("maps", 1, 2)
    row_places = None if posterior is None else project(posterior.mean[: settings.points], seed)
    report("maps", 2, 2)
    recommended = None
    if given is not None and is_recommender(model, settings):
        recommended = _recommended(model, _drawn(given, settings), settings, report)
    return Findings(
        model=model,
        settings=settings,
        given=given,
        unseen=unseen,
        rows=scored,
        evaluation=evaluation,
        posterior=posterior,
        spectra=spectra,
        directions=told,
        vectors=vectors,
        ambiguities=ambiguities,
        mapped=mapped,
        feature_places=feature_places,
        row_places=row_places,
        recommended=recommended,
    )


def _drawn(given: CountMatrix, settings: ReportSettings) -> CountMatrix:
    """Rows with a count, in their order: all, or as many as are looked at, drawn at random."""
    rows, dropped = given.drop_empty()
    if rows.n_rows == 0:
        raise DataError(
            f"None of the {dropped:,} rows has a count in the model's vocabulary: a report needs "
            "one that has. Check that the rows were read with the settings of the training data, "
            "or leave them out to see the model alone."
        )
    if rows.n_rows <= settings.max_rows:
        return rows
    rng = np.random.default_rng(settings.seed)
    chosen: npt.NDArray[np.int64] = rng.permutation(rows.n_rows)[: settings.max_rows]
    return rows[np.sort(chosen)]


def _recommended(
    model: NonlinearFactorAnalysis, rows: CountMatrix, settings: ReportSettings, report: Progress
) -> Recommended | None:
    """Hide a part of each row's items, and look for it; None if all rows are too short."""
    seed, n = settings.seed, rows.n_rows
    observed, hidden = split_items(rows, HIDDEN_SHARE, seed=seed)
    if hidden.nnz == 0:
        return None
    cutoffs = [k for k in _CUTOFFS if k <= model.n_features_in_] or [1]
    popular = np.broadcast_to(model.unigram_.astype(np.float32), observed.shape)
    rankings = {
        "the model": model.rank(
            observed,
            hidden,
            cutoffs=cutoffs,
            refine_steps=settings.refine_steps,
            seed=seed,
            progress=lambda done: report("ranking", done, n),
        ),
        "popularity": rank_scores(
            popular, hidden, seen=observed, cutoffs=cutoffs, popularity=model.unigram_
        ),
    }
    sizes = np.diff(observed.csr.indptr) * (np.diff(hidden.csr.indptr) > 0)
    rng = np.random.default_rng(seed)
    # Rows of a typical number of items, so that there is something to explain.
    order = rng.permutation(np.flatnonzero(sizes >= min(4, int(sizes.max()))))
    users, listed = [], []
    for done, d in enumerate(order[:_USERS].tolist(), 1):
        user = observed[[d]]
        items = model.recommend(user, _LISTED, seed=seed).items(0)
        told = explain_recommendations(model, user, items[:_EXPLAINED], 3, seed=seed)
        begin, end = hidden.csr.indptr[d : d + 2]
        wanted = frozenset(model.vocabulary_[int(v)] for v in hidden.csr.indices[begin:end])
        users.append((user, wanted, tuple(told)))
        listed.append(tuple(items))
        report("explanations", done, min(_USERS, len(order)))
    return Recommended(rankings, tuple(users), tuple(listed))
