"""The section on recommendations: how well hidden items are found, and why some are listed."""

from __future__ import annotations

import polars as pl

from longtail.displays import RankingDisplay
from longtail.introspection import Explanation
from longtail.report.about import NO_ROWS
from longtail.report.blocks import Block, Card, Cards, Chart, Facts, Item, Prose, Section
from longtail.report.findings import HIDDEN_SHARE, Findings, Recommended

__all__ = ["recommend_section"]

_HISTORY = 10


def recommend_section(found: Findings) -> Section:
    """Ranking metrics, coverage, and example rows with explanations."""
    title = "Recommendations"
    if found.given is None:
        return Section("recommend", title, (Prose(NO_ROWS, "missing"),))
    told = found.recommended
    if told is None:
        short = "No row has the five items or more of which one could be hidden and looked for."
        return Section("recommend", title, (Prose(short, "missing"),))
    model = told.rankings["the model"]
    k = model.cutoffs[-1]
    table = pl.concat(
        r.frame().select(pl.lit(name).alias("recommender"), pl.all())
        for name, r in told.rankings.items()
    )
    recall = {name: r.metrics[f"recall@{k}"] for name, r in told.rankings.items()}
    mine, theirs = recall["the model"], recall["popularity"]
    blocks: list[Block] = [
        Prose(
            f"Of the hidden items, {mine.mean:.1%} ± {mine.se:.1%} are among the first {k} "
            f"recommendations; {theirs.mean:.1%} ± {theirs.se:.1%} are among the {k} most popular "
            "items.",
            "finding",
        ),
        Prose(
            f"{HIDDEN_SHARE:.0%} of each row's items were hidden at random, the row was inferred "
            "from the others, and all items that it was not seen to have were ranked by their "
            "probability. Recall is the share of the hidden items that are found, NDCG gives more "
            "for finding them early, hit rate is the share of rows with any found, and coverage "
            "is the share of all items that are recommended to somebody."
        ),
        Facts(
            (
                ("rows judged", f"{model.rows:,}"),
                ("rows too short to hide an item", f"{model.skipped_rows:,}"),
                ("hidden items", f"{model.held_out:,}"),
                ("looked for among", f"{model.items:,} items"),
                (f"coverage of the first {k}", f"{model.coverage[f'coverage@{k}']:.1%}"),
                ("seed", str(found.settings.seed)),
            )
        ),
        Chart(
            "ranking",
            RankingDisplay(table),
            "Hidden items found",
            "The model beside the list of the most popular items, which is the same for everyone. "
            "Bars are ± 2 standard errors over rows.",
            f"Points with error bars for four metrics; recall in the first {k}: the model "
            f"{mine.mean:.3f}, popularity {theirs.mean:.3f}.",
        ),
        Prose(
            "A few rows, what they have, what is recommended to them, and which of their own items "
            "speak most for it (nats by which its log-probability would fall without them):"
        ),
        Cards(_users(told), wide=True),
    ]
    return Section("recommend", title, tuple(blocks))


def _users(told: Recommended) -> tuple[Card, ...]:
    cards = []
    for (user, wanted, explained), listed in zip(told.users, told.listed, strict=True):
        label = user.vocabulary.label
        history = tuple(
            Item(label(name), "" if x == 1 else f"{x:,.6g}")
            for name, x in user.top_features(0, _HISTORY)
        )
        because = {e.item: e for e in explained}
        recommended = tuple(
            Item(label(name), _note(name in wanted, because.get(name))) for name in listed
        )
        reasons = tuple(_reasons(e) for e in explained)
        cards.append(
            Card(
                str(user.row_ids[0]),
                f"{user.nnz:,} items seen, {len(wanted):,} hidden",
                (("has", history), ("is recommended", recommended), *reasons),
            )
        )
    return tuple(cards)


def _note(hit: bool, told: Explanation | None) -> str:
    parts = [] if told is None else [f"probability {told.probability:.1%}"]
    return "; ".join(([*parts, "was hidden: a hit"]) if hit else parts)


def _reasons(told: Explanation) -> tuple[str, tuple[Item, ...]]:
    label = told.vocabulary.label
    own = told.own_items.filter(told.own_items["influence"] > 0)
    return (
        f"{label(told.item)}, because of",
        tuple(
            Item(label(item), f"{nats:+.2f}")
            for item, nats in zip(own["item"], own["influence"], strict=True)
        ),
    )
