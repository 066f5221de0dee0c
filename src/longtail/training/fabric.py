"""Processes under a launcher, through Lightning Fabric: torchrun, ``fabric run``, or SLURM's srun.

Gradients go through PyTorch's DistributedDataParallel. Two groups of all processes differ in how
long they wait for one that is silent but alive: the default group a stated time, in which every
process works on the same batch; the other one a week, for what one process does alone.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from longtail.data import Part
from longtail.errors import MissingExtraError, ParameterError, ProcessError
from longtail.training.processes import OneProcess, Processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["TIMEOUT", "FabricProcesses", "join_processes"]

T = TypeVar("T")

TIMEOUT = 600.0
"""Seconds in which a process must come to what all do together."""

_LONGEST_TIMEOUT = 1e9
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class _Launched:
    """How many processes a launcher has started."""

    launcher: str
    world: int
    per_machine: int


def join_processes(device: str = "auto", *, timeout: float = TIMEOUT) -> Processes:
    """Find the other processes that a launcher has started to train with this one.

    Launchers are ``torchrun``, Lightning's ``fabric run``, and SLURM's ``srun`` with several
    tasks. Without one, or with a single process, this process is alone.

    Parameters
    ----------
    device
        Where to compute, as for the estimator: "auto" takes the GPUs if there are any, each
        process its own.
    timeout
        Seconds to wait for a process that is silent but has not ended, before all give up.

    Raises
    ------
    MissingExtraError
        If Lightning Fabric is not installed, and needed.
    ProcessError
        If the others do not come in time.
    ParameterError
        If `timeout` is no number above 0.
    """
    if not isinstance(timeout, Real) or not 0 < timeout <= _LONGEST_TIMEOUT:
        raise ParameterError(
            f"timeout must be a number of seconds above 0 and ≤ {_LONGEST_TIMEOUT:g}; "
            f"got {timeout!r}."
        )
    launched = _launched(os.environ)
    if launched is None:
        return OneProcess()
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise MissingExtraError(
            f"{launched.launcher} has started {launched.world} processes; training in several "
            "needs Lightning Fabric. Install it with: pip install 'longtail[distributed]'"
        ) from error
    # It announces at length what it does.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    gpu = device != "cpu" and torch.cuda.is_available()
    options: dict[str, Any] = {
        # Every parameter takes part in every update, and no buffer changes in training.
        "find_unused_parameters": False,
        _buffers_option(): False,
        # Gradients are summed where they lie: one array of their size less.
        "gradient_as_bucket_view": True,
    }
    strategy = DDPStrategy(timeout=timedelta(seconds=timeout), **options)
    try:
        fabric = Fabric(
            accelerator="cuda" if gpu else "cpu",
            strategy=strategy,
            devices=launched.per_machine,
            num_nodes=launched.world // launched.per_machine,
        )
        if not distributed.is_initialized():  # as it is under `fabric run`
            fabric.launch()
        return FabricProcesses(fabric, timeout)
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"The {launched.world} processes that {launched.launcher} has started could not be "
            f"joined: {error}"
        ) from error


def _buffers_option() -> str:
    """What PyTorch calls it, to send the buffers round before each forward pass."""
    options = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    return "forward_sync_buffers" if "forward_sync_buffers" in options else "broadcast_buffers"


def _launched(environment: Mapping[str, str]) -> _Launched | None:
    """What the launcher says in the environment; None if there are no others."""

    def number(name: str) -> int:
        return int(environment.get(name) or 1)

    if "TORCHELASTIC_RUN_ID" in environment:
        found = _Launched("torchrun", number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE"))
    else:
        # SLURM sets most of its variables in scripts, too: this one only where srun runs tasks.
        world = number("SLURM_STEP_NUM_TASKS")
        per_machine = number("SLURM_NTASKS_PER_NODE")
        if world > 1 and per_machine * number("SLURM_NNODES") != world:
            raise ProcessError(
                f"srun runs {world} tasks on {number('SLURM_NNODES')} machine(s). Say how many go "
                "to each of them, the same number everywhere, with --ntasks-per-node."
            )
        found = _Launched("srun", world, per_machine)
    return found if found.world > 1 else None


class FabricProcesses:
    """See `Processes`.

    Parameters
    ----------
    fabric
        Launched.
    timeout
        Of its process group, seconds.
    """

    def __init__(self, fabric: Fabric, timeout: float) -> None:
        self._fabric = fabric
        self._timeout = timeout
        self._patient = distributed.new_group(timeout=_WEEK)

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        return self._fabric.global_rank

    @property
    def world(self) -> int:
        """How many there are."""
        return self._fabric.world_size

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and speaks to the user."""
        return self.rank == 0

    @property
    def part(self) -> Part:
        """Which part of every batch is its own."""
        return Part(self.rank, self.world)

    def device(self, device: torch.device) -> torch.device:
        """Of several GPUs in a machine, its own."""
        return self._fabric.device if device.type == self._fabric.device.type else device

    def barrier(self) -> None:
        """Wait until all are here, as long as it takes."""
        with self.contact():
            distributed.barrier(group=self._patient)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag, whether it is set in any of them."""
        with self.contact():
            found = torch.tensor(flags, dtype=torch.int32, device=self._fabric.device)
            distributed.all_reduce(found, distributed.ReduceOp.MAX)
            return [bool(flag) for flag in found.tolist()]

    def gather(self, value: T) -> list[T]:
        """The values of all of them, in the order of ranks."""
        with self.contact():
            values: list[Any] = [None] * self.world
            distributed.all_gather_object(values, value)
            return values

    def broadcast(self, value: T) -> T:
        """The first one's value; the others wait for it as long as it takes."""
        with self.contact():
            values: list[Any] = [value if self.is_first else None]
            distributed.broadcast_object_list(values, 0, group=self._patient)
            return values[0]  # type: ignore[no-any-return]

    def broadcast_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first one's tensors, on the CPU; like `broadcast`, without a copy in between."""
        shapes = self.broadcast({name: (t.shape, t.dtype) for name, t in tensors.items()})
        result = {}
        with self.contact():
            for name, (shape, dtype) in shapes.items():
                given = tensors[name] if self.is_first else torch.empty(shape, dtype=dtype)
                sent = given.contiguous().to(self._fabric.device)
                distributed.broadcast(sent, 0, group=self._patient)
                result[name] = sent.cpu()
        return result

    def together(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are averaged over all of them in each backward pass."""
        with self.contact():
            # Not `Fabric.setup`: its wrapper takes apart what goes in and comes out, for mixed
            # precision, and our frozen dataclasses cannot be put together again.
            return self._fabric.strategy.setup_module(module)

    @contextmanager
    def contact(self) -> Iterator[None]:
        """Within it, losing contact raises a ProcessError that says so."""
        try:
            yield
        except RuntimeError as error:
            if not _of_contact(error):
                raise
            raise ProcessError(
                f"Process {self.rank} of {self.world} has lost another one, which has ended (look "
                f"for its message) or has not answered for {self._timeout:g} seconds. Start all of "
                "them again; with resume, they go on from the last checkpoint."
            ) from error


def _of_contact(error: RuntimeError) -> bool:
    """Whether a collective operation failed, rather than a computation."""
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "pair closure", "processgroup"))
