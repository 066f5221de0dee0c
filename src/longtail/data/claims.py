"""Files that one process at a time makes, under a hidden name, and that appear whole."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["claimed", "note_beside", "publish"]

_LOG = logging.getLogger(__name__)


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Yield the hidden name under which this process alone makes a file.

    Parameters
    ----------
    path
        The file that is to appear, by `publish`.

    Yields
    ------
    Path
        ``.NAME.partial`` in the same folder, perhaps with what an earlier process left of it.

    Notes
    -----
    Another process waits here until the first has finished or died: the lock is one on the open
    file, which the system drops with its holder, so that none can go stale. Where there are no
    such locks (Windows, some network folders), each process makes a file of its own from the
    start, and the last one stays.

    Afterwards the partial file is deleted, unless there is a note beside it (`note_beside`) that
    says how to go on from it.
    """
    partial, held = _claim(path)
    try:
        yield partial
    finally:
        if held is None:
            _discard(partial)
        else:
            with held:
                # Once published, the hidden name may be another process's already.
                if _is_still(held, partial) and not _can_go_on(partial):
                    _discard(partial)


def note_beside(partial: Path) -> Path:
    """Where it is written how to go on from a partial file."""
    return partial.with_name(f"{partial.name}.json")


def publish(partial: Path, path: Path) -> None:
    """Give a file that is finished its name."""
    note_beside(partial).unlink(missing_ok=True)
    os.replace(partial, path)


def _claim(path: Path) -> tuple[Path, BinaryIO | None]:
    """Return the name that is ours, and the open file whose lock makes it ours, if any."""
    stable = path.with_name(f".{path.name}.partial")
    while fcntl is not None:
        held = stable.open("ab")
        try:
            is_locked = _lock(held, path)
            # What was waited for may have been published or deleted by who made it.
            if is_locked and _is_still(held, stable):
                return stable, held
        except BaseException:
            held.close()
            raise
        held.close()
        if not is_locked:
            stable.unlink(missing_ok=True)
            break
    return path.with_name(f".{path.name}.{os.getpid()}"), None


def _lock(held: BinaryIO, path: Path) -> bool:
    """Wait for the lock; False if this file system has none."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        _LOG.info("Waiting for another process, which makes '%s'", path)
    except OSError as error:
        _LOG.info("'%s' is made without a lock: %s", path, error)
        return False
    fcntl.flock(held, fcntl.LOCK_EX)
    return True


def _is_still(held: BinaryIO, name: Path) -> bool:
    """Whether the open file has that name."""
    try:
        return os.path.samestat(os.fstat(held.fileno()), name.stat())
    except FileNotFoundError:
        return False


def _can_go_on(partial: Path) -> bool:
    return note_beside(partial).is_file() and partial.stat().st_size > 0


def _discard(partial: Path) -> None:
    note_beside(partial).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
