"""Well-known data sets by name, downloaded once. No other module uses the network."""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from longtail.data.corpus_cache import cache_folder
from longtail.data.counts import CountMatrix
from longtail.data.read import read_counts
from longtail.data.remote_sets import REMOTE_SETS, RemoteFile, RemoteSet
from longtail.data.unpack import unpack
from longtail.data.vocabulary import suggest_from
from longtail.errors import DataError, ParameterError, WriteError

__all__ = ["fetch", "read_remote"]

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 18
_TIMEOUT = 60.0

Progress = Callable[[int, int | None], None]


def fetch(
    name: str,
    *,
    cache_dir: str | Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a data set, if it is not there yet, and return the file that is to be read.

    Parameters
    ----------
    name
        One of `longtail.data.remote_sets.REMOTE_SETS`, whose ``settings`` say how to read it.
    cache_dir
        Where it is kept, in a folder of its name; see `longtail.data.corpora.cache_folder`.
    base_url
        The folder of a mirror that has the files under their names; None: their publishers.
    progress
        Called with (bytes so far, bytes in all or None) while a file comes in.

    Returns
    -------
    Path
        For `longtail.data.read_counts`.

    Raises
    ------
    ParameterError
        If there is no such data set.
    DataError
        If a file cannot be had (no connection, not there any more), is larger than it may be, or
        its SHA-256 is not the one known. Nothing of it is kept then.
    WriteError
        If the cache cannot be written.

    Notes
    -----
    Files appear in the cache whole or not at all. One without a known SHA-256 gets the file
    ``NAME.sha256`` beside it at its first download, and must agree with it from then on.
    """
    known = _known(name)
    folder = cache_folder(cache_dir) / "sets" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in known.files:
            _ensure(file, folder, base_url, progress)
        return _opened(known, folder)
    except OSError as error:
        raise WriteError(
            f"The data set {name!r} cannot be kept in '{folder}': {error}. Name a folder that can "
            "be written with cache_dir=, or in the environment variable LONGTAIL_CACHE."
        ) from error


def read_remote(
    name: str,
    *,
    cache_dir: str | Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> CountMatrix:
    """Fetch a data set and read it.

    Parameters
    ----------
    name, cache_dir, base_url, progress
        See `fetch`.
    **fields
        Fields of `ReadSettings` that shall differ from those of the data set.

    Returns
    -------
    CountMatrix
    """
    path = fetch(name, cache_dir=cache_dir, base_url=base_url, progress=progress)
    return read_counts(path, settings=_known(name).settings, **fields)


def _known(name: str) -> RemoteSet:
    if name not in REMOTE_SETS:
        close = suggest_from(name, REMOTE_SETS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ParameterError(
            f"There is no data set {name!r}.{hint} Known: {', '.join(REMOTE_SETS)}."
        )
    return REMOTE_SETS[name]


def _ensure(
    file: RemoteFile, folder: Path, base_url: str | None, progress: Progress | None
) -> None:
    """Make sure that a file is in the cache, with the content that it should have."""
    path = folder / file.name
    noted = folder / f"{file.name}.sha256"
    expected = file.sha256
    if expected is None and noted.is_file():
        expected = noted.read_text(encoding="ascii").strip()
    if path.is_file():
        found = _digest(path)
        if expected is None or found == expected:
            if expected is None:
                _note(noted, found)
            return
        raise DataError(
            f"'{path}' has changed since it was downloaded: its SHA-256 is {found}, but should be "
            f"{expected}. Delete it, and fetch it again."
        )
    url = file.url if base_url is None else f"{base_url.rstrip('/')}/{file.name}"
    partial = folder / f".{file.name}.{os.getpid()}"
    try:
        found = _download(url, partial, file.max_bytes, progress)
        if expected is not None and found != expected:
            raise DataError(
                f"What {url} sent is not the file '{file.name}' that is expected: its SHA-256 is "
                f"{found}, but should be {expected}. It was not kept. The publisher may have "
                "replaced it, or something between changed it; try a mirror with base_url=."
                + ("" if file.sha256 else f" If the new one is right, delete '{noted}'.")
            )
        if expected is None:
            _note(noted, found)
            _LOG.info("SHA-256 of %s, noted for later: %s", file.name, found)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _download(url: str, path: Path, max_bytes: int, progress: Progress | None) -> str:
    """Write what `url` sends to `path`; return its SHA-256."""
    _LOG.info("Downloading %s", url)
    digest = hashlib.sha256()
    done, total = 0, None
    with path.open("wb") as out:
        for block, total in _blocks(url, path.parent):
            done += len(block)
            if max(done, total or 0) > max_bytes:
                raise DataError(
                    f"{url} sends {max(done, total or 0):,} bytes or more, but at most "
                    f"{max_bytes:,} were expected; nothing was kept. Check what it is."
                )
            digest.update(block)
            out.write(block)
            if progress is not None:
                progress(done, total)
    if total is not None and done != total:
        raise DataError(
            f"{url} sent {done:,} of {total:,} bytes, then the connection ended. Try again."
        )
    return digest.hexdigest()


def _blocks(url: str, folder: Path) -> Iterator[tuple[bytes, int | None]]:
    """Yield what `url` sends piece by piece, with how many bytes it announced."""
    remedy = f"give a mirror with base_url=, or put the file into '{folder}' yourself."
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "longtail"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            announced = response.headers.get("Content-Length", "")
            total = int(announced) if announced.isdecimal() else None
            while block := response.read(_BLOCK):
                yield block, total
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(
            f"{url} answered {error.code} {error.reason}; expected the file. It may have moved: "
            + remedy
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{url} cannot be reached: {reason}. Check the connection, {remedy}"
        ) from error


def _opened(known: RemoteSet, folder: Path) -> Path:
    """Return the file that is to be read, made of the first download if it is not that itself."""
    source, target = folder / known.files[0].name, folder / known.opens
    is_made = target.is_file() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns
    if known.unpack != "none" and not is_made:
        partial = folder / f".{known.opens}.{os.getpid()}"
        try:
            unpack(source, partial, known)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(path: Path, digest: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(f"{digest}\n", encoding="ascii")
    os.replace(partial, path)
