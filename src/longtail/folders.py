"""Folders that several processes and kills cannot spoil: locked, flushed, replaced in one step."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["BusyError", "flush", "locked", "put_in_place"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fs.h
_RENAME_SWAP = 2  # macOS, sys/stdio.h


class _Held(threading.local):
    """Locks of this thread."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()


_HELD = _Held()


class BusyError(Exception):
    """Another process, or another thread, holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock that a file stands for; the file and folders on the way are made.

    The system drops the lock with its process, so none is ever stale. Where there are no such locks
    (Windows, some network file systems), nothing is locked. A thread that holds it may take it
    again.

    Parameters
    ----------
    wait
        Wait for another holder.

    Raises
    ------
    BusyError
        If another process or thread holds it, without `wait`.
    OSError
        If the file cannot be made.
    """
    path = Path(os.path.realpath(path))
    if path in _HELD.paths:
        yield
        return
    file = _lock(path, wait=wait)
    _HELD.paths.add(path)
    try:
        yield
    finally:
        _HELD.paths.discard(path)
        with file or nullcontext():
            path.unlink(missing_ok=True)


def _lock(path: Path, *, wait: bool) -> BinaryIO | None:
    """Open and lock the file; None where there are no locks."""
    while fcntl is not None:
        with suppress(FileExistsError):  # `exist_ok` fails if it is removed at this moment
            path.parent.mkdir(parents=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:
            continue  # the last holder has just removed the folder
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_still(file, path):
                return file
        except BlockingIOError:
            file.close()
            raise BusyError(str(path)) from None
        except OSError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        file.close()
    return None


def _is_still(file: BinaryIO, path: Path) -> bool:
    """Whether the open file has that name: its last holder has deleted it, in the end."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def flush(folder: Path) -> None:
    """Flush the folder's list of names to disk, so that a rename outlives a power cut.

    Some file systems cannot, which is no reason to give up: the files are flushed on their own.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put_in_place(new: Path, target: Path, aside: Path) -> None:
    """Give a folder the name `target`, in one step where the system can.

    A folder that had the name is `new` or `aside` afterwards. In two steps, a kill between them
    leaves no `target`, and the former folder at `aside`.
    """
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        target.rename(aside)
        try:
            new.rename(target)
        finally:
            if not target.exists():
                aside.rename(target)
    flush(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False, and nothing has changed, if the system cannot."""
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform not in ("linux", "darwin"):
        return False
    libc = ctypes.CDLL(None)
    try:
        if sys.platform == "darwin":
            return bool(libc.renamex_np(*names, _RENAME_SWAP) == 0)
        status = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    except AttributeError:  # an older C library
        return False
    return bool(status == 0)
