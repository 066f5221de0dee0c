"""What a ranking says, and how sure it is; `ranking` defines each metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.displays import RankingDisplay

__all__ = ["Ranking", "RowMean"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RowMean:
    """A mean over rows.

    Attributes
    ----------
    mean
        Over the rows scored.
    se
        Its standard error; NaN for a single row.
    """

    mean: float
    se: float

    @classmethod
    def of(cls, values: Array) -> RowMean:
        """Summarise one value a row; rows without one (NaN) are left out."""
        values = values[~np.isnan(values)]
        n = len(values)
        return cls(
            mean=float(values.mean()) if n else float("nan"),
            se=float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
        )


@dataclass(frozen=True, eq=False)
class Ranking:
    """How well lists of items meet what was held out.

    Attributes
    ----------
    rows, skipped_rows
        Rows scored; rows without a held-out item, for which nothing can be said.
    held_out
        Held-out items of the rows scored.
    items
        V, items that could be listed.
    cutoffs
        Lengths k of the lists.
    metrics
        ``"recall@20"`` and so on: means over rows; see the module for what each is.
    coverage
        ``"coverage@20"`` and so on: shares of all items, of all rows' lists together.
    per_row
        One line a row scored: row_id, held_out, and each metric.
    """

    rows: int
    skipped_rows: int
    held_out: int
    items: int
    cutoffs: tuple[int, ...]
    metrics: dict[str, RowMean]
    coverage: dict[str, float]
    per_row: pl.DataFrame

    def __getitem__(self, metric: str) -> float:
        """A metric's mean by name, such as ``"ndcg@100"``."""
        return self.coverage[metric] if metric in self.coverage else self.metrics[metric].mean

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; the per-row table is left out."""
        return {
            "rows": self.rows,
            "skipped_rows": self.skipped_rows,
            "held_out": self.held_out,
            "items": self.items,
            **{
                name: {"mean": _finite(m.mean), "se": _finite(m.se)}
                for name, m in self.metrics.items()
            },
            **self.coverage,
        }

    def frame(self) -> pl.DataFrame:
        """One line a metric and cutoff: metric, k, mean, se."""
        means = [(*_parts(name), m.mean, m.se) for name, m in self.metrics.items()]
        shares = [(*_parts(name), share, None) for name, share in self.coverage.items()]
        return pl.DataFrame(
            means + shares,
            schema={"metric": pl.String, "k": pl.Int64, "mean": pl.Float64, "se": pl.Float64},
            orient="row",
        )

    def display(self) -> RankingDisplay:
        """The metrics as a figure with its table."""
        return RankingDisplay(
            self.frame().select(pl.lit("the model").alias("recommender"), pl.all())
        )

    def plot(self) -> Any:
        """The metrics as an Altair chart."""
        return self.display().plot()

    def _repr_html_(self) -> str:
        return self.display()._repr_html_()

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} rows, {self.held_out:,} held-out items among {self.items:,}"
            f" ({self.skipped_rows:,} rows without a held-out item left out)",
            "",
            f"{'':<18}" + "".join(f"{f'k = {k}':>18}" for k in self.cutoffs),
        ]
        by_name = {name.partition("@")[0]: None for name in self.metrics}
        for name in by_name:
            cells = [self.metrics[f"{name}@{k}"] for k in self.cutoffs]
            lines.append(
                f"{name:<18}" + "".join(f"{f'{c.mean:.4f} ± {c.se:.4f}':>18}" for c in cells)
            )
        shares = [f"{self.coverage[f'coverage@{k}']:.4f}" for k in self.cutoffs]
        lines += [
            f"{'coverage':<18}" + "".join(f"{s:>18}" for s in shares),
            "",
            "± is the standard error over rows. recall divides the hits by the number of held-out",
            "items, recall_truncated by k where that is less.",
        ]
        return "\n".join(lines)

    __repr__ = __str__


def _parts(name: str) -> tuple[str, int]:
    metric, _, k = name.partition("@")
    return metric, int(k)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
