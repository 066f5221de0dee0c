"""What happened during training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from longtail.displays import HistoryDisplay

__all__ = ["EpochRecord", "History"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes
    ----------
    epoch, updates
        Number of the epoch, from 1; parameter updates since the start.
    kl_weight, learning_rate, refine_steps
        As in the epoch's last update.
    train_nats_per_row
        Mean training ELBO at KL weight 1 (one sample a row, at ψ* if rows are refined), nats.
    train_kl
        Mean KL of a training row, nats.
    valid_nats_per_row, valid_per_doc_amortized, valid_per_doc_refined
        Validation ELBO at ψ*, nats a row; perplexities per document at ψ(x) and ψ*.
    active_kl
        Latent dimensions with mean KL > 0.05 nats, on validation rows (else training rows).
    seconds, rows_per_second
        Wall time of the epoch with its validation; training speed without it.
    """

    epoch: int
    updates: int
    kl_weight: float
    learning_rate: float
    refine_steps: int
    train_nats_per_row: float
    train_kl: float
    valid_nats_per_row: float | None
    valid_per_doc_amortized: float | None
    valid_per_doc_refined: float | None
    active_kl: int
    seconds: float
    rows_per_second: float


class History(Sequence[EpochRecord]):
    """The records of all epochs, as a sequence, a table or a figure."""

    def __init__(self, records: Sequence[EpochRecord] = ()) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, i: Any) -> Any:
        return self._records[i]

    def __repr__(self) -> str:
        return f"History({len(self)} epochs)"

    def plus(self, record: EpochRecord) -> History:
        """A longer history."""
        return History((*self._records, record))

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values, ready for JSON."""
        return [asdict(r) for r in self._records]

    @classmethod
    def from_list(cls, records: Sequence[Mapping[str, Any]]) -> History:
        """What `to_list` wrote."""
        return cls([EpochRecord(**r) for r in records])

    def frame(self) -> pl.DataFrame:
        """One line an epoch."""
        return pl.DataFrame(self.to_list(), infer_schema_length=None)

    def display(self) -> HistoryDisplay:
        """The history as a figure with its table."""
        return HistoryDisplay({"": self.frame()})

    def _repr_html_(self) -> str:
        return self.display()._repr_html_() if len(self) else repr(self)

    def plot(self) -> Any:
        """The history as an Altair chart."""
        return self.display().plot()
