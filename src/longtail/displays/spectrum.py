"""Spectra of Jacobians, as a figure."""

from __future__ import annotations

from typing import Any

import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, styled

__all__ = ["SpectrumDisplay"]

_PANELS = {"mean": "singular values of E[J]", "rms": "root eigenvalues of E[JᵀJ]"}


class SpectrumDisplay(Figure):
    """Singular values on a log scale, for one or several models.

    Parameters
    ----------
    table
        One line a model and rank: model, rank (from 1), mean, rms, threshold, noise, live.
    subtitle
        What was differentiated, over what, and what the threshold means.
    """

    def __init__(self, table: pl.DataFrame, subtitle: str) -> None:
        self._table = table
        self._subtitle = subtitle

    def frame(self) -> pl.DataFrame:
        """The table."""
        return self._table

    def plot(self) -> Any:
        """Two panels: the averaged Jacobian, and the average of its square, which cannot cancel."""
        alt = altair()
        table = self._table.with_columns(
            label=pl.when(pl.col("model") == "")
            .then(pl.format("{} live", pl.col("live")))
            .otherwise(pl.format("{} ({} live)", pl.col("model"), pl.col("live")))
        )
        order = table["label"].unique(maintain_order=True).to_list()
        one = table["threshold"].n_unique() == 1
        # A log scale has no place for 0, nor for what is only rounding.
        lowest = 1e-6 * float(table["rms"].to_numpy().max(initial=1e-300))
        color = alt.Color(
            "label:N",
            title=None,
            sort=order,
            scale=alt.Scale(
                domain=order, range=[PALETTE[i % len(PALETTE)] for i in range(len(order))]
            ),
            legend=alt.Legend(orient="bottom", columns=2, labelLimit=300, symbolType="stroke"),
        )
        panels = []
        for column, title in _PANELS.items():
            shown = table.with_columns(pl.col(column).clip(lower_bound=lowest))
            base = alt.Chart(inline(alt, shown))
            lines = base.mark_line(strokeWidth=2).encode(
                x=alt.X("rank:Q", title="direction, strongest first", axis=alt.Axis(tickMinStep=1)),
                y=alt.Y(
                    f"{column}:Q",
                    title=None,
                    scale=alt.Scale(type="log", nice=False),
                    axis=alt.Axis(format="~g"),
                ),
                color=color,
                tooltip=["model:N", "rank:Q", alt.Tooltip(f"{column}:Q", format=".4g")],
            )
            rule = base.mark_rule(strokeDash=[5, 4]).encode(
                y="threshold:Q", color=alt.value("#888") if one else color
            )
            panels.append((rule + lines).properties(width=330, height=260, title=title))
        chart = alt.hconcat(*panels).resolve_scale(y="shared", color="shared")
        return styled(chart, "Latent directions in use", self._subtitle)
