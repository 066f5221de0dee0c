"""The sections on held-out rows: the ladder, the amortisation gap, the worst-explained rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.stats import spearmanr

from longtail.displays import GapDisplay, RowScoresDisplay
from longtail.estimator import NonlinearFactorAnalysis
from longtail.evaluation import Evaluation
from longtail.report.about import NO_ROWS
from longtail.report.blocks import Block, Card, Cards, Chart, Facts, Item, Lines, Prose, Section
from longtail.report.findings import Findings

__all__ = ["gap_section", "ladder_section", "worst_section"]

Array = npt.NDArray[np.float64]

_WORST, _WORST_FEATURES = 8, 8
_WHY = {
    "floor": "What the training frequencies alone reach, with the same guess for every row. A "
    "model that has learned something stands clear of it.",
    "elbo_amortized": "The evidence lower bound (ELBO) on the log-likelihood, from the inference "
    "network's own guess ψ(x).",
    "elbo_refined": "The same bound once each row's posterior has been refined by local steps, "
    "ψ(x) → ψ*.",
    "elbo_full": "The bound with all correlations in each row's posterior: tighter still.",
    "iw": "A tighter lower bound: draws from the posterior, weighted by importance. The nearest to "
    "the log-likelihood itself.",
    "completion": "Half of each row is hidden and predicted from the other half. It scores other "
    "counts: compare it with the completion of other models, not with the bounds.",
}


def ladder_section(found: Findings) -> Section:
    """Held-out figures with error bars, each in a sentence."""
    evaluation = found.evaluation
    if evaluation is None:
        return Section("ladder", "How well it explains new rows", (Prose(NO_ROWS, "missing"),))
    display = evaluation.display()
    tokens = evaluation.floor.per_doc is not None
    lines = tuple(_rung(rung) for rung in display.frame().iter_rows(named=True))
    first = (
        "A perplexity of 500 means: as unsure of each count as a fair die with 500 faces; lower is "
        "better. Bounds are lower bounds on the log-likelihood, so their "
        "perplexities are upper bounds."
        if tokens
        else "Bounds are lower bounds on the log-likelihood of a row, in nats: higher is better."
    )
    return Section(
        "ladder",
        "How well it explains new rows",
        (
            Prose(_verdict(evaluation), "finding"),
            Prose(
                f"{first} Standard errors (±) are over the {evaluation.rows:,} rows scored, seed "
                f"{evaluation.seed}; S is the number of draws a row, M of refinement steps."
            ),
            Chart(
                "ladder",
                display,
                "Held-out figures, weakest to tightest",
                "Bars are ± 2 standard errors over rows.",
                "Points with error bars, from the unigram floor to the tightest bound: "
                + "; ".join(f"{name} {figure}" for name, figure, _ in lines)
                + ".",
            ),
            Lines(lines),
        ),
    )


def _rung(rung: dict[str, float | int | str | None]) -> tuple[str, str, str]:
    def number(value: object, error: object = None, digits: int = 1) -> str:
        assert isinstance(value, float)
        text = f"{value:,.{digits}f}".replace("-", "−")
        known = isinstance(error, float) and not np.isnan(error)
        return f"{text} ± {error:,.{digits}f}" if known else text

    parts = []
    if rung["per_doc"] is not None:
        parts.append(f"perplexity {number(rung['per_doc'], rung['per_doc_se'])} per document")
        parts.append(f"{number(rung['per_word'])} per word")
    parts.append(f"{number(rung['nats_per_row'], rung['se'], 2)} nats a row")
    if rung["samples"] is not None:
        parts.append(f"S = {rung['samples']}, M = {rung['steps']}")
    return str(rung["estimator"]), ", ".join(parts), _WHY[str(rung["figure"])]


def _verdict(evaluation: Evaluation) -> str:
    table = evaluation.per_row
    gain = (table["iw"] - table["floor"]).to_numpy()
    mean = float(gain.mean())
    if len(gain) < 2:
        return f"The row scored is explained {mean:+.1f} nats against the floor."
    se = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    share = float((gain > 0).mean())
    if mean > 2 * se:
        return (
            f"The model explains a held-out row {mean:.1f} ± {se:.1f} nats better than the unigram "
            f"floor (by the importance-weighted bound); {share:.0%} of the rows are explained "
            "better than by the floor."
        )
    return (
        f"The model is not clearly better than the unigram floor: {mean:+.1f} ± {se:.1f} nats a "
        "row. It was trained too little, or these rows are not like those of the fit."
    )


def gap_section(found: Findings) -> Section:
    """How much refinement bought, by row length and rarity."""
    title = "The amortisation gap"
    if found.evaluation is None or found.rows is None:
        return Section("gap", title, (Prose(NO_ROWS, "missing"),))
    gap = found.evaluation.gap
    table = found.evaluation.per_row
    values = table["gap"].to_numpy()
    totals = found.rows.totals
    rare = rarity(found)
    return Section(
        "gap",
        title,
        (
            Prose(
                "The inference network guesses a row's posterior at once; local steps refine it. "
                "What they add to the bound is the gap that the network leaves. An inference "
                "network reads badly what it has seldom seen, so one expects larger gaps for rows "
                "of rare features."
            ),
            Prose(_by_rarity(values / totals, rare), "finding"),
            Facts(
                (
                    ("mean gain", f"{gap.nats_per_row:.2f} ± {gap.se:.2f} nats a row"),
                    ("median", f"{gap.median:.2f} nats"),
                    ("90 % quantile", f"{gap.p90:.2f} nats"),
                    ("steps, M", f"{found.evaluation.elbo_refined.steps}"),
                )
            ),
            Chart(
                "gap",
                GapDisplay(values, totals, rare),
                "What refinement gains",
                "Left: nats a row by the row's total count. Right: nats a count by rarity, the "
                "mean of −log training frequency over the row's counts, so that length does not "
                "decide. Groups of equal size; bars are ± 2 standard errors.",
                f"Two lines with error bars: refinement gains {gap.nats_per_row:.2f} nats a row on "
                "average; the left line is over row length, the right over rarity.",
            ),
        ),
    )


def rarity(found: Findings) -> Array:
    """Mean over the counts of each row scored of −log training frequency, nats: (n,)."""
    assert found.rows is not None
    weight = -np.log(found.model.unigram_)
    values: Array = np.asarray(found.rows.csr @ weight, dtype=np.float64) / found.rows.totals
    return values


def _by_rarity(per_count: Array, rare: Array) -> str:
    n = len(rare)
    alike = np.ptp(rare) == 0 or np.ptp(per_count) == 0
    if n < 10 or alike:
        return "These are too few rows, or too much alike, to tell whether rarity matters."
    rho = float(spearmanr(rare, per_count).statistic)
    said = f"Spearman's correlation {rho:+.2f} over {n:,} rows"
    if abs(rho) < 2 / np.sqrt(n - 1):
        return f"Rows of rare features do not clearly gain more or less than others ({said})."
    more = ("slightly " if abs(rho) < 0.2 else "") + ("more" if rho > 0 else "less")
    expected = "as expected" if rho > 0 else "against the expectation"
    return f"Rows of rarer features gain {more} for each count, {expected} ({said})."


def worst_section(found: Findings) -> Section:
    """Rows that the model explains least, against the floor."""
    title = "The worst-explained rows"
    if found.evaluation is None or found.rows is None:
        return Section("worst", title, (Prose(NO_ROWS, "missing"),))
    rows, table = found.rows, found.evaluation.per_row
    listed = [
        rows.vocabulary.listed(f for f, _ in rows.top_features(d, 6)) for d in range(len(rows))
    ]
    display = RowScoresDisplay(
        pl.DataFrame(
            {
                "row_id": table["row_id"],
                "counts": table["tokens"],
                "model": -table["iw"] / table["tokens"],
                "floor": -table["floor"] / table["tokens"],
                "features": listed,
            }
        ),
        f"importance-weighted at ψ*, S = {found.evaluation.iw.samples}, "
        f"M = {found.evaluation.iw.steps}",
    )
    worse = int((display.frame()["gain"] <= 0).sum())
    place = {row_id: d for d, row_id in enumerate(rows.row_ids)}
    order = [place[r] for r in display.frame()["row_id"][:_WORST]]
    surprises = _surprises(found, np.array(order))
    cards = []
    for line, d in zip(display.frame()[:_WORST].iter_rows(named=True), order, strict=True):
        counts = rows.top_features(d, _WORST_FEATURES)
        label = rows.vocabulary.label
        items = tuple(Item(label(f), "" if x == 1 else f"{x:,.6g}") for f, x in counts)
        cards.append(
            Card(
                str(line["row_id"]),
                f"{line['model']:.2f} nats a count, floor {line['floor']:.2f}; total "
                f"{line['counts']:,.6g}",
                (("most frequent", items), ("least expected", surprises[d])),
            )
        )
    blocks: list[Block] = [
        Prose(
            f"{worse:,} of {len(rows):,} rows are explained no better than by the training "
            "frequencies alone.",
            "finding",
        ),
        Chart(
            "row_scores",
            display,
            "Each row against the floor",
            "Nats a count: fewer are better. Rows above the dashed line are explained worse than "
            "by the floor: foreign to the training rows, or too short to tell what they are about.",
            f"One point a row, floor across and model upwards; {worse} of {len(rows)} points lie "
            "on or above the diagonal, where the model is no better than the floor.",
        ),
        Prose(
            "The rows that gain least over the floor, with their most frequent features, and those "
            "that the model, knowing the whole row, holds least probable:"
        ),
        Cards(tuple(cards)),
    ]
    return Section("worst", title, tuple(blocks))


def _surprises(found: Findings, order: npt.NDArray[np.int64]) -> dict[int, tuple[Item, ...]]:
    """Of some rows, the features least probable at the posterior mean, with −log p."""
    assert found.rows is not None
    assert found.posterior is not None
    rows = found.rows
    log_p = _log_probabilities(found.model, found.posterior.mean[order])
    out = {}
    for i, d in enumerate(order.tolist()):
        own = rows.csr.indices[rows.csr.indptr[d] : rows.csr.indptr[d + 1]]
        least = own[np.argsort(log_p[i, own], kind="stable")][:5]
        label = rows.vocabulary.label
        out[d] = tuple(
            Item(label(rows.vocabulary[int(v)]), f"{-log_p[i, v]:.1f} nats") for v in least
        )
    return out


@torch.no_grad()
def _log_probabilities(model: NonlinearFactorAnalysis, z: npt.NDArray[np.float32]) -> Array:
    generative = model.network_.generative
    logits = generative.decoder(torch.from_numpy(z).to(generative.decoder.weight))
    result: Array = generative.likelihood.log_probabilities(logits).double().cpu().numpy()
    return result
