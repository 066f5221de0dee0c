"""Bounds on log p(x), row by row."""

from __future__ import annotations

import math

from longtail.evaluation.bounds import RowBounds, row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.explorer.desk import Desk
from longtail.explorer.reading import GivenRows
from longtail.explorer.requests import ScoreRequest
from longtail.explorer.responses import RowScore, ScoreAnswer
from longtail.inference import RefineSettings

__all__ = ["answer_score"]


async def answer_score(desk: Desk, request: ScoreRequest) -> ScoreAnswer:
    """Score each row on every rung of the ladder."""
    steps = desk.steps(request.refine_steps)
    samples = int(desk.model.eval_samples) if request.samples is None else request.samples
    given = await desk.compute(desk.reader.read, request.rows)
    bounds = await desk.compute(_bounds, desk, given, steps, samples)
    variances = zip(bounds.var_amortized, bounds.var_refined, bounds.var_iw, strict=True)
    rows = [
        RowScore(
            total=float(given.counts.totals[d]),
            unknown=given.unknown[d],
            elbo_amortized=float(bounds.elbo_amortized[d]),
            elbo_refined=float(bounds.elbo_refined[d]),
            importance_weighted=float(bounds.iw[d]),
            standard_errors=[None if math.isnan(v) else math.sqrt(max(v, 0)) for v in row],
        )
        for d, row in enumerate(variances)
    ]
    return ScoreAnswer(
        rows=rows,
        estimator=f"ELBO at ψ(x); ELBO at ψ* after M = {steps} evaluations ("
        f"{desk.model.refine_method}); importance-weighted bound with S = {samples} draws from "
        f"q(ψ*). The ELBOs are means of S = {samples} draws. Nats a row.",
        refine_steps=steps,
        samples=samples,
        seed=desk.model.seed_,
    )


def _bounds(desk: Desk, given: GivenRows, steps: int, samples: int) -> RowBounds:
    model = desk.model
    return row_bounds(
        model.network_,
        make_batches(given.counts, model.transform_, given.counts.n_rows).ordered(),
        refine=RefineSettings(steps, model.refine_method),
        samples=samples,
        seed=model.seed_,
        device=model.network_.generative.decoder.weight.device,
    )
