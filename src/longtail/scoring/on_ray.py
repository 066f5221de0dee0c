"""The engine of a Ray cluster: the same blocks, scored by processes that each hold the model.

Ray Data streams the numbers of blocks through a pool of actors. An actor reads its block, scores
it and writes its part itself; what comes back is one small record. So the process that starts it
all needs little memory, and rows go nowhere but from the data to the output.

Ray restarts actors that end, and repeats what they were at. The ledger, an actor too, counts the
attempts at each block, and ends the process of one that takes too long.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

from longtail.archive import FORMAT_VERSION, Archive
from longtail.errors import MissingExtraError, ParameterError, ScoringError
from longtail.estimator.inputs import MOST, whole
from longtail.estimator.saved import to_archive
from longtail.scoring.job import Job
from longtail.scoring.ray_workers import KINDS, Ledger, Record, Scorer
from longtail.scoring.watch import Watch

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["RayEngine"]

_REACH_SECONDS = 10
_MOST_TASKS = 10_000  # of Ray; each has the next blocks in turn


@dataclass(frozen=True)
class RayEngine:
    """Blocks side by side, by processes of a Ray cluster.

    The model is sent to the workers. Data and output must be reachable from every machine of the
    cluster: in a folder that all of them have under the same path, or for data a URL.

    Parameters
    ----------
    address
        Of a running cluster, as `ray.init` takes it: ``"auto"`` for the one this machine is part
        of, or ``host:port``. None: the one that this process is connected to, or that the
        environment variable RAY_ADDRESS names; else one is started here, and stopped afterwards.
    workers
        Processes that score; None: as many as the CPUs of the cluster allow.
    cpus
        CPUs of a worker: PyTorch's threads.
    block_timeout
        Seconds after which a worker that is still at the same block is taken to hang: it is ended,
        and the block tried again. None: never.
    attempts
        How often a block is tried before the run ends with an error.
    """

    name: ClassVar[str] = "ray"

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    block_timeout: float | None = None
    attempts: int = 3

    def __post_init__(self) -> None:
        """Check the numbers."""
        whole("cpus", self.cpus, 1, MOST)
        whole("attempts", self.attempts, 1, MOST)
        if self.workers is not None:
            whole("workers", self.workers, 1, MOST)
        timeout = self.block_timeout
        if timeout is not None and not (isinstance(timeout, Real) and timeout > 0):
            raise ParameterError(f"block_timeout must be above 0 s; got {self.block_timeout!r}.")

    def run(
        self, job: Job, model: NonlinearFactorAnalysis, pending: Sequence[int], watch: Watch
    ) -> None:
        """See `Engine`."""
        ray = _import_ray()
        try:
            room = None if self.workers is None else self.workers * self.cpus
            with _connected(ray, self.address, room):
                for record in self._records(ray, job, model, pending):
                    _tell(record, job, watch)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ScoringError(
                f"The Ray cluster could not go on: {reason}. The parts that are finished are "
                "kept. See that every machine has the same version of longtail; then repeat the "
                "command, which goes on where it stopped."
            ) from error

    def _records(
        self, ray: Any, job: Job, model: NonlinearFactorAnalysis, pending: Sequence[int]
    ) -> Iterator[Record]:
        import ray.data as ray_data

        ledger = ray.remote(num_cpus=0)(Ledger).remote(self.block_timeout)
        archive = ray.put(_as_opened(to_archive(model)))
        blocks = ray_data.from_items(
            [{"block": number} for number in pending],
            override_num_blocks=min(len(pending), _MOST_TASKS),
        )
        scored = blocks.map_batches(
            Scorer,
            fn_constructor_args=(job, archive, ledger, self.cpus, self.attempts),
            compute=ray_data.ActorPoolStrategy(size=self._pool(ray, len(pending))),
            num_cpus=self.cpus,
            batch_size=1,
        )
        for row in scored.iter_rows():
            yield Record(**row)

    def _pool(self, ray: Any, n_blocks: int) -> int:
        """How many workers there will be."""
        room = int(ray.cluster_resources().get("CPU", 0)) // self.cpus
        wanted = self.workers or room
        if wanted > room or room == 0:
            raise ParameterError(
                f"{max(1, wanted)} worker(s) with {self.cpus} CPU(s) each do not fit the cluster, "
                f"which has room for {room}. Ask for fewer, or start Ray on more machines."
            )
        return min(wanted, n_blocks)


def _as_opened(archive: Archive) -> Archive:
    """What opening a saved model finds: it names the format it was saved in."""
    return replace(archive, config={"format_version": FORMAT_VERSION} | archive.config)


def _tell(record: Record, job: Job, watch: Watch) -> None:
    """Pass on what a worker says of a block."""
    block = job.dataset.blocks[record.block]
    if record.kind == "done":
        watch.advanced(block.n_rows)
    elif record.kind == "corrupt":
        watch.corrupt(block, record.reason)
    else:
        raise KINDS[record.kind](record.reason)


def _import_ray() -> Any:
    """Ray, without what importing it changes in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(
            "Scoring on a Ray cluster needs Ray, which is an extra: pip install 'longtail[ray]'."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    return ray


@contextmanager
def _connected(ray: Any, address: str | None, cpus: int | None) -> Iterator[None]:
    """Use the cluster that this process is connected to, the one named, or a new one here."""
    with _quiet(ray):
        if ray.is_initialized():
            yield
            return
        where = address or os.environ.get("RAY_ADDRESS") or "local"
        _check_reachable(where)
        # Of a cluster that is there, the CPUs are what they are.
        own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False}
        try:
            ray.init(
                where,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(own if where == "local" else {}),
            )
        except (ConnectionError, ValueError) as error:
            raise _no_cluster(where, error) from error
        try:
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that something listens: Ray itself tries for minutes, and then ends the process."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, reason: Exception) -> ParameterError:
    return ParameterError(
        f"There is no Ray cluster at {address!r} ({str(reason).rstrip('.')}). Start one with `ray "
        "start --head`, or leave the address out to use the CPUs of this machine."
    )


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Without progress bars, reports on what the cluster does, and statistics sent elsewhere.

    What Ray prints of workers that end goes to standard error: standard output is for results.
    """
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    before = {name: os.environ.get(name) for name in environment}
    logger = logging.getLogger("ray.data")
    context = ray.data.DataContext.get_current()
    level, bars = logger.level, context.enable_progress_bars
    os.environ.update(environment)
    logger.setLevel(logging.CRITICAL)
    context.enable_progress_bars = False
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        context.enable_progress_bars = bars
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
