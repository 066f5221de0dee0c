"""What runs on a Ray cluster: actors that score blocks, and one that keeps count of them."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longtail.archive import Archive
from longtail.errors import CorruptBlockError, DataError, LongtailError, ScoringError, WriteError
from longtail.scoring.blocks import score_block
from longtail.scoring.job import Job, JobFile

__all__ = ["KINDS", "Ledger", "Record", "Scorer"]

_LOOK_EVERY = 0.25  # seconds between looks for workers that hang, and before another attempt

KINDS: dict[str, type[LongtailError]] = {
    "data": DataError,
    "write": WriteError,
    "worker": ScoringError,
}
"""The error that stands for each kind of record but "done" and "corrupt"."""


@dataclass(frozen=True)
class Record:
    """What a worker says of a block.

    Parameters
    ----------
    block
        Its number.
    kind
        "done", "corrupt", or one of `KINDS`.
    reason
        In words, if it is not done.
    """

    block: int
    kind: str
    reason: str = ""


class Ledger:
    """Which blocks are being scored, since when, and how often each was begun.

    Parameters
    ----------
    timeout
        Seconds after which a worker that is still at the same block is ended; None: never.
    """

    def __init__(self, timeout: float | None) -> None:
        self._attempts: Counter[int] = Counter()
        self._overdue: Counter[int] = Counter()
        self._running: dict[str, tuple[int, float, Any]] = {}  # by worker
        self._lock = threading.Lock()
        if timeout is not None:
            threading.Thread(target=self._look, args=(timeout,), daemon=True).start()

    def begin(self, block: int, worker: str, handle: Any) -> tuple[int, int]:
        """Note that a worker begins a block; `handle` is how to end it.

        Returns
        -------
        attempts, overdue
            How often it was begun before, and how often that took too long.
        """
        with self._lock:
            before = self._attempts[block], self._overdue[block]
            self._attempts[block] += 1
            self._running[worker] = (block, time.monotonic(), handle)
        return before

    def idle(self, worker: str) -> None:
        """Note that a worker has nothing to do: it has come to an end with a block, or is new."""
        with self._lock:
            self._running.pop(worker, None)

    def _look(self, timeout: float) -> None:
        import ray

        while True:
            time.sleep(_LOOK_EVERY)
            with self._lock:
                now = time.monotonic()
                for worker, (block, since, handle) in list(self._running.items()):
                    if now - since > timeout:
                        del self._running[worker]
                        self._overdue[block] += 1
                        # The machine's own Ray process ends it, whatever it is doing; a new one
                        # is started in its place.
                        ray.kill(handle, no_restart=False)


class Scorer:
    """An actor of Ray Data: holds the model, and is called with the number of a block.

    Parameters
    ----------
    job
        What to do.
    archive
        Reference to the model in Ray's store.
    ledger
        Handle of the `Ledger`.
    cpus
        Threads.
    attempts
        How often a block may be begun.
    """

    def __init__(self, job: Job, archive: Any, ledger: Any, cpus: int, attempts: int) -> None:
        import pyarrow as pa
        import ray
        import torch

        from longtail.estimator.saved import from_archive

        torch.set_num_threads(cpus)
        pa.set_cpu_count(cpus)
        self._job, self._ledger, self._attempts = job, ledger, attempts
        # What is in the store cannot be written to: the model has copies.
        stored: Archive = ray.get(archive)
        self._model = from_archive(stored, Path("the model sent to this worker"))
        self._get: Callable[[Any], Any] = ray.get
        context = ray.get_runtime_context()
        self._name, self._itself = context.get_actor_id(), context.current_actor
        ray.get(ledger.idle.remote(self._name))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score the block of a batch of one."""
        record = self._record(int(batch["block"][0]))
        return {name: [value] for name, value in asdict(record).items()}

    def _record(self, number: int) -> Record:
        parts = self._job.parts
        if not JobFile.path(parts.folder).exists():
            return Record(number, "worker", self._other_folder())
        # Begun again, a task of Ray may have blocks that it had done.
        if parts.facts(number, self._job.dataset.blocks[number].n_rows) is not None:
            return Record(number, "done")
        begin = self._ledger.begin.remote(number, self._name, self._itself)
        before, overdue = self._get(begin)
        try:
            if before >= self._attempts:
                return Record(number, "worker", self._given_up(number, before, overdue))
            return self._score(number, self._attempts - before)
        finally:
            self._get(self._ledger.idle.remote(self._name))

    def _score(self, number: int, attempts: int) -> Record:
        try:
            score_block(self._job, self._model, number)
        except CorruptBlockError as error:
            return Record(number, "corrupt", str(error))
        except WriteError as error:
            return Record(number, "write", f"{_here()}: {error}")
        except DataError as error:
            # A file that cannot be reached may be there the next moment; bad rows stay bad.
            if isinstance(error.__cause__, OSError) and attempts > 1:
                time.sleep(_LOOK_EVERY)
                return self._score(number, attempts - 1)
            return Record(number, "data", f"{_here()}: {error}")
        return Record(number, "done")

    def _given_up(self, number: int, before: int, overdue: int) -> str:
        block = self._job.dataset.blocks[number]
        how = f"{overdue} time(s) it took too long" if overdue else "it ended each time"
        return (
            f"Block {number} ({block.place}, {block.n_rows:,} rows) was begun {before} time(s), "
            f"and its worker did not come to an end with it: {how}. The parts that are finished "
            "are kept. See whether workers have enough memory and reach the data; a longer "
            "--block-timeout (block_timeout) gives them more time. Then repeat the command."
        )

    def _other_folder(self) -> str:
        return (
            f"{_here()} does not see the output folder {self._job.parts.folder}. Data and output "
            "must be reachable from every machine of the cluster, under the same path: put them "
            "in a folder that all of them share (data may be at a URL too)."
        )


def _here() -> str:
    return f"Worker {os.getpid()} on {platform.node()}"
