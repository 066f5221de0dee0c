"""SIGINT and SIGTERM, held back until the batch is done and its checkpoint written."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["HeldSignals"]

_HELD = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Notes the first signal instead of passing it on; a second one is passed on at once.

    Signals that the process ignores, or that code outside Python handles, stay as they are; so do
    all of them in a thread that is not the main one, where Python lets nobody handle signals.

    Parameters
    ----------
    active
        False holds nothing back.
    """

    def __init__(self, active: bool = True) -> None:
        self._active = active and threading.current_thread() is threading.main_thread()
        self._before: dict[signal.Signals, Any] = {}
        self._noted: int | None = None

    @property
    def pending(self) -> bool:
        """Whether one has come."""
        return self._noted is not None

    def deliver(self) -> None:
        """Let the noted signal do what it would have done."""
        self._restore()
        if self._noted is not None:
            noted, self._noted = self._noted, None
            signal.raise_signal(noted)

    def __enter__(self) -> HeldSignals:
        """Take over the signals."""
        for number in _HELD if self._active else ():
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back; one that came too late for the last batch is delivered now."""
        self._restore()
        if error is None:
            self.deliver()

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self._noted = self.pending, number
        if again:
            self.deliver()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
