"""Bounds on log p(x), row by row."""

from __future__ import annotations

from longtail.explorer.answers.posterior import standard_error
from longtail.explorer.desk import Desk
from longtail.explorer.refining import RefineHow
from longtail.explorer.requests import ScoreRequest
from longtail.explorer.responses import RowScore, ScoreAnswer

__all__ = ["answer_score"]


async def answer_score(desk: Desk, request: ScoreRequest) -> ScoreAnswer:
    """Score each row on every rung of the ladder."""
    steps = desk.steps(request.refine_steps)
    samples = int(desk.model.eval_samples) if request.samples is None else request.samples
    given = await desk.compute(desk.reader.read, request.rows)
    found = await desk.refine(given.counts, RefineHow(steps, samples=samples))
    rows = [
        RowScore(
            total=float(given.counts.totals[d]),
            unknown=given.unknown[d],
            elbo_amortized=float(found.elbo[0, d]),
            elbo_refined=float(found.elbo[-1, d]),
            importance_weighted=float(found.iw[d]),
            standard_errors=[
                standard_error(v)
                for v in (found.variance[0, d], found.variance[-1, d], found.iw_variance[d])
            ],
        )
        for d in range(given.counts.n_rows)
    ]
    return ScoreAnswer(
        rows=rows,
        estimator=f"ELBO at ψ(x); ELBO at ψ* after M = {steps} evaluations ("
        f"{desk.model.parameters_['refine_method']}); importance-weighted bound with S = {samples} "
        f"draws from q(ψ*). The ELBOs are means of S = {samples} draws. Nats a row.",
        refine_steps=steps,
        samples=samples,
        seed=desk.model.seed_,
    )
