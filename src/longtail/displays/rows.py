"""How well rows are explained, each against the floor, as a figure."""

from __future__ import annotations

from typing import Any

import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, shortened, styled

__all__ = ["RowScoresDisplay"]

_NAMED = 60


class RowScoresDisplay(Figure):
    """Each row's nats a count under the model and under the floor.

    Parameters
    ----------
    table
        One line a row: row_id, counts, model, floor (nats a count, fewer are better), features.
    estimator
        Which bound the model's figure is.
    """

    def __init__(self, table: pl.DataFrame, estimator: str) -> None:
        self._table = table.with_columns(gain=pl.col("floor") - pl.col("model")).sort(
            "gain", maintain_order=True
        )
        self._estimator = estimator

    def frame(self) -> pl.DataFrame:
        """One line a row, worst explained first, with `gain` over the floor, nats a count."""
        return self._table

    def plot(self) -> Any:
        """The floor against the model; rows above the diagonal are explained worse than by it."""
        alt = altair()
        t = self._table
        shown = pl.DataFrame(
            {
                "label": [shortened(str(r), _NAMED) for r in t["row_id"]],
                "features": [shortened(f, _NAMED) if f else "" for f in t["features"]],
                "counts": t["counts"],
                "model": t["model"].round(4),
                "floor": t["floor"].round(4),
                "verdict": [
                    "better than the floor" if g > 0 else "worse than the floor" for g in t["gain"]
                ],
            }
        )
        low = min(t["model"].min(), t["floor"].min())  # type: ignore[type-var]
        high = max(t["model"].max(), t["floor"].max())  # type: ignore[type-var]
        ends = pl.DataFrame({"floor": [low, high], "model": [low, high]})
        x = alt.X("floor:Q", title="unigram floor, nats a count", scale=alt.Scale(zero=False))
        y = alt.Y("model:Q", title="model, nats a count", scale=alt.Scale(zero=False))
        diagonal = (
            alt.Chart(inline(alt, ends)).mark_line(strokeDash=[5, 4], color="#888").encode(x=x, y=y)
        )
        points = (
            alt.Chart(inline(alt, shown))
            .mark_circle(size=36, opacity=0.6)
            .encode(
                x=x,
                y=y,
                color=alt.Color(
                    "verdict:N",
                    title=None,
                    scale=alt.Scale(
                        domain=["better than the floor", "worse than the floor"],
                        range=[PALETTE[0], PALETTE[5]],
                    ),
                    legend=alt.Legend(orient="bottom"),
                ),
                tooltip=[
                    alt.Tooltip("label:N", title="row"),
                    alt.Tooltip("features:N"),
                    alt.Tooltip("counts:Q", format=","),
                    alt.Tooltip("model:Q", format=".2f"),
                    alt.Tooltip("floor:Q", format=".2f"),
                ],
            )
        )
        chart = (diagonal + points).properties(width=560, height=360)
        return styled(chart, "How well each row is explained", f"model: {self._estimator}")
