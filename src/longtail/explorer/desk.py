"""The explorer's desk: a model, what was computed of it, and the one thread that computes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from longtail.data import CountMatrix
from longtail.errors import DataError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.explorer.batcher import MicroBatcher
from longtail.explorer.errors import BusyError
from longtail.explorer.limits import LIMITS
from longtail.explorer.overview import Overview, Progress
from longtail.explorer.reading import RowReader
from longtail.explorer.refining import Refined, RefineHow, RefineJob, refine_jobs
from longtail.explorer.rows import PlacedRows
from longtail.explorer.search import FeatureSearch
from longtail.ops.ambient import neutral_torch

__all__ = ["Desk"]

T = TypeVar("T")


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Compute in one thread within, in the whole process.

    An answer is made of many small products. Threads that wait for each other at every one of
    them, on processors that clients use too, make an answer take longer.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


class Desk:
    """Everything that requests are answered from.

    Parameters
    ----------
    model
        Fitted.
    rows
        Counts; those of the fit, or others.
    name
        What to call the model.
    samples
        Draws of z behind the spectrum.
    progress
        Called with (stage, done, in all) while the embeddings and the Jacobian are computed.

    Raises
    ------
    NotFittedError, DataError
    """

    def __init__(
        self,
        model: NonlinearFactorAnalysis,
        rows: CountMatrix | None = None,
        *,
        name: str = "model",
        samples: int = 200,
        progress: Progress | None = None,
    ) -> None:
        model.check_fitted()
        self.model = model
        self.name = name
        self.vocabulary = model.vocabulary_
        self.unigram: np.ndarray[Any, np.dtype[np.float64]] = model.unigram_
        self.rows = None if rows is None else PlacedRows(model, model.align(rows)[0])
        if self.rows is not None and self.rows.total == 0:
            raise DataError(
                "None of the rows has a feature of the model's vocabulary. Leave the rows out to "
                "explore the model alone."
            )
        self.search = FeatureSearch(self.vocabulary, self.unigram)
        self.reader = RowReader(model, self.search)
        self.overview = Overview(model, samples=samples, progress=progress)
        # torch has threads of its own: two computations at once would only disturb each other.
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._batcher: MicroBatcher[RefineJob, Refined] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve requests within; rows are placed meanwhile."""
        with _single_threaded():
            async with self._open():
                yield

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="compute", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._batcher = MicroBatcher(
            partial(refine_jobs, self.model),
            self._thread,
            size=lambda job: job.counts.n_rows,
            most=LIMITS.batch_rows,
            waiting=LIMITS.waiting_rows,
        )
        tasks = [asyncio.create_task(self._batcher.run()), asyncio.create_task(self._place_rows())]
        try:
            yield
        finally:
            self._batcher.close()
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self._thread.shutdown(wait=True, cancel_futures=True)

    async def compute(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do some work in the thread that computes.

        Raises
        ------
        BusyError
            If too much waits for it already.
        """
        if self._waiting >= LIMITS.waiting_requests:
            raise BusyError(f"{self._waiting} requests are waiting already. Ask again in a moment.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, neutral_torch()(work), *arguments)
        finally:
            self._waiting -= 1

    async def refine(self, counts: CountMatrix, how: RefineHow) -> Refined:
        """Infer rows, together with those of other requests.

        Raises
        ------
        BusyError
            If too many rows wait already.
        """
        assert self._batcher is not None
        return await self._batcher.submit(RefineJob(counts, how))

    def steps(self, asked: int | None) -> int:
        """M: what is asked for, or the model's own."""
        return self.model.eval_refine_steps if asked is None else asked

    def describe(self, name: str) -> dict[str, Any]:
        """A feature as answers show it."""
        return {"feature": name, "description": self.vocabulary.descriptions.get(name)}

    def named(self, columns: Sequence[int]) -> list[str]:
        """Names of columns."""
        return [self.vocabulary[int(v)] for v in columns]

    async def _place_rows(self) -> None:
        rows, loop = self.rows, asyncio.get_running_loop()
        if rows is None:
            return
        while not rows.ready:
            await loop.run_in_executor(self._thread, rows.place_some)
        await loop.run_in_executor(self._thread, self.overview.add_rows, rows)
