"""Checkpoints: everything a run needs to go on as if it had not stopped. JSON and safetensors.

A checkpoint is a folder ``epoch-NNNNNN``, or ``epoch-NNNNNN-batch-NNNNNNNNN`` within the epoch
after that one, written under another name and renamed when complete, so that a process killed at
any moment leaves the last whole one. Randomness is a function of the seed and the counters, so no
generator's state is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtail.errors import CheckpointError, CheckpointWriteError

__all__ = ["Checkpoint", "CheckpointStore"]

_PREFIX = "epoch-"
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

    def save(self, epoch: int, checkpoint: Checkpoint, *, batches: int = 0) -> None:
        """Write, then forget older ones.

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
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointWriteError(
                f"The checkpoint of epoch {epoch}{f' and {batches} batches' if batches else ''} "
                f"could not be written to {self.folder}: {error}. Free some space or choose "
                "another folder; the previous checkpoint is kept."
            ) from error
        for old in self._existing():
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """The last whole checkpoint, or None if there is none.

        Raises
        ------
        CheckpointError
            If it is damaged, or belongs to other data or settings.
        """
        existing = self._existing()
        if not existing:
            return None
        path = existing[-1]
        try:
            if (path / _DIGEST).read_text(encoding="utf-8") != _digest(path):
                raise ValueError("its files do not match their SHA-256")
            state = json.loads((path / _STATE).read_text(encoding="utf-8"))
            tensors = load_file(path / _TENSORS)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"The checkpoint {path} is damaged ({error}). Delete it and fit again."
            ) from error
        if state["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                f"The checkpoint {path} belongs to a run with other data or settings. Resume with "
                "the data, parameters and seed of that run, or start afresh without resuming."
            )
        return Checkpoint(state, tensors)

    def exists(self) -> bool:
        """Whether there is one, of this run or another."""
        return bool(self._existing())

    def clear(self) -> None:
        """Remove all checkpoints, and the folder if that leaves it empty."""
        for path in self._existing():
            shutil.rmtree(path)
        for partial in self.folder.glob(".partial-*"):
            shutil.rmtree(partial)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _existing(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_PREFIX}*"))


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
