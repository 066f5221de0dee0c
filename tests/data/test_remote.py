"""Against a server on this machine; nothing here uses the network."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import itertools
import json
import re
import socket
import tarfile
import zipfile

import pytest

from longtail.data import remote, remote_sets
from longtail.data.remote import fetch, read_remote
from longtail.data.remote_sets import REMOTE_SETS, RemoteFile, RemoteSet
from longtail.errors import DataError, ParameterError, WriteError

DOCWORD = gzip.compress(b"2\n3\n2\n1 2 2\n2 3 1\n")
VOCAB = b"a\nb\nc\n"


def change(monkeypatch, name, **fields):
    """Let a data set have other fields."""
    changed = {**REMOTE_SETS, name: dataclasses.replace(REMOTE_SETS[name], **fields)}
    monkeypatch.setattr(remote, "REMOTE_SETS", changed)


def expect(monkeypatch, name, content):
    """Let the first file of a data set be expected to have this content."""
    file = dataclasses.replace(
        REMOTE_SETS[name].files[0], sha256=hashlib.sha256(content).hexdigest()
    )
    change(monkeypatch, name, files=(file, *REMOTE_SETS[name].files[1:]))


def zipped(member, text):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(member, text)
    return content.getvalue()


@pytest.fixture
def kos(server):
    server.files = {"docword.kos.txt.gz": DOCWORD, "vocab.kos.txt": VOCAB}


def test_a_set_is_downloaded_once(server, known, kos, tmp_path):
    calls = []
    path = known("uci-kos", progress=lambda *call: calls.append(call))
    assert path == tmp_path / "sets" / "uci-kos" / "docword.kos.txt.gz"
    assert path.read_bytes() == DOCWORD
    assert calls == [(len(DOCWORD), len(DOCWORD)), (len(VOCAB), len(VOCAB))]
    counts = known("uci-kos", read_remote)
    assert counts.vocabulary.names == ("a", "b", "c")
    assert counts.csr.toarray().tolist() == [[0, 2, 0], [0, 0, 1]]
    assert server.asked == ["docword.kos.txt.gz", "vocab.kos.txt"]
    assert not list(path.parent.glob(".*"))


def test_an_unknown_hash_is_noted_and_checked_later(server, known, kos):
    path = known("uci-kos")
    noted = path.with_name(path.name + ".sha256")
    assert noted.read_text().strip() == hashlib.sha256(DOCWORD).hexdigest()
    path.write_bytes(b"changed")
    with pytest.raises(DataError, match=r"has changed since it was downloaded.*Delete it"):
        known("uci-kos")
    path.unlink()
    server.files[path.name] = gzip.compress(b"another")
    with pytest.raises(DataError, match=r"is not the file .*If the new one is right, delete"):
        known("uci-kos")
    assert not path.exists()
    noted.unlink()
    assert known("uci-kos") == path


def test_a_file_put_there_by_hand_is_taken(server, known, kos, tmp_path):
    folder = tmp_path / "sets" / "uci-kos"
    folder.mkdir(parents=True)
    (folder / "docword.kos.txt.gz").write_bytes(DOCWORD)
    known("uci-kos")
    assert server.asked == ["vocab.kos.txt"]
    assert (folder / "docword.kos.txt.gz.sha256").is_file()


def test_a_wrong_hash_is_refused(server, known, tmp_path):
    server.files["ml-100k.zip"] = b"something else"
    with pytest.raises(DataError, match=r"should be 50d2a982c66986937beb.* It was not kept"):
        known("movielens-100k")
    assert list((tmp_path / "sets" / "movielens-100k").iterdir()) == []


def test_what_the_server_does_not_have(server, known, kos):
    del server.files["vocab.kos.txt"]
    with pytest.raises(DataError, match=r"vocab.kos.txt answered 404 .*base_url=, or put the file"):
        known("uci-kos")


def test_no_connection(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        # The port stays taken, so that nobody else listens there meanwhile.
        with pytest.raises(DataError, match=r"cannot be reached: .*Check the connection"):
            fetch("uci-kos", cache_dir=tmp_path, base_url=nobody)
    with pytest.raises(DataError, match="cannot be reached"):
        fetch("uci-kos", cache_dir=tmp_path, base_url="no address")


def test_a_connection_that_ends_early(server, known, kos, tmp_path):
    server.cuts = itertools.repeat(5)
    with pytest.raises(DataError, match=r"sent 5 of \d+ bytes, then the connection ended"):
        known("uci-kos")
    assert list((tmp_path / "sets" / "uci-kos").iterdir()) == []


def test_too_large(server, known, monkeypatch):
    change(monkeypatch, "uci-kos", files=(RemoteFile("http://x/big", "big", 5),), opens="big")
    server.files["big"] = b"123456"
    with pytest.raises(DataError, match=r"sends 6 bytes or more, but at most 5 were expected"):
        known("uci-kos")


def test_a_cache_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot be kept in .*LONGTAIL_CACHE"):
        fetch("uci-kos", cache_dir=tmp_path / "file", base_url=server.url)


def test_unknown_names():
    with pytest.raises(ParameterError, match=r"no data set 'movielens-1'. Did you mean 'movielens"):
        fetch("movielens-1")


@pytest.mark.parametrize(
    ("name", "member", "text"),
    [
        ("movielens-100k", "ml-100k/u.data", "7\t10\t5\t8\n7\t9\t3\t8\n8\t9\t4\t8\n"),
        ("movielens-1m", "ml-1m/ratings.dat", "7::10::5::8\n7::9::3::8\n8::9::4::8\n"),
        (
            "movielens-20m",
            "ml-20m/ratings.csv",
            "userId,movieId,rating,timestamp\n7,10,5.0,8\n7,9,3.5,8\n8,9,4.0,8\n",
        ),
    ],
)
def test_movielens(server, known, monkeypatch, name, member, text):
    content = zipped(member, text)
    server.files[REMOTE_SETS[name].files[0].name] = content
    expect(monkeypatch, name, content)
    liked = known(name, read_remote)
    assert liked.row_ids.to_list() == [7, 8]
    assert liked.vocabulary.names == ("10", "9")
    assert liked.csr.toarray().tolist() == [[1, 0], [0, 1]]
    assert known(name, read_remote, min_value=5).nnz == 1


def test_lastfm(server, known, monkeypatch):
    content = zipped("user_artists.dat", "userID\tartistID\tweight\r\n2\t51\t13883\r\n")
    server.files["hetrec2011-lastfm-2k.zip"] = content
    expect(monkeypatch, "lastfm-2k", content)
    assert known("lastfm-2k", read_remote).totals.tolist() == [13883]


def test_gowalla(server, known):
    line = "0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t{}\n"
    checkins = "".join(line.format(place) for place in (5, 5, 6))
    server.files["loc-gowalla_totalCheckins.txt.gz"] = gzip.compress(checkins.encode())
    server.files["loc-gowalla_edges.txt.gz"] = gzip.compress(b"0\t1\n1\t0\n0\t2\n")
    assert known("gowalla", read_remote).csr.toarray().tolist() == [[2, 1]]
    friends = known("gowalla-friends", read_remote)
    assert friends.csr.toarray().tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_newsgroups(server, known, monkeypatch):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in (
            ("20news-bydate-train/sci.space/1", "a kernel \xe9"),
            ("20news-bydate-test/sci.med/2", "a tree"),
            ("../../outside/of/it", "never"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode("latin-1")))
    server.files["20news-bydate.tar.gz"] = content.getvalue()
    expect(monkeypatch, "20newsgroups", content.getvalue())
    path = known("20newsgroups")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["split"] for record in records] == ["train", "test"]
    assert records[0]["text"] == "a kernel \xe9"
    counts = known("20newsgroups", read_remote)
    assert counts.row_ids.to_list() == ["train/sci.space/1", "test/sci.med/2"]
    assert counts.vocabulary.names == ("kernel", "tree")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("movielens-100k", b"no archive"),
        ("movielens-100k", zipped("other", "x")),
        ("20newsgroups", b"no archive"),
        ("20newsgroups", gzip.compress(b"\0" * 1024, mtime=0)),
        ("gowalla", b"no archive"),
    ],
    ids=["movielens-no-archive", "movielens-other", "20news-no-archive", "20news-empty", "gowalla"],
)
def test_archives_that_hold_something_else(server, known, monkeypatch, name, content):
    server.files[REMOTE_SETS[name].files[0].name] = content
    expect(monkeypatch, name, content)
    with pytest.raises(DataError, match=r"cannot be unpacked|holds no messages"):
        known(name)


def test_a_new_download_is_unpacked_anew(server, known):
    line = "0\tt\t0\t0\t{}\n"
    name = "loc-gowalla_totalCheckins.txt.gz"
    server.files[name] = gzip.compress(line.format(5).encode())
    path = known("gowalla")
    for old in path.parent.iterdir():
        if old != path:
            old.unlink()
    server.files[name] = gzip.compress(line.format(6).encode())
    assert known("gowalla", read_remote).vocabulary.names == ("6",)


@pytest.mark.parametrize("name", REMOTE_SETS)
def test_the_table(name):
    known = REMOTE_SETS[name]
    assert isinstance(known, RemoteSet)
    assert known.about
    assert known.license
    assert (known.opens == known.files[0].name) == (known.unpack == "none")
    for file in known.files:
        # The publisher of lastfm-360k names no other address.
        assert file.url.startswith("https://" if name != "lastfm-360k" else "http://mtg.upf.edu/")
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    with pytest.raises(TypeError):
        remote_sets.REMOTE_SETS[name] = known
