"""Training over epochs, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, styled

__all__ = ["HistoryDisplay"]


class HistoryDisplay(Figure):
    """Training over epochs: held-out bounds, KL weight, and latent dimensions in use.

    Parameters
    ----------
    runs
        A table of epochs for each named run; one unnamed run is usual.
    """

    def __init__(self, runs: Mapping[str, pl.DataFrame]) -> None:
        self._runs = dict(runs)

    def frame(self) -> pl.DataFrame:
        """One line an epoch and run."""
        tables = [t.with_columns(run=pl.lit(name)) for name, t in self._runs.items()]
        return pl.concat(tables, how="diagonal_relaxed")

    def plot(self) -> Any:
        """Three panels that share the epoch axis."""
        alt = altair()
        table = self.frame()
        many = len(self._runs) > 1
        color = (
            alt.Color("run:N", title=None, scale=alt.Scale(range=PALETTE))
            if many
            else alt.Undefined
        )
        base = alt.Chart(inline(alt, table)).encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1))
        )

        def panel(columns: dict[str, str], title: str, height: int, log: bool = False) -> Any:
            names = list(columns.values())
            labels = " : ".join(f"datum.series == '{c}' ? '{n}'" for c, n in columns.items())
            shown = (
                base.transform_fold(list(columns), as_=["series", "value"])
                .transform_filter("isValid(datum.value)")
                .transform_calculate(series=f"{labels} : ''")
            )
            scale = alt.Scale(type="log", nice=False) if log else alt.Scale(zero=True)
            dash = alt.Scale(domain=names, range=[[1, 0], [6, 3]][: len(names)])
            return (
                shown.mark_line(point=alt.OverlayMarkDef(size=12))
                .encode(
                    y=alt.Y("value:Q", title=title, scale=scale),
                    color=color,
                    strokeDash=alt.StrokeDash("series:N", scale=dash, legend=None),
                    tooltip=["epoch:Q", "series:N", alt.Tooltip("value:Q", format=",.2f")],
                )
                .properties(width=560, height=height)
            )

        perplexity = table["valid_per_doc_refined"].null_count() < table.height
        validated = table["valid_nats_per_row"].null_count() < table.height
        if perplexity:
            bounds = panel(
                {
                    "valid_per_doc_refined": "ELBO at ψ*",
                    "valid_per_doc_amortized": "ELBO at ψ(x)",
                },
                "validation perplexity, per document",
                260,
                log=True,
            )
        elif validated:
            bounds = panel({"valid_nats_per_row": "ELBO at ψ*"}, "validation ELBO, nats a row", 260)
        else:
            bounds = panel(
                {"train_nats_per_row": "training ELBO"}, "training ELBO, nats a row", 260
            )
        weight = panel({"kl_weight": "KL weight"}, "KL weight", 70)
        active = panel({"active_kl": "dimensions"}, "latent dimensions in use", 110)
        chart = alt.vconcat(bounds, active, weight).resolve_scale(strokeDash="independent")
        return styled(
            chart, "Training", "solid: ELBO at ψ*; dashed: ELBO at ψ(x)" if perplexity else None
        )
