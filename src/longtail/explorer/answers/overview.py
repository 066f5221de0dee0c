"""What the model is: its spectrum, directions and dimensions, and walks along them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

import numpy as np
import torch

from longtail.estimator.exposures import GIVEN, typical_size
from longtail.evaluation.results import KL_THRESHOLD, VARIANCE_THRESHOLD
from longtail.explorer.answers.posterior import counted
from longtail.explorer.desk import Desk
from longtail.explorer.errors import NotThereError
from longtail.explorer.limits import LIMITS
from longtail.explorer.responses import (
    DimensionAnswer,
    DirectionAnswer,
    DirectionEnd,
    DirectionsAnswer,
    FeaturesAnswer,
    FoundFeature,
    LatentDimension,
    ModelAnswer,
    PlacedRow,
    RowsState,
    SpectrumAnswer,
    WalkAnswer,
    WalkedFeature,
    WeightedFeature,
)
from longtail.introspection import Direction, effective_rank
from longtail.introspection.latent_directions import End

__all__ = [
    "WalkAxis",
    "answer_dimension",
    "answer_directions",
    "answer_features",
    "answer_model",
    "answer_spectrum",
    "answer_walk",
]

WalkAxis = Literal["direction", "dimension"]
_FURTHEST = 5


def answer_model(desk: Desk) -> ModelAnswer:
    """Describe the model and its limits."""
    model, rows = desk.model, desk.rows
    return ModelAnswer(
        name=desk.name,
        library_version=version("longtail"),
        features=len(desk.vocabulary),
        named=desk.vocabulary.named,
        described=bool(desk.vocabulary.descriptions),
        components=model.network_.generative.decoder.n_components,
        likelihood=model.parameters_["likelihood"],
        decoder_layers=int(model.parameters_["decoder_layers"]),
        takes_text=desk.reader.takes_text,
        train_rows=int(model.fit_info_["train_rows"]),
        median_total=float(model.fit_info_["median_total"]),
        typical_exposure=typical_size(model) if model.parameters_["exposure"] == GIVEN else None,
        refine_steps=int(model.eval_refine_steps),
        refine_method=model.parameters_["refine_method"],
        samples=int(model.eval_samples),
        rows=None
        if rows is None
        else RowsState(ready=desk.overview.knows_rows, done=rows.done, total=rows.total),
        limits=LIMITS.to_dict(),
    )


def answer_features(desk: Desk, prefix: str, limit: int) -> FeaturesAnswer:
    """Features that begin so."""
    found, more = desk.search.find(prefix, limit)
    return FeaturesAnswer(
        features=[
            FoundFeature(**desk.describe(name), frequency=desk.unigram[v])
            for name, v in zip(desk.named(found), found, strict=True)
        ],
        more=more,
    )


def answer_spectrum(desk: Desk) -> SpectrumAnswer:
    """Which directions are in use."""
    s = desk.overview.spectrum
    return SpectrumAnswer(
        components=s.n_components,
        live=s.live,
        effective_rank=effective_rank(s.root_eigenvalues),
        threshold=s.threshold,
        threshold_rule=s.threshold_rule,
        noise=s.noise,
        singular_values=s.singular_values.tolist(),
        root_eigenvalues=s.root_eigenvalues.tolist(),
        dimensions=[_latent(desk, k) for k in range(s.n_components)],
        n_rows=s.n_rows,
        advice=desk.overview.advice,
    )


def answer_directions(desk: Desk, top: int) -> DirectionsAnswer:
    """The strongest live directions."""
    found = desk.overview.directions
    return DirectionsAnswer(
        live=found.live,
        components=found.components,
        directions=[_direction(desk, d) for d in found.items[:top]],
    )


def answer_dimension(desk: Desk, k: int) -> DimensionAnswer:
    """One latent dimension, read from both ends."""
    dimensions = desk.overview.dimensions
    if k not in dimensions:
        raise NotThereError(f"There are dimensions 0 to {len(dimensions) - 1}; got {k}.")
    d = dimensions[k]
    return DimensionAnswer(
        dimension=_latent(desk, k),
        positive=_end(desk, d.positive, k, 1),
        negative=_end(desk, d.negative, k, -1),
    )


@torch.no_grad()
def answer_walk(
    desk: Desk, axis: WalkAxis, index: int, steps: int, reach: float, top: int
) -> WalkAnswer:
    """Probabilities along a line through the prior's mean; features that change most."""
    name, vector = _axis(desk, axis, index)
    places = np.linspace(-reach, reach, steps)
    generative = desk.model.network_.generative
    weight: torch.Tensor = generative.decoder.weight
    z = torch.from_numpy(np.outer(places, vector)).to(weight)
    p = generative.likelihood.probabilities(generative.decoder(z)).double().cpu().numpy()
    # In root probabilities a change weighs the same for frequent and rare features.
    change = np.sqrt(p).max(0) - np.sqrt(p).min(0)
    order = np.argsort(-change, kind="stable")[:top]
    return WalkAnswer(
        name=name,
        places=places.tolist(),
        features=[
            WalkedFeature(**desk.describe(desk.vocabulary[int(v)]), probabilities=p[:, v].tolist())
            for v in order
        ],
    )


def _axis(desk: Desk, axis: WalkAxis, index: int) -> tuple[str, np.ndarray]:
    if axis == "dimension":
        k = desk.overview.spectrum.n_components
        if not 0 <= index < k:
            raise NotThereError(f"There are dimensions 0 to {k - 1}; got {index}.")
        return f"z{index}", np.eye(k)[index]
    items = desk.overview.directions.items
    if not 1 <= index <= len(items):
        raise NotThereError(f"There are directions 1 to {len(items)}; got {index}.")
    return items[index - 1].name, np.array(items[index - 1].vector)


def _latent(desk: Desk, k: int) -> LatentDimension:
    s = desk.overview.spectrum
    kl = None if s.kl is None else float(s.kl[k])
    variance = None if s.variance is None else float(s.variance[k])
    live = bool(s.column_norms[k] > s.threshold)
    if kl is not None and variance is not None:
        live = live or kl > KL_THRESHOLD or variance > VARIANCE_THRESHOLD
    return LatentDimension(
        dimension=k, column_norm=float(s.column_norms[k]), kl=kl, variance=variance, live=live
    )


def _direction(desk: Desk, d: Direction) -> DirectionAnswer:
    return DirectionAnswer(
        rank=d.rank,
        name=d.name,
        strength=d.strength,
        share=d.share,
        variance=d.variance,
        positive=_end(desk, d.positive),
        negative=_end(desk, d.negative),
    )


def _end(desk: Desk, end: End, dimension: int | None = None, sign: int = 1) -> DirectionEnd:
    """One end; of a dimension with more rows than of a direction."""
    rows = desk.rows
    placed: list[tuple[int, float]] = []
    if rows is not None and desk.overview.knows_rows:
        if dimension is not None:
            placed = rows.furthest(dimension, sign, _FURTHEST)
        else:
            placed = [(rows.position(row_id), place) for row_id, place in end.rows]
    return DirectionEnd(
        features=[WeightedFeature(**desk.describe(f), weight=w) for f, w in end.features],
        coherence=end.coherence,
        rows=[
            PlacedRow(row_id=rows.row_id(i), place=place, features=counted(desk, rows.features(i)))
            for i, place in placed
            if rows is not None
        ],
    )
