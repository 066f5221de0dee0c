"""One feature's nearest features in several contexts, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from longtail.data.vocabulary import feature_label
from longtail.displays.base import Figure, altair, inline, shortened, styled

__all__ = ["NeighborhoodDisplay"]

_WIDEST = 40  # characters of a label in its column


class NeighborhoodDisplay(Figure):
    """Lists of neighbours side by side.

    Parameters
    ----------
    feature
        Whose neighbours, in words.
    lists
        For each context, in words, a table with rank, feature, similarity and, where features
        have them, description.
    """

    def __init__(self, feature: str, lists: Mapping[str, pl.DataFrame]) -> None:
        self.feature = feature
        self.lists = dict(lists)

    def frame(self) -> pl.DataFrame:
        """One line a context and neighbour: context, rank, feature, description, similarity."""
        tables = [t.select(pl.lit(c).alias("context"), pl.all()) for c, t in self.lists.items()]
        return pl.concat(tables)

    def overlap(self) -> float:
        """Mean share of neighbours that two of the contexts have in common."""
        sets = [set(t["feature"]) for t in self.lists.values()]
        pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
        if not pairs:
            return float("nan")
        return sum(len(a & b) / max(len(a), len(b), 1) for a, b in pairs) / len(pairs)

    def plot(self) -> Any:
        """A column for each context; names that come in more than one are grey."""
        alt = altair()
        table = self.frame()
        contexts = list(self.lists)
        wide = 260 if "description" in table.columns else 190
        described = table["description"] if "description" in table.columns else [None] * len(table)
        table = table.with_columns(
            shared=pl.len().over("feature") > 1,
            label=pl.Series(
                [
                    shortened(feature_label(*f, width=_WIDEST), _WIDEST)
                    for f in zip(table["feature"], described, strict=True)
                ],
                dtype=pl.String,
            ),
        )
        base = alt.Chart(inline(alt, table)).encode(
            x=alt.X(
                "context:N",
                sort=contexts,
                title=None,
                axis=alt.Axis(
                    orient="top",
                    labelAngle=0,
                    labelFontSize=12,
                    ticks=False,
                    domain=False,
                    labelLimit=max(220, wide - 10),
                ),
            ),
            y=alt.Y("rank:O", title=None, axis=None),
        )
        color = alt.condition("datum.shared", alt.value("#999"), alt.value("#1f4e79"))
        words = base.mark_text(fontSize=13).encode(text="label:N", color=color)
        chart = words.properties(
            width=max(wide * len(contexts), 240),
            height=24 * max((t.height for t in self.lists.values()), default=1),
        )
        return styled(
            chart,
            f"Neighbours of “{shortened(self.feature, _WIDEST)}”",
            "in grey: in more than one context" if len(contexts) > 1 else None,
        )
