"""Files that a user asked for: checked before the computing, written whole or not at all.

A file is written under a temporary name beside its target, flushed to the disk, and renamed. If
that fails, the temporary file is removed and an older file stays as it was. Missing parent folders
are made. Devices, FIFOs and standard output are written to directly; a symbolic link stays, and
its target is replaced. Only a process that is killed leaves a temporary file (``.longtail-*.tmp``),
which may be deleted.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from longtail.errors import ParameterError, WriteError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check_output_file", "check_output_folder", "replacing", "write_table", "write_text"]

_CHECKPOINT_ENDING = ".checkpoint"
# Open files under another name: renaming would take them away from whoever holds them.
_OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; at the end it takes the place of `path`.

    Raises
    ------
    ParameterError
        If no file can have such a name.
    WriteError
        If it cannot be written. An older file at `path` is unchanged.
    """
    _check_name(path)
    try:
        older = _stat(Path(path))
        if older is not None and stat.S_ISDIR(older.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _check_not_read_only(path, older)
        if _is_written_directly(path, older):
            yield Path(path)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _new_file(target.parent)
        try:
            yield partial
            _flush_to_disk(partial)
            if older is not None:
                partial.chmod(stat.S_IMODE(older.st_mode))
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"{path} could not be written: {_reason(error)}. Free some space or choose another "
            "name; an older file there has not changed."
        ) from error


def write_text(text: str, path: str | Path) -> None:
    """Write a text as UTF-8; see `replacing`."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_table(table: pl.DataFrame, path: str | Path) -> None:
    """Write a Polars table as CSV if the name ends in .csv, else as Parquet; see `replacing`."""
    from polars.exceptions import PolarsError

    with replacing(path) as partial:
        try:
            if Path(path).suffix == ".csv":
                table.write_csv(partial)
            else:
                table.write_parquet(partial)
        except PolarsError as error:  # its own error for a full disk
            raise OSError(str(error)) from error


def check_output_file(path: str | Path) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Raises
    ------
    ParameterError
        If the name is empty or too long, a folder is there, or its folder cannot be written to.
    """
    with _refusing(path):
        older = _stat(Path(path))
        if older is not None and stat.S_ISDIR(older.st_mode):
            raise ParameterError(f"'{path}' is a folder; expected the name of a file to write.")
        _check_not_read_only(path, older)
        if not _is_written_directly(path, older):
            _try_to_write_in(Path(os.path.realpath(path)).parent, Path(path).name)


def check_output_folder(path: str | Path, *, replaced: bool = False) -> None:
    """Check that a folder can be made or written to, before the work whose results it will hold.

    Parameters
    ----------
    path
        Made when it is missing, with its parents.
    replaced
        It is replaced as a whole, as the folder of a model is.

    Raises
    ------
    ParameterError
        If the name is empty or too long, a file is there, or it cannot be written to.
    """
    with _refusing(path):
        folder = Path(path)
        older = _stat(folder)
        if older is not None and not stat.S_ISDIR(older.st_mode):
            raise ParameterError(f"'{path}' is a file; expected a folder. Choose a new name.")
        if replaced and folder.name in ("", ".."):
            raise ParameterError(
                f"'{path}' cannot be replaced as a whole. Give the folder a name of its own, such "
                "as model/."
            )
        # Checkpoints stand beside a model: no other name there is as long.
        name = f"{folder.name}{_CHECKPOINT_ENDING}" if replaced else folder.name
        _try_to_write_in(folder.parent if replaced else folder, name)


@contextmanager
def _refusing(path: str | Path) -> Iterator[None]:
    """Turn errors of the file system into one about the path that was given."""
    _check_name(path)
    try:
        yield
    except OSError as error:
        raise ParameterError(
            f"'{path}' cannot be written: {_reason(error)}. Choose another name or folder."
        ) from error


def _check_name(path: str | Path) -> None:
    """Refuse what cannot be the name of any file."""
    text = str(path)
    if not text:
        raise ParameterError("An output has an empty name; expected a file or folder to write.")
    try:
        impossible = "\0" in text or not os.fsencode(text)
    except UnicodeEncodeError:  # half an emoji
        impossible = True
    if impossible:
        raise ParameterError(f"{text!a} holds characters that no name of a file can hold.")


def _stat(path: Path) -> os.stat_result | None:
    """Facts about a file, links followed; None if it is not there."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_not_read_only(path: str | Path, older: os.stat_result | None) -> None:
    # Renaming would replace it all the same, against its owner's wish.
    if older is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _is_written_directly(path: str | Path, older: os.stat_result | None) -> bool:
    if older is None:
        return False
    return not stat.S_ISREG(older.st_mode) or os.path.abspath(path).startswith(_OPEN_FILES)


def _new_file(folder: Path) -> Path:
    # A short name, since that of the target may be as long as allowed; the mode of any new file.
    path = folder / f".longtail-{uuid.uuid4().hex[:12]}.tmp"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _try_to_write_in(folder: Path, name: str) -> None:
    """Make a file in the folder, or in the nearest parent that is there, and remove it."""
    there, missing = folder, [name]
    while _stat(there) is None:
        missing.append(there.name)
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"'{there}' is not a folder")
    for part in missing:
        _stat(there / part)  # a name may be too long
    # Without a name where the system can: a kill leaves nothing.
    tempfile.TemporaryFile(dir=there).close()


def _reason(error: OSError) -> str:
    if error.errno is not None and error.errno in errno.errorcode:
        # What HDF5 says of a full disk takes several lines.
        text = error.strerror or ""
        return text if text and "\n" not in text else os.strerror(error.errno)
    return (str(error).splitlines() or [type(error).__name__])[0]
