from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, Vocabulary
from longtail.errors import DataError, DataWarning
from tests.data.strategies import dense_counts

SMALL = np.array([[0, 2, 1], [0, 0, 0], [3, 0, 4]])


def small(names=("a", "b", "c")):
    return CountMatrix.from_any(SMALL, row_ids=["x", "y", "z"], vocabulary=names)


# --- what is accepted ----------------------------------------------------------------------------


@given(dense_counts)
def test_every_container_gives_the_same_matrix(dense):
    containers = [
        dense,
        dense.astype(np.float32),
        np.asfortranarray(dense),
        dense.tolist(),
        sp.csr_array(dense),
        sp.csc_matrix(dense),
        sp.coo_array(dense),
        sp.lil_matrix(dense),
        sp.dok_array(dense),
        pd.DataFrame(dense),
        dense.astype(object),
        CountMatrix.from_any(dense),
    ]
    for container in containers:
        counts = CountMatrix.from_any(container)
        assert counts.shape == dense.shape
        assert counts.csr.dtype == np.float32
        assert counts.csr.has_canonical_format
        assert counts.nnz == np.count_nonzero(dense)
        np.testing.assert_array_equal(counts.csr.toarray(), dense)
        np.testing.assert_array_equal(counts.totals, dense.sum(axis=1))
        assert counts.is_integer == np.all(dense == np.floor(dense))
        assert counts.n_fractional == np.count_nonzero(dense != np.floor(dense))
        assert counts.density == np.count_nonzero(dense) / dense.size


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float16, np.longdouble])
def test_numeric_dtypes(dtype):
    dense = np.array([[0, 1], [1, 0]], dtype=dtype)
    np.testing.assert_array_equal(CountMatrix.from_any(dense).csr.toarray(), [[0, 1], [1, 0]])


def test_duplicate_entries_are_summed_without_overflow():
    triples = (np.full(3, 100, dtype=np.int8), ([0, 0, 0], [1, 1, 1]))
    counts = CountMatrix.from_any(sp.coo_array(triples, shape=(1, 2)))
    assert counts.csr.toarray().tolist() == [[0, 300]]


def test_input_is_neither_changed_nor_shared():
    source = sp.csr_array(
        (np.array([1.0, 0.0, 2.0], np.float32), np.array([1, 0, 0]), np.array([0, 2, 3])),
        shape=(2, 2),
    )
    before = [a.copy() for a in (source.data, source.indices, source.indptr)]
    counts = CountMatrix.from_any(source)
    for array, old in zip((source.data, source.indices, source.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)
        assert array.flags.writeable
    source.data[:] = 99
    assert counts.csr.toarray().tolist() == [[0, 1], [2, 0]]


def test_immutable():
    counts = small()
    with pytest.raises(ValueError, match="read-only"):
        counts.csr.data[0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        counts.row_ids = None
    with pytest.raises(ValueError, match="read-only"):
        counts.totals[0] = 1


def test_data_frames_name_their_columns_and_rows():
    frame = pd.DataFrame(SMALL, columns=["a", "b", "c"], index=["x", "y", "z"])
    counts = CountMatrix.from_any(frame)
    assert counts.vocabulary == Vocabulary(["a", "b", "c"])
    assert counts.row_ids.to_list() == ["x", "y", "z"]
    assert CountMatrix.from_any(frame.reset_index(drop=True)).row_ids.to_list() == [0, 1, 2]
    shuffled = frame.set_index(pd.Index([7, 3, 5]))
    assert CountMatrix.from_any(shuffled).row_ids.to_list() == [7, 3, 5]
    repeated = frame.set_index(pd.Index([7, 7, 5]))
    assert CountMatrix.from_any(repeated).row_ids.to_list() == [0, 1, 2]
    polars = CountMatrix.from_any(pl.DataFrame({"a": [0, 1], "b": [2.5, 0.0], "c": [True, False]}))
    assert polars.vocabulary.names == ("a", "b", "c")
    assert polars.csr.toarray().tolist() == [[0, 2.5, 1], [1, 0, 0]]


def test_pandas_extension_columns():
    sparse = pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(SMALL), columns=["a", "b", "c"])
    np.testing.assert_array_equal(CountMatrix.from_any(sparse).csr.toarray(), SMALL)
    nullable = pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": [0.0, 1.0]})
    assert CountMatrix.from_any(nullable).csr.toarray().tolist() == [[1, 0], [2, 1]]
    missing = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0.0, 1.0]})
    with pytest.raises(DataError, match=r"NaN.*row 1, feature 'a'"):
        CountMatrix.from_any(missing)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (pd.RangeIndex(3), None),
        (pd.Index([0, 1, 2]), ("0", "1", "2")),
        (pd.RangeIndex(100, 103), ("100", "101", "102")),
        (pd.Index([7, 3, 5], dtype="uint8"), ("7", "3", "5")),
        (pd.Index([7, 3, 5], dtype="Int64"), ("7", "3", "5")),
        (pd.CategoricalIndex(["b", "a", "c"]), ("b", "a", "c")),
    ],
)
def test_column_names_of_pandas(columns, expected):
    vocabulary = CountMatrix.from_any(pd.DataFrame(SMALL, columns=columns)).vocabulary
    assert vocabulary == (Vocabulary.positional(3) if expected is None else Vocabulary(expected))


def test_a_pivot_table_keeps_its_items():
    long = pd.DataFrame({"user": [5, 5, 9], "item": [101, 100, 101], "n": [2, 1, 4]})
    pivot = long.pivot_table(index="user", columns="item", values="n", fill_value=0)
    counts = CountMatrix.from_any(pivot)
    assert counts.vocabulary.names == ("100", "101")
    assert counts.row_ids.to_list() == [5, 9]
    assert counts.csr.toarray().tolist() == [[1, 2], [0, 4]]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ([1.5, 2.0, 3.0], ["1.5", "2.0", "3.0"]),
        (
            pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
            ["('a', 1)", "('a', 2)", "('b', 1)"],
        ),
        (["x", 3, "y"], ["x", "3", "y"]),
        (["x", "", "y"], [0, 1, 2]),
        (["x", None, "y"], [0, 1, 2]),
    ],
)
def test_row_names_of_other_types_become_text(index, expected):
    frame = pd.DataFrame(SMALL, index=index)
    assert CountMatrix.from_any(frame).row_ids.to_list() == expected


def test_pyarrow_tables_name_their_columns():
    pa = pytest.importorskip("pyarrow")
    counts = CountMatrix.from_any(pa.table({"a": [0, 1], "b": [2.5, 0.0]}))
    assert counts.vocabulary.names == ("a", "b")
    assert counts.csr.toarray().tolist() == [[0, 2.5], [1, 0]]


@pytest.mark.parametrize(
    "convert",
    [
        torch.tensor,
        lambda dense: torch.tensor(dense, dtype=torch.bfloat16),
        lambda dense: torch.tensor(dense, dtype=torch.float16),
        lambda dense: torch.tensor(dense, dtype=torch.bfloat16, requires_grad=True),
    ],
)
def test_tensors(convert):
    dense = np.array([[0.0, 2.0], [0.5, 0.0]])
    assert CountMatrix.from_any(convert(dense)).csr.toarray().tolist() == dense.tolist()
    with pytest.raises(DataError, match=r"layout is torch.sparse_coo.*scipy"):
        CountMatrix.from_any(convert(dense).to_sparse())


def test_masked_values_are_refused():
    hidden = np.ma.masked_array(SMALL, mask=SMALL == 4)
    for masked in (hidden, list(hidden)):
        with pytest.raises(
            DataError, match=r"^1 value\(s\) of the table are masked.*X.filled\(0\)"
        ):
            CountMatrix.from_any(masked)
    assert CountMatrix.from_any(hidden.filled(0)).csr.toarray()[2].tolist() == [3, 0, 0]
    nothing_hidden = np.ma.masked_array(SMALL, mask=False)
    assert CountMatrix.from_any(nothing_hidden).csr.toarray().tolist() == SMALL.tolist()
    times = np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 1, 0])
    with pytest.raises(DataError, match="of the exposures are masked"):
        CountMatrix.from_any(SMALL, exposure=times)


def test_a_count_matrix_passes_through():
    counts = small()
    assert CountMatrix.from_any(counts) is counts
    assert CountMatrix.from_any(counts, row_ids=[5, 6, 7]).row_ids.to_list() == [5, 6, 7]
    with pytest.raises(DataError, match=r"counts.align"):
        CountMatrix.from_any(counts, vocabulary=["c", "b", "a"])
    unnamed = CountMatrix.from_any(SMALL)
    assert CountMatrix.from_any(unnamed, vocabulary=["c", "b", "a"]).vocabulary[0] == "c"
    with pytest.raises(DataError, match="Fractional"):
        CountMatrix.from_any(CountMatrix.from_any([[0.5]]), counts="strict")
    with pytest.raises(DataError, match="0 sample"):
        CountMatrix.from_any(counts[[]])


@pytest.mark.parametrize(
    ("row_ids", "dtype", "expected"),
    [
        (None, pl.Int64, [0, 1, 2]),
        (["x", "y", "z"], pl.String, ["x", "y", "z"]),
        (np.array(["x", "y", "z"]), pl.String, ["x", "y", "z"]),
        (np.array([3, 1, 2], np.uint8), pl.Int64, [3, 1, 2]),
        (pl.Series("other", [3, 1, 2], dtype=pl.Int16), pl.Int64, [3, 1, 2]),
        (pl.Series(["x", "y", "z"], dtype=pl.Categorical), pl.String, ["x", "y", "z"]),
        (pd.Index(["x", "y", "z"]), pl.String, ["x", "y", "z"]),
        ([np.int64(4), 5, 6], pl.Int64, [4, 5, 6]),
    ],
)
def test_row_ids(row_ids, dtype, expected):
    counts = CountMatrix.from_any(SMALL, row_ids=row_ids)
    assert counts.row_ids.dtype == dtype
    assert counts.row_ids.name == "row_id"
    assert counts.row_ids.to_list() == expected


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            -3,
            r"Negative values in data.*'doc1' \(at position 1\), feature 'b' \(column 1\) holds -3",
        ),
        (np.nan, r"NaN or inf.*'doc1' \(at position 1\), feature 'b' \(column 1\) holds nan"),
        (np.inf, r"NaN or inf.*'doc1'.*'b'.*holds inf \(1 such value"),
        (-np.inf, r"NaN or inf.*holds -inf"),
        (2**24 + 1, r"Values above 16,777,216 .*'doc1'.*'b'.*holds 16777217"),
        (1e300, "Values above 16,777,216"),
        (1e-60, "too small for float32"),
    ],
)
def test_values_that_are_no_counts(value, message):
    dense = np.array([[1.0, 0.0], [0.0, value], [2.0, 1.0]])
    for X in (dense, sp.csc_array(dense)):
        with pytest.raises(DataError, match=message):
            CountMatrix.from_any(X, row_ids=["doc0", "doc1", "doc2"], vocabulary=["a", "b"])


def test_faults_are_counted_and_unnamed_places_are_numbered():
    with pytest.raises(DataError, match=r"row 0, column 1 holds -1 \(3 such value"):
        CountMatrix.from_any([[0, -1], [-1, -1]])


def test_strict_counts():
    dense = [[1.0, 0.0], [0.0, 1.5]]
    assert CountMatrix.from_any(dense).n_fractional == 1
    with pytest.raises(DataError, match=r"Fractional values.*row 1, column 1 holds 1.5"):
        CountMatrix.from_any(dense, counts="strict")
    with pytest.raises(DataError, match="'fractional' or 'strict'"):
        CountMatrix.from_any(dense, counts="loose")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([1, 2]), "Reshape your data"),
        (np.array(3.0), "Reshape your data"),
        (np.ones((2, 2, 2)), "Expected 2D array, got 3D array"),
        (sp.coo_array(np.array([1, 2])), "Reshape your data"),
        (np.empty((0, 3)), r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of"),
        (np.empty((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required"),
        (sp.csr_array((0, 3)), r"0 sample\(s\)"),
        (sp.csr_array((3, 0)), r"0 feature\(s\)"),
        (pl.DataFrame({"a": []}), r"0 sample\(s\)"),
        (np.ones((1, 2)) * 1j, "Complex data not supported"),
        (sp.csr_array(np.ones((1, 2)) * 1j), "Complex data not supported"),
        (np.array([[1j, 2]], dtype=object), "Complex data not supported"),
        (pd.DataFrame({"a": [1j]}), "Complex data not supported"),
        ([["kernel", "tree"]], "Expected real numbers.*read_counts"),
        (np.array([["1", 2]], dtype=object), "holds the text '1'"),
        (np.array([[{}, 2]], dtype=object), "argument must be a string or a real number"),
        ([[1, 2], [3]], "rectangular table"),
        (pl.DataFrame({"a": [1], "b": ["x"]}), "'b' cannot be counts.*String"),
        (pd.DataFrame({"a": [1], "b": ["x"]}), "'b' cannot be counts"),
        (pl.DataFrame({"a": [1, None]}), "NaN"),
        (pl.LazyFrame({"a": [1]}), "call .collect"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a' at positions 0 and 1"),
        (pd.DataFrame([[1, 2]], columns=["a", 3]), "all strings or all whole numbers.*'a'.* 1 3"),
        (pd.DataFrame([[1, 2]], columns=[1.0, 2.0]), r"column 0 is called 1.0 \(float\)"),
        (pd.DataFrame([[1, 2]], columns=[True, False]), r"called True \(bool\)"),
        (pd.DataFrame([[1, 2]], columns=pd.date_range("2024", periods=2)), "Timestamp"),
        (pd.DataFrame([[1, 2]], columns=[("a", 1), ("a", 2)]), r"\('a', 1\) \(tuple\)"),
        (pd.DataFrame([[1, 2]], columns=[7, 7]), "'7' at positions 0 and 1"),
        (pd.DataFrame([[1, 2]], columns=["", "a"]), "must not be empty, but name 0"),
        (pl.DataFrame({"": [1]}), "must not be empty, but name 0"),
        ("counts.csv", "read_counts"),
        (None, "got None"),
    ],
)
def test_refused_input(X, message):
    with pytest.raises(DataError, match=message):
        CountMatrix.from_any(X)


def test_unsuitable_elements_are_a_type_error_too():
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        CountMatrix.from_any(np.array([[{"foo": "bar"}, 2]], dtype=object))


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix, sp.bsr_array])
def test_damaged_sparse_structure(container):
    damaged = container(np.eye(3))
    damaged.indices[1] = 7
    with pytest.raises(DataError, match="damaged"):
        CountMatrix.from_any(damaged)


@pytest.mark.parametrize(
    ("row_ids", "message"),
    [
        (["x", "y", "x"], "must be unique, but 1 occur more than once, for instance 'x'"),
        (["x", "y"], "each of 3 rows, but got 2"),
        (["x", None, "z"], "missing, the first at position 1"),
        (["x", "y", ""], r"1 row id\(s\) are empty, the first at position 2"),
        (["x", 1, "z"], "all strings or all whole numbers, but got int and str"),
        ([1.0, 2.0, 3.0], "float"),
        ([True, False, True], "bool"),
        (pl.Series([1.5, 2.5, 3.5]), "Float64"),
        ([2**70, 1, 2], "64 bits"),
    ],
)
def test_refused_row_ids(row_ids, message):
    with pytest.raises(DataError, match=message):
        CountMatrix.from_any(SMALL, row_ids=row_ids)


def test_refused_vocabularies():
    with pytest.raises(DataError, match="each of 3 columns, but the vocabulary has 2"):
        CountMatrix.from_any(SMALL, vocabulary=["a", "b"])
    with pytest.raises(DataError, match="'a' at positions 0 and 2"):
        CountMatrix.from_any(SMALL, vocabulary=["a", "b", "a"])
    with pytest.raises(DataError, match=r"column 0: 'c' against 'a'"):
        CountMatrix.from_any(pd.DataFrame(SMALL, columns=list("abc")), vocabulary=list("cba"))
    with pytest.raises(DataError, match=r"names its columns \(such as 'a'\), .* no names"):
        CountMatrix.from_any(
            pd.DataFrame(SMALL, columns=list("abc")), vocabulary=Vocabulary.positional(3)
        )
    with pytest.raises(DataError, match="must not be empty"):
        CountMatrix.from_any(SMALL, vocabulary=["a", "b", ""])


def test_constructor_checks_shapes():
    with pytest.raises(DataError, match="does not fit"):
        CountMatrix(sp.csr_array(SMALL), pl.Series([1]), Vocabulary.positional(3))


# --- selecting -----------------------------------------------------------------------------------


@given(dense_counts, st.data())
def test_row_selection_is_numpy_s(dense, data):
    counts = CountMatrix.from_any(dense)
    n = len(dense)
    index = data.draw(
        st.one_of(
            st.lists(st.integers(-n, n - 1), max_size=10),
            st.lists(st.booleans(), min_size=n, max_size=n).map(np.array),
            st.slices(n),
        )
    )
    expected = np.arange(n)[np.array(index, dtype=int) if isinstance(index, list) else index]
    selected = counts[index]
    assert selected.row_ids.to_list() == expected.tolist()
    np.testing.assert_array_equal(selected.csr.toarray(), dense[expected])
    assert selected.vocabulary is counts.vocabulary
    assert len(selected) == len(expected)


def test_row_selection_refuses():
    counts = small()
    assert counts[2].row_ids.to_list() == ["z"]
    assert [row.row_ids[0] for row in counts] == ["x", "y", "z"]
    with pytest.raises(IndexError, match="Row 3 is out of range for 3 rows"):
        counts[[0, 3]]
    with pytest.raises(DataError, match="each of 3 rows, but has 2"):
        counts[np.array([True, False])]
    with pytest.raises(DataError, match="slice, an array of positions"):
        counts["x"]
    with pytest.raises(DataError, match="slice, an array of positions"):
        counts[[0.5]]


def test_rows_as_scikit_learn_selects_them():
    counts = small()
    for selected in (counts[[2, 0], ...], counts[[2, 0], :]):
        assert selected.row_ids.to_list() == ["z", "x"]
        assert selected.vocabulary == counts.vocabulary
    for index in ((0, 1), (slice(None), [0]), (..., 0), (0, slice(1)), (0,)):
        with pytest.raises(DataError, match=r"by their rows alone.*select_features.*counts.csr"):
            counts[index]


def test_counts_are_not_made_dense_unasked():
    with pytest.raises(DataError, match=r"3 × 3 values.*counts.csr.toarray\(\)"):
        np.asarray(small())


def test_select_features():
    chosen = small().select_features([2, 0])
    assert chosen.vocabulary.names == ("c", "a")
    assert chosen.csr.toarray().tolist() == [[1, 0], [0, 0], [4, 3]]
    assert chosen.csr.has_sorted_indices
    assert not CountMatrix.from_any(SMALL).select_features([2, 0]).vocabulary.named
    for wrong, message in [
        ([3], "between 0 and 2"),
        ([-1], "between 0 and 2"),
        ([1, 1], "distinct"),
        ([], "non-empty"),
        ([True, False, True], "column numbers"),
    ]:
        with pytest.raises(DataError, match=message):
            small().select_features(wrong)


@given(dense_counts)
def test_drop_empty(dense):
    counts = CountMatrix.from_any(dense)
    kept, dropped = counts.drop_empty()
    full = dense.any(axis=1)
    assert dropped == np.count_nonzero(~full)
    np.testing.assert_array_equal(kept.csr.toarray(), dense[full])
    assert kept.row_ids.to_list() == np.flatnonzero(full).tolist()


# --- aligning ------------------------------------------------------------------------------------


@given(dense_counts, st.data())
def test_align_moves_columns_by_name(dense, data):
    names = [f"f{i}" for i in range(dense.shape[1])]
    counts = CountMatrix.from_any(dense, vocabulary=names)
    pool = [*names, "new1", "new2"]
    target = data.draw(st.permutations(pool).flatmap(lambda p: st.just(p[: 1 + len(p) // 2])))
    if not set(target) & set(names):
        with pytest.raises(DataError, match="None of the"):
            counts.align(Vocabulary(target))
        return
    aligned, unseen = counts.align(Vocabulary(target))
    expected = np.column_stack(
        [dense[:, names.index(t)] if t in names else np.zeros(len(dense)) for t in target]
    )
    np.testing.assert_array_equal(aligned.csr.toarray(), expected)
    assert aligned.csr.has_canonical_format
    assert aligned.vocabulary.names == tuple(target)
    lost = dense[:, [i for i, name in enumerate(names) if name not in target]]
    assert unseen.rows == pytest.approx(np.mean(lost.any(axis=1)))
    assert unseen.mass * dense.sum() == pytest.approx(lost.sum())
    assert unseen.n_features == np.count_nonzero(lost.any(axis=0))
    assert len(unseen.examples) == min(5, unseen.n_features)


def test_align_reports_the_most_frequent_unseen_first():
    counts = CountMatrix.from_any([[1, 5, 2], [1, 0, 1]], vocabulary=["a", "b", "c"])
    _, unseen = counts.align(Vocabulary(["a", "z"]))
    assert unseen.examples == ("b", "c")
    assert unseen.n_features == 2
    assert unseen.rows == 1.0
    assert unseen.mass == pytest.approx(8 / 10)


def test_align_without_names_goes_by_position():
    unnamed = CountMatrix.from_any(SMALL)
    assert unnamed.align(Vocabulary.positional(3))[0] is unnamed
    for vocabulary in (Vocabulary.positional(4), Vocabulary(["a", "b"])):
        with pytest.raises(DataError, match=r"Expected \d features, but these rows have 3"):
            unnamed.align(vocabulary)


@pytest.mark.parametrize(
    ("counts", "vocabulary", "said"),
    [
        (CountMatrix.from_any(SMALL), Vocabulary(["a", "b", "c"]), "rows have no feature names"),
        (small(), Vocabulary.positional(3), r"rows have feature names \(such as 'a', 'b', 'c'\)"),
        (small(("2", "0", "1")), Vocabulary.positional(3), "rows have feature names .*"),
    ],
)
def test_names_on_one_side_alone_bring_a_notice(counts, vocabulary, said):
    with pytest.warns(DataWarning, match=f"These {said}.* matched by position") as notices:
        aligned, unseen = counts.align(vocabulary)
    assert len(notices) == 1
    assert notices[0].filename == __file__
    assert aligned.vocabulary == vocabulary
    assert aligned.csr.toarray().tolist() == SMALL.tolist()
    assert unseen.n_features == 0


def test_names_that_are_the_column_numbers_say_nothing_else():
    numbered = small(("0", "1", "2"))
    assert numbered.align(Vocabulary.positional(3))[0].csr.toarray().tolist() == SMALL.tolist()
    unnamed = CountMatrix.from_any(SMALL)
    assert unnamed.align(numbered.vocabulary)[0].vocabulary == numbered.vocabulary


def test_rows_without_a_known_feature_are_counted():
    counts = CountMatrix.from_any([[1, 5], [0, 3], [0, 0], [0, 1]], vocabulary=["a", "b"])
    _, unseen = counts.align(Vocabulary(["a"]))
    assert unseen.n_unknown_rows == 2
    assert "Rows without any known feature: 2;" in unseen.hint
    assert counts.align(Vocabulary(["b"]))[1].n_unknown_rows == 0


def test_align_without_a_common_name():
    with pytest.raises(DataError, match=r"None of the 3 features .*'a'.*among the 1 expected.*'z'"):
        small().align(Vocabulary(["z"]))


# --- keys and summaries --------------------------------------------------------------------------


@given(dense_counts, st.data())
def test_row_keys_depend_on_content_only(dense, data):
    counts = CountMatrix.from_any(dense)
    keys = counts.row_keys()
    assert keys.dtype == np.uint64
    order = data.draw(st.permutations(range(len(dense))))
    np.testing.assert_array_equal(counts[order].row_keys(), keys[list(order)])
    for i in range(len(dense)):
        np.testing.assert_array_equal(counts[i].row_keys(), keys[[i]])
        for j in range(i):
            assert (keys[i] == keys[j]) == np.array_equal(dense[i], dense[j])


def test_row_keys_do_not_change_between_releases():
    # Noise is keyed by these, so a change would change every reproducible result.
    keys = CountMatrix.from_any([[0, 0], [1, 0], [0, 1], [1, 2.5]]).row_keys()
    assert [f"{key:016x}" for key in keys] == [
        "e220a8397b1dcdaf",
        "edcbcb4fdca1a34b",
        "dd9de6016161292e",
        "213de4a46b218278",
    ]


def test_row_keys_in_blocks(monkeypatch):
    dense = np.random.default_rng(0).poisson(0.3, size=(200, 30))
    counts = CountMatrix.from_any(dense)
    whole = counts.row_keys()
    monkeypatch.setattr("longtail.data.hashing._BLOCK_ENTRIES", 7)
    np.testing.assert_array_equal(counts.row_keys(), whole)


def test_top_features_and_repr():
    counts = small()
    assert counts.top_features(2, 2) == [("c", 4.0), ("a", 3.0)]
    assert counts.top_features(-1, 1) == [("c", 4.0)]
    assert counts.top_features(1, 5) == []
    assert repr(counts) == (
        "CountMatrix(3 rows × 3 named features, 4 non-zeros (44.444%), total 10)"
    )


def test_summary():
    counts = CountMatrix.from_any([[1, 2], [0, 0], [1, 2], [0, 0], [0, 1]])
    assert counts.summary() == {
        "rows": 5,
        "features": 2,
        "nnz": 5,
        "density": 0.5,
        "tokens": 7.0,
        "median_row_total": 1.0,
        "empty_rows": 2,
        "duplicate_rows": 2,
    }


def test_all_rows_empty():
    counts = CountMatrix.from_any(np.zeros((2, 3)))
    assert counts.totals.tolist() == [0.0, 0.0]
    assert counts.totals.dtype == np.float64
    assert counts.drop_empty()[0].summary()["rows"] == 0
    assert counts.align(Vocabulary.positional(3))[1].mass == 0.0
