from __future__ import annotations

import gzip
import json
from collections import Counter

import numpy as np
import polars as pl
import pytest

from longtail.data import CountMatrix, ReadSettings, Vocabulary, read_counts
from longtail.data.text import Documents, count_documents, tokenizer
from longtail.errors import DataError, DataWarning

TEXTS = ["the kernel of the tree", "a tree, a thread", "Signal and KERNEL"]
WORDS = ("and", "kernel", "of", "signal", "the", "thread", "tree")
COUNTS = [[0, 1, 1, 0, 2, 0, 1], [0, 0, 0, 0, 0, 1, 1], [1, 1, 0, 1, 0, 0, 0]]


def write(path, frame):
    """Write a frame in the format of the path's ending."""
    unpacked = path.name.removesuffix(".gz")
    if unpacked.endswith(".parquet"):
        frame.write_parquet(path)
        return path
    if unpacked.endswith(".jsonl"):
        content = "".join(json.dumps(row) + "\n" for row in frame.to_dicts())
    else:
        content = frame.write_csv(separator="\t" if unpacked.endswith(".tsv") else ",")
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


TABLES = ["t.csv", "t.csv.gz", "t.tsv", "t.jsonl", "t.jsonl.gz", "t.parquet"]


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_texts(tmp_path, name):
    frame = pl.DataFrame({"doc_id": ["x", "y", "z"], "label": [1, 2, 3], "text": TEXTS})
    counts = read_counts(write(tmp_path / name, frame))
    assert counts.vocabulary.names == WORDS
    assert counts.csr.toarray().tolist() == COUNTS
    assert counts.row_ids.to_list() == ["x", "y", "z"]
    assert counts.settings.format == name.split(".")[1]
    assert counts.settings.text_column == "text"


@pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_document_a_line(tmp_path, name, newline):
    path = tmp_path / name
    content = newline.join([*TEXTS, ""]).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    counts = read_counts(path)
    assert counts.csr.toarray().tolist() == COUNTS
    assert counts.row_ids.to_list() == [0, 1, 2]
    assert counts.settings.format == "txt"


def test_one_text_is_cut_as_the_documents_are():
    settings = ReadSettings(stop_words=("a",), ngram_range=(1, 2), lowercase=False)
    tokens = tokenizer(settings)("The kernel of a The kernel!")
    documents = Documents(("The kernel of a The kernel!",), None, "a test")
    counts = count_documents(documents, settings)
    told = dict(zip(counts.vocabulary, counts.csr.toarray()[0], strict=True))
    assert Counter(tokens) == told
    assert told["The kernel"] == 2


def test_blank_lines_are_empty_documents(tmp_path):
    (tmp_path / "t.txt").write_text("kernel\n\ntree\n")
    assert read_counts(tmp_path / "t.txt").totals.tolist() == [1, 0, 1]


def test_a_directory_of_documents(tmp_path):
    for name, text in zip(["b.txt", "a/late.md", "a/early"], TEXTS, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / "empty.txt").write_text("")
    counts = read_counts(tmp_path)
    assert counts.row_ids.to_list() == ["a/early", "a/late.md", "b.txt", "empty.txt"]
    assert counts.vocabulary.names == WORDS
    assert counts.csr.toarray().tolist() == [*COUNTS[::-1], [0] * 7]
    assert counts.settings.format == "directory"


def test_a_directory_of_packed_and_plain_documents(tmp_path):
    packed = ["a.txt.gz", "b.txt", "c.gz", "d.TXT.GZ"]
    for name, text in zip(packed, [*TEXTS, ""], strict=True):
        content = text.encode()
        is_packed = name.lower().endswith(".gz")
        (tmp_path / name).write_bytes(gzip.compress(content) if is_packed else content)
    (tmp_path / "empty.txt.gz").write_bytes(b"")
    counts = read_counts(tmp_path)
    assert counts.row_ids.to_list() == ["a.txt.gz", "b.txt", "c.gz", "d.TXT.GZ", "empty.txt.gz"]
    assert counts.csr.toarray().tolist() == [*COUNTS, [0] * 7, [0] * 7]
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a tree")[:-4])
    with pytest.raises(DataError, match=r"a.txt.gz' is not a whole gzip file"):
        read_counts(tmp_path)


def test_files_of_other_formats_in_a_directory_are_told_and_left_out(tmp_path):
    for name, text in zip(["a.txt", "b.md", "c"], TEXTS, strict=True):
        (tmp_path / name).write_text(text)
    for name in ("labels.csv", "sub/x.jsonl.gz", "x.mtx", "y.h5ad"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff")
    message = r"4 of 7 files .* left out \('labels.csv', 'sub/x.jsonl.gz', 'x.mtx', …\)"
    with pytest.warns(DataWarning, match=message):
        counts = read_counts(tmp_path)
    assert counts.csr.toarray().tolist() == COUNTS
    for name in ("a.txt", "b.md", "c"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"only files of other formats .*Give one of those files"):
        read_counts(tmp_path)


def test_tokeniser_settings(tmp_path):
    (tmp_path / "t.txt").write_text("The Kernel of trees\nthe kernel OF a tree\n")
    path = tmp_path / "t.txt"
    assert read_counts(path, stop_words="english").vocabulary.names == ("kernel", "tree", "trees")
    assert "The" in read_counts(path, lowercase=False).vocabulary
    assert "of" not in read_counts(path, stop_words=["of"]).vocabulary
    assert "the kernel" in read_counts(path, ngram_range=(1, 2)).vocabulary
    assert read_counts(path, token_pattern=r"t\w+").vocabulary.names == ("the", "tree", "trees")


def test_limits(tmp_path):
    (tmp_path / "t.txt").write_text("a1 b1 c1 c1 c1\na1 b1\na1 d1\n")
    path = tmp_path / "t.txt"
    assert read_counts(path, min_df=2).vocabulary.names == ("a1", "b1")
    assert read_counts(path, max_df=2).vocabulary.names == ("b1", "c1", "d1")
    assert read_counts(path, max_df=0.5).vocabulary.names == ("c1", "d1")
    assert read_counts(path, max_features=2).vocabulary.names == ("a1", "c1")
    counts = read_counts(path, min_df=2, max_df=0.9)
    assert counts.vocabulary.names == ("b1",)
    assert counts.settings.min_df == 2
    with pytest.raises(
        DataError, match=r"min_df=4.*4 features were read from 3 rows.*common is in 3"
    ):
        read_counts(path, min_df=4)


def test_a_vocabulary_restricts_and_reports(tmp_path):
    (tmp_path / "t.txt").write_text("kernel tree tree leaf\nkernel\n")
    (tmp_path / "words.txt").write_text("tree\nbatch\nkernel\n")
    for vocabulary in (
        tmp_path / "words.txt",
        str(tmp_path / "words.txt"),
        ["tree", "batch", "kernel"],
        Vocabulary(["tree", "batch", "kernel"]),
    ):
        with pytest.warns(DataWarning, match=r"1 features .*: 20.00% .*50.00% of the rows.*'leaf'"):
            counts = read_counts(tmp_path / "t.txt", vocabulary=vocabulary, min_df=2)
        assert counts.csr.toarray().tolist() == [[2, 0, 1], [0, 0, 1]]


def test_id_columns(tmp_path):
    frame = pl.DataFrame({"key": ["b", "a"], "id": [1, 1], "text": ["kernel", "tree"]})
    path = write(tmp_path / "t.csv", frame)
    assert read_counts(path).row_ids.to_list() == [0, 1]  # id is not unique
    assert read_counts(path, id_column="key").row_ids.to_list() == ["b", "a"]
    with pytest.raises(
        DataError, match=r"Row ids must be unique, but 1 .*instance 1\..*--id-column"
    ):
        read_counts(path, id_column="id")
    with pytest.raises(DataError, match=r"no column 'kee' \(from id_column\). Did you mean 'key'"):
        read_counts(path, id_column="kee")
    numbers = write(
        tmp_path / "n.csv", pl.DataFrame({"id": ["7", "5"], "text": ["kernel", "tree"]})
    )
    assert read_counts(numbers).row_ids.to_list() == [7, 5]
    codes = write(tmp_path / "c.csv", pl.DataFrame({"id": ["07", "5"], "text": ["kernel", "tree"]}))
    assert read_counts(codes).row_ids.to_list() == ["07", "5"]
    floats = write(
        tmp_path / "f.parquet", pl.DataFrame({"id": [0.5, 1.5], "text": ["kernel", "a1"]})
    )
    assert read_counts(floats).row_ids.to_list() == [0, 1]
    with pytest.raises(DataError, match="cannot identify rows: it is of type Float64"):
        read_counts(floats, id_column="id")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_missing_texts_are_counted(tmp_path, name):
    frame = pl.DataFrame({"doc_id": [1, 2, 3, 4], "text": ["kernel", None, "tree", None]})
    path = write(tmp_path / name, frame)
    place = "row 1" if name == "t.parquet" else "line [23]"
    with pytest.warns(DataWarning, match=rf"2 of 4 texts .*first at {place}\).*empty documents"):
        counts = read_counts(path)
    assert counts.totals.tolist() == [1, 0, 1, 0]


def test_text_columns(tmp_path):
    path = write(tmp_path / "t.csv", pl.DataFrame({"body": ["kernel"], "summary": ["tree"]}))
    with pytest.raises(DataError, match=r"several of them \(body, summary\).*'body', 'summary'"):
        read_counts(path)
    assert read_counts(path, text_column="summary").vocabulary.names == ("tree",)
    path = write(tmp_path / "u.csv", pl.DataFrame({"user": ["kernel"], "item": ["tree"]}))
    with pytest.raises(
        DataError, match=r"found none.*row_column= and feature_column=.*'user', 'item'"
    ):
        read_counts(path)
    with pytest.raises(DataError, match=r"no column 'itme' .*Did you mean 'item'.*'user', 'item'"):
        read_counts(path, text_column="itme")


def test_columns_that_hold_no_texts(tmp_path):
    frame = pl.DataFrame({"text": [1, 2], "codes": [["a"], ["b"]], "nothing": [None, None]})
    path = write(tmp_path / "t.parquet", frame)
    with pytest.raises(DataError, match="is of type Int64; expected texts"):
        read_counts(path)
    with pytest.raises(DataError, match=r"holds lists.*feature_column='codes'"):
        read_counts(path, text_column="codes")
    with (
        pytest.warns(DataWarning, match=r"2 of 2 texts in column 'nothing'"),
        pytest.raises(DataError, match=r"No document of column 'nothing' .* holds a token"),
    ):
        read_counts(path, text_column="nothing")


def test_texts_without_tokens(tmp_path):
    (tmp_path / "t.txt").write_text("a b c\n? !\n")
    with pytest.raises(DataError, match=r"No document of '.*t.txt' holds a token"):
        read_counts(tmp_path / "t.txt")


def test_a_pattern_that_matches_nothing_is_no_token(tmp_path):
    (tmp_path / "t.txt").write_text("kernel tree\n")
    with pytest.raises(DataError, match=r"token_pattern .* matches empty texts"):
        read_counts(tmp_path / "t.txt", token_pattern=r"\w*")


@pytest.mark.parametrize("ids", [["x", ""], ["x", None]])
def test_ids_that_are_empty(tmp_path, ids):
    path = write(tmp_path / "t.parquet", pl.DataFrame({"id": ids, "text": ["kernel", "tree"]}))
    assert read_counts(path).row_ids.to_list() == [0, 1]  # a column that was only found
    with pytest.raises(DataError, match=r"1 row id\(s\) are (empty|missing), .* position 1"):
        read_counts(path, id_column="id")


def test_encodings(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("kernel\nbäume\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"t.txt' is not text in utf-8: line 2, byte offset 8 \(0xe4\)"
    ):
        read_counts(path)
    assert read_counts(path, encoding="latin-1").vocabulary.names == ("bäume", "kernel")
    path.write_text("kernel\nbäume\n", encoding="utf-8-sig")
    assert read_counts(path).vocabulary.names == ("bäume", "kernel")
    path.write_text("kernel\nbäume\n", encoding="utf-16")
    assert read_counts(path, encoding="utf-16").vocabulary.names == ("bäume", "kernel")
    path.write_bytes(b"odd")
    with pytest.raises(DataError, match="is not text in utf-16"):
        read_counts(path, encoding="utf-16")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_encodings_of_tables(tmp_path, name):
    content = (
        "text\nkernel\nbäume\n" if name == "t.csv" else '{"text": "kernel"}\n{"text": "bäume"}\n'
    )
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"not text in utf-8: line \d, byte offset"):
        read_counts(tmp_path / name)
    counts = read_counts(tmp_path / name, encoding="latin-1")
    assert counts.vocabulary.names == ("bäume", "kernel")


def test_encoding_fault_in_a_directory(tmp_path):
    (tmp_path / "good.txt").write_text("kernel")
    (tmp_path / "odd.txt").write_bytes(b"tree\n\xff")
    with pytest.raises(DataError, match=r"odd.txt' is not text in utf-8: line 2, byte offset 5"):
        read_counts(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,text\n1,a\n2,b,c\n3,d\n",
            r"Line 3 of '.*t.csv' has 3 field\(s\), but the header has 2",
        ),
        ("id,text\n1,a\n2\n3,d\n", r"Line 3 .* has 1 field\(s\)"),
        ("id,text\n1,a\n\n3,d\n", r"Line 3 .* has 0 field\(s\)"),
        ('id,text\n1,"a\nb"\n2,b,c\n', r"Line 4 .* has 3 field\(s\)"),
        ('id,text\n1,a\n2,"b\n3,c\n', "record that starts on line 3 .* is broken"),
        ('id,text\n1,a\n2,"b" c\n', "record that starts on line 3 .* is broken"),
        ("id,text,text\n1,a,b\n", r"header \(line 1\) .* repeats the column name\(s\) 'text'"),
        ("id,text\n", "a header but no rows"),
        ("", "is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_broken_csv(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_counts(tmp_path / "t.csv")


def test_csv_that_only_looks_broken(tmp_path):
    long = "kernel " * 50_000  # beyond the csv module's usual limit
    (tmp_path / "t.csv").write_text(f'id,text,note\n1,"a, ""tree""\nand",\n2,{long},x\n\n\n')
    counts = read_counts(tmp_path / "t.csv")
    assert counts.vocabulary.names == ("and", "kernel", "tree")
    assert counts.totals.tolist() == [2, 50_000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": \n', "Line 2 of '.*t.jsonl' is not JSON"),
        ('{"text": "a"}\n["b"]\n', "Line 2 .* holds a JSON list"),
        ('{"text": "a"}\n{"text": 3}\n', "Column 'text' .* mixes values of types int, str"),
        ("{}\n", "has no columns"),
    ],
)
def test_broken_json_lines(tmp_path, content, message):
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        read_counts(tmp_path / "t.jsonl")


def test_json_lines_may_leave_fields_and_lines_out(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "kernel"}\n\n{"id": 4}\n')
    with pytest.warns(DataWarning, match="1 of 2 texts"):
        assert read_counts(tmp_path / "t.jsonl").totals.tolist() == [1, 0]


def test_what_is_not_there_or_not_known(tmp_path):
    with pytest.raises(DataError, match=r"There is no file or folder '.*nowhere.csv'"):
        read_counts(tmp_path / "nowhere.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"The folder '.*empty' holds no files"):
        read_counts(tmp_path / "empty")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"ending of 't.xlsx'.*csv \(.csv, .csv.gz\).*parquet"):
        read_counts(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match=r"'mindf'. Did you mean 'min_df'.*Valid settings: format"):
        read_counts(tmp_path / "t.xlsx", mindf=3)
    with pytest.raises(DataError, match="is a folder, which cannot be read as csv"):
        read_counts(tmp_path / "empty", format="csv")
    with pytest.raises(DataError, match="is a file, which cannot be read as directory"):
        read_counts(tmp_path / "t.xlsx", format="directory")


def test_a_format_can_be_named(tmp_path):
    (tmp_path / "t.dat").write_text("text\nkernel\n")
    counts = read_counts(tmp_path / "t.dat", format="csv")
    assert counts.vocabulary.names == ("kernel",)
    assert counts.settings.format == "csv"


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    link = tmp_path / "t.csv"
    link.symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="There is no file or folder"):
        read_counts(link)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz", "t.txt.gz"])
def test_damaged_gzip(tmp_path, name):
    text = "text\n" + "\n".join(map(str, np.random.default_rng(0).integers(0, 10**9, 1000)))
    whole = gzip.compress(text.encode())
    for content in (whole[: len(whole) // 2], whole[:100] + b"\0" * 50 + whole[150:], b"no gzip"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}' is not a whole gzip file"):
            read_counts(tmp_path / name)


def test_truncated_parquet(tmp_path):
    path = write(tmp_path / "t.parquet", pl.DataFrame({"text": ["kernel tree"] * 1000}))
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"PAR1" + b"\0" * 100 + b"PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"Cannot read '.*t.parquet'.*Apache Parquet"):
            read_counts(path)


def test_texts_give_a_count_matrix_like_any_other(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(TEXTS))
    counts = read_counts(tmp_path / "t.txt")
    assert isinstance(counts, CountMatrix)
    assert CountMatrix.from_any(counts, counts="strict") is counts
