"""Where a run stands, between two batches: what a checkpoint holds besides the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from longtail.inference import HybridModel
from longtail.training.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from longtail.training.history import History
from longtail.training.processes import Processes
from longtail.training.step import StepTerms

__all__ = ["EpochSums", "RunState", "checkpoint_of", "restore"]


@dataclass
class EpochSums:
    """Totals over the rows of the current epoch that have been trained on.

    Attributes
    ----------
    rows
        Of all processes.
    bound, kl
        Sums over the rows of this process, nats; `kl` per latent dimension, float64 (K,), None
        before the first batch.
    seconds
        Spent on them.
    """

    rows: int = 0
    bound: float = 0.0
    kl: Tensor | None = None
    seconds: float = 0.0

    def add(self, terms: StepTerms, rows: int, seconds: float) -> None:
        """Count a batch."""
        self.bound += float(terms.refined.bound().detach().double().sum())
        kl = terms.refined.kl.detach().double().sum(0)
        self.kl = kl if self.kl is None else self.kl + kl
        self.rows += rows
        self.seconds += seconds

    def over_all(self, processes: Processes) -> EpochSums:
        """The totals of all processes, the same in each of them."""
        assert self.kl is not None
        parts = processes.gather((self.bound, self.kl.cpu(), self.seconds))
        return EpochSums(
            self.rows,
            sum(bound for bound, _, _ in parts),
            torch.stack([kl for _, kl, _ in parts]).sum(0),
            parts[0][2],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, which keeps every bit of a float64."""
        kl = None if self.kl is None else self.kl.tolist()
        return {"rows": self.rows, "bound": self.bound, "kl": kl, "seconds": self.seconds}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], device: torch.device | str) -> EpochSums:
        """What `to_dict` wrote."""
        kl = None
        if saved["kl"] is not None:
            kl = torch.tensor(saved["kl"], dtype=torch.float64, device=device)
        return cls(saved["rows"], saved["bound"], kl, saved["seconds"])

    def shared(self, processes: Processes) -> EpochSums:
        """What `over_all` makes into these totals: the first process has all, the others none."""
        if processes.is_first or self.kl is None:
            return self
        return EpochSums(self.rows, 0.0, torch.zeros_like(self.kl), self.seconds)


@dataclass
class RunState:
    """Counters, history and the best parameters so far.

    Attributes
    ----------
    epoch, batches
        Whole epochs done, and batches of the next one.
    update
        Updates done.
    sums
        Over those batches.
    history
        Of the whole epochs.
    best_bound, best_epoch, best_weights
        Of the epoch with the best validation bound.
    """

    epoch: int = 0
    batches: int = 0
    update: int = 0
    sums: EpochSums = field(default_factory=EpochSums)
    history: History = field(default_factory=History)
    best_bound: float = -math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def checkpoint_of(
    state: RunState, sums: EpochSums, model: HybridModel, optimizer: torch.optim.Optimizer
) -> Checkpoint:
    """Everything that `restore` needs; `sums` are those of all processes."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in state.best_weights.items()}
    tensors |= optimizer_tensors(optimizer)
    values = {
        "epoch": state.epoch,
        "batches": state.batches,
        "update": state.update,
        "sums": sums.to_dict(),
        "history": state.history.to_list(),
        "best_bound": state.best_bound if math.isfinite(state.best_bound) else None,
        "best_epoch": state.best_epoch,
    }
    return Checkpoint(values, tensors)


def restore(
    checkpoint: Checkpoint,
    model: HybridModel,
    optimizer: torch.optim.Optimizer,
    device: torch.device | str,
) -> RunState:
    """Put parameters and moments back; the state, with the sums of all processes."""
    saved, tensors = checkpoint.state, checkpoint.tensors
    weights = {k[len("model.") :]: v for k, v in tensors.items() if k.startswith("model.")}
    best = {k[len("best.") :]: v for k, v in tensors.items() if k.startswith("best.")}
    model.load_state_dict(weights)
    restore_optimizer(optimizer, tensors)
    # Checkpoints from before there were any within an epoch lack the two.
    sums = EpochSums.from_dict(saved["sums"], device) if "sums" in saved else EpochSums()
    return RunState(
        epoch=saved["epoch"],
        batches=saved.get("batches", 0),
        update=saved["update"],
        sums=sums,
        history=History.from_list(saved["history"]),
        best_bound=-math.inf if saved["best_bound"] is None else saved["best_bound"],
        best_epoch=saved["best_epoch"],
        best_weights={k: v.to(device) for k, v in best.items()},
    )
