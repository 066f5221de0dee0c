"""The long tail of the features, as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data import Vocabulary
from longtail.displays.base import PALETTE, Figure, altair, inline, shortened, styled

__all__ = ["LongTailDisplay"]

_POINTS = 300  # of the line: on a log scale more cannot be told apart
_NAMED = 40


class LongTailDisplay(Figure):
    """How often features come, from the most frequent on.

    Parameters
    ----------
    counts
        (V,): how often each feature comes, or in how many rows.
    vocabulary
        The V features.
    label
        What was counted.
    """

    def __init__(
        self, counts: npt.NDArray[np.floating], vocabulary: Vocabulary, label: str
    ) -> None:
        order = np.argsort(-counts, kind="stable")
        self._table = pl.DataFrame(
            {
                "rank": np.arange(1, len(order) + 1),
                "feature": [vocabulary[int(v)] for v in order],
                "count": counts[order].astype(np.float64),
                "cumulative_share": np.cumsum(counts[order]) / max(counts.sum(), 1e-300),
            }
        )
        self._label = label

    def frame(self) -> pl.DataFrame:
        """One line a feature, most frequent first: rank, feature, count, cumulative_share."""
        return self._table

    def reaching(self, share: float) -> int:
        """How many of the most frequent features hold this share of all that was counted."""
        return int((self._table["cumulative_share"] < share).sum()) + 1

    def plot(self) -> Any:
        """Counts by rank, both on log scales: a straight line is a power law."""
        alt = altair()
        table = self._table.filter(pl.col("count") > 0)
        at = np.unique(np.geomspace(1, max(len(table), 1), _POINTS).astype(int)) - 1
        shown = table[at] if len(table) else table
        shown = shown.with_columns(
            label=pl.Series([shortened(f, _NAMED) for f in shown["feature"]], dtype=pl.String)
        ).drop("feature")
        base = alt.Chart(inline(alt, shown)).encode(
            x=alt.X("rank:Q", title="feature, most frequent first", scale=alt.Scale(type="log")),
            y=alt.Y("count:Q", title=self._label, scale=alt.Scale(type="log")),
        )
        points = base.mark_point(size=30, opacity=0, filled=True).encode(
            tooltip=[
                alt.Tooltip("label:N", title="feature"),
                "rank:Q",
                alt.Tooltip("count:Q", title=self._label, format=",.4~g"),
                alt.Tooltip("cumulative_share:Q", title="share up to here", format=".1%"),
            ]
        )
        chart = (base.mark_line(strokeWidth=2, color=PALETTE[0]) + points).properties(
            width=560, height=260
        )
        return styled(chart, "The long tail")
