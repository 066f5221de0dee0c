"""What a machine can do in a second, as far as fitting is concerned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from longtail.data.files import as_path
from longtail.errors import ParameterError
from longtail.output_files import write_text

__all__ = ["MACHINES", "Machine", "find_machine"]


@dataclass(frozen=True)
class Machine:
    """Constants of one worker: a process with the cores, or the GPU, that are its own.

    Attributes
    ----------
    name
        For tables.
    flops
        Floating-point operations a second in float32 matrix products of the shape that training
        has, (500, 400) by (400, 2,048).
    softmax
        Logits a second that are shifted, exponentiated and summed while they are in the cache.
    stream
        Bytes a second read or written in order, in memory.
    gather
        Bytes a second of rows of about a kilobyte that are read from anywhere in a table.
    call
        Seconds to start an operation, however small.
    memory
        Bytes that the worker may use.
    network, latency
        Bytes a second that a worker sends while it receives as many; seconds a message.
    disk
        Bytes a second.
    """

    name: str
    flops: float
    softmax: float
    stream: float
    gather: float
    call: float
    memory: float
    network: float
    latency: float
    disk: float

    def __post_init__(self) -> None:
        """Check that all are positive numbers."""
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            wrong = isinstance(value, bool) or not isinstance(value, int | float)
            if wrong or not 0 < value < float("inf"):
                raise ParameterError(
                    f"The machine's {field.name} must be a positive number; got {value!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def save(self, path: str | Path) -> None:
        """Write the constants to a JSON file.

        Raises
        ------
        WriteError
        """
        write_text(json.dumps(self.to_dict(), indent=1) + "\n", as_path(path))

    @classmethod
    def open(cls, path: str | Path) -> Machine:
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            If it is no such file.
        """
        names = [field.name for field in fields(cls)]
        try:
            values = json.loads(as_path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ParameterError(
                f"{path} does not hold a machine's constants ({error}). Write such a file with "
                "longtail plan --calibrate --save FILE."
            ) from error
        if not isinstance(values, dict) or values.keys() != set(names):
            raise ParameterError(
                f"{path} does not hold a machine's constants: expected {', '.join(names)}."
            )
        return cls(**values)


# Orders of magnitude from data sheets, at half to three quarters of the peak; none is measured.
MACHINES: Mapping[str, Machine] = MappingProxyType(
    {
        machine.name: machine
        for machine in (
            Machine("laptop", 1e11, 2e9, 1.5e10, 1e10, 5e-6, 1.6e10, 1.2e8, 5e-4, 1e9),
            Machine("server", 1.5e12, 3e10, 1.5e11, 8e10, 5e-6, 2.56e11, 2.5e9, 5e-5, 2e9),
            Machine("gpu", 1.4e13, 3e11, 1.4e12, 8e11, 8e-6, 8e10, 1.2e10, 3e-5, 2e9),
        )
    }
)
"""Nominal machines: two to four cores; 32 cores; a GPU with 80 GB (float32 products)."""


def find_machine(name: str | Path | Machine) -> Machine:
    """A machine by its name, or from a file.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if isinstance(name, Machine):
        return name
    path = as_path(name, "machine")
    if str(name) in MACHINES:
        return MACHINES[str(name)]
    if path.exists():
        return Machine.open(name)
    raise ParameterError(
        f"No machine {str(name)!r}: expected one of {', '.join(MACHINES)}, or a file that longtail "
        "plan --calibrate --save wrote."
    )
