from __future__ import annotations

import pickle
import sys

import fsspec
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import vstack

from longtail.data import ReadSettings, Vocabulary, read_counts
from longtail.data.stream import ParquetDataset
from longtail.errors import CorruptBlockError, DataError, MissingExtraError
from tests.profiles import examples

words = st.sampled_from(["kernel", "tree", "Signal", "the", "x", "", "é1", "a b c", "42"])
texts = st.lists(st.one_of(st.none(), st.lists(words, max_size=5).map(" ".join)), min_size=1)
cells = st.lists(
    st.one_of(
        st.none(),
        st.lists(st.tuples(words.filter(bool), st.integers(0, 3)), max_size=4),
    ),
    min_size=1,
)
repeated = settings(
    max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def whole(dataset, vocabulary):
    blocks = [dataset.read_block(i, vocabulary)[0] for i in range(dataset.n_blocks)]
    ids = pl.concat([block.row_ids for block in blocks])
    return vstack([block.csr for block in blocks]).toarray(), ids.to_list()


def assert_same_rows(path, folder, frame, rows_a_group, **fields):
    """Blocks, one after another, are the rows that reading everything at once gives."""
    half = len(frame) // 2 if len(frame) > 1 else len(frame)
    frame.write_parquet(path)
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    frame[:half].write_parquet(folder / "a.parquet", row_group_size=rows_a_group)
    if half < len(frame):
        frame[half:].write_parquet(folder / "b.parquet", row_group_size=rows_a_group)
    dataset = ParquetDataset.open(folder, **fields)
    assert dataset.n_rows == len(frame)
    try:
        expected = read_counts(path, **fields)
    except DataError:  # there is nothing to count
        assert sum(dataset.count_block(i).nnz for i in range(dataset.n_blocks)) == 0
        return
    counts, ids = whole(dataset, expected.vocabulary)
    np.testing.assert_array_equal(counts, expected.csr.toarray())
    assert ids == expected.row_ids.to_list()


@repeated
@given(documents=texts, rows_a_group=st.integers(1, 4), ngrams=st.sampled_from([(1, 1), (1, 2)]))
@pytest.mark.filterwarnings("ignore:.*are missing")
def test_texts(tmp_path, documents, rows_a_group, ngrams):
    frame = pl.DataFrame({"text": documents}, schema={"text": pl.String})
    fields = {"ngram_range": ngrams, "stop_words": ("the",)}
    assert_same_rows(tmp_path / "t.parquet", tmp_path / "t", frame, rows_a_group, **fields)
    frame = frame.with_columns(id=pl.Series([f"r{i}" for i in range(len(frame))]))
    assert_same_rows(tmp_path / "t.parquet", tmp_path / "t", frame, rows_a_group, **fields)


@repeated
@given(rows=cells, rows_a_group=st.integers(1, 4), binarize=st.booleans())
def test_lists_and_their_counts(tmp_path, rows, rows_a_group, binarize):
    frame = pl.DataFrame(
        {
            "codes": [None if r is None else [code for code, _ in r] for r in rows],
            "times": [None if r is None else [n for _, n in r] for r in rows],
            "cell": [None if r is None else ";".join(code for code, _ in r) for r in rows],
            "who": [f"r{i}" for i in range(len(rows))],
        },
        schema={
            "codes": pl.List(pl.String),
            "times": pl.List(pl.Int64),
            "cell": pl.String,
            "who": pl.String,
        },
    )
    for fields in (
        {"feature_column": "codes"},
        {"feature_column": "codes", "row_column": "who", "value_column": "times"},
        {"feature_column": "codes", "value_column": "times", "min_value": 2.0},
        {"feature_column": "cell", "feature_separator": ";", "strip_dots": True},
    ):
        assert_same_rows(
            tmp_path / "t.parquet",
            tmp_path / "t",
            frame,
            rows_a_group,
            binarize=binarize,
            **fields,
        )


def test_lists_of_counts_in_memory(tmp_path):
    frame = pl.DataFrame({"codes": [["b", "a", "b"], [], ["a"]], "n": [[1, 2, 3], None, [4]]})
    frame.write_parquet(tmp_path / "t.parquet")
    counts = read_counts(tmp_path / "t.parquet", feature_column="codes", value_column="n")
    assert counts.csr.toarray().tolist() == [[2, 4], [0, 0], [4, 0]]
    frame.with_columns(n=pl.Series([[1, 2, 3], [5], [4]])).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"not as long .* the first at row 1: 1 against 0"):
        read_counts(tmp_path / "t.parquet", feature_column="codes", value_column="n")
    frame.with_columns(n=pl.Series([[1, 2, 3], [], [-4]])).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"first is -4 at row 2"):
        read_counts(tmp_path / "t.parquet", feature_column="codes", value_column="n")


def four_rows(folder):
    folder.mkdir(exist_ok=True)
    frame = pl.DataFrame({"text": ["red fox", "blue fox", "red hen", ""], "other": [1, 2, 3, 4]})
    frame[:3].write_parquet(folder / "a.parquet", row_group_size=2)
    (folder / "more").mkdir(exist_ok=True)
    frame[3:].write_parquet(folder / "more" / "b.pq")
    (folder / "_temporary").mkdir(exist_ok=True)
    frame.write_parquet(folder / "_temporary" / "c.parquet")
    frame.write_parquet(folder / ".hidden.parquet")
    return ParquetDataset.open(folder)


def test_blocks_are_row_groups(tmp_path):
    dataset = four_rows(tmp_path / "d")
    assert dataset.n_rows == 4
    assert dataset.n_blocks == 3
    found = [(b.number, b.row_group, b.n_rows, b.first_row) for b in dataset.blocks]
    assert found == [(0, 0, 2, 0), (1, 1, 1, 2), (2, 0, 1, 3)]
    assert all(b.n_bytes > 0 for b in dataset.blocks)
    assert [b.file.rsplit("/", 1)[1] for b in dataset.blocks] == ["a.parquet"] * 2 + ["b.pq"]
    assert dataset.columns == ("text",)
    assert dataset.settings == ReadSettings(format="parquet", text_column="text")


def test_what_the_vocabulary_lacks(tmp_path):
    dataset = four_rows(tmp_path / "d")
    counts, unseen = dataset.read_block(0, Vocabulary(["fox", "red"]))
    assert counts.csr.toarray().tolist() == [[1, 1], [1, 0]]
    assert unseen.examples == ("blue",)
    assert unseen.mass == 1 / 4
    counts, unseen = dataset.read_block(1, Vocabulary(["cat"]))  # nothing in common
    assert counts.csr.toarray().tolist() == [[0]]
    assert unseen.n_features == 2
    counts, unseen = dataset.read_block(2, Vocabulary(["cat"]))
    assert counts.row_ids.to_list() == [3]
    assert unseen.n_features == 0


def test_a_copy_reads_alike(tmp_path):
    dataset = pickle.loads(pickle.dumps(four_rows(tmp_path / "d")))
    counts, _ = dataset.read_block(1, Vocabulary(["hen"]))
    assert counts.csr.toarray().tolist() == [[1]]


def test_the_fingerprint_tells_data_apart(tmp_path):
    first, same = four_rows(tmp_path / "d"), four_rows(tmp_path / "elsewhere")
    assert first.fingerprint == same.fingerprint
    pl.DataFrame({"text": ["new"]}).write_parquet(tmp_path / "d" / "z.parquet")
    assert ParquetDataset.open(tmp_path / "d").fingerprint != first.fingerprint


def test_a_url(tmp_path):
    local = four_rows(tmp_path / "d")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "d"), "/test_a_url", recursive=True)
    remote = ParquetDataset.open("memory://test_a_url")
    assert remote.fingerprint == local.fingerprint
    vocabulary = Vocabulary(["fox", "red"])
    for i in range(3):
        ours, theirs = (d.read_block(i, vocabulary)[0] for d in (local, remote))
        assert (ours.csr != theirs.csr).nnz == 0
    assert ParquetDataset.open("memory://test_a_url/a.parquet").n_rows == 3
    with pytest.raises(DataError, match="There is no file or folder 'memory://nothing'"):
        ParquetDataset.open("memory://nothing")
    with pytest.raises(DataError, match="Nothing here opens 'nonsense://x'"):
        ParquetDataset.open("nonsense://x")


def test_a_corrupt_row_group_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    texts = [f"red {n}" for n in np.random.default_rng(0).integers(10**9, size=2000)]
    pl.DataFrame({"text": texts}).write_parquet(path, row_group_size=1000, compression="zstd")
    dataset = ParquetDataset.open(path)
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    dataset.read_block(0, Vocabulary(["red"]))
    with pytest.raises(CorruptBlockError, match=r"row group 1 of '.*t\.parquet': it is corrupt"):
        dataset.read_block(1, Vocabulary(["red"]))
    path.unlink()
    with pytest.raises(
        DataError, match=r"Cannot read row group 1 of '.*t\.parquet': .*No such"
    ) as caught:
        dataset.read_block(1, Vocabulary(["red"]))
    assert not isinstance(caught.value, CorruptBlockError)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(CorruptBlockError, match=r"Cannot read '.*t\.parquet'"):
        ParquetDataset.open(path)


def test_entries_one_a_line_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"], "n": [1, 2, 3]})
    frame.write_parquet(path)
    fields = {"row_column": "user", "feature_column": "item", "value_column": "n"}
    with pytest.raises(DataError, match=r"one entry a line.*Gather each row .* Polars"):
        ParquetDataset.open(path, **fields)
    frame.with_columns(item=pl.Series([["a"], ["b"], ["a"]])).write_parquet(path)
    dataset = ParquetDataset.open(path, row_column="user", feature_column="item")
    with pytest.raises(DataError, match=r"Of the 3 lines .* only 2 have a row key"):
        dataset.count_block(0)
    gathered = frame.group_by("user", maintain_order=True).agg("item", "n")
    gathered.write_parquet(path)
    counts = ParquetDataset.open(path, **fields).count_block(0)
    assert counts.csr.toarray().tolist() == [[1, 2], [3, 0]]
    assert counts.row_ids.to_list() == [1, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_column": "txt"}, r"no column 'txt' \(from text_column\). Did you mean 'text'"),
        ({"format": "mtx"}, "the settings are for mtx"),
        ({"min_valu": 1}, "Unknown reading setting 'min_valu'"),
    ],
)
def test_faults(tmp_path, fields, message):
    with pytest.raises(DataError, match=message):
        ParquetDataset.open(four_rows(tmp_path / "d").path, **fields)


def test_files_without_the_column(tmp_path):
    four_rows(tmp_path / "d")
    pl.DataFrame({"body": ["x"]}).write_parquet(tmp_path / "d" / "z.parquet")
    with pytest.raises(DataError, match=r"z\.parquet' has no column 'text' .*the first of the"):
        ParquetDataset.open(tmp_path / "d")
    with pytest.raises(DataError, match="There is no file or folder"):
        ParquetDataset.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Parquet files"):
        ParquetDataset.open(tmp_path / "empty")


@pytest.mark.parametrize("name", ["pyarrow", "fsspec"])
def test_without_the_extra(tmp_path, monkeypatch, name):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"text": ["red fox"]}).write_parquet(path)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'longtail\[stream\]'"):
        ParquetDataset.open(path if name == "pyarrow" else "memory://x/t.parquet")


def test_ids_that_repeat_are_no_ids(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"id": [7, 7], "text": ["a1", "a2"]}).write_parquet(path)
    dataset = ParquetDataset.open(path)
    assert dataset.id_column is None
    assert dataset.count_block(0).row_ids.to_list() == [0, 1]
    pl.DataFrame({"id": ["08", "7"], "text": ["a1", "a2"]}).write_parquet(path)
    dataset = ParquetDataset.open(path)
    counts = dataset.count_block(0)
    assert counts.row_ids.to_list() == ["08", "7"]
    # New data need not have such a column.
    assert counts.settings == dataset.settings == read_counts(path).settings
    pl.DataFrame({"id": [1.5, 2.5], "text": ["a1", "a2"]}).write_parquet(path)
    assert ParquetDataset.open(path).id_column is None
    with pytest.raises(DataError, match="cannot identify rows: it is of type Float64"):
        ParquetDataset.open(path, id_column="id").count_block(0)
