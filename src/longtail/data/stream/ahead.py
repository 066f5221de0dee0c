"""Work that a thread does before it is asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from longtail.errors import DataError

__all__ = ["ReadAhead"]

T = TypeVar("T")

_PARTING = 10.0  # seconds that the end waits for the job that is being done
_LOOK_UP = 0.5  # seconds between two looks at whether the other side is still there


class ReadAhead(Generic[T]):
    """Runs jobs one after another in a thread, so many before they are asked for.

    Use it as a context manager: the thread ends with it, after the job that it is at.

    Parameters
    ----------
    jobs
        What to run, in this order.
    most
        Results that may wait to be taken, that of the running job included.
    patience
        Seconds to wait for a job before it counts as hanging.
    """

    def __init__(
        self, jobs: Iterable[tuple[str, Callable[[], T]]], *, most: int, patience: float
    ) -> None:
        self._jobs = iter(jobs)
        self._room = threading.Semaphore(most)
        self._done: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._patience = patience
        self._at = "nothing"
        # A thread that hangs in a read must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="longtail-reading", daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._closed.set()
        self._room.release()
        self._thread.join(timeout=min(self._patience, _PARTING))

    def _run(self) -> None:
        try:
            for name, job in self._jobs:
                self._room.acquire()
                if self._closed.is_set():
                    return
                self._at = name
                self._done.put(job())
                del job
        except BaseException as error:
            self._done.put(error)  # raised where the result is asked for

    def take(self) -> T:
        """Return the next result, once it is there.

        Raises
        ------
        DataError
            If it is not there in time.
        Exception
            What the job raised.
        """
        waited = 0.0
        while True:
            try:
                result = self._done.get(timeout=_LOOK_UP)
                break
            except queue.Empty:
                waited += _LOOK_UP
                if waited >= self._patience:
                    self._patience = 0.0  # what hangs is not waited for again
                    raise DataError(
                        f"Reading {self._at} has taken more than {waited:.0f} seconds. Check that "
                        "the file system or the network answers, and go on from the last "
                        "checkpoint."
                    ) from None
        if isinstance(result, BaseException):
            raise result
        self._room.release()
        return result
