"""Downloads that end early and go on, against a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from longtail.data import claims, remote
from longtail.data.remote_sets import RemoteFile, RemoteSet
from longtail.errors import DataError

SIZE = 600_000
CONTENT = np.random.default_rng(0).bytes(SIZE)
ETAG = {"ETag": '"one"'}
DATE = {"Last-Modified": "Mon, 01 Mar 2010 00:00:00 GMT"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sets" / "big"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def partial(folder):
    return folder / ".big.partial"


@pytest.fixture
def big(server, known, folder, monkeypatch):
    """A function that fetches a set of one file; its SHA-256 is that of CONTENT."""
    server.files = {"big": CONTENT}
    server.validators = dict(ETAG)
    expect(monkeypatch, CONTENT)

    def use(**fields):
        path = known("big", **fields)
        assert path.read_bytes() == server.files["big"]
        assert [found.name for found in folder.iterdir()] == ["big"]
        return path

    return use


def expect(monkeypatch, content, max_bytes=SIZE):
    """Let the set be expected to hold this."""
    file = RemoteFile("http://x/big", "big", max_bytes, hashlib.sha256(content).hexdigest())
    sets = {"big": RemoteSet(about="a", license="b", files=(file,), opens="big")}
    monkeypatch.setattr(remote, "REMOTE_SETS", sets)


def leave(partial, server, content, **fields):
    """Leave what a process left that was killed."""
    partial.write_bytes(content)
    note = {"url": f"{server.url}/big", "validator": '"one"', "total": SIZE, **fields}
    partial.with_name(".big.partial.json").write_text(json.dumps(note))


class Progress:
    """Notes what it is called with, and ends the download after so many bytes."""

    def __init__(self, until=None):
        self.until = until
        self.done = []

    def __call__(self, done, total):
        assert total == SIZE
        self.done.append(done)
        if self.until is not None and done >= self.until:
            raise KeyboardInterrupt

    @property
    def is_monotone(self):
        return self.done == sorted(set(self.done)) and self.done[-1] == SIZE


@pytest.mark.parametrize("validators", [ETAG, DATE, ETAG | DATE, DATE | {"ETag": 'W/"weak"'}])
def test_a_download_goes_on_where_it_ended(server, big, partial, validators):
    server.validators = validators
    server.cuts = iter([200_000, 0, 0, 0])
    with pytest.raises(DataError, match=r"sent 200,000 of 600,000 bytes.* which goes on from ther"):
        big()
    assert partial.read_bytes() == CONTENT[:200_000]
    server.ranges.clear()
    progress = Progress()
    big(progress=progress)
    assert server.ranges == ["bytes=200000-"]
    assert progress.is_monotone
    assert progress.done[0] > 200_000


def test_a_lost_connection_is_tried_again(server, big, caplog):
    server.cuts = iter([100_000, 200_000, 1])
    progress = Progress()
    big(progress=progress)
    assert server.ranges == [None, "bytes=100000-", "bytes=300000-", "bytes=300001-"]
    assert progress.is_monotone
    lines = [line for line in caplog.messages if "Trying again" in line]
    assert len(lines) == 3
    assert "sent 100,000 of 600,000 bytes" in lines[0]
    assert lines[2].endswith("(3 of 3).")


def test_the_tries_are_bounded(server, big, folder):
    server.cuts = itertools.repeat(0)
    with pytest.raises(DataError, match=r"sent 0 of 600,000 bytes, .* and try again; or give"):
        big()
    assert len(server.asked) == 4
    assert list(folder.iterdir()) == []


def test_a_connection_that_is_reset(server, big):
    server.resets = True
    server.cuts = iter([300_000, 0, 100_000])
    assert big().stat().st_size == SIZE
    assert len(server.asked) == 4


def test_an_answer_of_unknown_length_is_not_gone_on_from(server, big, folder):
    server.announces_length = False
    with pytest.raises(KeyboardInterrupt):
        big(progress=lambda done, total: Progress(until=1)(done, total or SIZE))
    assert list(folder.iterdir()) == []
    big()


def test_faults_of_the_server_are_tried_again(server, big):
    server.statuses = iter([503, 500])
    big().unlink()
    assert len(server.asked) == 3
    server.statuses = itertools.repeat(503)
    with pytest.raises(DataError, match=r"answered 503 Service Unavailable; expected the file"):
        big()
    assert len(server.asked) == 3 + 4


def test_refusals_are_not_tried_again(server, big, partial):
    leave(partial, server, CONTENT[:50])
    server.statuses = iter([403])
    with pytest.raises(DataError, match=r"answered 403 Forbidden"):
        big()
    assert len(server.asked) == 1
    big()
    assert server.ranges == ["bytes=50-", "bytes=50-"]


@pytest.mark.parametrize(
    ("fields", "n_asked"),
    [
        ({"serves_ranges": False}, 1),
        ({"validators": {"ETag": '"two"'}}, 1),
        ({"validators": {"ETag": '"two"'}, "heeds_if_range": False}, 2),
        ({"content_range": "bytes 0-{end}/{size}"}, 2),
        ({"content_range": "bytes {start}-{end}/600001"}, 2),
        ({"content_range": "nonsense"}, 2),
    ],
    ids=["no-ranges", "changed", "changed-without-saying", "start", "total", "nonsense"],
)
def test_answers_that_are_not_the_rest(server, big, partial, fields, n_asked):
    leave(partial, server, b"x" * 50)
    vars(server).update(fields)
    big()
    assert server.ranges == ["bytes=50-", None][:n_asked]


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        (50, {"url": "http://elsewhere/big"}),
        (50, {"validator": ""}),
        (50, {"total": None}),
        (50, {"extra": 1}),
        (0, {}),
        (SIZE + 1, {}),
    ],
    ids=["another-url", "no-validator", "no-total", "another-note", "empty", "too-long"],
)
def test_what_is_there_cannot_be_gone_on_from(server, big, partial, size, fields):
    leave(partial, server, b"x" * size, **fields)
    big()
    assert server.ranges == [None]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}"])
def test_a_note_that_is_missing_or_broken(server, big, partial, text):
    leave(partial, server, b"x" * 50)
    note = partial.with_name(".big.partial.json")
    note.unlink() if text is None else note.write_text(text)
    big()
    assert server.ranges == [None]


@pytest.mark.parametrize("validators", [{}, {"ETag": 'W/"weak"'}])
def test_without_a_validator_nothing_is_kept(server, big, folder, validators):
    server.validators = validators
    server.cuts = iter([200_000])
    big()
    assert server.ranges == [None, None]
    (folder / "big").unlink()
    with pytest.raises(KeyboardInterrupt):
        big(progress=Progress(until=1))
    assert list(folder.iterdir()) == []


def test_a_file_that_changes_between_two_tries(server, big, monkeypatch):
    server.cuts = iter([200_000])
    new = CONTENT[::-1]

    def replace(done, total):
        if done == 200_000:
            server.files["big"], server.validators = new, {"ETag": '"two"'}

    expect(monkeypatch, new)
    assert big(progress=replace).read_bytes() == new
    assert server.ranges == [None, "bytes=200000-"]


def test_all_of_it_is_there_already(server, big, partial):
    leave(partial, server, CONTENT)
    big()
    assert server.ranges == [f"bytes={SIZE}-"]


def test_the_server_has_less_than_is_there(server, big, partial, monkeypatch):
    leave(partial, server, CONTENT[:500])
    server.files["big"] = CONTENT[:400]
    expect(monkeypatch, CONTENT[:400])
    big()
    assert server.ranges == ["bytes=500-", None]


@pytest.mark.parametrize("size", [50, SIZE])
def test_what_is_not_right_in_the_end_is_not_kept(server, big, folder, partial, size):
    leave(partial, server, b"x" * size)
    with pytest.raises(DataError, match=r"is not the file 'big' that is expected.* was not kept"):
        big()
    assert list(folder.iterdir()) == []
    big()


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("kept", [0, 50])
def test_what_is_too_large_is_not_kept(server, big, folder, partial, monkeypatch, announced, kept):
    expect(monkeypatch, CONTENT, max_bytes=SIZE - 1)
    leave(partial, server, CONTENT[:kept])
    server.announces_length = announced
    with pytest.raises(DataError, match=r"or more, but at most 599,999 were expected; nothing was"):
        big()
    assert list(folder.iterdir()) == []


def test_an_interrupted_download_goes_on(server, big, partial):
    with pytest.raises(KeyboardInterrupt):
        big(progress=Progress(until=1))
    kept = partial.stat().st_size
    assert kept > 0
    big()
    assert server.ranges == [None, f"bytes={kept}-"]


@pytest.mark.parametrize("fault", ["no module", "no locks"])
def test_without_locks_each_process_makes_its_own(server, big, folder, partial, monkeypatch, fault):
    if fault == "no module":
        monkeypatch.setattr(claims, "fcntl", None)
    else:

        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(claims.fcntl, "flock", refuse)
    server.cuts = iter([200_000])
    big()
    assert server.ranges == [None, "bytes=200000-"]
    (folder / "big").unlink()
    with pytest.raises(KeyboardInterrupt):
        big(progress=Progress(until=1))
    assert list(folder.iterdir()) == []


FETCH = """
import logging, sys
from longtail.data.remote import fetch
logging.basicConfig(level=logging.INFO, format="%(message)s")
fetch("uci-kos", cache_dir=sys.argv[1], base_url=sys.argv[2])
"""


@pytest.fixture
def processes(server, tmp_path):
    """A function that starts another process which fetches a set, of which half comes at once."""
    server.files = {"docword.kos.txt.gz": CONTENT, "vocab.kos.txt": b"a\n"}
    server.validators = dict(ETAG)
    server.cuts = iter([SIZE // 2])
    server.hold = threading.Event()
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", FETCH, str(tmp_path), server.url],
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    server.hold.set()
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def half(tmp_path):
    """A function that waits until half of the file is there."""
    partial = tmp_path / "sets" / "uci-kos" / ".docword.kos.txt.gz.partial"

    def wait():
        deadline = time.monotonic() + 60
        while not (partial.is_file() and partial.stat().st_size == SIZE // 2):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait


def check_kos(folder):
    assert (folder / "docword.kos.txt.gz").read_bytes() == CONTENT
    names = ["docword.kos.txt.gz", "vocab.kos.txt"]
    expected = sorted(names + [f"{name}.sha256" for name in names])
    assert sorted(path.name for path in folder.iterdir()) == expected


def wait_for(process, text):
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"The process ended without saying {text!r}")


def test_a_killed_download_goes_on(server, known, processes, half):
    process = processes()
    half()
    process.kill()
    process.wait()
    path = known("uci-kos")
    assert server.ranges == [None, f"bytes={SIZE // 2}-", None]
    check_kos(path.parent)


def test_two_processes_download_once(server, processes, half, tmp_path):
    first = processes()
    half()
    second = processes()
    wait_for(second, "Waiting for another process")
    server.hold.set()  # the connection of the first ends, and it tries again
    for process in (first, second):
        process.communicate()
        assert process.returncode == 0
    assert server.asked == ["docword.kos.txt.gz"] * 2 + ["vocab.kos.txt"]
    check_kos(tmp_path / "sets" / "uci-kos")


def test_who_waits_goes_on_where_the_other_was_killed(server, processes, half, tmp_path):
    first = processes()
    half()
    second = processes()
    wait_for(second, "Waiting for another process")
    first.kill()
    second.communicate()
    assert second.returncode == 0
    assert server.ranges == [None, f"bytes={SIZE // 2}-", None]
    check_kos(tmp_path / "sets" / "uci-kos")


def test_threads_download_once(server, big, known, folder):
    server.cuts = iter([SIZE // 2])
    threads = [threading.Thread(target=known, args=("big",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 2
    big()


def test_the_pause_grows(server, big, monkeypatch, caplog):
    pauses = []
    monkeypatch.setattr("longtail.data.download._PAUSES", (1.0, 2.0))
    monkeypatch.setattr("longtail.data.download.time.sleep", pauses.append)
    server.cuts = iter([5, 5])
    with caplog.at_level(logging.WARNING):
        big()
    assert pauses == [1.0, 2.0]
