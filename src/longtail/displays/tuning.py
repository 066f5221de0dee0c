"""The trials of a search, and what mattered in them, as figures."""

from __future__ import annotations

from typing import Any, Literal

import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, styled

__all__ = ["ImportanceDisplay", "TrialsDisplay"]


class TrialsDisplay(Figure):
    """The metric of each trial, and the best so far.

    Parameters
    ----------
    table
        One line a trial: trial, state, value, and whatever else is to be shown beside the pointer.
    label
        What the value is.
    direction
        Whether more of it is better, or less.
    """

    def __init__(
        self, table: pl.DataFrame, label: str, direction: Literal["maximize", "minimize"]
    ) -> None:
        self._table = table
        self._label = label
        self._direction = direction

    def frame(self) -> pl.DataFrame:
        """The table, with the best value of a complete trial so far."""
        complete = pl.when(pl.col("state") == "complete").then(pl.col("value"))
        best = complete.cum_max() if self._direction == "maximize" else complete.cum_min()
        return self._table.with_columns(best=best.forward_fill())

    def plot(self) -> Any:
        """Complete trials filled, those cut short open; a line for the best so far."""
        alt = altair()
        table = self.frame().filter(pl.col("value").is_not_null())
        base = alt.Chart(inline(alt, table)).encode(
            x=alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1))
        )
        y = alt.Y("value:Q", title=self._label, scale=alt.Scale(zero=False))
        shown = [f"{name}:N" for name in table.columns if name != "best"]
        points = base.mark_point(size=60).encode(
            y=y,
            fill=alt.condition(
                "datum.state == 'complete'", alt.value(PALETTE[0]), alt.value("transparent")
            ),
            tooltip=shown,
        )
        line = (
            base.transform_filter("isValid(datum.best)")
            .mark_line(interpolate="step-after", color=PALETTE[1])
            .encode(y=alt.Y("best:Q", title=self._label, scale=alt.Scale(zero=False)))
        )
        chart = (line + points).properties(width=560, height=300)
        return styled(chart, "Trials", "filled: complete; open: cut short; line: best so far")


class ImportanceDisplay(Figure):
    """How much each parameter mattered.

    Parameters
    ----------
    table
        parameter, importance.
    label
        What was explained.
    """

    def __init__(self, table: pl.DataFrame, label: str) -> None:
        self._table = table
        self._label = label

    def frame(self) -> pl.DataFrame:
        """The table."""
        return self._table

    def plot(self) -> Any:
        """A bar for each parameter."""
        alt = altair()
        chart = (
            alt.Chart(inline(alt, self._table))
            .mark_bar(color=PALETTE[0])
            .encode(
                x=alt.X("importance:Q", title="share of the variation over trials"),
                y=alt.Y("parameter:N", sort="-x", title=None),
                tooltip=["parameter:N", alt.Tooltip("importance:Q", format=".2f")],
            )
            .properties(width=420, height={"step": 22})
        )
        return styled(chart, "What mattered", self._label)
