"""Hooks into training."""

from __future__ import annotations

from longtail.inference import HybridModel
from longtail.training.config import TrainingConfig
from longtail.training.history import EpochRecord

__all__ = ["Callback", "StopTraining"]


class StopTraining(Exception):  # noqa: N818
    """Raised by a callback after a batch or an epoch: enough, the model is to be used as it is.

    A checkpoint is written, if there are any, and a later fit with ``resume=True`` goes on from
    there. An epoch that is cut short is validated and recorded like a whole one, with the rows it
    had. The message says why, in `FitResult.stopped`.
    """


class Callback:
    """Override what you need; every method does nothing by default.

    `StopTraining` ends the training in good order. Any other exception raised in a callback ends
    it at once; the last checkpoint is kept.
    """

    def on_network(self, network: HybridModel) -> None:
        """Before `on_fit_begin`: the network to be trained, which changes in place."""

    def on_fit_begin(self, config: TrainingConfig, n_rows: int, first_epoch: int) -> None:
        """Before the first update; `first_epoch` is above 0 when a run is resumed."""

    def on_resume(self, epoch: int, rows_done: int) -> None:
        """After `on_fit_begin` of a resumed run: its whole epochs, and rows done in the next."""

    def on_batch_end(self, epoch: int, rows_done: int) -> None:
        """After each update, with the rows done in this epoch."""

    def on_epoch_end(self, record: EpochRecord) -> None:
        """After each epoch, its validation and its checkpoint."""

    def on_fit_end(self, stopped: str) -> None:
        """After the last epoch; `stopped` says why it was the last."""
