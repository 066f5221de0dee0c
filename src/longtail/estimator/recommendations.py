"""What is recommended to each row, and for which rows that means little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data import Vocabulary
from longtail.data.counts import Unseen
from longtail.data.vocabulary import LINE_LABEL
from longtail.displays.base import table_html
from longtail.evaluation.topk import NOTHING

__all__ = ["Recommendations"]

_SHOWN_ROWS, _SHOWN_ITEMS = 5, 5
_TEXTS = {"item": pl.String, "description": pl.String}


@dataclass(frozen=True, eq=False)
class Recommendations:
    """The items with the highest posterior predictive probability for each row, best first.

    Attributes
    ----------
    row_ids
        Length n.
    indices
        (n, k) int64: columns of the model's vocabulary; −1 at the end of a list for which too few
        items were left.
    scores
        (n, k) float32: probability that the row's next count falls on the item; NaN where there
        is none. They sum to 1 over all items, seen ones included.
    no_history
        (n,) bool: the row has no count in the model's vocabulary. It gets the items most frequent
        in training.
    short
        (n,) bool: fewer than k items were left, as the row has seen the others or they were
        filtered out.
    unseen
        What of the rows' items the model does not know; None if items were matched by position.
    vocabulary
        The model's items.
    """

    row_ids: pl.Series
    indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    no_history: npt.NDArray[np.bool_]
    short: npt.NDArray[np.bool_]
    unseen: Unseen | None
    vocabulary: Vocabulary

    def __len__(self) -> int:
        """Return n, the number of rows."""
        return len(self.row_ids)

    def items(self, row: int) -> list[str]:
        """Names of the items for the row at position `row`, best first."""
        return [self.vocabulary[int(i)] for i in self.indices[row] if i != NOTHING]

    def frame(self) -> pl.DataFrame:
        """One line a recommendation: row_id, rank (from 1), item, score, no_history.

        Where items have descriptions, these follow the item. Item and score are null where too
        few items were left.
        """
        n, k = self.indices.shape
        names = pl.DataFrame(
            self.vocabulary.columns(self.vocabulary.names, "item"), schema_overrides=_TEXTS
        )
        column = pl.Series(self.indices.ravel())
        scores = pl.Series("score", self.scores.ravel(), dtype=pl.Float32)
        return pl.DataFrame(
            {
                "row_id": self.row_ids.gather(np.repeat(np.arange(n), k)),
                "rank": np.tile(np.arange(1, k + 1), n),
                **{c.name: c.gather(column.replace(NOTHING, None)) for c in names},
                "score": scores.fill_nan(None),
                "no_history": np.repeat(self.no_history, k),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        unseen = self.unseen
        return {
            "rows": len(self),
            "k": self.indices.shape[1],
            "no_history": int(self.no_history.sum()),
            "short": int(self.short.sum()),
            "unseen": {
                "rows": unseen.rows if unseen else 0.0,
                "mass": unseen.mass if unseen else 0.0,
                "items": unseen.n_features if unseen else 0,
            },
            "recommendations": [
                {
                    "row_id": row_id,
                    **self._named(self.items(d)),
                    "scores": [float(s) for s in self.scores[d] if not np.isnan(s)],
                }
                for d, row_id in enumerate(self.row_ids)
            ],
        }

    def _named(self, items: list[str]) -> dict[str, Any]:
        columns = self.vocabulary.columns(items, "items")
        if "description" in columns:
            columns["descriptions"] = columns.pop("description")
        return columns

    def _repr_html_(self) -> str:
        return table_html(self.frame())

    def __str__(self) -> str:
        n, k = self.indices.shape
        lines = [f"{k} recommendation(s) for each of {n:,} row(s)"]
        between = self.vocabulary.separator
        for d in range(min(n, _SHOWN_ROWS)):
            listed = self.items(d)
            shown = between.join(
                f"{self.vocabulary.label(name, LINE_LABEL)} {score:.2g}"
                for name, score in zip(listed[:_SHOWN_ITEMS], self.scores[d], strict=False)
            )
            more = f"{between}…" if len(listed) > _SHOWN_ITEMS else ""
            mark = " (no history)" if self.no_history[d] else ""
            lines.append(f"  {self.row_ids[d]}{mark}: {shown or 'nothing left'}{more}")
        if n > _SHOWN_ROWS:
            lines.append(f"  … and {n - _SHOWN_ROWS:,} more rows")
        if self.no_history.any():
            lines.append(
                f"{int(self.no_history.sum()):,} row(s) without history get the items most "
                "frequent in training."
            )
        if self.short.any():
            lines.append(f"{int(self.short.sum()):,} row(s) had fewer than {k} items left.")
        return "\n".join(lines)

    __repr__ = __str__
