"""Latent directions read from both ends, as topics are read from their words.

The right singular vectors of the averaged Jacobian, E[J] = U Σ Vᵀ, are the directions of z that
move the features most. The features at the two ends of E[J] v_j say what direction j does. Where
several singular values are alike, their directions are an arbitrary mixture: the varimax rotation
(Kaiser 1958) of the live ones, the factor analyst's remedy, makes each move few features strongly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data import CountMatrix, Vocabulary
from longtail.data.vocabulary import LINE_LABEL
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.inputs import MOST_ROWS, whole
from longtail.introspection.closed_form import JacobianKind
from longtail.introspection.coherence import CoOccurrence, topic_diversity
from longtail.introspection.jacobians import Jacobian, jacobian
from longtail.introspection.spectra import from_jacobian, typical_row
from longtail.ops.ambient import neutral_torch

__all__ = [
    "Axes",
    "Direction",
    "Directions",
    "End",
    "RowsView",
    "directions",
    "directions_of",
    "varimax",
]

Axes = Literal["varimax", "singular", "dimension"]

_VARIMAX_STEPS = 200
_ROUNDING = 1e-6  # of the largest weight: smaller ones are not read
_VARIMAX_TOLERANCE = 1e-7


@dataclass(frozen=True)
class End:
    """One end of a direction.

    Attributes
    ----------
    features
        (feature, weight), strongest first. A weight is the change of the feature's root
        probability (or of what else was differentiated) per unit of z towards this end.
    coherence
        Mean NPMI of the features' pairs in the rows; None without rows.
    rows
        (row id, place along the direction), furthest first; empty without rows.
    """

    features: tuple[tuple[str, float], ...]
    coherence: float | None
    rows: tuple[tuple[Any, float], ...]

    @property
    def names(self) -> list[str]:
        """The features without their weights."""
        return [name for name, _ in self.features]


@dataclass(frozen=True)
class Direction:
    """A direction in latent space.

    Attributes
    ----------
    rank
        From 1, strongest first.
    name
        "direction 1", or "z17" for a latent dimension.
    strength
        ‖E[J] v‖.
    share
        Of ‖E[J]‖²: how much of all that the average Jacobian does.
    variance
        Of the rows' posterior means along the direction; None without rows.
    vector
        v, of length 1: K numbers.
    positive, negative
        The two ends. The positive one has the strongest feature.
    """

    rank: int
    name: str
    strength: float
    share: float
    variance: float | None
    vector: tuple[float, ...]
    positive: End
    negative: End


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions asked for, strongest first.

    Attributes
    ----------
    items
        The directions.
    live, components
        Live directions by E[J] (see `Spectrum.live_mean`), and K.
    coherence
        Mean NPMI over both ends of all directions shown; None without rows.
    diversity
        Share of distinct features among all those listed.
    vocabulary
        The model's features, with their descriptions if there are any.
    """

    items: tuple[Direction, ...]
    live: int
    components: int
    coherence: float | None
    diversity: float
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Direction:
        return self.items[i]

    def frame(self) -> pl.DataFrame:
        """One line a direction, end and feature: rank, name, share, end, place, feature, weight.

        Where features have descriptions, these follow the feature.
        """
        described = ["description"] if self.vocabulary.descriptions else []
        return pl.DataFrame(
            [
                {
                    "rank": d.rank,
                    "name": d.name,
                    "share": d.share,
                    "end": sign,
                    "place": place,
                    **self._named(feature),
                    "weight": weight,
                }
                for d in self.items
                for sign, end in (("+", d.positive), ("-", d.negative))
                for place, (feature, weight) in enumerate(end.features, 1)
            ],
            schema={
                "rank": pl.Int64,
                "name": pl.String,
                "share": pl.Float64,
                "end": pl.String,
                "place": pl.Int64,
                "feature": pl.String,
                **dict.fromkeys(described, pl.String),
                "weight": pl.Float64,
            },
        )

    def _named(self, feature: str) -> dict[str, Any]:
        return {name: cells[0] for name, cells in self.vocabulary.columns([feature]).items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""

        def end(e: End) -> dict[str, Any]:
            return {
                "features": [self._named(f) | {"weight": w} for f, w in e.features],
                "coherence": e.coherence,
                "rows": [{"row_id": r, "place": x} for r, x in e.rows],
            }

        return {
            "live": self.live,
            "components": self.components,
            "coherence": self.coherence,
            "diversity": None if np.isnan(self.diversity) else self.diversity,
            "directions": [
                {
                    "rank": d.rank,
                    "name": d.name,
                    "strength": d.strength,
                    "share": d.share,
                    "variance": d.variance,
                    "positive": end(d.positive),
                    "negative": end(d.negative),
                }
                for d in self.items
            ],
        }

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        lines = [
            f"{self.live} of {self.components} latent directions live in the average Jacobian; "
            f"the {len(self.items)} strongest"
            + ("" if self.coherence is None else f", mean coherence (NPMI) {self.coherence:.3f}")
            + f", diversity of their lists {self.diversity:.2f}"
        ]
        label, between = self.vocabulary.label, "; " if self.vocabulary.descriptions else "  "
        for d in self.items:
            spread = "" if d.variance is None else f", variance over rows {d.variance:.2f}"
            lines.append(f"\n{d.name}: {d.share:.1%} of the Jacobian{spread}")
            for sign, e in (("+", d.positive), ("−", d.negative)):
                npmi = "" if e.coherence is None else f"   [NPMI {e.coherence:+.2f}]"
                words = between.join(
                    f"{label(name, LINE_LABEL)} {weight:.2g}" for name, weight in e.features
                )
                lines.append(f"  {sign} {words}{npmi}")
                if e.rows:
                    lines.append("      rows: " + ", ".join(f"{r} ({x:.1f})" for r, x in e.rows))
        return "\n".join(lines)


@neutral_torch()
def directions(
    model: NonlinearFactorAnalysis,
    rows: Any = None,
    *,
    top: int | None = None,
    words: int = 10,
    by: Axes = "varimax",
    of: JacobianKind = "root_probabilities",
    at: Any = "prior",
    samples: int = 200,
    seed: int = 0,
    averaged: Jacobian | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Directions:
    """Read latent directions from both ends.

    Parameters
    ----------
    rows
        Held-out rows, for coherence, the rows furthest along, and the variance along each
        direction.
    top
        How many directions; all live ones if not given.
    words
        Features at each end.
    by
        "varimax": the live singular directions of the average Jacobian, rotated towards simple
        structure; "singular": as they are; "dimension": the latent dimensions themselves. All
        strongest first.
    of, at, samples, seed, progress
        See `jacobian`. The root probabilities weigh features by the information they carry, so
        that lists are neither all rare nor all frequent words.
    averaged
        The Jacobian, if the caller holds it; `of`, `at`, `samples` and `seed` are then its own.

    Raises
    ------
    NotFittedError, ParameterError, DataError
    """
    for name, value in (("top", top), ("words", words)):
        if name == "words" or value is not None:
            whole(name, value, 1, MOST_ROWS)
    if by not in ("varimax", "singular", "dimension"):
        raise ParameterError(f"by must be 'varimax', 'singular' or 'dimension'; got {by!r}.")
    counts = None
    if rows is not None:
        counts = model.align(rows)[0].drop_empty()[0]
        if counts.n_rows == 0:
            raise DataError(
                "None of the rows has a feature of the model's vocabulary: leave the rows out to "
                "see the directions alone."
            )
    j = averaged
    if j is None:
        j = jacobian(model, of, at, samples=samples, seed=seed, progress=progress)
    view = None
    if counts is not None:
        view = RowsView(counts, model.posterior(counts).mean)
    return directions_of(j, model, view, top=top, words=words, by=by)


def directions_of(
    j: Jacobian,
    model: NonlinearFactorAnalysis,
    view: RowsView | None = None,
    *,
    top: int | None = None,
    words: int = 10,
    by: Axes = "varimax",
) -> Directions:
    """As `directions`, from a Jacobian that is at hand."""
    summary = from_jacobian(j, None, *typical_row(model))
    live = max(1, summary.live_mean)
    vectors, names = _axes(j, by, live)
    n = min(len(vectors), live if top is None else int(top))
    total = float(np.square(j.matrix, dtype=np.float64).sum())
    items = tuple(
        _direction(i, names[i], vectors[i], j, total, int(words), view, by != "dimension")
        for i in range(n)
    )
    ends = [e for d in items for e in (d.positive, d.negative)]
    scores = [e.coherence for e in ends if e.coherence is not None]
    return Directions(
        items,
        live=summary.live_mean,
        components=summary.n_components,
        coherence=float(np.mean(scores)) if scores else None,
        diversity=topic_diversity([e.names for e in ends]),
        vocabulary=model.vocabulary_,
    )


class RowsView:
    """Rows in latent space, at their posterior means (n, K), and as sets of features."""

    def __init__(self, counts: CountMatrix, means: npt.NDArray[np.floating]) -> None:
        self.ids = counts.row_ids
        self.means = means.astype(np.float64)
        self.together = CoOccurrence(counts)


def varimax(loadings: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rotation R, (L, L), after which each column of loadings R has few large entries.

    Maximises the variance of the squared loadings of each column (Kaiser 1958), by the
    fixed-point iteration on singular value decompositions.
    """
    rotation = np.eye(loadings.shape[1])
    reached = 0.0
    for _ in range(_VARIMAX_STEPS):
        rotated = loadings @ rotation
        gradient = loadings.T @ (rotated**3 - rotated * np.square(rotated).mean(0))
        u, s, v = np.linalg.svd(gradient)
        rotation = u @ v
        if s.sum() <= reached * (1 + _VARIMAX_TOLERANCE):
            break
        reached = s.sum()
    result: npt.NDArray[np.float64] = rotation
    return result


def _axes(j: Jacobian, by: str, live: int) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Unit vectors in latent space, a row each, strongest first, and their names."""
    k = j.matrix.shape[1]
    if by == "dimension":
        order = np.argsort(-np.linalg.norm(j.matrix, axis=0), kind="stable")
        return np.eye(k)[order], [f"z{i}" for i in order]
    matrix = j.matrix.astype(np.float64)
    _, _, v = np.linalg.svd(matrix, full_matrices=False)
    if by == "varimax":
        v = varimax(matrix @ v[:live].T).T @ v[:live]
        v = v[np.argsort(-np.linalg.norm(matrix @ v.T, axis=0), kind="stable")]
    return v, [f"direction {i + 1}" for i in range(len(v))]


def _direction(
    index: int,
    name: str,
    vector: npt.NDArray[np.float64],
    j: Jacobian,
    total: float,
    words: int,
    view: RowsView | None,
    free_sign: bool,
) -> Direction:
    weights = j.matrix @ vector
    # A singular vector has no sign of its own: a latent dimension keeps the one it has.
    if free_sign and weights.max() < -weights.min():
        vector, weights = -vector, -weights
    places = None if view is None else view.means @ vector
    ends = []
    for sign in (1, -1):
        order = np.argsort(-sign * weights, kind="stable")[:words]
        features = tuple(
            (j.vocabulary[int(v)], abs(float(weights[v])))
            for v in order
            if sign * weights[v] > _ROUNDING * np.abs(weights).max()
        )
        coherence: float | None = None
        rows: tuple[tuple[Any, float], ...] = ()
        if view is not None and places is not None:
            score = view.together.coherence([f for f, _ in features])
            coherence = None if np.isnan(score) else score
            far = np.argsort(-sign * places, kind="stable")[:3]
            rows = tuple((view.ids[int(r)], float(places[r])) for r in far)
        ends.append(End(features, coherence, rows))
    strength = float(np.linalg.norm(weights))
    return Direction(
        rank=index + 1,
        name=name,
        strength=strength,
        share=strength**2 / total if total else 0.0,
        variance=None if places is None else float(places.var()),
        vector=tuple(vector.tolist()),
        positive=ends[0],
        negative=ends[1],
    )
