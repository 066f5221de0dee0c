from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest

from longtail.data import read_counts
from longtail.errors import DataError
from tests.data.test_read_text import write

LONG = pl.DataFrame(
    {
        "user": [20, 3, 20, 3, 20, 7],
        "item": ["b", "010", "a", "b", "b", "a"],
        "n": [1, 4, 2, 1, 3, 5],
    }
)
COLUMNS = {"row_column": "user", "feature_column": "item"}
TABLES = ["t.csv", "t.csv.gz", "t.tsv", "t.jsonl", "t.parquet"]


@pytest.mark.parametrize("name", TABLES)
def test_long_tables(tmp_path, name):
    path = write(tmp_path / name, LONG)
    counts = read_counts(path, **COLUMNS, value_column="n")
    assert counts.row_ids.to_list() == [20, 3, 7]  # in order of first appearance
    assert counts.vocabulary.names == ("010", "a", "b")  # sorted, and no number was guessed
    assert counts.csr.toarray().tolist() == [[0, 2, 4], [4, 0, 1], [0, 5, 0]]
    assert counts.settings.format == name.split(".")[1]
    ones = read_counts(path, **COLUMNS)
    assert ones.csr.toarray().tolist() == [[0, 1, 2], [1, 0, 1], [0, 1, 0]]


def test_limits_apply(tmp_path):
    path = write(tmp_path / "t.csv", LONG)
    assert read_counts(path, **COLUMNS, min_df=2).vocabulary.names == ("a", "b")
    with pytest.raises(DataError, match="No feature is left with min_df=3"):
        read_counts(path, **COLUMNS, min_df=3)


def test_entries_of_zero_keep_the_row_and_lose_the_feature(tmp_path):
    frame = pl.DataFrame({"user": ["x", "y"], "item": ["a", "b"], "n": [0.0, 2.5]})
    counts = read_counts(write(tmp_path / "t.csv", frame), **COLUMNS, value_column="n")
    assert counts.vocabulary.names == ("b",)
    assert counts.row_ids.to_list() == ["x", "y"]
    assert counts.totals.tolist() == [0, 2.5]


def test_typed_keys(tmp_path):
    frame = LONG.with_columns(
        pl.col("item").cast(pl.Categorical), pl.col("user").cast(pl.String).cast(pl.Categorical)
    )
    counts = read_counts(write(tmp_path / "t.parquet", frame), **COLUMNS, value_column="n")
    assert counts.vocabulary.names == ("010", "a", "b")
    assert counts.row_ids.to_list() == [20, 3, 7]
    frame = pl.DataFrame(
        {"user": [1, 1, 2], "item": [9, 10, 9]}, schema_overrides={"item": pl.UInt8}
    )
    counts = read_counts(write(tmp_path / "t.parquet", frame), **COLUMNS)
    assert counts.vocabulary.names == ("10", "9")
    assert counts.csr.toarray().tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_lists_of_codes(tmp_path, name):
    frame = pl.DataFrame({"record": ["r1", "r2", "r3"], "codes": [["b", "a", "b"], [], ["a"]]})
    path = write(tmp_path / name, frame)
    counts = read_counts(path, feature_column="codes")
    assert counts.csr.toarray().tolist() == [[1, 2], [0, 0], [1, 0]]
    assert counts.row_ids.to_list() == [0, 1, 2]
    counts = read_counts(path, feature_column="codes", row_column="record")
    assert counts.row_ids.to_list() == ["r1", "r2", "r3"]
    with pytest.raises(DataError, match=r"value_column='record' must hold a list of as many"):
        read_counts(path, feature_column="codes", value_column="record")


def test_refused_lists(tmp_path):
    frame = pl.DataFrame({"codes": [["a"], ["b", None], None]})
    with pytest.raises(DataError, match=r"1 lists .* hold missing elements, the first at row 1"):
        read_counts(write(tmp_path / "t.parquet", frame), feature_column="codes")
    frame = pl.DataFrame({"codes": [[], None]}, schema={"codes": pl.List(pl.String)})
    with pytest.raises(DataError, match=r"Every list in column 'codes' .* is empty"):
        read_counts(write(tmp_path / "t.parquet", frame), feature_column="codes")


@pytest.mark.parametrize("column", ["user", "item"])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_missing_keys(tmp_path, name, column):
    frame = LONG.with_columns(pl.when(pl.col("n") != 4).then(pl.col(column)).alias(column))
    place = "line 3" if name == "t.csv" else "row 1"
    message = rf"1 of 6 entries in column '{column}' .* are missing, the first at {place}"
    with pytest.raises(DataError, match=message):
        read_counts(write(tmp_path / name, frame), **COLUMNS)


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("column", ["user", "item"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_empty_keys(tmp_path, name, column, empty):
    keys = pl.col(column).cast(pl.String)
    frame = LONG.with_columns(pl.when(pl.col("n") < 4).then(keys).otherwise(pl.lit(empty)))
    place = {"t.csv": "line 3", "t.jsonl": "line 2", "t.parquet": "row 1"}[name]
    path = write(tmp_path / name, frame.rename({"literal": column}, strict=False))
    message = rf"2 of 6 entries in column '{column}' .* are (empty|missing), the first at {place}"
    with pytest.raises(DataError, match=message):
        read_counts(path, **COLUMNS)
    if column == "user":
        with pytest.raises(DataError, match=r"column 'user' .* are (empty|missing)"):
            read_counts(path, **COLUMNS, symmetric=True)


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_empty_names_in_lists(tmp_path, name):
    frame = pl.DataFrame({"codes": [["a", "b"], ["c", ""]]})
    place = {"t.jsonl": "line 2", "t.parquet": "row 1"}[name]
    with pytest.raises(DataError, match=rf"1 of 4 entries .* are empty, the first at {place}\."):
        read_counts(write(tmp_path / name, frame), feature_column="codes")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "two", "3"], r"1 of 3 entries in column 'n' .* first is 'two' at line 3"),
        (["1", "2", "-3"], r"first is '-3' at line 4"),
        (["1", None, "-3"], r"2 of 3 entries .* first is None at line 3"),
        (["nan", "2", "3"], r"first is 'nan' at line 2"),
        (["inf", "2", "3"], r"first is 'inf' at line 2"),
    ],
)
def test_values_that_are_no_counts(tmp_path, values, message):
    frame = pl.DataFrame({"n": values, "user": ["x", "x", "x"], "item": ["a", "a", "a"]})
    with pytest.raises(DataError, match=message):
        read_counts(write(tmp_path / "t.csv", frame), **COLUMNS, value_column="n")


def test_columns_of_the_wrong_type(tmp_path):
    frame = pl.DataFrame({"user": [1.5], "item": ["a"], "m": [True], "n": [[1]]})
    path = write(tmp_path / "t.parquet", frame)
    with pytest.raises(DataError, match=r"'user' .* is of type Float64; expected strings or whole"):
        read_counts(path, **COLUMNS)
    with pytest.raises(DataError, match=r"'n' .* is of type List\(Int64\); expected counts"):
        read_counts(path, row_column="m", feature_column="item", value_column="n")
    with pytest.raises(DataError, match="needs row_column= too"):
        read_counts(path, feature_column="item")


def test_unknown_columns(tmp_path):
    path = write(tmp_path / "t.csv", LONG)
    with pytest.raises(
        DataError, match=r"'usr' \(from row_column\). Did you mean 'user'.*'item', 'n'"
    ):
        read_counts(path, row_column="usr", feature_column="item")
    with pytest.raises(DataError, match=r"from feature_column"):
        read_counts(path, row_column="user", feature_column="x")
    with pytest.raises(DataError, match=r"from value_column"):
        read_counts(path, **COLUMNS, value_column="count")


def test_no_entries(tmp_path):
    with pytest.raises(DataError, match="columns but no rows"):
        read_counts(write(tmp_path / "t.csv", LONG.clear()), **COLUMNS)


def test_a_broken_line(tmp_path):
    (tmp_path / "t.csv").write_text("user,item\n1,a\n2\n")
    with pytest.raises(DataError, match=r"Line 3 .* has 1 field\(s\)"):
        read_counts(tmp_path / "t.csv", **COLUMNS)


def test_columns_of_a_file_that_is_no_table(tmp_path):
    (tmp_path / "t.txt").write_text("x\n")
    with pytest.raises(DataError, match=r"apply to tables, but .* is read as txt"):
        read_counts(tmp_path / "t.txt", **COLUMNS)


def test_counts_policy(tmp_path):
    frame = pl.DataFrame({"user": [1], "item": ["a"], "n": [1.5]})
    path = write(tmp_path / "t.csv", frame)
    assert read_counts(path, **COLUMNS, value_column="n").n_fractional == 1
    with pytest.raises(DataError, match=r"Fractional values .*feature 'a'"):
        read_counts(path, **COLUMNS, value_column="n", counts="strict")


def test_a_million_entries_take_seconds(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"user": rng.integers(0, 50_000, 10**6), "item": rng.zipf(1.5, 10**6) % 40_000}
    )
    path = write(tmp_path / "t.parquet", frame)
    start = time.process_time()
    counts = read_counts(path, **COLUMNS)
    assert time.process_time() - start < 10
    assert counts.totals.sum() == 10**6
