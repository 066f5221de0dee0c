"""A process that is killed between two steps, simulated: from then on nothing on disk changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}
_EXCHANGES = {"renameat2", "renamex_np"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killed(BaseException):
    """Not an Exception: nothing handles it, and cleaning up fails with it too."""


class _Steps:
    """Counts what changes files; from the given step on, each of them fails before it happens."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


_steps: list[_Steps] = []


def _watch(event: str, args: tuple[object, ...]) -> None:
    if not _steps:
        return
    if (
        event in _CHANGES
        or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES)
        or (event == "ctypes.dlsym" and args[1] in _EXCHANGES)
    ):
        _steps[-1]()


sys.addaudithook(_watch)


@contextmanager
def killed_after(steps: int) -> Iterator[list[bool]]:
    """Let so many changes on disk happen; the list is filled if that was the end of it."""
    killed: list[bool] = []
    _steps.append(_Steps(steps))
    try:
        yield killed
    except Killed:
        killed.append(True)
    finally:
        _steps.pop()


def every_kill(action, *, most=200):
    """Yield (number of steps, a function that begins and is killed), until one is not killed."""
    for steps in range(most):
        survived = []

        def begin(steps=steps, survived=survived):
            with killed_after(steps) as killed:
                action()
            if not killed:
                survived.append(True)

        yield begin
        if survived:
            return
    raise AssertionError(f"not done after {most} steps")
