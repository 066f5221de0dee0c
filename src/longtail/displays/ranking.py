"""Recommendations judged by held-out items, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, styled

__all__ = ["RankingDisplay"]

_SHOWN = ("recall", "ndcg", "hit_rate", "coverage")


class RankingDisplay(Figure):
    """Metrics of ranked lists by the lists' length, for one or several recommenders.

    Parameters
    ----------
    table
        One line a recommender, metric and cutoff: recommender, metric, k, mean, se.
    metrics
        Those to plot.
    """

    def __init__(self, table: pl.DataFrame, metrics: Sequence[str] = _SHOWN) -> None:
        self._table = table
        self._metrics = list(metrics)

    def frame(self) -> pl.DataFrame:
        """The table."""
        return self._table

    def plot(self) -> Any:
        """A panel a metric; bars are ± 2 standard errors over rows."""
        alt = altair()
        table = self._table.filter(pl.col("metric").is_in(self._metrics)).with_columns(
            low=pl.col("mean") - 2 * pl.col("se").fill_nan(None).fill_null(0),
            high=pl.col("mean") + 2 * pl.col("se").fill_nan(None).fill_null(0),
            length=pl.format("first {}", pl.col("k")),
        )
        lengths = table.sort("k")["length"].unique(maintain_order=True).to_list()
        color = alt.Color(
            "recommender:N",
            title=None,
            sort=None,
            scale=alt.Scale(range=PALETTE),
            legend=alt.Legend(orient="bottom"),
        )
        panels = []
        for metric in self._metrics:
            base = alt.Chart(inline(alt, table.filter(pl.col("metric") == metric))).encode(
                y=alt.Y("length:N", sort=lengths, title=None),
                yOffset=alt.YOffset("recommender:N", sort=None),
                color=color,
            )
            x = alt.X("mean:Q", title=metric.replace("_", " "), scale=alt.Scale(zero=True))
            points = base.mark_point(filled=True, size=60).encode(
                x=x,
                tooltip=[
                    "recommender:N",
                    "k:Q",
                    alt.Tooltip("mean:Q", format=".4f"),
                    alt.Tooltip("se:Q", format=".4f"),
                ],
            )
            bars = base.mark_rule(strokeWidth=2).encode(
                x=alt.X("low:Q", title=metric.replace("_", " ")), x2="high:Q"
            )
            panels.append((bars + points).properties(width=250, height={"step": 26}))
        chart = alt.concat(*panels, columns=2)
        return styled(chart, "Held-out items found", "bars: ± 2 standard errors over rows")
