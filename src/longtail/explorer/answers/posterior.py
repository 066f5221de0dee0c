"""What the model makes of a row: its posterior before and after refinement, and why."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from longtail.explorer.desk import Desk
from longtail.explorer.reading import GivenRows
from longtail.explorer.refining import Refined, RefineHow
from longtail.explorer.requests import PosteriorRequest
from longtail.explorer.responses import (
    Contribution,
    CountedFeature,
    ExplainingDirection,
    Feature,
    Latent,
    NearRow,
    PosteriorAnswer,
    ProbableFeature,
    RefineStep,
    RowPosterior,
)
from longtail.introspection.row_explanations import direction_shares

__all__ = ["answer_posterior", "counted", "largest", "standard_error"]

Array = npt.NDArray[np.float64]
_DIRECTIONS, _NAMED = 8, 6


async def answer_posterior(desk: Desk, request: PosteriorRequest) -> PosteriorAnswer:
    """Infer, score and explain each row."""
    given = await desk.compute(desk.reader.read, request.rows)
    samples = int(desk.model.eval_samples)
    how = RefineHow(desk.steps(request.refine_steps), samples=samples, on_the_way=True)
    refined = await desk.refine(given.counts, how)
    rows = await desk.compute(_rows, desk, request, given, refined)
    return PosteriorAnswer(
        rows=rows,
        refine_steps=how.steps,
        refine_method=desk.model.parameters_["refine_method"],
        samples=samples,
        seed=desk.model.seed_,
    )


def _rows(
    desk: Desk, request: PosteriorRequest, given: GivenRows, refined: Refined
) -> list[RowPosterior]:
    after, before = (
        np.exp(_log_probabilities(desk, z)) for z in (refined.mean, refined.mean_before)
    )
    return [
        _row(desk, request, given, refined.rows(d, d + 1), d, after[d], before[d])
        for d in range(given.counts.n_rows)
    ]


@torch.no_grad()
def _log_probabilities(desk: Desk, means: npt.NDArray[np.float32]) -> Array:
    generative = desk.model.network_.generative
    z = torch.from_numpy(means).to(generative.decoder.weight)
    log_p = generative.likelihood.log_probabilities(generative.decoder(z))
    found: Array = log_p.double().cpu().numpy()
    return found


def _row(
    desk: Desk,
    request: PosteriorRequest,
    given: GivenRows,
    refined: Refined,
    d: int,
    after: Array,
    before: Array,
) -> RowPosterior:
    csr = given.counts.csr
    own = slice(csr.indptr[d], csr.indptr[d + 1])
    columns, values = csr.indices[own], csr.data[own].astype(np.float64)
    counts = np.zeros(len(after))
    counts[columns] = values
    mean, scale = refined.mean[0].astype(np.float64), refined.scale[0].astype(np.float64)
    elbo = refined.elbo[:, 0]
    directions = _directions(desk, mean, columns, values)

    def listed(order: npt.NDArray[np.intp]) -> list[ProbableFeature]:
        return [
            ProbableFeature(
                **desk.describe(desk.vocabulary[int(v)]),
                probability=after[v],
                before=before[v],
                frequency=desk.unigram[v],
                count=counts[v],
            )
            for v in order
        ]

    # p log(p / frequency): what the row makes probable, neither all frequent nor all rare.
    lift = after * (np.log(after.clip(min=1e-300)) - np.log(desk.unigram))
    lift[columns] = -np.inf
    missing = [v for v in largest(lift, request.top) if lift[v] > 0]
    by_count = np.argsort(-values, kind="stable")
    return RowPosterior(
        total=float(values.sum()),
        features=[
            CountedFeature(**desk.describe(desk.vocabulary[int(columns[i])]), count=values[i])
            for i in by_count
        ],
        unknown=given.unknown[d],
        unknown_share=given.unknown_share[d],
        amortized=Latent(
            mean=refined.mean_before[0].tolist(), scale=refined.scale_before[0].tolist()
        ),
        refined=Latent(mean=mean.tolist(), scale=scale.tolist()),
        kl=(0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale))).tolist(),
        steps=[
            RefineStep(evaluations=n, elbo=float(e), standard_error=standard_error(v))
            for n, e, v in zip(refined.evaluations, elbo, refined.variance[:, 0], strict=True)
        ],
        elbo_amortized=float(elbo[0]),
        elbo_refined=float(elbo[-1]),
        gap=float(elbo[-1] - elbo[0]),
        probable=listed(largest(after, request.top)),
        missing=listed(np.array(missing, dtype=np.intp)),
        nearest=_nearest(desk, refined.mean[0], request.nearest, len(columns) > 0),
        **directions,
    )


def _directions(
    desk: Desk, mean: Array, columns: npt.NDArray[np.int32], values: Array
) -> dict[str, Any]:
    """The directions that give most to the row's features, and what is left for the others."""
    axes, items = desk.overview.axes, desk.overview.directions.items
    shares = direction_shares(desk.model, mean, columns.tolist(), values, axes)
    by_direction = shares.sum(0)
    here, prior = _log_probabilities(desk, np.stack([mean, 0 * mean]).astype(np.float32))
    explained = float(values @ (here - prior)[columns])
    found = []
    for j in np.argsort(-by_direction, kind="stable")[:_DIRECTIONS]:
        place = float(axes[j] @ mean)
        end = items[j].positive if place >= 0 else items[j].negative
        order = np.argsort(-np.abs(shares[:, j]), kind="stable")[: 2 * _NAMED]
        found.append(
            ExplainingDirection(
                rank=items[j].rank,
                name=items[j].name,
                place=place,
                nats=float(by_direction[j]),
                features=[Feature(**desk.describe(n)) for n in end.names[:_NAMED]],
                contributions=[
                    Contribution(
                        **desk.describe(desk.vocabulary[int(columns[i])]),
                        count=values[i],
                        nats=shares[i, j],
                    )
                    for i in order
                ],
            )
        )
    left = explained - sum(d.nats for d in found)
    return {"directions": found, "explained": explained, "other_directions": left}


def _nearest(
    desk: Desk, mean: npt.NDArray[np.float32], k: int, known: bool
) -> list[NearRow] | None:
    if desk.rows is None or not desk.rows.ready:
        return None
    near = desk.rows.nearest(mean, k) if known else []
    return [
        NearRow(
            row_id=desk.rows.row_id(i),
            similarity=similarity,
            features=counted(desk, desk.rows.features(i)),
        )
        for i, similarity in near or []
    ]


def counted(desk: Desk, features: list[tuple[str, float]]) -> list[CountedFeature]:
    """Features of a row as answers show them."""
    return [CountedFeature(**desk.describe(name), count=n) for name, n in features]


def largest(values: npt.NDArray[np.floating], n: int) -> npt.NDArray[np.intp]:
    """Where the n largest values are, the largest first."""
    n = min(n, len(values))
    some = np.argpartition(-values, n - 1)[:n]
    order: npt.NDArray[np.intp] = some[np.argsort(-values[some], kind="stable")]
    return order


def standard_error(variance: float) -> float | None:
    """None where one draw cannot tell it."""
    return None if math.isnan(variance) else math.sqrt(max(variance, 0.0))
