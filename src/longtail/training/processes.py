"""The processes that train one model together, and the null case: one alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from longtail.data import Part
from longtail.errors import LongtailError, ProcessError

__all__ = ["OneProcess", "Processes", "on_first"]

T = TypeVar("T")
Action = Callable[[], T]


class Processes(Protocol):
    """Who they are, and what they tell each other.

    Every method but the properties must be called by all of them, in the same order.
    """

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        ...

    @property
    def world(self) -> int:
        """How many there are."""
        ...

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and speaks to the user."""
        ...

    @property
    def part(self) -> Part:
        """Which part of every batch is its own."""
        ...

    def device(self, device: torch.device) -> torch.device:
        """Where this one computes: of several GPUs in a machine, its own."""
        ...

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag, whether it is set in any of them."""
        ...

    def gather(self, value: T) -> list[T]:
        """The values of all of them, in the order of ranks."""
        ...

    def broadcast(self, value: T) -> T:
        """The first one's value; the others wait for it as long as it takes."""
        ...

    def broadcast_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first one's tensors, on the CPU; like `broadcast`, without a copy in between."""
        ...

    def together(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are averaged over all of them in each backward pass."""
        ...

    def contact(self) -> AbstractContextManager[None]:
        """Within it, losing contact raises a ProcessError that says so."""
        ...


class OneProcess:
    """One process alone: nobody to tell, nothing to wait for."""

    rank, world, is_first, part = 0, 1, True, Part()

    def device(self, device: torch.device) -> torch.device:
        """The device itself."""
        return device

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """The flags themselves."""
        return list(flags)

    def gather(self, value: T) -> list[T]:
        """The one value."""
        return [value]

    def broadcast(self, value: T) -> T:
        """The value itself."""
        return value

    def broadcast_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors themselves."""
        return tensors

    def together(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module

    def contact(self) -> AbstractContextManager[None]:
        """Nothing that could be lost."""
        return nullcontext()


def on_first(processes: Processes, action: Callable[[], T]) -> T:
    """Do it in the first process only; its result, or its error, is that of all.

    Raises
    ------
    ProcessError
        In the other processes, if the first failed in a way that is no error of this library.
    """
    if processes.world == 1:
        return action()
    outcome: tuple[T | None, LongtailError | None] = (None, None)
    if processes.is_first:
        try:
            outcome = (action(), None)
        except LongtailError as error:
            outcome = (None, error)
        except Exception as error:
            told = ProcessError(f"The first process ended with {type(error).__name__}: {error}")
            processes.broadcast((None, told))
            raise
    result, failure = processes.broadcast(outcome)
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]
