"""The training loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from longtail.data import BatchSource, CountMatrix
from longtail.errors import ParameterError, ProcessError
from longtail.features import FeatureTransform
from longtail.inference import HybridModel
from longtail.ops.ambient import neutral_torch
from longtail.training.between import Between
from longtail.training.callbacks import Callback
from longtail.training.checkpoint import Checkpoint, CheckpointStore
from longtail.training.config import TrainingConfig
from longtail.training.history import History
from longtail.training.processes import OneProcess, Processes, on_first
from longtail.training.run import Run
from longtail.training.signals import HeldSignals

__all__ = ["CHECKPOINT_EVERY", "FitResult", "fit", "locked_by_first"]

CHECKPOINT_EVERY = 600.0
"""Seconds between checkpoints within an epoch."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """How training went.

    Attributes
    ----------
    history
        One record an epoch.
    best_epoch
        The epoch whose parameters the model has now, from 1.
    stopped
        Why it ended.
    """

    history: History
    best_epoch: int
    stopped: str


@neutral_torch()
def fit(
    model: HybridModel,
    train: BatchSource,
    valid: CountMatrix | None,
    transform: FeatureTransform,
    config: TrainingConfig,
    *,
    device: torch.device | str = "cpu",
    callbacks: Sequence[Callback] = (),
    checkpoints: CheckpointStore | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    resume: bool = False,
    processes: Processes | None = None,
) -> FitResult:
    """Fit the model in place.

    Parameters
    ----------
    train
        Batches of rows with at least one count each, aligned with the model.
    valid
        Rows of that kind; with them the parameters of the best epoch are kept, by the bound at
        ψ*, otherwise those of the last.
    transform
        What the encoder sees of validation rows.
    callbacks
        Called in the first process only.
    checkpoints
        Where to keep a checkpoint: one after each epoch, one within it every `checkpoint_every`
        seconds, and one when SIGINT or SIGTERM comes, which then takes its course.
    resume
        Go on from the latest checkpoint of this run, if there is one: the result is bitwise that
        of an uninterrupted run. Otherwise earlier checkpoints there, of this run or another, stay
        until the first of this run replaces them, and an interruption before leaves them alone.
    processes
        Those that share every batch, all of which call this with the same arguments; this one
        alone if not given. They may be more or fewer than before an interruption: the result is
        then the same but for rounding.

    Raises
    ------
    NonFiniteError
        If a bound or a parameter is NaN or infinite.
    CheckpointError
        If a checkpoint cannot be written, or is damaged, or is another run's, or if another fit
        uses the folder.
    ProcessError
        If another process is lost, or has other data or settings.
    ParameterError
        If `checkpoint_every` is no number from 0 on.
    """
    if not isinstance(checkpoint_every, Real) or not checkpoint_every >= 0:
        raise ParameterError(
            f"checkpoint_every must be a number of seconds, 0 or more; got {checkpoint_every!r}."
        )
    processes = OneProcess() if processes is None else processes
    device = processes.device(torch.device(device))
    with (
        processes.contact(),
        HeldSignals(checkpoints is not None) as signals,
        locked_by_first(checkpoints, processes),
    ):
        processes.barrier()  # reading may take one much longer than another
        if checkpoints is not None:
            _require_same(checkpoints.fingerprint, processes)
        run = Run(model, train, valid, transform, config, device, processes)
        between = Between(run, callbacks, checkpoints, checkpoint_every, signals, own=resume)
        resumed = checkpoints is not None and resume and _restore(run, checkpoints)
        first_epoch, rows_done = run.state.epoch, run.state.sums.rows
        between.tell(lambda callback: callback.on_network(model))
        between.tell(lambda callback: callback.on_fit_begin(config, train.n_rows, first_epoch))
        if resumed:
            between.tell(lambda callback: callback.on_resume(first_epoch, rows_done))
        stopped = run.finished()
        while stopped is None:
            cut_short = run.batches(between.after_batch)
            record = run.close_epoch()
            if cut_short is None:
                between.write()
            stopped = between.after_epoch(record) or cut_short or run.finished()
        why = stopped
        between.tell(lambda callback: callback.on_fit_end(why))
    if run.state.best_weights:
        model.load_state_dict(run.state.best_weights)
    best = run.state.best_epoch or run.state.epoch
    return FitResult(run.state.history, best, stopped)


@contextmanager
def locked_by_first(store: CheckpointStore | None, processes: Processes) -> Iterator[None]:
    """Keep other fits out of the checkpoints, from the first process; if it fails, all of them do.

    Raises
    ------
    CheckpointError
        If another fit uses the folder, or it cannot be written to.
    """
    with ExitStack() as held:
        if store is not None:
            on_first(processes, lambda: held.enter_context(store.locked()))
        yield


def _require_same(fingerprint: str, processes: Processes) -> None:
    first, *others = processes.gather(fingerprint)
    for rank, other in enumerate(others, start=1):
        if other != first:
            raise ProcessError(
                f"Process {rank} has other data or settings than process 0. Give all of them the "
                "same command and the same files."
            )


def _restore(run: Run, store: CheckpointStore) -> bool:
    """Go on from the latest checkpoint; whether there is one. Only the first process reads it."""
    found: list[Checkpoint] = []  # not what `read` returns: that travels, and tensors are large

    def read() -> dict[str, Any] | None:
        latest = store.latest()
        if latest is None:
            return None
        found.append(latest)
        return latest.state

    state = on_first(run.processes, read)
    if state is None:
        return False
    tensors = run.processes.broadcast_tensors(found[0].tensors if found else {})
    run.restore(Checkpoint(state, tensors))
    return True
