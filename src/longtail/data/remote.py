"""Well-known data sets by name, downloaded once."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from longtail.data.claims import claimed, note_beside, publish
from longtail.data.corpus_cache import cache_folder
from longtail.data.counts import CountMatrix
from longtail.data.download import Progress, download
from longtail.data.read import read_counts
from longtail.data.remote_sets import REMOTE_SETS, RemoteFile, RemoteSet
from longtail.data.unpack import unpack
from longtail.data.vocabulary import suggest_from
from longtail.errors import DataError, ParameterError, WriteError

__all__ = ["fetch", "read_remote"]

_LOG = logging.getLogger(__name__)


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
        Called with (bytes so far, bytes in all or None) while a file comes in. What an earlier
        download left counts as well.

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
        its SHA-256 is not the one known.
    WriteError
        If the cache cannot be written.

    Notes
    -----
    Files appear in the cache whole or not at all. One without a known SHA-256 gets the file
    ``NAME.sha256`` beside it at its first download, and must agree with it from then on.

    A connection that is lost is tried again a few times. What came until then is kept as
    ``.NAME.partial``, also if the process is interrupted or killed, and the next call goes on from
    there, if the server can do so and says by its ETag or Last-Modified that the file is the same.
    A process that fetches what another is fetching waits for it.
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
    if not path.is_file():
        with claimed(path) as partial:
            if not path.is_file():  # else who was waited for has brought it
                url = file.url if base_url is None else f"{base_url.rstrip('/')}/{file.name}"
                download(url, partial, file.max_bytes, progress)
                _check_new(file, partial, path, url)
                publish(partial, path)
                return
    _check_kept(file, path)


def _check_new(file: RemoteFile, partial: Path, path: Path, url: str) -> None:
    """Refuse what was downloaded if it is not what is expected, and keep nothing of it."""
    found, expected = _digest(partial), _expected(file, path)
    if expected is None:
        _note(path, found)
        _LOG.info("SHA-256 of %s, noted for later: %s", file.name, found)
    elif found != expected:
        note_beside(partial).unlink(missing_ok=True)
        raise DataError(
            f"What {url} sent is not the file '{file.name}' that is expected: its SHA-256 is "
            f"{found}, but should be {expected}. It was not kept. The publisher may have "
            "replaced it, or something between changed it; try a mirror with base_url=."
            + ("" if file.sha256 else f" If the new one is right, delete '{_noted(path)}'.")
        )


def _check_kept(file: RemoteFile, path: Path) -> None:
    """Refuse a file that has changed since it came."""
    found, expected = _digest(path), _expected(file, path)
    if expected is None:
        _note(path, found)
    elif found != expected:
        raise DataError(
            f"'{path}' has changed since it was downloaded: its SHA-256 is {found}, but should be "
            f"{expected}. Delete it, and fetch it again."
        )


def _expected(file: RemoteFile, path: Path) -> str | None:
    """Return the SHA-256 that is known, or was noted at the first download."""
    if file.sha256 is None and _noted(path).is_file():
        return _noted(path).read_text(encoding="ascii").strip()
    return file.sha256


def _opened(known: RemoteSet, folder: Path) -> Path:
    """Return the file that is to be read, made of the first download if it is not that itself."""
    source, target = folder / known.files[0].name, folder / known.opens
    if known.unpack != "none" and not _is_made(target, source):
        with claimed(target) as partial:
            if not _is_made(target, source):
                unpack(source, partial, known)
                publish(partial, target)
    return target


def _is_made(target: Path, source: Path) -> bool:
    return target.is_file() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noted(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _note(path: Path, digest: str) -> None:
    noted = _noted(path)
    partial = noted.with_name(f".{noted.name}.{os.getpid()}")
    partial.write_text(f"{digest}\n", encoding="ascii")
    os.replace(partial, noted)
