"""Well-known data sets: where they are published, and how they are read. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from longtail.data.settings import ReadSettings

__all__ = ["REMOTE_SETS", "RemoteFile", "RemoteSet"]

_MB = 1_000_000


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Parameters
    ----------
    url
        Where it is published.
    name
        What it is called in the cache and on a mirror.
    max_bytes
        Refuse to download more.
    sha256
        Of its content. None: not known here; then that of the first download is kept beside the
        file, and every later use is checked against it.
    """

    url: str
    name: str
    max_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class RemoteSet:
    """One data set.

    Parameters
    ----------
    about
        What a row, a feature and a count are.
    license
        What its publishers say of its use, in short. Read their terms.
    files
        What is downloaded. The first holds the counts.
    opens
        What `longtail.data.read_counts` reads: the name of the first file, or of the file that is
        made of it.
    settings
        How it is read.
    unpack
        How `opens` is made: ``"none"``: it is the first file; ``"table"``: it is the table
        `member` of a zip or tar file, or the first file itself, written as tab-separated with a
        header; ``"messages"``: a tar file of folders of texts, written as JSON lines.
    member
        Path inside a zip or tar file.
    columns
        Names of the columns of a table without a header.
    separator
        What stands between its columns; it never stands inside of one.
    max_unpacked
        Refuse to unpack more bytes.
    """

    about: str
    license: str
    files: tuple[RemoteFile, ...]
    opens: str
    settings: ReadSettings = field(default_factory=ReadSettings)
    unpack: Literal["none", "table", "messages"] = "none"
    member: str | None = None
    columns: tuple[str, ...] | None = None
    separator: str = "\t"
    max_unpacked: int = 2_000 * _MB


def _movielens(
    size: str, megabytes: int, sha256: str, member: str, separator: str, *, header: bool = False
) -> RemoteSet:
    columns = ("userId", "movieId", "rating", "timestamp")
    url = f"https://files.grouplens.org/datasets/movielens/ml-{size}.zip"
    return RemoteSet(
        about="user × film, 1 where the rating is 4 or more",
        license="research use, no redistribution without permission (GroupLens)",
        files=(RemoteFile(url, f"ml-{size}.zip", megabytes * _MB, sha256),),
        opens=f"ml-{size}.tsv",
        settings=ReadSettings(
            row_column="userId",
            feature_column="movieId",
            value_column="rating",
            min_value=4,
            binarize=True,
        ),
        unpack="table",
        member=f"ml-{size}/{member}",
        columns=None if header else columns,
        separator=separator,
    )


def _uci(name: str, about: str, megabytes: int) -> RemoteSet:
    base = "https://archive.ics.uci.edu/ml/machine-learning-databases/bag-of-words/"
    files = (f"docword.{name}.txt.gz", f"vocab.{name}.txt")
    return RemoteSet(
        about=about,
        license="CC BY 4.0 (UCI Machine Learning Repository, Bag of Words)",
        files=(
            RemoteFile(base + files[0], files[0], megabytes * _MB),
            RemoteFile(base + files[1], files[1], 5 * _MB),
        ),
        opens=files[0],
    )


REMOTE_SETS: Mapping[str, RemoteSet] = MappingProxyType(
    {
        "20newsgroups": RemoteSet(
            about="message × word, the whole messages of 20 Usenet groups; columns split and group",
            license="CC BY 4.0 (UCI Machine Learning Repository, Twenty Newsgroups)",
            files=(
                RemoteFile(
                    "https://ndownloader.figshare.com/files/5975967",
                    "20news-bydate.tar.gz",
                    30 * _MB,
                    "8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610",
                ),
            ),
            opens="20newsgroups.jsonl",
            settings=ReadSettings(text_column="text", id_column="id"),
            unpack="messages",
        ),
        "movielens-100k": _movielens(
            "100k",
            10,
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            "u.data",
            "\t",
        ),
        "movielens-1m": _movielens(
            "1m",
            20,
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            "ratings.dat",
            "::",
        ),
        "movielens-20m": _movielens(
            "20m",
            250,
            "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
            "ratings.csv",
            ",",
            header=True,
        ),
        "lastfm-2k": RemoteSet(
            about="listener × artist, how often played (HetRec 2011)",
            license="non-commercial use (GroupLens, Last.fm)",
            files=(
                RemoteFile(
                    "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
                    "hetrec2011-lastfm-2k.zip",
                    10 * _MB,
                    "6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
                ),
            ),
            opens="lastfm-2k.tsv",
            settings=ReadSettings(
                row_column="userID", feature_column="artistID", value_column="weight"
            ),
            unpack="table",
            member="user_artists.dat",
        ),
        "lastfm-360k": RemoteSet(
            about="listener × artist by name, how often played",
            license="non-commercial use (Last.fm, Òscar Celma)",
            files=(
                RemoteFile(
                    "http://mtg.upf.edu/static/datasets/last.fm/lastfm-dataset-360K.tar.gz",
                    "lastfm-dataset-360K.tar.gz",
                    600 * _MB,
                ),
            ),
            opens="lastfm-360k.tsv",
            settings=ReadSettings(row_column="user", feature_column="artist", value_column="plays"),
            unpack="table",
            member="lastfm-dataset-360K/usersha1-artmbid-artname-plays.tsv",
            columns=("user", "mbid", "artist", "plays"),
            max_unpacked=3_000 * _MB,
        ),
        "gowalla": RemoteSet(
            about="user × place, how often checked in",
            license="research use (SNAP; cite Cho, Myers & Leskovec 2011)",
            files=(
                RemoteFile(
                    "https://snap.stanford.edu/data/loc-gowalla_totalCheckins.txt.gz",
                    "loc-gowalla_totalCheckins.txt.gz",
                    200 * _MB,
                ),
            ),
            opens="gowalla.tsv",
            settings=ReadSettings(row_column="user", feature_column="place"),
            unpack="table",
            columns=("user", "time", "latitude", "longitude", "place"),
        ),
        "gowalla-friends": RemoteSet(
            about="user × user, 1 between friends",
            license="research use (SNAP; cite Cho, Myers & Leskovec 2011)",
            files=(
                RemoteFile(
                    "https://snap.stanford.edu/data/loc-gowalla_edges.txt.gz",
                    "loc-gowalla_edges.txt.gz",
                    50 * _MB,
                ),
            ),
            opens="loc-gowalla_edges.txt.gz",
            settings=ReadSettings(format="edges"),
        ),
        "uci-kos": _uci("kos", "blog entry × word (Daily Kos)", 10),
        "uci-nips": _uci("nips", "paper × word (NIPS)", 20),
        "uci-enron": _uci("enron", "e-mail × word (Enron)", 50),
    }
)
"""The data sets that `longtail.data.remote.fetch` knows, by name."""
