"""What happens between two batches: callbacks, checkpoints, and signals to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from longtail.errors import ProcessError
from longtail.training.callbacks import Callback, StopTraining
from longtail.training.checkpoint import CheckpointStore
from longtail.training.history import EpochRecord
from longtail.training.processes import on_first
from longtail.training.run import Run
from longtail.training.signals import HeldSignals

__all__ = ["Between"]


class Between:
    """Callbacks and checkpoints are the first process's; what they bring about is that of all.

    Parameters
    ----------
    store
        Where checkpoints are kept; None for none.
    every
        Seconds between checkpoints within an epoch.
    own
        Whether a checkpoint that is there may be this run's, so that an interruption may write
        over it.
    """

    def __init__(
        self,
        run: Run,
        callbacks: Sequence[Callback],
        store: CheckpointStore | None,
        every: float,
        signals: HeldSignals,
        *,
        own: bool,
    ) -> None:
        self._run = run
        self._processes = run.processes
        self._callbacks = callbacks
        self._store = store
        self._every = every
        self._signals = signals
        self._own = own
        self._last = time.monotonic()

    def tell(self, action: Callable[[Callback], None]) -> str | None:
        """Call each callback; why one of them wants to stop, if so."""
        return on_first(self._processes, lambda: self._call(action))

    def after_batch(self) -> str | None:
        """Why training stops here, or None if it goes on."""
        state = self._run.state
        reason = None
        if self._processes.is_first:
            reason = self._call(lambda c: c.on_batch_end(state.epoch + 1, state.sums.rows))
        own = [reason is not None, self._signals.pending, self._due()]
        stop, sent, due = self._processes.any(own)
        if stop or sent or due:
            self.write(interrupted=sent)
        if sent:
            self._signals.deliver()
            if self._processes.world > 1:
                raise ProcessError("Another of the processes was interrupted.")
        return self._processes.broadcast(reason) if stop else None

    def after_epoch(self, record: EpochRecord) -> str | None:
        """The same for an epoch that has been recorded."""
        return self.tell(lambda callback: callback.on_epoch_end(record))

    def write(self, *, interrupted: bool = False) -> None:
        """Write a checkpoint, in the first process, if there is a place for it.

        An interruption leaves alone what an earlier run has left there: its user may want to go
        on with that.
        """
        store = self._store
        if store is None:
            return
        checkpoint, state = self._run.checkpoint(), self._run.state

        def save() -> None:
            if self._own or not interrupted or not store.exists():
                store.save(state.epoch, checkpoint, batches=state.batches)
                self._own = True

        on_first(self._processes, save)
        self._last = time.monotonic()

    def _due(self) -> bool:
        """Whether it is time for a checkpoint, by the clock of the first process."""
        if self._store is None or not self._processes.is_first:
            return False
        return time.monotonic() - self._last >= self._every

    def _call(self, action: Callable[[Callback], None]) -> str | None:
        try:
            for callback in self._callbacks:
                action(callback)
        except StopTraining as stop:
            return str(stop) or "stopped by a callback"
        return None
