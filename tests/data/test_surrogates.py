from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, Vocabulary, open_stream, read_counts, read_descriptions
from longtail.data.surrogates import check_names, first_broken, mended
from longtail.errors import DataError, DataWarning

HALF = "smile \ud83d"

texts = st.text(st.characters(codec=None), max_size=5)


def is_whole(text):
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)


@given(st.lists(texts, max_size=5))
def test_the_first_broken_text_is_told(values):
    broken = [i for i, value in enumerate(values) if not is_whole(value)]
    assert first_broken(values) == (broken[0] if broken else None)
    if broken:
        with pytest.raises(DataError, match=f"^Name {broken[0]} .from 0. is .*half a character"):
            check_names(values, "Name")
        with pytest.raises(DataError, match="half a character"):
            Vocabulary(list(dict.fromkeys(values)))
    else:
        check_names(values, "Name")


@given(texts)
def test_a_mended_text_is_whole_and_otherwise_the_same(text):
    assert is_whole(mended(text))
    if is_whole(text):
        assert mended(text) == text
    assert mended("a\ud83d b") == "a\ufffd b"
    assert mended("\ud83d" + "\ude00") == "\U0001f600"


def json_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_broken_document_is_read_with_a_notice(tmp_path):
    records = [{"id": "x", "text": "kernel"}, {"id": "y", "text": f"tree {HALF}"}]
    path = json_lines(tmp_path / "t.jsonl", records)
    message = "1 of 2 texts in column 'text' of .* half a character.*first at line 2.*'\ufffd'"
    with pytest.warns(DataWarning, match=message):
        counts = read_counts(path)
    assert counts.vocabulary.names == ("kernel", "smile", "tree")
    assert counts.row_ids.to_list() == ["x", "y"]


BROKEN = {
    "row id": ({"id": HALF, "text": "a tree"}, {"id_column": "id"}),
    "found row id": ({"id": HALF, "text": "a tree"}, {}),
    "row": ({"user": HALF, "item": "a"}, {"row_column": "user", "feature_column": "item"}),
    "feature": ({"user": "u", "item": HALF}, {"row_column": "user", "feature_column": "item"}),
    "list": ({"items": ["a", HALF]}, {"feature_column": "items"}),
    "value": (
        {"user": "u", "item": "a", "n": HALF},
        {"row_column": "user", "feature_column": "item", "value_column": "n"},
    ),
    "cells": ({"codes": f"A;{HALF}"}, {"feature_column": "codes", "feature_separator": ";"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_name_in_json_lines_is_refused_with_its_place(tmp_path, case):
    record, fields = BROKEN[case]
    whole = {k: ["b"] if isinstance(v, list) else "1" for k, v in record.items()}
    path = json_lines(tmp_path / "t.jsonl", [whole, record])
    with pytest.raises(DataError, match=r"t.jsonl' holds .*ud83d.* at line 2: half a character"):
        read_counts(path, **fields)


def test_a_broken_column_name_is_refused(tmp_path):
    path = json_lines(tmp_path / "t.jsonl", [{"text": "a tree", HALF: 1}])
    with pytest.raises(DataError, match=r"column names of .*number 1 .*half a character"):
        read_counts(path)


def test_broken_descriptions_are_refused(tmp_path):
    records = [{"feature": "a", "description": "fine"}, {"feature": "b", "description": HALF}]
    path = json_lines(tmp_path / "d.jsonl", records)
    with pytest.raises(DataError, match="at line 2: half a character"):
        read_descriptions(path)
    with pytest.raises(DataError, match=r"description of 'a' is .*half a character"):
        Vocabulary(["a"], {"a": HALF})


def test_broken_names_of_tables_in_memory_are_refused():
    for broken in (
        lambda: CountMatrix.from_any(pd.DataFrame([[1, 2]], columns=["a", HALF])),
        lambda: CountMatrix.from_any(np.eye(2), vocabulary=["a", HALF]),
        lambda: CountMatrix.from_any(np.eye(2), row_ids=["a", HALF]),
        lambda: CountMatrix.from_any(pd.DataFrame({"a": [1, 2]}, index=["x", HALF])),
        lambda: CountMatrix.from_bow([[(0, 1)]], id2word={0: HALF}),
    ):
        with pytest.raises(DataError, match=r"(Feature name|Row id) [01] .*half a character"):
            broken()


@pytest.mark.parametrize("ending", [".csv", ".txt", ".basket"])
def test_encodings_that_hold_halves_are_refused(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    path.write_bytes(b"text\na tree\nsmile +2D0-\n")  # utf-7
    with pytest.raises(DataError, match="not text in utf-7: line 3 holds half a character"):
        read_counts(path, encoding="utf-7")


def test_a_vocabulary_file_with_a_half_is_refused(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes("tree\n\ud83d\n".encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match="is not UTF-8: line 2"):
        Vocabulary.from_file(path)


def test_a_file_name_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a tree")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "w") as file:
        file.write("a tree")
    with pytest.raises(DataError, match=r"'caf\\udce9.txt', which is not valid UTF-8.*Rename"):
        read_counts(tmp_path)


@pytest.mark.parametrize("in_blocks", [False, True])
def test_parquet_at_a_path_that_is_no_text_is_refused(tmp_path, in_blocks):
    pl.DataFrame({"text": ["a tree"]}).write_parquet(tmp_path / "x.parquet")
    path = tmp_path / "caf\udce9.parquet"
    (tmp_path / "x.parquet").rename(path)
    paths = [path, tmp_path] if in_blocks else [path]
    for broken in paths:
        with pytest.raises(DataError, match=r"caf\\udce9.parquet' is not valid UTF-8.*Rename"):
            (open_stream if in_blocks else read_counts)(broken)


def test_whole_characters_beyond_the_first_plane_stay(tmp_path):
    path = json_lines(tmp_path / "t.jsonl", [{"u": "\U0001f600", "i": "é\U0001f600"}])
    counts = read_counts(path, row_column="u", feature_column="i")
    assert counts.vocabulary.names == ("é\U0001f600",)
    assert pl.Series(counts.row_ids).to_list() == ["\U0001f600"]
