"""Downloads that go on where they ended. No other module uses the network.

What came is kept beside a note of what it is a part of: the URL, the server's validator and the
length. Only with that note is it gone on from, so a partial file without one is as good as none.
"""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.message import Message
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any

from longtail.data.claims import note_beside
from longtail.errors import DataError

__all__ = ["Progress", "download"]

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 18
_TIMEOUT = 60.0  # seconds
_PAUSES = (1.0, 2.0, 4.0)  # seconds before each further try

Progress = Callable[[int, int | None], None]


class _PassingError(Exception):
    """A try that failed in a way that may pass."""

    def __init__(self, what: str, *, reached: bool = True) -> None:
        super().__init__(what)
        self.reached = reached


@dataclass(frozen=True)
class _Note:
    """What a partial file is a part of; the validator changes when the content does."""

    url: str
    validator: str
    total: int


def download(url: str, partial: Path, max_bytes: int, progress: Progress | None = None) -> None:
    """Write what `url` sends to a file, going on from what is there.

    Parameters
    ----------
    url
        Of the file.
    partial
        Where to write. No other process may write there; see `longtail.data.claims.claimed`.
    max_bytes
        Refuse to download more.
    progress
        Called with (bytes there, bytes in all or None), those of earlier tries included. It falls
        back only where the server leaves no choice but to start afresh.

    Raises
    ------
    DataError
        If the server does not have the file, it is too large, or the connection was lost for good.
        What came stays, and the next call goes on from it, unless it is too large.
    """
    _LOG.info("Downloading %s", url)
    for tries, pause in enumerate((*_PAUSES, None), start=1):
        try:
            _transfer(url, partial, max_bytes, progress)
            return
        except _PassingError as error:
            # Without any connection a user wants to know at once; a lost one may come back.
            if pause is None or (tries == 1 and not error.reached):
                raise DataError(
                    f"{error} Check the connection, and try again"
                    + (", which goes on from there; " if _kept(url, partial) else "; ")
                    + f"or {_remedy(partial)}"
                ) from error
            _LOG.warning("%s Trying again in %g s (%d of %d).", error, pause, tries, len(_PAUSES))
            time.sleep(pause)


def _transfer(url: str, partial: Path, max_bytes: int, progress: Progress | None) -> None:
    """Bring what is missing, in one connection."""
    note = _kept(url, partial)
    start = 0 if note is None else partial.stat().st_size
    response = _ask(url, partial, start, note)
    if note is not None and _is_whole(response, start, note):
        response.close()
        return
    if note is not None and not _goes_on(response, start, note):
        note, start = None, 0
        if response.status in (206, 416):  # else it is the whole file already
            response.close()
            response = _ask(url, partial)
    total = _length(response.headers) if note is None else note.total
    done = start
    with response, partial.open("ab" if note else "wb") as out:
        if note is None:
            _write_note(partial, url, response.headers)
        _check_size(url, partial, max(done, total or 0), max_bytes)
        for block in _blocks(url, response):
            done += len(block)
            _check_size(url, partial, done, max_bytes)
            out.write(block)
            if progress is not None:
                progress(done, total)
    if total is not None and done != total:
        raise _PassingError(f"{url} sent {done:,} of {total:,} bytes, then the connection ended.")


def _ask(url: str, partial: Path, start: int = 0, note: _Note | None = None) -> Any:
    """Ask for the file from byte `start` on, or the whole of it if it is not what is noted."""
    headers = {"User-Agent": "longtail"}
    if note is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": note.validator}
    try:
        return urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code == 416 and note is not None:
            return error
        error.close()
        answer = f"{url} answered {error.code} {error.reason}; expected the file."
        if error.code >= 500:
            raise _PassingError(answer) from error
        raise DataError(f"{answer} It may have moved: {_remedy(partial)}") from error
    except (ValueError, InvalidURL) as error:
        raise DataError(f"{url} cannot be reached: {error}. Correct the address.") from error
    except urllib.error.URLError as error:
        raise _PassingError(f"{url} cannot be reached: {error.reason}.", reached=False) from error
    except (OSError, HTTPException) as error:
        raise _PassingError(f"{url} does not answer: {error}.") from error


def _blocks(url: str, response: Any) -> Iterator[bytes]:
    """Yield what is sent, as soon as it comes, so that little is lost with the connection."""
    try:
        while block := response.read1(_BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        raise _PassingError(f"{url} was being read, but the connection ended: {error}.") from error


def _goes_on(response: Any, start: int, note: _Note) -> bool:
    """Whether the answer is the rest of what is noted."""
    if response.status != 206 or not _agrees(response.headers, note):
        return False
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    return sent is not None and int(sent[1]) == start and sent[2] in ("*", str(note.total))


def _is_whole(response: Any, start: int, note: _Note) -> bool:
    """Whether the answer is that there is nothing after byte `start`, and that is right."""
    size = response.headers.get("Content-Range", f"bytes */{note.total}")
    is_end = start == note.total and size == f"bytes */{start}"
    return response.status == 416 and is_end and _agrees(response.headers, note)


def _agrees(headers: Message, note: _Note) -> bool:
    """Whether a server that may have ignored If-Range still has what is noted."""
    return _validator(headers) in (None, note.validator)


def _validator(headers: Message) -> str | None:
    """Return what changes with the content, as If-Range takes it: a strong ETag, or the date."""
    tag: str = headers.get("ETag", "").strip()
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _length(headers: Message) -> int | None:
    announced: str = headers.get("Content-Length", "")
    return int(announced) if announced.isdecimal() else None


def _kept(url: str, partial: Path) -> _Note | None:
    """Return the note if there is something of this URL to go on from."""
    try:
        note = _Note(**json.loads(note_beside(partial).read_text(encoding="utf-8")))
        size = partial.stat().st_size
        can_go_on = note.url == url and bool(note.validator) and 0 < size <= note.total
    except (FileNotFoundError, ValueError, TypeError):  # none, or not written to its end
        return None
    return note if can_go_on else None


def _write_note(partial: Path, url: str, headers: Message) -> None:
    """Note what the file, emptied before, will be a part of; no note without a validator."""
    path, validator, total = note_beside(partial), _validator(headers), _length(headers)
    path.unlink(missing_ok=True)
    if validator is not None and total is not None:
        path.write_text(json.dumps(asdict(_Note(url, validator, total))), encoding="utf-8")


def _check_size(url: str, partial: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        note_beside(partial).unlink(missing_ok=True)
        raise DataError(
            f"{url} sends {size:,} bytes or more, but at most {max_bytes:,} were expected; nothing "
            "was kept. Check what it is."
        )


def _remedy(partial: Path) -> str:
    return f"give a mirror with base_url=, or put the file into '{partial.parent}' yourself."
