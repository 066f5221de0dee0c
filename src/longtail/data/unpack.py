"""Published archives → files that `longtail.data.read_counts` reads.

Members of archives are read by name, never extracted to paths of their choosing.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from longtail.data.remote_sets import RemoteSet
from longtail.errors import DataError

__all__ = ["unpack"]

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 18
_LONGEST_LINE = 1 << 20


def unpack(source: Path, target: Path, known: RemoteSet) -> None:
    """Write the file that is read, from the file that was downloaded.

    Parameters
    ----------
    source
        The download.
    target
        Where to write.
    known
        Whose ``unpack``, ``member``, ``columns`` and ``separator`` say what is in it.

    Raises
    ------
    DataError
        If the archive is damaged, holds something else, or more than ``max_unpacked`` bytes.

    Notes
    -----
    The lines of a table without the name of a row or of a feature are left out, and their number
    is logged.
    """
    write = _write_messages if known.unpack == "messages" else _write_table
    try:
        write(source, target, known)
    except (
        *(EOFError, KeyError, UnicodeDecodeError, NotImplementedError, RuntimeError),
        *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error),
    ) as error:
        raise DataError(
            f"'{source}' cannot be unpacked: {error}. Delete it, and fetch it again."
        ) from error


def _write_table(source: Path, target: Path, known: RemoteSet) -> None:
    separator = known.separator.encode()
    with _opened(source, known) as file, target.open("wb") as out:
        lines = _lines(file, source)
        if known.columns is None:
            names = next(lines, b"").split(separator)
        else:
            names = [name.encode() for name in known.columns]
        out.write(_joined(names))
        settings = known.settings
        wanted = [str(name).encode() for name in (settings.row_column, settings.feature_column)]
        keys = [place for place, name in enumerate(names) if name in wanted]
        n_nameless = 0
        for line in lines:
            fields = line.split(separator)
            if len(fields) != len(names):
                raise DataError(
                    f"A line of the table in '{source}' has {len(fields)} field(s), but "
                    f"{len(names)} were expected: {line[:80]!r}. Delete it, and fetch it again."
                )
            if all(fields[key] for key in keys):
                out.write(_joined(fields))
            else:
                n_nameless += 1
    if n_nameless:
        _LOG.warning("%s: left out %d lines without a name", target.name, n_nameless)


def _joined(fields: list[bytes]) -> bytes:
    """Return a line as `read_counts` reads it, where a quote is doubled between quotes."""
    line = b"\t".join(fields)
    if b'"' in line:
        line = b"\t".join(
            b'"' + field.replace(b'"', b'""') + b'"' if b'"' in field else field for field in fields
        )
    return line + b"\n"


def _lines(file: BinaryIO, source: Path) -> Iterator[bytes]:
    """Yield the lines that hold anything, without their ends."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"The table in '{source}' has a line of {_LONGEST_LINE:,} bytes or more, so it "
                "is no such table. Delete it, and fetch it again."
            )
        if content := line.rstrip(b"\r\n"):
            yield content


@contextmanager
def _opened(source: Path, known: RemoteSet) -> Iterator[BinaryIO]:
    """Open a member of a tar or zip file, or a gzip file."""
    if known.member is None:
        with gzip.open(source) as file:
            yield _bounded(file, source, known)
    elif source.name.endswith(".tar.gz"):
        with gzip.open(source) as packed:
            content = _bounded(packed, source, known)
            with tarfile.open(fileobj=content, mode="r|") as archive:
                yield _member(archive, known.member)
            while content.read(_BLOCK):
                pass  # gzip compares its checksum at the end
    else:
        with zipfile.ZipFile(source) as zipped, zipped.open(known.member) as member:
            yield _bounded(member, source, known)


def _member(archive: tarfile.TarFile, name: str) -> BinaryIO:
    """Find a regular file in a tar archive; links are not followed."""
    for member in archive:
        # A sparse file is larger than what is read of it.
        if member.name.removeprefix("./") == name and member.isreg() and not member.issparse():
            return archive.extractfile(member)  # type: ignore[return-value]
    raise tarfile.TarError(f"it holds no file {name!r}")


def _bounded(file: Any, source: Path, known: RemoteSet) -> BinaryIO:
    return io.BufferedReader(_Bounded(file, source, known.max_unpacked), _BLOCK)


class _Bounded(io.RawIOBase):
    """A file that refuses to give more than so many bytes."""

    def __init__(self, file: Any, source: Path, max_bytes: int) -> None:
        super().__init__()
        self._file, self._source = file, source
        self._max_bytes = self._left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise DataError(
                f"'{self._source}' unpacks to more than the {self._max_bytes:,} bytes that were "
                "expected. Delete it, and check what its publisher has there now."
            )
        return count


def _write_messages(source: Path, target: Path, known: RemoteSet) -> None:
    """Write every file of a tar archive ``split/group/number`` as a line of JSON."""
    n_messages = 0
    with tarfile.open(source) as archive, target.open("w", encoding="utf-8") as out:
        for member in archive:
            parts = member.name.removeprefix("./").split("/")
            file = archive.extractfile(member) if member.isfile() and len(parts) == 3 else None
            if file is None:
                continue
            folder, group, number = parts
            split = folder.rpartition("-")[2]  # 20news-bydate-train
            record = {
                "id": f"{split}/{group}/{number}",
                "split": split,
                "group": group,
                "text": file.read().decode("latin-1"),
            }
            out.write(json.dumps(record) + "\n")
            n_messages += 1
    if n_messages == 0:
        raise DataError(f"'{source}' holds no messages at split/group/number.")
