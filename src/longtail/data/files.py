"""Bytes and text from files, with errors that say which file, which line, which byte."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from longtail.data.surrogates import first_broken
from longtail.errors import DataError, ParameterError

__all__ = [
    "POLARS_FAULTS",
    "as_path",
    "cannot_read",
    "decode",
    "numbered_lines",
    "read_bytes",
    "read_text",
]

POLARS_FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""Errors of polars on files of others. A panic, as by an unknown time zone, is no `Exception`."""

_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_REASON = 200


def as_path(path: Any, name: str = "path") -> Path:
    """The path that the user gave.

    Raises
    ------
    ParameterError
        If it is no path, or an empty one; `name` is that of the argument.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ParameterError(
            f"{name} must be the path of a file or a folder, as a string or a pathlib.Path; "
            f"got {path!r}."
        )
    return Path(text)


def cannot_read(path: Path | str, error: BaseException, expected: str) -> DataError:
    """Return an error about a file that a library refused to read."""
    told = str(error).split('ErrString("')[-1].replace("\\n", "\n")  # what a panic quotes
    lines = told.strip().splitlines() or [type(error).__name__]
    reason = lines[0][:_LONGEST_REASON].rstrip(".")
    return DataError(
        f"Cannot read '{path}': {reason}. Expected {expected}; the file may be truncated or "
        "of another format. Fetch it again, or name its format with format=."
    )


def read_bytes(path: Path, *, may_be_empty: bool = False) -> bytes:
    """Return the content of a file, unpacked if it is a gzip file.

    Raises
    ------
    DataError
        If the file cannot be opened, is empty where it may not be, or is a damaged gzip file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read '{path}': {error.strerror or error}. Check that it is a file and that "
            "you may read it."
        ) from error
    if content.startswith(_GZIP_MAGIC) or path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content) if content else content
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"'{path}' is not a whole gzip file: {error}. Fetch it again, or unpack it and "
                "remove the .gz from its name."
            ) from error
    if not (may_be_empty or content.strip()):
        raise DataError(f"'{path}' is empty; expected at least one row.")
    return content


def decode(content: bytes, encoding: str, path: Path) -> str:
    """Decode the bytes of a file; a byte order mark is removed.

    Raises
    ------
    DataError
        If the bytes are not in that encoding; names the byte offset and the line.
    """
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        at = content[error.start : error.start + 1].hex()
        wrong = f"0x{at}" if at else "the end"
        raise DataError(
            f"'{path}' is not text in {encoding}: line {line}, byte offset {error.start} "
            f"({wrong}) cannot be decoded. Save it as UTF-8, or pass its "
            "encoding, for instance encoding='latin-1'."
        ) from error
    except UnicodeError as error:  # utf-16 without its mark, and the like
        raise DataError(f"'{path}' is not text in {encoding}: {error}.") from error
    except (LookupError, ValueError) as error:  # unknown, or from bytes to bytes, as zlib is
        raise DataError(f"{encoding!r} is no encoding of text, such as 'utf-8'.") from error
    # Most encodings hold whole characters alone; utf-7 and unicode_escape may hold halves.
    lines = text.split("\n") if first_broken([text]) is not None else []
    broken = first_broken(lines)
    if broken is not None:
        raise DataError(
            f"'{path}' is not text in {encoding}: line {broken + 1} holds half a character, such "
            "as an emoji cut in two. Remove it, or pass another encoding."
        )
    return text


def read_text(path: Path, encoding: str) -> str:
    """Return the decoded content of a file; see `read_bytes` and `decode`."""
    return decode(read_bytes(path), encoding, path)


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line) of a text; the newline that ends it opens no line.

    Only line feeds (with or without a carriage return) end a line: documents may hold the
    rarer separators at which `str.splitlines` would cut too.
    """
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        yield number, line.removesuffix("\r")
