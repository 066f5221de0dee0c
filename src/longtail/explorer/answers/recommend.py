"""Items for a history, and the history's own items that speak for each."""

from __future__ import annotations

import numpy as np
import torch

from longtail.evaluation.topk import NOTHING, top_k
from longtail.explorer.desk import Desk
from longtail.explorer.reading import GivenRows
from longtail.explorer.refining import Refined, RefineHow
from longtail.explorer.requests import RecommendRequest
from longtail.explorer.responses import (
    Contribution,
    RecommendAnswer,
    RecommendedItem,
    RowRecommendations,
)
from longtail.introspection.explanations import supporting_items

__all__ = ["answer_recommend"]


async def answer_recommend(desk: Desk, request: RecommendRequest) -> RecommendAnswer:
    """Recommend to each history."""
    given = await desk.compute(desk.reader.read, request.rows)
    how = RefineHow(
        desk.steps(request.refine_steps), kl_weight=float(desk.model.parameters_["kl_weight"])
    )
    refined = await desk.refine(given.counts, how)
    rows = await desk.compute(_recommend, desk, request, given, refined)
    return RecommendAnswer(rows=rows, refine_steps=how.steps, seed=desk.model.seed_)


@torch.no_grad()
def _recommend(
    desk: Desk, request: RecommendRequest, given: GivenRows, refined: Refined
) -> list[RowRecommendations]:
    generative = desk.model.network_.generative
    z = torch.from_numpy(refined.mean).to(generative.decoder.weight)
    scores = generative.likelihood.log_probabilities(generative.decoder(z)).cpu().numpy()
    base = np.log(desk.unigram)
    empty = given.counts.totals == 0
    scores[empty] = base.astype(np.float32)
    seen = given.counts.csr if request.exclude_seen else None
    columns, values = top_k(scores, request.k, seen)
    answers = []
    for d in range(len(columns)):
        found = [int(v) for v in columns[d] if v != NOTHING]
        reasons = _reasons(desk, request, given, refined, d, found)
        items = [
            RecommendedItem(
                **desk.describe(desk.vocabulary[v]),
                probability=float(np.exp(values[d, i])),
                lift=float(values[d, i] - base[v]),
                reasons=reasons[i],
            )
            for i, v in enumerate(found)
        ]
        known = int(np.diff(given.counts.csr.indptr)[d])
        answers.append(RowRecommendations(known=known, unknown=given.unknown[d], items=items))
    return answers


def _reasons(
    desk: Desk,
    request: RecommendRequest,
    given: GivenRows,
    refined: Refined,
    d: int,
    found: list[int],
) -> list[list[Contribution]]:
    if not (request.reasons and found and given.counts.csr[[d]].nnz):
        return [[] for _ in found]
    with torch.enable_grad():
        told = supporting_items(
            desk.model,
            given.counts[[d]],
            found,
            request.reasons,
            mean=refined.mean[d : d + 1],
        )
    # What speaks against an item is no reason to recommend it.
    return [
        [
            Contribution(**desk.describe(own["item"]), count=own["count"], nats=own["influence"])
            for own in table.to_dicts()
            if own["influence"] > 0
        ]
        for table in told
    ]
