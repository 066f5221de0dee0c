"""Requests that come at about the same time, computed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from longtail.explorer.errors import BusyError

__all__ = ["MicroBatcher"]

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class MicroBatcher(Generic[Job, Answer]):
    """Collects jobs for a few milliseconds, or while the last batch is computed.

    Parameters
    ----------
    work
        From a list of jobs to their answers, in order; called in the executor.
    executor
        Of one thread, so that no two batches run at once.
    size
        Rows of a job.
    most
        Rows computed together; a larger job is computed alone.
    waiting
        Rows that may wait.
    pause
        Seconds to wait for further jobs.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Answer]],
        executor: Executor,
        *,
        size: Callable[[Job], int],
        most: int,
        waiting: int,
        pause: float = 0.004,
    ) -> None:
        self._work = work
        self._executor = executor
        self._size = size
        self._most = most
        self._allowed = waiting
        self._pause = pause
        self._waiting: list[tuple[Job, asyncio.Future[Answer]]] = []
        self._arrived = asyncio.Event()
        self._closed = False

    async def submit(self, job: Job) -> Answer:
        """The answer to one job.

        Raises
        ------
        BusyError
            If too many rows wait, or the server is stopping.
        """
        if self._closed:
            raise BusyError("The server is stopping.")
        rows = sum(self._size(waiting) for waiting, _ in self._waiting)
        if rows and rows + self._size(job) > self._allowed:
            raise BusyError(f"{rows} rows are waiting already. Ask again in a moment.")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Compute batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await asyncio.sleep(self._pause)
            batch = self._take()
            if not batch:
                continue
            try:
                jobs = [job for job, _ in batch]
                answers = await loop.run_in_executor(self._executor, self._work, jobs)
            except Exception as error:  # it belongs to those who asked; the loop goes on
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def close(self) -> None:
        """Refuse what waits and what comes."""
        self._closed = True
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(BusyError("The server is stopping."))
        self._waiting.clear()

    def _take(self) -> list[tuple[Job, asyncio.Future[Answer]]]:
        """The jobs that have waited longest; those whose client has gone are dropped."""
        alive = [entry for entry in self._waiting if not entry[1].done()]
        rows, n = 0, 0
        for job, _ in alive:
            rows += self._size(job)
            if n and rows > self._most:
                break
            n += 1
        self._waiting = alive[n:]
        if not self._waiting:
            self._arrived.clear()
        return alive[:n]
