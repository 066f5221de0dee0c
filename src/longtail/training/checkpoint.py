"""Checkpoints: everything a run needs to go on as if it had not stopped. JSON and safetensors.

A checkpoint is a folder ``epoch-NNNNNN``, or ``epoch-NNNNNN-batch-NNNNNNNNN`` within the epoch
after that one. It is written under a hidden name and renamed when complete, and renamed again
before it is deleted, so that a process killed at any moment leaves the last whole one. Randomness
is a function of the seed and the counters, so no generator's state is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtail.errors import CheckpointError, CheckpointWriteError, DataWarning
from longtail.folders import BusyError, flush, locked, put_in_place

__all__ = ["Checkpoint", "CheckpointStore"]

_PREFIX, _NAME = "epoch-", re.compile(r"epoch-\d{6,}(-batch-\d{9,})?")
_REPLACED, _REMOVED = ".replaced-", ".removed-"
_STATE, _TENSORS, _DIGEST = "state.json", "tensors.safetensors", "sha256"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run between two batches.

    Attributes
    ----------
    state
        JSON-ready: counters, history, what the run is a run of.
    tensors
        Parameters, optimiser moments and best weights, by name.
    """

    state: dict[str, Any]
    tensors: dict[str, Tensor]


class CheckpointStore:
    """The checkpoints of one run, in a folder; only the latest is kept.

    Parameters
    ----------
    folder
        Made if missing.
    fingerprint
        Identifies data and settings: a checkpoint of another run is refused.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder, and tidy up what a killed one has left there.

        Raises
        ------
        CheckpointError
            If another fit uses the folder.
        CheckpointWriteError
            If it cannot be written to.
        """
        with ExitStack() as held:
            held.callback(self._remove_if_empty)
            try:
                held.enter_context(locked(self.folder / ".lock"))
                self._tidy()
            except BusyError:
                raise CheckpointError(
                    f"Another fit is running with the checkpoints in {self.folder}. Wait until it "
                    "is done, or choose another folder: two fits would delete each other's "
                    "checkpoints."
                ) from None
            except OSError as error:
                raise CheckpointWriteError(
                    f"Checkpoints could not be written to {self.folder}: {error}. Free some space "
                    "or choose another folder."
                ) from error
            yield

    def save(self, epoch: int, checkpoint: Checkpoint, *, batches: int = 0) -> None:
        """Write, then forget older ones, and those of other runs.

        Parameters
        ----------
        epoch, batches
            Whole epochs done, and batches of the next.

        Raises
        ------
        CheckpointWriteError
            If it cannot be written; the previous checkpoint is kept.
        """
        # Names sort in the order of training.
        within = f"-batch-{batches:09d}" if batches else ""
        target = self.folder / f"{_PREFIX}{epoch:06d}{within}"
        partial = self.folder / f".partial-{os.getpid()}"
        aside = self.folder / f"{_REPLACED}{target.name}"
        try:
            # What a killed process left: process numbers repeat, in containers above all.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
            save_file(tensors, partial / _TENSORS)
            state = checkpoint.state | {"fingerprint": self.fingerprint}
            (partial / _STATE).write_text(json.dumps(state), encoding="utf-8")
            (partial / _DIGEST).write_text(_digest(partial), encoding="utf-8")
            _sync(partial)
            put_in_place(partial, target, aside)
            for left in (partial, aside):
                shutil.rmtree(left, ignore_errors=True)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointWriteError(
                f"The checkpoint of epoch {epoch}{f' and {batches} batches' if batches else ''} "
                f"could not be written to {self.folder}: {error}. Free some space or choose "
                "another folder; the previous checkpoint is kept."
            ) from error
        for old in self._named():
            if old != target:
                with suppress(OSError):  # left where it is, it does no harm
                    _remove(old)

    def latest(self) -> Checkpoint | None:
        """The last whole checkpoint of this run, or None if the folder has none of any run.

        What is damaged is passed over if there is an earlier whole one: with a notice, since the
        epochs between them are done again.

        Raises
        ------
        CheckpointError
            If there is none of this run, but one that is damaged, or of other data or settings.
        """
        others: list[Path] = []
        damaged: list[tuple[Path, Exception]] = []
        for path in reversed(self._existing()):
            try:
                checkpoint = self._read(path)
            except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
                damaged.append((path, error))
                continue
            if checkpoint is None:
                others.append(path)
                continue
            if damaged:
                warnings.warn(
                    f"The checkpoint {damaged[0][0]} is damaged ({damaged[0][1]}); going on from "
                    f"an earlier one, {path.name}.",
                    DataWarning,
                    stacklevel=2,
                )
            return checkpoint
        if damaged:
            path, why = damaged[0]
            raise CheckpointError(
                f"The checkpoint {path} is damaged ({why}). Delete it and fit again."
            ) from why
        if others:
            raise CheckpointError(
                f"The checkpoint {others[0]} belongs to a run with other data or settings. Resume "
                "with the data, parameters and seed of that run, or start afresh without resuming."
            )
        return None

    def _read(self, path: Path) -> Checkpoint | None:
        """A checkpoint; None if it is another run's."""
        if (path / _DIGEST).read_text(encoding="utf-8") != _digest(path):
            raise ValueError("its files do not match their SHA-256")
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
        if state["fingerprint"] != self.fingerprint:
            return None
        return Checkpoint(state, load_file(path / _TENSORS))

    def exists(self) -> bool:
        """Whether there is one, of this run or another."""
        return bool(self._existing())

    def clear(self) -> None:
        """Remove all checkpoints, and the folder if that leaves it empty.

        Raises
        ------
        CheckpointError
            If another fit uses the folder, or something cannot be removed.
        """
        if not self.folder.is_dir():
            return
        with self.locked():
            try:
                for path in self._named():
                    _remove(path)
            except OSError as error:
                raise CheckpointWriteError(
                    f"The checkpoints in {self.folder} could not be removed: {error}. Delete the "
                    "folder when you no longer need them."
                ) from error

    def _existing(self) -> list[Path]:
        """Checkpoints, perhaps damaged, in the order of training."""
        return [path for path in self._named() if any(path.iterdir())]

    def _named(self) -> list[Path]:
        """Folders with the name of a checkpoint, in the order of training."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name) and p.is_dir())

    def _remove_if_empty(self) -> None:
        with suppress(OSError):  # it is not, or has never been made
            self.folder.rmdir()

    def _tidy(self) -> None:
        """Put back what was being replaced, and remove what was being written or removed."""
        for path in list(self.folder.iterdir()):
            if path.name.startswith(_REPLACED):
                name = self.folder / path.name.removeprefix(_REPLACED)
                if not name.exists():
                    path.rename(name)
                    continue
            if path.name.startswith((_REPLACED, _REMOVED, ".partial-")):
                shutil.rmtree(path)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint, first from its name: a kill leaves the whole of it, or none."""
    hidden = checkpoint.with_name(f"{_REMOVED}{checkpoint.name}")
    if hidden.exists():
        shutil.rmtree(hidden)
    checkpoint.rename(hidden)
    flush(checkpoint.parent)
    shutil.rmtree(hidden)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments and step counts as named tensors."""
    return {
        f"optimizer.{i}.{name}": value
        for i, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, i, name = key.split(".")
            state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _digest(folder: Path) -> str:
    """SHA-256 of both files: safetensors notices a wrong length, not a wrong byte."""
    parts = []
    for name in (_STATE, _TENSORS):
        with (folder / name).open("rb") as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(parts)


def _sync(folder: Path) -> None:
    """Flush files to disk, so that a rename never outlives what it names."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    flush(folder)
