from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from longtail.data import CountMatrix
from longtail.data.long_tables import long_columns, refuse_long_table
from longtail.errors import DataError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["user", "item", "rating"], ("user", "item", "rating")),
        (["item", "user"], ("user", "item", None)),
        (["userId", "movieId", "rating", "timestamp"], ("userId", "movieId", "rating")),
        (["userID", "artistID", "weight"], ("userID", "artistID", "weight")),
        (["docID", "wordID", "count"], ("docID", "wordID", "count")),
        (["doc_id", "word_id", "n"], ("doc_id", "word_id", "n")),
        (["InvoiceNo", "StockCode", "Quantity"], ("InvoiceNo", "StockCode", "Quantity")),
        (["Row", "Col", "Values"], ("Row", "Col", "Values")),
        (["patient_id", "icd_code", "count"], ("patient_id", "icd_code", "count")),
        (["user", "item", "rating", "helpful"], None),
    ],
)
def test_names_of_long_tables(names, expected):
    assert long_columns(names, 3) == expected


def test_a_column_called_like_nothing_known_needs_many_lines():
    assert long_columns(["user", "item", "rating", "helpful"], 20) == ("user", "item", "rating")


@pytest.mark.parametrize(
    "names",
    [
        ["item", "word", "film"],
        ["user"],
        ["kernel", "tree", "count"],
        ["a", "b", "c"],
        ["grid", "orchid", "code"],
        [0, 1, 2],
        ["user", "item", "rating", "boat", "sea", "oven", "salt"],
    ],
)
def test_wide_tables(names):
    assert long_columns(names, 10_000) is None


@pytest.mark.parametrize(
    ("frame", "write"), [(pd.DataFrame, "X.to_parquet"), (pl.DataFrame, "X.write_parquet")]
)
def test_the_error_names_the_right_call(frame, write):
    X = frame({"user": [1, 1, 2], "item": [7, 8, 7], "rating": [5, 3, 4]})
    with pytest.raises(DataError, match="long table") as caught:
        refuse_long_table(X)
    message = str(caught.value)
    assert "row_column='user', feature_column='item', value_column='rating'" in message
    assert f"{write}('entries.parquet')" in message
    assert "lt.CountMatrix.from_any(X)" in message
    refuse_long_table(X, {"user", "item", "rating"})
    assert CountMatrix.from_any(X).vocabulary.names == ("user", "item", "rating")


@pytest.mark.parametrize(
    "X", [np.ones((3, 3)), sp.csr_array(np.ones((3, 3))), [[1, 2]], None, pd.DataFrame([[1, 2, 3]])]
)
def test_other_tables_pass(X):
    refuse_long_table(X)


def test_the_call_of_the_error_reads_the_table(tmp_path):
    import longtail as lt

    X = pd.DataFrame({"user": [1, 1, 2], "item": [7, 8, 7], "rating": [5, 3, 4]})
    path = tmp_path / "entries.parquet"
    X.to_parquet(path)
    counts = lt.read_counts(
        path, row_column="user", feature_column="item", value_column="rating", binarize=True
    )
    assert counts.vocabulary.names == ("7", "8")
    assert counts.row_ids.to_list() == [1, 2]
