from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
import scipy.io
import scipy.sparse as sp

from longtail.data import ReadSettings, Vocabulary, read_counts, read_like
from longtail.errors import DataError, DataWarning
from tests.data.test_read_text import write

NEW_TEXTS = ["A Kernel and a LEAF", "leaf leaf", ""]


@pytest.fixture
def texts(tmp_path):
    frame = pl.DataFrame({"text": ["the kernel of trees", "trees and threads"], "text2": ["", ""]})
    return read_counts(write(tmp_path / "train.parquet", frame), stop_words="english", min_df=1)


@pytest.mark.parametrize(
    "name", ["n.csv", "n.tsv", "n.jsonl", "n.jsonl.gz", "n.parquet", "n.txt", "n"]
)
def test_texts_from_any_container(tmp_path, texts, name):
    path = tmp_path / name
    if name == "n":
        path.mkdir()
        for i, text in enumerate(NEW_TEXTS):
            (path / f"{i}.txt").write_text(text)
    elif name == "n.txt":
        path.write_text("".join(f"{text}\n" for text in NEW_TEXTS))
    else:
        write(path, pl.DataFrame({"text": NEW_TEXTS}))
    counts, unseen = read_like(path, texts.settings, texts.vocabulary)
    assert counts.vocabulary == texts.vocabulary
    assert counts.csr.toarray().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert unseen.examples == ("leaf",)
    assert (unseen.n_features, unseen.rows, unseen.mass) == (1, pytest.approx(2 / 3), 0.75)


def test_the_column_of_the_training_data_is_used(tmp_path, texts):
    path = write(tmp_path / "n.csv", pl.DataFrame({"body": ["kernel"], "text": ["trees"]}))
    counts, _ = read_like(path, texts.settings, texts.vocabulary)
    assert counts.top_features(0) == [("trees", 1.0)]
    path = write(tmp_path / "n.csv", pl.DataFrame({"body": ["kernel"]}))
    with pytest.raises(DataError, match=r"no column 'text' .*Its columns: 'body'"):
        read_like(path, texts.settings, texts.vocabulary)
    settings = dataclasses.replace(texts.settings, text_column="body")
    assert read_like(path, settings, texts.vocabulary)[0].totals.tolist() == [1]


def test_limits_of_training_do_not_apply(tmp_path):
    (tmp_path / "train.txt").write_text("kernel tree\nkernel tree\nkernel leaf\n")
    train = read_counts(tmp_path / "train.txt", min_df=2, max_features=2)
    (tmp_path / "new.txt").write_text("kernel leaf leaf leaf\n")
    counts, unseen = read_like(tmp_path / "new.txt", train.settings, train.vocabulary)
    assert counts.csr.toarray().tolist() == [[1, 0]]
    assert unseen.mass == 0.75


def test_training_data_read_again_are_the_same(tmp_path, texts):
    counts, unseen = read_like(tmp_path / "train.parquet", texts.settings, texts.vocabulary)
    np.testing.assert_array_equal(counts.csr.toarray(), texts.csr.toarray())
    assert unseen.n_features == 0
    assert counts.settings == texts.settings


@pytest.mark.parametrize("name", ["n.csv", "n.csv.gz", "n.tsv", "n.jsonl", "n.parquet"])
@pytest.mark.parametrize("trained_on", ["t.csv", "t.parquet"])
def test_long_tables_from_any_container(tmp_path, name, trained_on):
    train = pl.DataFrame({"user": [1, 1, 2], "item": [10, 9, 9], "n": [1, 2, 3]})
    columns = {"row_column": "user", "feature_column": "item", "value_column": "n"}
    fitted = read_counts(write(tmp_path / trained_on, train), **columns)
    new = pl.DataFrame({"n": [5, 1], "item": [9, 77], "user": [8, 8]})
    path = write(tmp_path / name, new)
    counts, unseen = read_like(path, fitted.settings, fitted.vocabulary)
    assert counts.row_ids.to_list() == [8]
    assert counts.top_features(0) == [("9", 5.0)]
    assert unseen.examples == ("77",)
    assert unseen.mass == pytest.approx(1 / 6)


def test_matrices_align_by_position(tmp_path):
    (tmp_path / "train.svm").write_text("1 1:1 4:2\n")
    train = read_counts(tmp_path / "train.svm")
    (tmp_path / "new.svm").write_text("1 3:1\n")  # reads narrower, and is padded
    counts, unseen = read_like(tmp_path / "new.svm", train.settings, train.vocabulary)
    assert counts.csr.toarray().tolist() == [[0, 0, 1, 0]]
    assert unseen.n_features == 0
    sp.save_npz(tmp_path / "new.npz", sp.csr_array([[0, 0, 0, 7]]))
    assert read_like(tmp_path / "new.npz", train.settings, train.vocabulary)[0].totals[0] == 7
    scipy.io.mmwrite(tmp_path / "new.mtx", sp.coo_array([[0, 1, 0]]))
    with pytest.raises(DataError, match="Expected 4 features, but these rows have 3"):
        read_like(tmp_path / "new.mtx", train.settings, train.vocabulary)
    (tmp_path / "wide.svm").write_text("1 5:1\n")
    with pytest.raises(DataError, match="Expected 4 features, but these rows have 5"):
        read_like(tmp_path / "wide.svm", train.settings, train.vocabulary)


def test_the_base_of_svmlight_ids_is_kept(tmp_path):
    (tmp_path / "train.svm").write_text("1 0:1 2:2\n")
    train = read_counts(tmp_path / "train.svm")
    (tmp_path / "new.svm").write_text("1 1:5\n")  # alone, it would be taken to count from 1
    counts, _ = read_like(tmp_path / "new.svm", train.settings, train.vocabulary)
    assert counts.csr.toarray().tolist() == [[0, 5, 0]]


def test_bags_of_words_align_by_name_where_there_are_names(tmp_path):
    for folder, words in (("a", "kernel\ntree\n"), ("b", "tree\nleaf\n"), ("c", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.feat").write_text("1 1:1 2:2\n" if folder != "c" else "1 1:1\n")
        if words:
            (tmp_path / folder / "vocab.txt").write_text(words)
    train = read_counts(tmp_path / "a" / "x.feat")
    counts, unseen = read_like(tmp_path / "b" / "x.feat", train.settings, train.vocabulary)
    assert counts.csr.toarray().tolist() == [[0, 1]]
    assert unseen.examples == ("leaf",)
    with pytest.warns(DataWarning, match="These rows have no feature names"):
        counts, _ = read_like(tmp_path / "c" / "x.feat", train.settings, train.vocabulary)
    assert counts.csr.toarray().tolist() == [[1, 0]]


def test_other_kinds_are_refused(tmp_path, texts):
    sp.save_npz(tmp_path / "new.npz", sp.csr_array([[1, 1, 1]]))
    with pytest.raises(DataError, match=r"read as npz .*model's data were texts \(parquet\)"):
        read_like(tmp_path / "new.npz", texts.settings, texts.vocabulary)
    matrix = read_counts(tmp_path / "new.npz")
    with pytest.raises(DataError, match=r"read as parquet .*model's data were a matrix \(npz\)"):
        read_like(tmp_path / "train.parquet", matrix.settings, matrix.vocabulary)
    (tmp_path / "new.doc").write_text("kernel")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("kernel")
    folder = read_counts(tmp_path / "folder")
    with pytest.raises(DataError, match=r"ending of 'new.doc' says nothing"):
        read_like(tmp_path / "new.doc", folder.settings, folder.vocabulary)
    with pytest.raises(DataError, match="There is no file"):
        read_like(tmp_path / "gone.csv", texts.settings, texts.vocabulary)
    long = ReadSettings(format="csv", row_column="user", feature_column="item")
    with pytest.raises(DataError, match=r"read as directory .*were a long table"):
        read_like(tmp_path / "folder", long, texts.vocabulary)


def test_a_named_format_holds_for_vague_endings(tmp_path):
    (tmp_path / "train.dat").write_text("1 1:1 2:2\n")
    train = read_counts(tmp_path / "train.dat", format="bow")
    for name in ("new.dat", "new.txt"):
        (tmp_path / name).write_text("1 2:3\n")
        counts, _ = read_like(tmp_path / name, train.settings, train.vocabulary)
        assert counts.csr.toarray().tolist() == [[0, 3]]


def test_settings_that_were_never_resolved(tmp_path):
    (tmp_path / "new.txt").write_text("kernel\n")
    counts, _ = read_like(tmp_path / "new.txt", ReadSettings(), Vocabulary(["kernel"]))
    assert counts.settings.format == "txt"


# Training data, and lines of new data by what they hold: a known feature, an unknown one, nothing.
KINDS = {
    "texts": ("t.txt", {}, "kernel tree", ("tree", "leaf", "?")),
    "text table": ("t.csv", {"text_column": "x"}, "x\nkernel tree", ("tree", "leaf", "?")),
    "records": ("t.basket", {}, "kernel,tree", ("tree", "leaf", ",")),
    "cells": (
        "t.csv",
        {"feature_column": "x", "feature_separator": ";"},
        "x\nkernel;tree",
        ("tree", "leaf", ";"),
    ),
    "long table": (
        "t.csv",
        {"row_column": "r", "feature_column": "x"},
        "r,x\n1,kernel\n1,tree",
        ("2,tree", "3,leaf", None),
    ),
    "ratings": (
        "t.csv",
        {"row_column": "r", "feature_column": "x", "value_column": "n", "min_value": 1},
        "r,x,n\n1,kernel,4\n1,tree,3",
        ("2,tree,3", "3,leaf,2", "4,tree,0"),
    ),
    "ids": ("t.svm", {"index_base": 0}, "0 0:1 1:1", ("0 1:1", None, "0")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_read_alone_as_among_others(tmp_path, kind):
    name, fields, content, lines = KINDS[kind]
    (tmp_path / name).write_text(content + "\n")
    train = read_counts(tmp_path / name, **fields)
    header = content.split("\n")[0] + "\n" if name.endswith(".csv") else ""

    def read(*chosen):
        (tmp_path / name).write_text(header + "".join(f"{line}\n" for line in chosen))
        return read_like(tmp_path / name, train.settings, train.vocabulary)

    rows = [line for line in lines if line is not None]
    together, _ = read(*rows)
    alone = [read(line)[0] for line in rows]
    assert [len(each) for each in alone] == [1] * len(rows)
    np.testing.assert_array_equal(
        np.vstack([each.csr.toarray() for each in alone]), together.csr.toarray()
    )
    assert together.totals.tolist() == [together.totals[0], *[0.0] * (len(rows) - 1)]
    if lines[1] is not None:
        _, unseen = read(rows[0], lines[1], lines[1].replace("3,", "5,"))
        assert unseen.n_unknown_rows == 2
        assert "Rows without any known feature: 2;" in unseen.hint


def test_a_matrix_of_other_columns_is_another_table(tmp_path):
    for name, words in (("a", "kernel\ntree\n"), ("b", "leaf\nbark\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.feat").write_text("1 1:1 2:2\n")
        (tmp_path / name / "vocab.txt").write_text(words)
    train = read_counts(tmp_path / "a" / "x.feat")
    with pytest.raises(DataError, match="None of the 2 features"):
        read_like(tmp_path / "b" / "x.feat", train.settings, train.vocabulary)


@pytest.mark.parametrize("name", ["t.txt", "t.basket"])
def test_features_of_rows_are_not_matched_by_position(tmp_path, name):
    (tmp_path / name).write_text("kernel,tree\n")
    settings = ReadSettings(format=name.removeprefix("t."))
    with pytest.raises(DataError, match=r"name their features \(such as 'kernel'.*has no names"):
        read_like(tmp_path / name, settings, Vocabulary.positional(2))


def test_missing_texts_are_counted_here_too(tmp_path, texts):
    path = write(tmp_path / "n.parquet", pl.DataFrame({"text": ["kernel", None]}))
    with pytest.warns(DataWarning, match="1 of 2 texts"):
        counts, _ = read_like(path, texts.settings, texts.vocabulary)
    assert counts.totals.tolist() == [1, 0]


@pytest.mark.parametrize("setting", ["text_column", None])
def test_columns_are_listed_within_reason(tmp_path, setting):
    frame = pl.DataFrame({"x" * 5000: ["a b"], **{f"c{i}": ["a b"] for i in range(500)}})
    path = write(tmp_path / "wide.parquet", frame)
    with pytest.raises(DataError, match=r"'c18' and 481 more") as error:
        read_counts(path, **({} if setting is None else {setting: "absent"}))
    assert len(str(error.value)) < 700
