"""Amounts of work: operations and bytes of each kind, and how long a machine takes for them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from longtail.costs.machine import Machine

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """What some part of a fit does.

    Attributes
    ----------
    flops
        In matrix products; a multiplication and an addition are two.
    softmax
        Logits that are exponentiated and summed.
    stream, gather
        Bytes moved in order, and by rows from anywhere.
    calls
        Operations started.
    disk, network
        Bytes read or written; bytes that each worker sends.
    messages
        Rounds of messages.
    """

    flops: float = 0.0
    softmax: float = 0.0
    stream: float = 0.0
    gather: float = 0.0
    calls: float = 0.0
    disk: float = 0.0
    network: float = 0.0
    messages: float = 0.0

    def __add__(self, other: Work) -> Work:
        """Return both."""
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: float) -> Work:
        """Return the same so many times."""
        return Work(*(times * getattr(self, f.name) for f in fields(self)))

    def seconds(self, machine: Machine) -> float:
        """Time for it, one kind after the other: nothing is assumed to overlap."""
        return (
            self.flops / machine.flops
            + self.softmax / machine.softmax
            + self.stream / machine.stream
            + self.gather / machine.gather
            + self.calls * machine.call
            + self.disk / machine.disk
            + self.network / machine.network
            + self.messages * machine.latency
        )
