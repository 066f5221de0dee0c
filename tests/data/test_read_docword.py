from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given

from longtail.data import read_counts, read_like
from longtail.errors import DataError
from tests.data.strategies import dense_counts

CONTENT = "3\n4\n3\n1 2 2\n1 4 1\n3 1 3\n"


@pytest.mark.parametrize("name", ["docword.toy.txt", "docword.toy.txt.gz"])
def test_docwords(tmp_path, name):
    content = CONTENT.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    counts = read_counts(tmp_path / name)
    assert counts.csr.toarray().tolist() == [[0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 0]]
    assert counts.row_ids.to_list() == [1, 2, 3]
    assert not counts.vocabulary.named
    assert counts.settings.format == "docword"
    (tmp_path / "vocab.toy.txt").write_text("a\nb\nc\nd\n")
    named = read_counts(tmp_path / name)
    assert named.vocabulary.names == ("a", "b", "c", "d")
    again, unseen = read_like(tmp_path / name, named.settings, named.vocabulary)
    assert again.totals.tolist() == [3, 0, 3]
    assert unseen.n_features == 0
    (tmp_path / "vocab.toy.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"names 2 words, but line 2 of .* says 4"):
        read_counts(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a text\n", "Line 1 .* holds 'a text'; expected D, .*format='txt'"),
        ("3\n4\n", "Line 3 .* holds ''; expected NNZ"),
        ("3\n4\n2\n1 2 2\n", "Line 3 .* announces 2 entries, but 1 lines follow"),
        ("3\n4\n1\n1 2\n", r"Line 4 .* has 2 field\(s\)"),
        ("3\n4\n2\n1 2 1\n4 1 1\n", "Line 5 .* has the document '4'; .* from 1 to 3"),
        ("3\n4\n1\n1 5 1\n", "Line 4 .* has the word '5'; .* from 1 to 4"),
        ("3\n4\n1\n1 0 1\n", "Line 4 .* has the word '0'"),
        ("3\n4\n1\n1 2 x\n", "Line 4 .* has the count 'x'; expected a number"),
        ("3\n4\n1\n1 2 -1\n", "Negative values in data.*row 1 .*column 1"),
        ("3\n4\n2\n1 2 1\n1 2 3 4\n", "lines of: document word count"),
    ],
)
def test_damaged_docwords(tmp_path, content, message):
    (tmp_path / "docword.toy.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_counts(tmp_path / "docword.toy.txt")


def test_the_format_can_be_named(tmp_path):
    (tmp_path / "counts.dat").write_text(CONTENT)
    assert read_counts(tmp_path / "counts.dat", format="docword").shape == (3, 4)
    (tmp_path / "docword.toy.txt").write_text("just a text\n")
    assert read_counts(tmp_path / "docword.toy.txt", format="txt").n_rows == 1


@given(dense_counts)
def test_round_trip(tmp_path_factory, dense):
    rows, columns = np.nonzero(dense)
    lines = [*dense.shape, len(rows)]
    lines += [f"{r + 1} {c + 1} {dense[r, c]:.10g}" for r, c in zip(rows, columns, strict=True)]
    path = tmp_path_factory.mktemp("d") / "docword.x.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    np.testing.assert_array_equal(read_counts(path).csr.toarray(), dense)
