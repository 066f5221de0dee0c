from __future__ import annotations

import gzip

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, ReadSettings, Vocabulary, read_counts, read_like
from longtail.data.ratings import describe_ratings
from longtail.data.unseen import differ_by_dots
from longtail.errors import DataError, DataWarning
from tests.data.strategies import dense_counts
from tests.data.test_read_text import write

CODES = pl.DataFrame({"record": ["r1", "r2", "r3"], "codes": ["B02; A01;B02", None, "A01"]})
PAIRS = {"row_column": "user", "feature_column": "item", "value_column": "n"}


# --- cells of several codes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_cells_of_codes(tmp_path, name):
    path = write(tmp_path / name, CODES)
    counts = read_counts(path, feature_column="codes", feature_separator=";")
    assert counts.vocabulary.names == ("A01", "B02")
    assert counts.csr.toarray().tolist() == [[1, 2], [0, 0], [1, 0]]
    assert counts.row_ids.to_list() == [0, 1, 2]
    assert counts.n_repeated == 1
    named = read_counts(
        path, row_column="record", feature_column="codes", feature_separator=";", binarize=True
    )
    assert named.row_ids.to_list() == ["r1", "r2", "r3"]
    assert named.csr.toarray().tolist() == [[1, 1], [0, 0], [1, 0]]
    assert named.n_repeated == 1
    new, _ = read_like(path, named.settings, named.vocabulary)
    assert new.csr.toarray().tolist() == named.csr.toarray().tolist()
    assert new.n_repeated == 1


def test_cells_that_cannot_be_cut(tmp_path):
    path = write(tmp_path / "t.parquet", pl.DataFrame({"codes": [1, 2]}))
    with pytest.raises(DataError, match=r"is of type Int64, so feature_separator cannot cut"):
        read_counts(path, feature_column="codes", feature_separator=";")
    path = write(tmp_path / "t.parquet", CODES)
    with pytest.raises(DataError, match=r"name what stands between them with feature_separator="):
        read_counts(path, feature_column="codes")
    nothing = write(tmp_path / "n.parquet", pl.DataFrame({"codes": [None, " ; "]}))
    with pytest.raises(DataError, match=r"Every list in column 'codes' .* is empty"):
        read_counts(nothing, feature_column="codes", feature_separator=";")
    lists = write(tmp_path / "l.parquet", pl.DataFrame({"a": [1], "codes": [["x"]]}))
    with pytest.raises(DataError, match="holds lists, but with symmetric=True every line"):
        read_counts(lists, row_column="a", feature_column="codes", symmetric=True)


# --- baskets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.basket", "x.baskets", "x.basket.gz"])
def test_baskets(tmp_path, name):
    content = b"milk, bread ,milk\r\n\r\nrye bread,\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    counts = read_counts(tmp_path / name)
    assert counts.vocabulary.names == ("bread", "milk", "rye bread")
    assert counts.csr.toarray().tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]
    assert counts.settings.format == "basket"
    assert counts.n_repeated == 1
    assert read_counts(tmp_path / name, max_features=1).n_repeated == 1
    assert read_counts(tmp_path / name, vocabulary=["milk", "bread", "rye bread"]).n_repeated == 1
    words = read_counts(tmp_path / name, feature_separator=" ", strip_dots=True)
    assert "rye" in words.vocabulary
    new, unseen = read_like(tmp_path / name, counts.settings, Vocabulary(["milk"]))
    assert new.csr.toarray().tolist() == [[2], [0], [0]]
    assert unseen.n_features == 2


def test_baskets_without_items(tmp_path):
    (tmp_path / "x.basket").write_text(",\n ,,\n")
    with pytest.raises(DataError, match=r"No line of .* holds an item; .* separated by ','"):
        read_counts(tmp_path / "x.basket")


items = st.text(st.characters(exclude_characters=",", exclude_categories=["C", "Z"]), min_size=1)


@given(st.lists(st.lists(items), min_size=1).filter(any))
def test_baskets_round_trip(tmp_path_factory, baskets):
    path = tmp_path_factory.mktemp("b") / "x.basket"
    path.write_text("".join(",".join(basket) + "\n" for basket in baskets), encoding="utf-8")
    counts = read_counts(path)
    assert counts.vocabulary.names == tuple(sorted({i for b in baskets for i in b}))
    assert counts.n_rows == len(baskets)
    for row, basket in enumerate(baskets):
        expected = {item: basket.count(item) for item in basket}
        assert dict(counts.top_features(row, counts.n_features)[: len(expected)]) == expected
        assert counts.totals[row] == len(basket)


# --- presence and thresholds ---------------------------------------------------------------------


@given(dense_counts)
def test_binarized(dense):
    counts = CountMatrix.from_any(dense)
    np.testing.assert_array_equal(counts.binarized().csr.toarray(), dense > 0)
    np.testing.assert_array_equal(counts.csr.toarray(), dense)


def test_binarize_any_format(tmp_path):
    (tmp_path / "t.txt").write_text("tree tree leaf\n")
    assert read_counts(tmp_path / "t.txt", binarize=True).csr.toarray().tolist() == [[1, 1]]
    (tmp_path / "x.svm").write_text("1 1:2 3:0.5\n")
    assert read_counts(tmp_path / "x.svm", binarize=True, counts="strict").totals.tolist() == [2]


def test_entries_below_min_value_are_left_out(tmp_path):
    frame = pl.DataFrame(
        {"user": [1, 1, 2, 3], "item": ["a", "b", "a", "c"], "n": [4.5, -1.0, 3.5, 5.0]}
    )
    path = write(tmp_path / "t.csv", frame)
    liked = read_counts(path, **PAIRS, min_value=4, binarize=True)
    assert liked.row_ids.to_list() == [1, 2, 3]
    assert liked.vocabulary.names == ("a", "c")
    assert liked.csr.toarray().tolist() == [[1, 0], [0, 0], [0, 1]]
    with pytest.raises(DataError, match=r"the largest in column 'n' is 5. Lower min_value"):
        read_counts(path, **PAIRS, min_value=6)
    with pytest.raises(DataError, match=r"first is '-1.0' at line 3.*min_value=4 .* binarize=True"):
        read_counts(path, **PAIRS)
    with pytest.raises(DataError, match=r"first is '-1.0' at line 3"):
        read_counts(path, **PAIRS, min_value=-2)
    (tmp_path / "x.svm").write_text("1 1:5 3:-2\n1 2:4\n")
    counts = read_counts(tmp_path / "x.svm", min_value=5)
    assert counts.csr.toarray().tolist() == [[5, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("values", "description"),
    [
        ([0.5, 3.5, 5.0, 4.0], "4 different values from 0.5 to 5, in halves"),
        ([1, 2, 3, 4, 4, 5] * 4, "5 different values from 1 to 5, in whole numbers"),
        ([1, 1, 1, 2, 3, 4, 5] * 4, None),  # falls off as counts do
        ([1, 2, 3, 4, 4, 5], None),  # too few to tell
        ([1.5], None),
        ([0.0, 2.5, 3.0, 1.0], None),
        ([1, 2.25, 3.5], None),
        ([3.5, 12, 1], None),
        ([], None),
    ],
)
def test_what_looks_like_ratings(values, description):
    assert describe_ratings(np.array(values, dtype=float)) == description


def test_ratings_are_noticed(tmp_path):
    frame = pl.DataFrame({"user": [1, 2, 3], "item": ["a", "b", "a"], "n": [0.5, 3.0, 4.5]})
    path = write(tmp_path / "t.csv", frame)
    message = r"looks like ratings, not counts: 3 .* min_value=4 .* binarize=True"
    with pytest.warns(DataWarning, match=message):
        assert read_counts(path, **PAIRS).totals.sum() == 8
    assert read_counts(path, **PAIRS, binarize=True).totals.sum() == 3


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("t.txt", {"min_value": 2}, "min_value does not apply .* has no values"),
        ("x.basket", {"min_value": 2}, "min_value does not apply"),
        ("t.txt", {"symmetric": True}, "symmetric does not apply .* has no edges"),
        ("t.txt", {"feature_separator": ";"}, "feature_separator does not apply"),
        ("x.svm", {"strip_dots": True}, "strip_dots does not apply"),
        ("x.svm", {"layer": "counts"}, "layer does not apply .* has no layers"),
        ("x.svm", {"transpose": True}, "transpose does not apply"),
        ("x.svm", {"stop_words": "english"}, "stop_words does not apply .* has no texts"),
        ("x.svm", {"text_column": "body"}, "text_column does not apply"),
        ("t.txt", {"text_column": "body"}, "text_column does not apply"),
        ("t.txt", {"id_column": "id"}, "id_column does not apply"),
        ("t.txt", {"index_base": 0}, "index_base does not apply"),
        ("x.basket", {"lowercase": False}, "lowercase does not apply"),
        ("x.basket", {"ngram_range": (1, 2)}, "ngram_range does not apply"),
        ("x.basket", {"token_pattern": "a"}, "token_pattern does not apply"),
    ],
)
def test_settings_that_would_change_nothing(tmp_path, name, fields, message):
    (tmp_path / name).write_text("1 1:1\n")
    with pytest.raises(DataError, match=message):
        read_counts(tmp_path / name, **fields)


# --- codes with and without full stops -----------------------------------------------------------


def test_codes_without_dots(tmp_path):
    frame = pl.DataFrame({"user": [1, 1, 2], "item": ["250.00", "25000", "V58.6"]})
    path = write(tmp_path / "t.csv", frame)
    columns = {"row_column": "user", "feature_column": "item"}
    assert read_counts(path, **columns).vocabulary.names == ("250.00", "25000", "V58.6")
    counts = read_counts(path, **columns, strip_dots=True)
    assert counts.vocabulary.names == ("25000", "V586")
    assert counts.csr.toarray().tolist() == [[2, 0], [0, 1]]
    assert counts.n_repeated == 1
    with pytest.raises(DataError, match=r"'\.' consists of full stops alone"):
        read_counts(
            write(tmp_path / "d.csv", frame.with_columns(item=pl.lit("."))),
            **columns,
            strip_dots=True,
        )


def test_codes_unknown_for_their_dots_are_named(tmp_path):
    known = Vocabulary(["25000", "V586", "4019"])
    path = tmp_path / "x.basket"
    path.write_text("250.00,V58.6,4019,E1\n")
    _, unseen = read_like(path, ReadSettings(format="basket"), known)
    assert (unseen.n_features, unseen.n_dotted) == (3, 2)
    assert "2 of them differ from known features by full stops alone" in unseen.hint
    with pytest.warns(DataWarning, match="by full stops alone .* strip_dots=True"):
        read_counts(path, vocabulary=known)
    path.write_text("250.00\n")
    _, unseen = read_like(path, ReadSettings(format="basket"), known)
    assert (unseen.n_unknown_rows, unseen.n_dotted) == (1, 1)
    assert "without any known feature: 1;" in unseen.hint
    assert "strip_dots=True" in unseen.hint
    _, unseen = read_like(path, ReadSettings(format="basket", strip_dots=True), known)
    assert (unseen.n_features, unseen.hint) == (0, "")


def test_differ_by_dots():
    known = Vocabulary(["1.2", "34", "5.6"])
    names = ["12", "3.4", "5.6", "7.8", "."]
    assert differ_by_dots(names, known).tolist() == [True, True, False, False, False]
