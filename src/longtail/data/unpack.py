"""Published archives → files that `longtail.data.read_counts` reads.

Members of archives are read by name, never extracted to paths of their choosing.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from longtail.data.remote_sets import RemoteSet
from longtail.errors import DataError

__all__ = ["unpack"]


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
        If the archive is damaged or holds something else.
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
    with _opened(source, known.member) as lines, target.open("wb") as out:
        if known.columns is not None:
            out.write("\t".join(known.columns).encode() + b"\n")
        if separator == b"\t":
            shutil.copyfileobj(lines, out)
            return
        for line in lines:
            out.write(line.replace(separator, b"\t"))


@contextmanager
def _opened(source: Path, member: str | None) -> Iterator[BinaryIO]:
    """Open a member of a zip file, or a gzip file."""
    if member is None:
        with gzip.open(source) as file:
            yield file  # type: ignore[misc]
        return
    with zipfile.ZipFile(source) as archive, archive.open(member) as file:
        yield file  # type: ignore[misc]


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
