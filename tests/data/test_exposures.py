"""Exposures given with the rows: checked, carried, read from files."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array

from longtail.data import (
    CountMatrix,
    ReadSettings,
    Vocabulary,
    drop_duplicates,
    read_counts,
    read_like,
    split_items,
    split_rows,
)
from longtail.data.exposures import joined_exposures
from longtail.data.stream import ParquetDataset, open_stream
from longtail.errors import DataError

COUNTS = np.array([[0, 2, 0], [0, 0, 0], [3, 0, 1], [0, 2, 0]])
EXPOSURE = np.array([1.5, 0.25, 40.0, 3.0])
NAMES = ["a", "b", "c"]


@pytest.fixture
def counts():
    return CountMatrix.from_any(
        COUNTS, row_ids=[f"r{i}" for i in range(4)], vocabulary=NAMES, exposure=EXPOSURE
    )


# --- what they may be --------------------------------------------------------------------------


def test_they_are_read_only_copies(counts):
    assert counts.exposure.dtype == np.float64
    assert not counts.exposure.flags.writeable
    assert EXPOSURE.flags.writeable
    np.testing.assert_array_equal(counts.exposure, EXPOSURE)
    assert CountMatrix.from_any(COUNTS).exposure is None
    assert counts.with_exposure(None).exposure is None
    whole = CountMatrix.from_any(COUNTS).with_exposure(pl.Series([1, 2, 3, 4]))
    assert whole.exposure.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 3], r"for each of 4 rows.*shape \(3,\)"),
        (np.ones((4, 1)), r"for each of 4 rows.*shape \(4, 1\)"),
        (2.0, r"for each of 4 rows.*shape \(\)"),
        ([1, 2, 0, -1], r"row 'r2' \(at position 2\) is 0 \(2 such row"),
        ([1, -2, 3, 4], r"row 'r1' \(at position 1\) is -2"),
        ([1, 2, 3, np.nan], r"row 'r3' \(at position 3\) is nan"),
        ([1, np.inf, 3, 4], r"row 'r1' \(at position 1\) is inf"),
        ([1, 2, 1e-60, 4], r"row 'r2' \(at position 2\) is 1e-60"),
        ([1, 2, 1e60, 4], r"row 'r2' \(at position 2\) is 1e\+60"),
        (["1", "x", "2", "3"], "must be numbers above 0, but they are not"),
    ],
)
def test_values_that_are_no_exposures(counts, values, message):
    with pytest.raises(DataError, match=message):
        counts.with_exposure(values)
    with pytest.raises(DataError, match=message):
        CountMatrix.from_any(counts, exposure=values)


def test_a_name_is_for_anndata():
    with pytest.raises(DataError, match="a name is for a column of AnnData's obs"):
        CountMatrix.from_any(COUNTS, exposure="years")


# --- they go with the rows ---------------------------------------------------------------------


def test_selections_of_rows(counts):
    for rows in ([2, 0], slice(1, 3), np.array([True, False, True, False]), [1, 1]):
        np.testing.assert_array_equal(counts[rows].exposure, EXPOSURE[rows])
    kept, dropped = counts.drop_empty()
    assert dropped == 1
    assert kept.exposure.tolist() == [1.5, 40, 3]
    parts = split_rows(counts[[0, 1, 2]], [1, 1], seed=0)
    for part in parts:
        place = [int(name[1:]) for name in part.row_ids]
        np.testing.assert_array_equal(part.exposure, EXPOSURE[place])


def test_selections_of_features(counts):
    vocabulary = Vocabulary(["c", "x", "a"])
    for same in (
        counts.select_features([2, 0]),
        counts.align(vocabulary)[0],
        counts.known(vocabulary),
        counts.align(counts.vocabulary)[0],
        counts.binarized(),
        counts.described({"a": "first"}),
        CountMatrix.from_any(counts),
        CountMatrix.from_any(counts, row_ids=[4, 3, 2, 1]),
        CountMatrix.from_any(counts.with_exposure(None), vocabulary=NAMES, exposure=EXPOSURE),
        *split_items(counts, 0.5, seed=0),
    ):
        np.testing.assert_array_equal(same.exposure, EXPOSURE)


def test_equal_counts_in_different_exposures_are_different_rows(counts):
    same = counts.with_exposure([1.5, 1, 1, 1.5])
    assert drop_duplicates(counts)[1] == 0
    kept, dropped = drop_duplicates(same)
    assert dropped == 1
    assert kept.row_ids.to_list() == ["r0", "r1", "r2"]


def test_joined(counts):
    assert joined_exposures([counts, counts[:1]]).tolist() == [*EXPOSURE, 1.5]
    plain = counts.with_exposure(None)
    assert joined_exposures([plain, plain]) is None
    with pytest.raises(DataError, match="1 of 2 tables of counts have exposures"):
        joined_exposures([counts, plain])


def test_exposures_of_another_number_of_rows(counts):
    with pytest.raises(DataError, match=r"\(2,\) exposures do not fit 4 rows"):
        CountMatrix(counts.csr, counts.row_ids, counts.vocabulary, exposure=np.ones(2))


# --- files -------------------------------------------------------------------------------------

LONG = """who,what,n,years
u,a,1,2.5
v,b,2,10
u,b,3,2.50
w,a,0,4
"""
COLUMNS = {
    "row_column": "who",
    "feature_column": "what",
    "value_column": "n",
    "exposure_column": "years",
}


def test_a_long_table(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(LONG)
    counts = read_counts(path, **COLUMNS)
    assert counts.row_ids.to_list() == ["u", "v", "w"]
    assert counts.exposure.tolist() == [2.5, 10, 4]
    assert counts.totals.tolist() == [4, 2, 0]
    # A saved model has the settings as JSON, and reads new data alike.
    settings = ReadSettings.from_dict(json.loads(json.dumps(counts.settings.to_dict())))
    other = tmp_path / "new.parquet"
    pl.DataFrame({"who": [7, 8], "what": ["b", "z"], "n": [1, 1], "years": [1, 3]}).write_parquet(
        other
    )
    new, _ = read_like(other, settings, counts.vocabulary)
    assert new.exposure.tolist() == [1, 3]
    limited = read_counts(path, **COLUMNS, min_df=1, max_features=1, vocabulary=None)
    assert limited.exposure.tolist() == [2.5, 10, 4]
    assert read_counts(path, **COLUMNS, min_value=3).exposure.tolist() == [2.5, 10, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("u,b,3,2.50", "u,b,3,2.6"), r"Row 'u'.*'years': 2.5 at line 2 and 2.6 at line 4"),
        (("v,b,2,10", "v,b,2,0"), r"1 of 4 entries in column 'years'.*first is '0' at line 3"),
        (("v,b,2,10", "v,b,2,"), r"no exposures.*at line 3"),
        (("v,b,2,10", "v,b,2,ten"), r"first is 'ten' at line 3"),
        (("v,b,2,10", "v,b,2,inf"), r"first is 'inf' at line 3"),
        (("years", "hours"), r"no column 'years' \(from exposure_column\)"),
    ],
)
def test_bad_exposures_in_a_long_table(tmp_path, changes, message):
    path = tmp_path / "long.csv"
    path.write_text(LONG.replace(*changes))
    with pytest.raises(DataError, match=message):
        read_counts(path, **COLUMNS)


def test_lists(tmp_path):
    frame = pl.DataFrame({"codes": [["a", "b"], [], ["a"]], "years": [1.0, 2.0, 3.5]})
    frame.write_parquet(tmp_path / "lists.parquet")
    counts = read_counts(
        tmp_path / "lists.parquet", feature_column="codes", exposure_column="years"
    )
    assert counts.exposure.tolist() == [1, 2, 3.5]
    flags = frame.with_columns(years=pl.col("years") > 1)
    flags.write_parquet(tmp_path / "flags.parquet")
    with pytest.raises(DataError, match="of type Boolean; expected exposures"):
        read_counts(tmp_path / "flags.parquet", feature_column="codes", exposure_column="years")


def test_a_table_of_texts(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("id,text,minutes\nx,one two,5\ny,,0.5\nz,two,7\n")
    with pytest.warns(match="missing"):
        counts = read_counts(path, exposure_column="minutes")
    assert counts.exposure.tolist() == [5, 0.5, 7]
    assert counts.row_ids.to_list() == ["x", "y", "z"]
    lines = tmp_path / "lines.txt"
    lines.write_text("one two\n")
    with pytest.raises(DataError, match=r"exposure_column='minutes' is for tables and .h5ad"):
        read_like(lines, counts.settings, counts.vocabulary)


def test_formats_without_columns(tmp_path):
    path = tmp_path / "rows.basket"
    path.write_text("a,b\n")
    with pytest.raises(DataError, match=r"exposure_column does not apply to .* has no columns"):
        read_counts(path, exposure_column="years")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exposure_column": ""}, "exposure_column must be a column name"),
        (COLUMNS | {"exposure_column": "n"}, "exposure_column must be a column of its own"),
        ({"text_column": "t", "exposure_column": "t"}, "a column of its own"),
        (
            {"row_column": "a", "feature_column": "b", "symmetric": True, "exposure_column": "e"},
            "symmetric and exposure_column exclude each other",
        ),
    ],
)
def test_settings(fields, message):
    with pytest.raises(DataError, match=message):
        ReadSettings(**fields)


def test_blocks_of_parquet(tmp_path):
    frame = pl.DataFrame(
        {"codes": [["a", "b"], [], ["a"], ["b"]], "years": [1.0, 2.0, 3.5, 0.5], "x": range(4)}
    )
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=2)
    settings = ReadSettings(feature_column="codes", exposure_column="years")
    dataset = ParquetDataset.open(tmp_path / "rows.parquet", settings)
    blocks = [dataset.read_block(i, Vocabulary(["b", "a"]))[0] for i in range(2)]
    assert [block.exposure.tolist() for block in blocks] == [[1, 2], [3.5, 0.5]]
    loaded = open_stream(tmp_path / "rows.parquet", settings=settings).load()
    assert loaded.exposure.tolist() == [1, 2, 3.5, 0.5]
    texts = pl.DataFrame({"text": ["one", "two"], "years": [1, 2]})
    texts.write_parquet(tmp_path / "texts.parquet")
    dataset = ParquetDataset.open(tmp_path / "texts.parquet", exposure_column="years")
    assert dataset.count_block(0).exposure.tolist() == [1, 2]
    with pytest.raises(DataError, match=r"no column 'year' \(from exposure_column\)"):
        ParquetDataset.open(tmp_path / "texts.parquet", exposure_column="year")


# --- AnnData -----------------------------------------------------------------------------------


@pytest.fixture
def adata():
    obs = pd.DataFrame(
        {
            "size": [1.5, 0.5, 2.0, 1.0],
            "depth": [3, 4, 5, 6],
            "batch": pd.Categorical(["x", "y", "x", "y"]),
            "holes": pd.array([1, None, 3, 4], dtype="Int64"),
        },
        index=[f"cell{i}" for i in range(4)],
    )
    var = pd.DataFrame(index=NAMES)
    return anndata.AnnData(csr_array(COUNTS.astype(np.float32)), obs, var)


def test_anndata(adata, tmp_path):
    assert CountMatrix.from_any(adata).exposure is None
    assert CountMatrix.from_any(adata, exposure="size").exposure.tolist() == [1.5, 0.5, 2, 1]
    assert CountMatrix.from_any(adata, exposure=EXPOSURE).exposure.tolist() == EXPOSURE.tolist()
    with pytest.raises(DataError, match=r"obs has no column 'sizes'.*'size', 'depth'"):
        CountMatrix.from_any(adata, exposure="sizes")
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    for column, expected in (("size", [1.5, 0.5, 2, 1]), ("depth", [3, 4, 5, 6])):
        counts = read_counts(path, exposure_column=column)
        assert counts.exposure.tolist() == expected
        assert counts.row_ids.to_list() == [f"cell{i}" for i in range(4)]
    with pytest.raises(DataError, match=r"no column 'sizes'.*Its columns: 'size'"):
        read_counts(path, exposure_column="sizes")
    with pytest.raises(DataError, match=r"'batch' of obs .* holds no numbers"):
        read_counts(path, exposure_column="batch")
    with pytest.raises(DataError, match=r"row 'cell1' .* is nan"):
        read_counts(path, exposure_column="holes")
