"""Tables in archives that are, or are not, what their publisher announced."""

from __future__ import annotations

import dataclasses
import gzip
import io
import tarfile

import pytest

from longtail.data.read import read_counts
from longtail.data.remote import read_remote
from longtail.data.remote_sets import REMOTE_SETS
from longtail.data.unpack import unpack
from longtail.errors import DataError

KNOWN = REMOTE_SETS["lastfm-360k"]
FOLDER, _, TABLE = KNOWN.member.partition("/")
MBID = "3bd73256-3905-4f3a-97e2-8b341527f805"
NAMES = [
    'weird "al" yankovic',
    '"',
    '"weird al" yankovic',
    "die Ärzte",
    "椎名林檎 🎸",
    "earth, wind & fire",
    "a;b: '#%\\",
    "carriage\rreturn",
    '"open',
    'shut"',
    "nan",
]


def line(user, artist, plays, mbid=MBID):
    return f"{user}\t{mbid}\t{artist}\t{plays}\n".encode()


def packed(*members):
    """Pack (name or TarInfo, content) into a tar.gz file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def unpacked(tmp_path):
    """A function that unpacks an archive to a table; nothing else may appear."""
    folder = tmp_path / "unpacked"
    folder.mkdir()

    def use(content, **fields):
        source, target = folder / KNOWN.files[0].name, folder / KNOWN.opens
        source.write_bytes(content)
        try:
            unpack(source, target, dataclasses.replace(KNOWN, **fields))
        finally:
            assert {path.name for path in folder.rglob("*")} <= {source.name, target.name}
            assert [path.name for path in tmp_path.iterdir()] == ["unpacked"]
        return target

    return use


def test_lastfm_360k(server, known):
    table = b"".join(
        [
            line("0a", "betty blowtorch", 2137),
            line("0a", "die Ärzte", 1099, mbid=""),
            line("1b", "die Ärzte", 0),
            line("1b", 'weird "al"', 3),
            line("1b", "0a", 1),
        ]
    )
    server.files["lastfm-dataset-360K.tar.gz"] = packed(
        (f"{FOLDER}/README.txt", b"read me"),
        (KNOWN.member, table),
        (f"{FOLDER}/usersha1-profile.tsv", b"0a\tf\n"),
    )
    counts = known("lastfm-360k", read_remote)
    assert counts.row_ids.to_list() == ["0a", "1b"]
    assert counts.vocabulary.names == ("0a", "betty blowtorch", "die Ärzte", 'weird "al"')
    assert counts.csr.toarray().tolist() == [[0, 2137, 1099, 0], [1, 0, 0, 3]]
    path = known("lastfm-360k")
    names = {file.name for file in path.parent.iterdir()}
    archive = KNOWN.files[0].name
    assert names == {archive, f"{archive}.sha256", "lastfm-360k.tsv"}


@pytest.mark.parametrize("mbid", ["", MBID])
@pytest.mark.parametrize("n_users", [1, 20_000], ids=["short", "long"])  # Polars cuts long ones
def test_names_are_read_back_as_they_are(unpacked, mbid, n_users):
    table = b"".join(line("ab", name, i, mbid) for i, name in enumerate(NAMES, start=1))
    path = unpacked(packed((KNOWN.member, table * n_users)))
    counts = read_counts(path, settings=KNOWN.settings)
    assert set(counts.vocabulary.names) == set(NAMES)
    plays = counts.csr.toarray()[0]
    for i, name in enumerate(NAMES, start=1):
        assert plays[counts.vocabulary.names.index(name)] == i * n_users


def test_a_separator_of_two_characters(unpacked):
    table = b'1::m::a "quoted" name::2\r\n\r\n'
    path = unpacked(packed((KNOWN.member, table)), separator="::")
    assert path.read_bytes() == b'user\tmbid\tartist\tplays\n1\tm\t"a ""quoted"" name"\t2\n'


def test_lines_without_a_name_are_left_out(unpacked, caplog):
    table = line("a", "", 5) + line("", "b", 5) + line("a", "b", 5, mbid="")
    path = unpacked(packed((KNOWN.member, table)))
    assert path.read_bytes() == b"user\tmbid\tartist\tplays\na\t\tb\t5\n"
    assert "left out 2 lines without a name" in caplog.text


def test_nothing_else_of_the_archive_is_used(unpacked):
    outside, absolute = line("x", "outside", 1), line("x", "absolute", 1)
    path = unpacked(
        packed(
            (f"../{KNOWN.member}", outside),
            (f"/{KNOWN.member}", absolute),
            (f"{FOLDER}/../{KNOWN.member}", outside),
            (f"./{KNOWN.member}", line("a", "inside", 1)),
            (KNOWN.member, outside),
        )
    )
    assert path.read_bytes() == b"user\tmbid\tartist\tplays\n" + line("a", "inside", 1)


def _link(kind):
    info = tarfile.TarInfo(KNOWN.member)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def _sparse():
    """A member that need not hold the bytes that it unpacks to."""
    info = tarfile.TarInfo(KNOWN.member)
    info.type = tarfile.GNUTYPE_SPARSE
    return info


@pytest.mark.parametrize(
    "info",
    [
        tarfile.TarInfo("another"),
        _link(tarfile.SYMTYPE),
        _link(tarfile.LNKTYPE),
        _link(tarfile.DIRTYPE),
        _link(tarfile.FIFOTYPE),
        _sparse(),
    ],
    ids=["another", "symlink", "link", "folder", "pipe", "sparse"],
)
def test_members_that_are_no_such_file(unpacked, info):
    with pytest.raises(DataError, match=r"holds no file 'lastfm-dataset-360K/usersha1-.*Delete it"):
        unpacked(packed((info, b"")))


@pytest.mark.parametrize("place", ["before", "in", "after"])
def test_more_than_was_announced(unpacked, place):
    large = line("a", "b", 1) * 1_000_000
    others = {"before": [("x", large)], "in": [], "after": []}[place]
    inside = [(KNOWN.member, large if place == "in" else line("a", "b", 1))]
    after = [("x", large)] if place == "after" else []
    with pytest.raises(DataError, match=r"unpacks to more than the 1,000,000 bytes that were exp"):
        unpacked(packed(*others, *inside, *after), max_unpacked=1_000_000)


def test_a_line_without_an_end(unpacked):
    with pytest.raises(DataError, match=r"has a line of 1,048,576 bytes or more"):
        unpacked(packed((KNOWN.member, b"\0" * 3_000_000)))


@pytest.mark.parametrize("text", [b"a\tb\t1\n", b"a\tm\tb\tc\t1\n"])
def test_another_number_of_columns(unpacked, text):
    with pytest.raises(DataError, match=r"has [35] field\(s\), but 4 were expected: b'a.*Delete"):
        unpacked(packed((KNOWN.member, line("a", "b", 1) + text)))


def _damaged(content, place):
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def test_a_damaged_archive(unpacked):
    whole = packed((KNOWN.member, line("a", "b", 1) * 10_000), ("x", b"y"))
    broken = [whole[:-20], whole[: len(whole) // 2], _damaged(whole, -5), b"no archive"]
    broken += [_damaged(whole, len(whole) // 2), gzip.compress(b"no tar"), gzip.compress(b"")]
    for content in broken:
        with pytest.raises(DataError, match=r"Delete it, and fetch it again"):
            unpacked(content)


def test_a_failed_unpacking_leaves_nothing(server, known, tmp_path):
    server.files["lastfm-dataset-360K.tar.gz"] = packed((KNOWN.member, b"a\tb\n"))
    with pytest.raises(DataError, match=r"has 2 field\(s\)"):
        known("lastfm-360k")
    names = sorted(path.name for path in (tmp_path / "sets" / "lastfm-360k").iterdir())
    assert names == ["lastfm-dataset-360K.tar.gz", "lastfm-dataset-360K.tar.gz.sha256"]
