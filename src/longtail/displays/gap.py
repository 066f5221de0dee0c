"""What refinement bought, by length of the row and rarity of its features, as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, styled

__all__ = ["GapDisplay"]

Array = npt.NDArray[np.float64]

_GROUPS = 8
_VIEWS = {
    "length": ("row length (counts)", "nats a row"),
    "rarity": ("rarity of the row's features (nats a count)", "nats a count"),
}


class GapDisplay(Figure):
    """The amortisation gap of rows, in groups of equal size.

    Parameters
    ----------
    gap
        ELBO at ψ* less ELBO at ψ(x) of each row, nats: (n,).
    totals
        N_d: (n,).
    rarity
        Mean over a row's counts of −log training frequency, nats: (n,).
    """

    def __init__(self, gap: Array, totals: Array, rarity: Array) -> None:
        self._table = pl.concat(
            [
                _grouped("length", totals, gap),
                # Longer rows have larger gaps whatever they hold: rarity is judged by the count.
                _grouped("rarity", rarity, gap / totals),
            ]
        )

    def frame(self) -> pl.DataFrame:
        """One line a view and group.

        Columns: view, group, from, to, middle, rows, gap, se, low, high.
        `gap` is in nats a row by length, and in nats a count by rarity. `low` and `high` are ± 2
        standard errors over the rows of the group.
        """
        return self._table

    def plot(self) -> Any:
        """Two panels: nats a row by length, nats a count by rarity."""
        alt = altair()
        panels = []
        for view, (x_title, y_title) in _VIEWS.items():
            table = self._table.filter(pl.col("view") == view)
            base = alt.Chart(inline(alt, table)).encode(
                x=alt.X("middle:Q", title=x_title, scale=alt.Scale(zero=False))
            )
            y = alt.Y("gap:Q", title=y_title, scale=alt.Scale(zero=True))
            line = base.mark_line(strokeWidth=1.5, color=PALETTE[0]).encode(y=y)
            bars = base.mark_rule(strokeWidth=2, color=PALETTE[0]).encode(y="low:Q", y2="high:Q")
            points = base.mark_point(filled=True, size=60, color=PALETTE[0]).encode(
                y=y,
                tooltip=[
                    alt.Tooltip("from:Q", format=",.3~g"),
                    alt.Tooltip("to:Q", format=",.3~g"),
                    "rows:Q",
                    alt.Tooltip("gap:Q", title=y_title, format=",.3f"),
                    alt.Tooltip("se:Q", title="standard error", format=",.3f"),
                ],
            )
            panels.append((bars + line + points).properties(width=300, height=240))
        chart = alt.hconcat(*panels)
        return styled(
            chart, "What refinement gains", f"groups of equal size, up to {_GROUPS}; ± 2 se"
        )


def _grouped(view: str, by: Array, value: Array) -> pl.DataFrame:
    """Groups of equal size by the order of `by`."""
    n = max(1, min(_GROUPS, len(by) // 2))
    parts = np.array_split(np.argsort(by, kind="stable"), n)
    lines = []
    for number, rows in enumerate(parts, 1):
        mean = float(value[rows].mean())
        # Of one row there is no standard error.
        se = float(value[rows].std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else None
        lines.append(
            {
                "view": view,
                "group": number,
                "from": float(by[rows].min()),
                "to": float(by[rows].max()),
                "middle": float(np.median(by[rows])),
                "rows": len(rows),
                "gap": mean,
                "se": se,
                "low": mean - 2 * (se or 0),
                "high": mean + 2 * (se or 0),
            }
        )
    return pl.DataFrame(lines, schema_overrides={"se": pl.Float64})
