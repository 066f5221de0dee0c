"""Where the Parquet files of a data set are, on disk or behind a URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.data.surrogates import check_paths
from longtail.errors import CorruptBlockError, DataError, MissingExtraError

__all__ = ["ENDINGS", "is_url", "list_files", "open_parquet", "reading"]

ENDINGS = (".parquet", ".pq")
"""Of the names of files that are taken from a folder."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is one such as ``s3://bucket/folder``."""
    return "://" in os.fspath(path)


def list_files(path: str) -> tuple[str, ...]:
    """The Parquet files at a path or URL, sorted by path; those in hidden folders are not.

    Raises
    ------
    DataError
        If there is none, or it cannot be reached.
    MissingExtraError
        If what opens such a URL is not installed.
    """
    if not path:  # Path("") would be the working directory
        raise DataError("The data have an empty name; expected a file, a folder or a URL.")
    check_paths([path])
    with _reaching(path):
        found = _remote(path) if is_url(path) else _local(Path(path))
    if not found:
        raise DataError(
            f"There are no Parquet files (ending in {' or '.join(ENDINGS)}) in '{path}'; expected "
            "at least one."
        )
    check_paths(found)
    return found


def _local(path: Path) -> tuple[str, ...]:
    if path.is_file():
        return (str(path),)
    if not path.is_dir():
        raise DataError(
            f"There is no file or folder '{path}'. Check the spelling; relative paths start at "
            f"the working directory '{Path.cwd()}'."
        )
    inside = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
    return tuple(str(path / file) for file in sorted(inside) if _is_wanted(file.parts))


def _remote(url: str) -> tuple[str, ...]:
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = _filesystem(url)
    path = path.rstrip("/")
    scheme = url.split("://")[0]
    # pyarrow takes options such as an endpoint after a question mark.
    query = url[url.index("?") :] if "?" in url and "?" not in path else ""
    info = filesystem.get_file_info(path)
    if info.type == FileType.File:
        return (url,)
    if info.type == FileType.NotFound:
        raise DataError(f"There is no file or folder '{url}'. Check the spelling.")
    listed = filesystem.get_file_info(FileSelector(path, recursive=True))
    inside = [
        tuple(file.path[len(path) :].strip("/").split("/"))
        for file in listed
        if file.type == FileType.File
    ]
    return tuple(
        f"{scheme}://{path.lstrip('/')}/{'/'.join(parts)}{query}"
        for parts in sorted(inside)
        if _is_wanted(parts)
    )


def _is_wanted(parts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith((".", "_")) for part in parts)
    return not hidden and parts[-1].lower().endswith(ENDINGS)


def open_parquet(file: str, place: str) -> Any:
    """Open a file of `list_files`: a pyarrow ``ParquetFile``; close it. `place` is for messages.

    Raises
    ------
    CorruptBlockError
        If it is not a Parquet file.
    DataError
        If it cannot be reached.
    """
    with reading(place):
        from pyarrow.parquet import ParquetFile

        source: Any = file
        if is_url(file):
            filesystem, path = _filesystem(file)
            source = filesystem.open_input_file(path)
        # Checksums are there only if the writer put them in; then a flipped bit is noticed.
        return ParquetFile(source, page_checksum_verification=True, pre_buffer=is_url(file))


def _filesystem(url: str) -> tuple[Any, str]:
    """The pyarrow file system of a URL, and the path there: fsspec's where there is one."""
    try:
        import fsspec
        from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem
    except ImportError as error:
        raise _missing(f"'{url}'") from error
    try:
        inner, path = fsspec.core.url_to_fs(url)
    except ImportError:  # s3fs and its like are not needed: pyarrow has clients of its own
        filesystem, path = FileSystem.from_uri(url)
        return filesystem, path
    except ValueError as error:
        raise DataError(
            f"Nothing here opens '{url}' ({error}). Expected a path, or a URL such as "
            "s3://bucket/folder."
        ) from error
    return PyFileSystem(FSSpecHandler(inner)), str(path)


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Cannot reach '{path}': {_reason(error)}. Check the path, and that you may read it."
        ) from error
    except ImportError as error:
        raise _missing(f"'{path}'") from error


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Tell a file that cannot be reached from one that is corrupt; `place` is for messages."""
    try:
        import pyarrow
    except ImportError as error:
        raise _missing(place) from error
    try:
        yield
    except (pyarrow.ArrowException, OSError, EOFError) as error:
        # The system's own faults have a number; pyarrow's, of what it finds in a file, have not.
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(
                f"Cannot read {place}: {_reason(error)}. Check that it is still there, and that "
                "you may read it."
            ) from error
        raise CorruptBlockError(
            f"Cannot read {place}: it is corrupt, or no Parquet ({_reason(error)}). Write the file "
            "anew, or remove it."
        ) from error


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _missing(path: str) -> MissingExtraError:
    return MissingExtraError(
        f"Reading {path} block by block needs pyarrow (and fsspec, for URLs), which the extra "
        "brings: pip install 'longtail[stream]'. A file that fits in memory is read without."
    )
