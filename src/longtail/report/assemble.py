"""A report from a model and rows: what is computed, section by section."""

from __future__ import annotations

from typing import Any

import numpy as np

from longtail.data.counts import Unseen
from longtail.estimator import NonlinearFactorAnalysis
from longtail.ops.ambient import neutral_torch
from longtail.report.about import data_section, fit_section, training_section
from longtail.report.findings import Findings, Progress, ReportSettings, find
from longtail.report.items import recommend_section
from longtail.report.latent import (
    ambiguous_section,
    directions_section,
    feature_map_section,
    row_map_section,
    spectrum_section,
)
from longtail.report.page import Report, require_extra
from longtail.report.scores import gap_section, ladder_section, worst_section

__all__ = ["make_report"]

_SECTIONS = (
    data_section,
    fit_section,
    training_section,
    ladder_section,
    gap_section,
    spectrum_section,
    directions_section,
    feature_map_section,
    ambiguous_section,
    row_map_section,
    worst_section,
)


@neutral_torch()
def make_report(
    model: NonlinearFactorAnalysis,
    rows: Any = None,
    *,
    title: str = "A model of sparse counts",
    max_rows: int = 1000,
    samples: int | None = None,
    refine_steps: int | None = None,
    recommend: bool | None = None,
    seed: int = 0,
    unseen: Unseen | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at a fitted model from all sides, and write a page about it.

    Parameters
    ----------
    model
        Fitted.
    rows
        Held-out rows of counts. Without them there are only the sections that need the model
        alone; the others say what to give.
    title
        Of the page.
    max_rows
        Rows that are scored and mapped, at most; they are drawn at random.
    samples, refine_steps
        S and M of the held-out figures; the model's own if not given.
    recommend
        Judge recommendations too. If not given: for a Bernoulli likelihood, and where the encoder
        sees presence alone (features="binary").
    seed
        Of everything random.
    unseen
        What was outside the vocabulary, if the rows have been aligned already.
    progress
        Called with (stage, done, in all).

    Returns
    -------
    Report
        `.save("report.html")`, `.figures`, `.key_figures`.

    Raises
    ------
    MissingExtraError
        Without Altair and Jinja, which the extra ``longtail[report]`` brings.
    NotFittedError, DataError, ParameterError
    """
    require_extra()
    settings = ReportSettings(
        max_rows=max_rows,
        samples=samples,
        refine_steps=refine_steps,
        recommend=recommend,
        seed=seed,
    )
    found = find(model, rows, settings, unseen=unseen, progress=progress)
    sections = [section(found) for section in _SECTIONS]
    if found.recommender:
        sections.append(recommend_section(found))
    return Report(title, tuple(sections), _key_figures(found))


def _key_figures(found: Findings) -> dict[str, Any]:
    """Plain numbers, ready for JSON."""
    evaluation, recommended = found.evaluation, found.recommended
    ranking = None if recommended is None else recommended.rankings["the model"].to_dict()
    return {
        "features": found.model.n_features_in_,
        "rows_given": None if found.given is None else found.given.n_rows,
        "rows_scored": None if found.rows is None else found.rows.n_rows,
        "evaluation": None if evaluation is None else evaluation.to_dict(),
        "live_directions": found.spectra[""].live,
        "components": found.spectra[""].n_components,
        "coherence": found.directions.coherence,
        "ambiguous": [item.feature for item in found.ambiguities.items],
        "rows_worse_than_floor": (
            None
            if evaluation is None
            else int(np.sum((evaluation.per_row["iw"] <= evaluation.per_row["floor"]).to_numpy()))
        ),
        "ranking": ranking,
        "seed": found.settings.seed,
    }
