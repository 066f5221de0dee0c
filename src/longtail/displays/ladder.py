"""Held-out bounds, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, styled

__all__ = ["EvaluationDisplay"]

_PERPLEXITY = "perplexity per document (lower is better)"
_NATS = "nats a row (higher is better)"


class EvaluationDisplay(Figure):
    """The ladder of held-out figures against the unigram floor, with error bars.

    Parameters
    ----------
    rungs
        One mapping a figure: figure, estimator, per_doc, per_doc_se, per_word, nats_per_row,
        se, mc_se, samples, steps, and optionally model.
    """

    def __init__(self, rungs: Sequence[Mapping[str, Any]]) -> None:
        self._rungs = [dict(r) for r in rungs]

    def frame(self) -> pl.DataFrame:
        """One line a figure."""
        return pl.DataFrame(self._rungs, infer_schema_length=None)

    def plot(self) -> Any:
        """Perplexity per document, or nats a row, on each rung, ± 2 standard errors over rows.

        Completion is left out of the picture: it scores other tokens.
        """
        alt = altair()
        table = self.frame().filter(pl.col("figure") != "completion")
        value, error, title, digits = "per_doc", "per_doc_se", _PERPLEXITY, 0
        if table[value].null_count():
            value, error, title, digits = "nats_per_row", "se", _NATS, 1
        table = table.with_columns(
            low=pl.col(value) - 2 * pl.col(error).fill_nan(0),
            high=pl.col(value) + 2 * pl.col(error).fill_nan(0),
        )
        order = table["estimator"].unique(maintain_order=True).to_list()
        many = "model" in table.columns
        extra: dict[str, Any] = {"yOffset": "model:N"} if many else {}
        color = (
            alt.Color("model:N", title=None, scale=alt.Scale(range=PALETTE))
            if many
            else alt.value(PALETTE[0])
        )
        base = alt.Chart(inline(alt, table)).encode(
            y=alt.Y("estimator:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
            color=color,
            **extra,
        )
        x = alt.X(f"{value}:Q", title=title)
        points = base.mark_point(filled=True, size=70).encode(
            x=x.scale(zero=False),
            tooltip=[
                "estimator:N",
                *(
                    alt.Tooltip(f"{c}:Q", format=",.2f")
                    for c in ("per_doc", "per_word", "nats_per_row", "se")
                ),
                "samples:Q",
                "steps:Q",
            ],
        )
        bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=""), x2="high:Q")
        labels = base.mark_text(dy=-11, fontSize=11).encode(
            x=f"{value}:Q", text=alt.Text(f"{value}:Q", format=f",.{digits}f")
        )
        chart = (bars + points + labels).properties(width=520, height={"step": 34 if many else 42})
        return styled(
            chart,
            "Held-out bounds",
            "bars: ± 2 standard errors over rows",
        )
