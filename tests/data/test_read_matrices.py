from __future__ import annotations

import gzip

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from longtail.data import read_counts
from longtail.errors import DataError

DENSE = np.array([[0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 0.5]])


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix, sp.coo_array, sp.bsr_array])
def test_npz(tmp_path, container):
    sp.save_npz(tmp_path / "x.npz", container(DENSE))
    counts = read_counts(tmp_path / "x.npz")
    np.testing.assert_array_equal(counts.csr.toarray(), DENSE)
    assert not counts.vocabulary.named
    assert counts.settings.format == "npz"


def damaged_npz(kind, path):
    if kind == "truncated":
        sp.save_npz(path, sp.csr_array(np.random.default_rng(0).random((200, 200))))
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "flipped":
        sp.save_npz(path, sp.csr_array(np.random.default_rng(0).random((200, 200))))
        content = bytearray(path.read_bytes())
        content[2000:2040] = b"\0" * 40
        path.write_bytes(content)
    elif kind == "other arrays":
        np.savez(path, a=np.ones(3))
    elif kind == "pickled":
        np.savez(path, format=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "unknown format":
        np.savez(path, format=np.array("blob"), shape=np.array([1, 1]), data=np.ones(1))
    elif kind == "out of range":
        arrays = {"data": np.ones(2), "indices": np.array([0, 9]), "indptr": np.array([0, 1, 2])}
        np.savez(path, format=np.array("csc"), shape=np.array([2, 2]), **arrays)
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize(
    "kind",
    ["truncated", "flipped", "other arrays", "pickled", "unknown format", "out of range", "empty"],
)
def test_damaged_npz(tmp_path, kind):
    damaged_npz(kind, tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"Cannot read '.*x.npz'.*save_npz|is damaged"):
        read_counts(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.mtx", "x.mtx.gz"])
@pytest.mark.parametrize("matrix", [DENSE, sp.coo_array(DENSE)])
def test_matrix_market(tmp_path, name, matrix):
    plain = tmp_path / "plain.mtx"
    scipy.io.mmwrite(plain, matrix)
    content = plain.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    counts = read_counts(tmp_path / name)
    np.testing.assert_array_equal(counts.csr.toarray(), DENSE)
    assert counts.settings.format == "mtx"


@pytest.mark.parametrize(
    "content",
    [
        b"no header\n",
        b"%%MatrixMarket matrix coordinate real general\n2 2 3\n1 1 4\n",
        b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 5 4\n",
        b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 x 4\n",
    ],
)
def test_damaged_matrix_market(tmp_path, content):
    (tmp_path / "x.mtx").write_bytes(content)
    with pytest.raises(DataError, match=r"Cannot read '.*x.mtx'.*MatrixMarket"):
        read_counts(tmp_path / "x.mtx")


@pytest.mark.parametrize("name", ["x.svm", "x.svmlight.gz", "x.libsvm"])
def test_svmlight(tmp_path, name):
    text = "# made by hand\n+1 qid:3 2:2 4:1 # a comment 7:1\n\n-1\n0.5,2 4:0.5 1:3\n1:1 1:1\n"
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(content)
    counts = read_counts(tmp_path / name)
    expected = np.vstack([DENSE, [2, 0, 0, 0]])
    np.testing.assert_array_equal(counts.csr.toarray(), expected)
    assert counts.settings.index_base == 1
    assert counts.settings.format == "svmlight"


def test_svmlight_from_zero(tmp_path):
    (tmp_path / "x.svm").write_text("1 0:1 2:1\n")
    counts = read_counts(tmp_path / "x.svm")
    assert counts.shape == (1, 3)
    assert counts.settings.index_base == 0
    with pytest.raises(DataError, match=r"Line 1 .* has the id 0, but ids must be 1 or more"):
        read_counts(tmp_path / "x.svm", index_base=1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2:1 x", "Line 2 .* holds 'x'; expected id:count"),
        ("1 2:", "Line 2 .* holds '2:'"),
        ("1 :2", "Line 2 .* holds ':2'"),
        ("1 2:3:4", "Line 2 .* holds '2:3:4'"),
        ("1 2.5:3", "Line 2 .* holds '2.5:3'"),
        ("1 2:many", "Line 2 .* holds '2:many'"),
        ("1 -2:3", "Line 2 .* has the id -2"),
        ("1 3000000000:1", "Line 2 .* has the id 3000000000"),
        ("1 2:-3", "Negative values in data"),
        ("1 2:nan", "NaN"),
    ],
)
@pytest.mark.parametrize("name", ["x.svm", "x.feat"])
def test_damaged_lines(tmp_path, name, line, message):
    (tmp_path / name).write_text(f"1 1:1\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_counts(tmp_path / name)


@pytest.mark.parametrize("name", ["train.feat", "train.feat.gz"])
def test_bag_of_words_lines(tmp_path, name):
    text = "13 4:1 2:2\n7\n2 1:3 4:2 4:2\n"
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(content)
    counts = read_counts(tmp_path / name)
    assert counts.csr.toarray().tolist() == [[0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert not counts.vocabulary.named
    (tmp_path / "vocab.txt").write_text("a\nb\nc\nd\ne\n")
    counts = read_counts(tmp_path / name)
    assert counts.vocabulary.names == ("a", "b", "c", "d", "e")
    assert counts.settings.format == "bow"
    (tmp_path / "vocab.txt").write_text("a\nb\nc\n")
    with pytest.raises(
        DataError, match=r"Line 1 .* has the id 4, but ids must be 1 to 3 .*vocab.txt"
    ):
        read_counts(tmp_path / name)


def test_lines_without_any_entry(tmp_path):
    (tmp_path / "x.feat").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"0 feature\(s\)"):
        read_counts(tmp_path / "x.feat")


def test_limits_do_not_apply(tmp_path):
    sp.save_npz(tmp_path / "x.npz", sp.csr_array(DENSE))
    with pytest.raises(DataError, match=r"is a matrix .*CountMatrix.select_features"):
        read_counts(tmp_path / "x.npz", min_df=2)
    with pytest.raises(DataError, match="Fractional"):
        read_counts(tmp_path / "x.npz", counts="strict")


def test_a_vocabulary_names_the_columns(tmp_path):
    sp.save_npz(tmp_path / "x.npz", sp.csr_array(DENSE))
    counts = read_counts(tmp_path / "x.npz", vocabulary=["a", "b", "c", "d"])
    assert counts.vocabulary.names == ("a", "b", "c", "d")
    with pytest.raises(DataError, match="Expected 3 features, but these rows have 4"):
        read_counts(tmp_path / "x.npz", vocabulary=["a", "b", "c"])
    (tmp_path / "x.svm").write_text("1 2:1\n")
    counts = read_counts(tmp_path / "x.svm", vocabulary=["a", "b", "c"])
    assert counts.csr.toarray().tolist() == [[0, 1, 0]]
