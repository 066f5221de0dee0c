from __future__ import annotations

import codecs
import encodings
import pkgutil
from contextlib import suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import longtail as lt
from longtail.data import ReadSettings
from longtail.data.files import as_path, decode
from longtail.errors import DataError, ParameterError

CODECS = sorted(m.name for m in pkgutil.iter_modules(encodings.__path__) if m.name != "aliases")
BYTES = [b"a b", b"\xff\xfe\x00", b"caf\xe9 \x80", "日本".encode(), b"xn--\xff..", b"\\x", b"+-/8"]


@pytest.mark.parametrize("name", ["zlib", "hex", "rot13", "base64", "nope", "", "\ud800", "a\0", 3])
def test_what_is_no_encoding_of_text(tmp_path, name):
    file = tmp_path / "texts.txt"
    file.write_text("one two\n")
    with pytest.raises(DataError, match="encoding must be one of text that Python knows"):
        lt.read_counts(file, encoding=name)
    (tmp_path / "texts.csv").write_text("feature,description\na,b\n")
    if name and isinstance(name, str):
        with pytest.raises(DataError, match=r"is no encoding of text|is not text in"):
            lt.read_descriptions(tmp_path / "texts.csv", encoding=name)


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("name", CODECS)
def test_every_codec_of_python_decodes_or_is_refused(name):
    try:
        ReadSettings(encoding=name)
    except DataError:
        with pytest.raises((LookupError, ImportError, UnicodeError)):
            b"a".decode(codecs.lookup(name).name)
    for content in BYTES:
        with suppress(DataError):
            assert isinstance(decode(content, name, Path("file.txt")), str)


@pytest.fixture(scope="module")
def model():
    return lt.NonlinearFactorAnalysis(n_components=2, n_hidden=3, epochs=1, random_state=0).fit(
        [[1, 2], [3, 1]]
    )


@pytest.mark.parametrize("name", ["texts.txt", "texts.csv", "texts.jsonl"])
def test_half_a_surrogate_pair_is_no_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"text\n+2D0- aa\n")
    with pytest.raises(DataError, match=r"is not text in utf-7: line 2 holds half a character"):
        lt.read_counts(tmp_path / name, encoding="utf-7", text_column=None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "text,id\naa bb,x\ncc dd,y\n"),
        ("t.tsv", "text\tid\naa bb\tx\ncc dd\ty\n"),
        ("t.jsonl", '{"text": "aa bb"}\n{"text": "cc dd"}\n'),
        ("t.txt", "aa bb\ncc dd\n"),
        ("t.basket", "aa,bb\ncc,dd\n"),
        ("t.edges", "aa bb\ncc dd\n"),
    ],
)
def test_every_text_format_in_other_encodings(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    counts = lt.read_counts(tmp_path / name, encoding=encoding)
    assert sorted(counts.vocabulary.names) == ["aa", "bb", "cc", "dd"]


NO_PATHS = [None, 3, 1.5, b"folder", "", "a\0b", ["a"], True, Path]


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path(path, model):
    for use in (
        lt.load,
        lt.read_counts,
        lt.open_stream,
        lt.read_descriptions,
        lt.Vocabulary.from_file,
        model.save,
        lt.embeddings(model, samples=2).save,
        lambda p: lt.read_like(p, ReadSettings(), model.vocabulary_),
        lambda p: lt.read_new(p, ReadSettings(), model.vocabulary_),
        lambda p: lt.save_plot(None, p),
        lambda p: lt.plan_cost(1e3, 100, 5, machine=p),
    ):
        with pytest.raises(ParameterError, match="must be the path of a file or a folder"):
            use(path)
    if path is not None:
        with pytest.raises(ParameterError, match="checkpoint must be the path"):
            model.fit([[1, 2], [3, 1]], checkpoint=path)


def test_a_path_is_text_or_what_stands_for_it(tmp_path):
    class Named:
        def __fspath__(self):
            return "folder/file"

    assert as_path("folder") == as_path(Path("folder")) == Path("folder")
    assert as_path(Named()) == Path("folder/file")


def test_a_time_zone_at_which_polars_panics(tmp_path):
    file = tmp_path / "texts.parquet"
    times = pa.array([1, 2], pa.timestamp("us", tz="No/Where"))
    pq.write_table(pa.table({"text": ["a b", "c d"], "seen": times}), file)
    with pytest.raises(pl.exceptions.PanicException):
        pl.scan_parquet(file).collect_schema()  # else this test is of nothing
    with pytest.raises(DataError, match=r"Cannot read '.*': unable to parse time zone: 'No/Where'"):
        lt.read_counts(file)
    # Of a stream only the columns are read that are needed.
    assert lt.open_stream(file, text_column="text", token_pattern=r"\w").n_features == 4
    with pytest.raises(DataError, match="unable to parse time zone"):
        lt.open_stream(file, text_column="text", id_column="seen")
