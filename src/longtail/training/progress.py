"""A progress display on standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from longtail import terminal
from longtail.training.callbacks import Callback
from longtail.training.config import TrainingConfig
from longtail.training.history import EpochRecord

__all__ = ["ProgressBar"]

_QUIET_SECONDS = 10.0


class ProgressBar(Callback):
    """Bounds, active dimensions, rows a second and time left.

    On a terminal, one live line; elsewhere (a log file, CI) a plain line every ten seconds at
    most.
    """

    def __init__(self, console: Console | None = None, label: str = "fit") -> None:
        self._console = console or terminal.console(stderr=True)
        self._label = label
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._rows = self._epochs = 0
        self._last_line = -_QUIET_SECONDS

    def on_fit_begin(self, config: TrainingConfig, n_rows: int, first_epoch: int) -> None:
        """Open the display."""
        self._rows, self._epochs = n_rows, config.epochs
        if not self._console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(
            self._label, total=config.epochs, completed=first_epoch, status=""
        )
        self._progress.start()

    def on_resume(self, epoch: int, rows_done: int) -> None:
        """Say from where the run goes on."""
        within = f" and {rows_done:,} rows of the next" if rows_done else ""
        self._console.print(f"{self._label}: resuming after epoch {epoch}{within}", highlight=False)

    def on_batch_end(self, epoch: int, rows_done: int) -> None:
        """Move the bar within an epoch."""
        if self._progress is not None:
            self._progress.update(self._task, completed=epoch - 1 + rows_done / self._rows)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Show the epoch's figures."""
        status = _status(record)
        if self._progress is not None:
            self._progress.update(self._task, completed=record.epoch, status=status)
        elif time.monotonic() - self._last_line >= _QUIET_SECONDS or record.epoch == self._epochs:
            self._last_line = time.monotonic()
            self._console.print(
                f"{self._label}: epoch {record.epoch}/{self._epochs} {status}",
                highlight=False,
                soft_wrap=True,
            )

    def on_fit_end(self, stopped: str) -> None:
        """Close the display and say why training ended."""
        self.close()
        self._console.print(f"{self._label}: {stopped}", highlight=False)

    def close(self) -> None:
        """Close the display, also after an interruption."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _status(record: EpochRecord) -> str:
    if record.valid_per_doc_refined is not None:
        bound = (
            f"valid ppl ψ(x) {record.valid_per_doc_amortized:.0f} "
            f"→ ψ* {record.valid_per_doc_refined:.0f}"
        )
    elif record.valid_nats_per_row is not None:
        bound = f"valid {record.valid_nats_per_row:.1f} nats/row"
    else:
        bound = f"train {record.train_nats_per_row:.1f} nats/row"
    return (
        f"{bound} · {record.active_kl} dims · KL×{record.kl_weight:.2f}"
        f" · M={record.refine_steps} · {record.rows_per_second:,.0f} rows/s"
    )
