from __future__ import annotations

import gzip

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import read_counts, read_like
from longtail.errors import DataError, DataWarning
from tests.data.test_read_text import write

EDGES = """# a graph
% of the other kind of comment
10 9
9\t10  # the same

2,10
"""


@pytest.mark.parametrize("name", ["g.edges", "g.edgelist", "g.edges.gz"])
def test_edge_lists(tmp_path, name):
    content = gzip.compress(EDGES.encode()) if name.endswith(".gz") else EDGES.encode()
    (tmp_path / name).write_bytes(content)
    counts = read_counts(tmp_path / name)
    assert counts.row_ids.to_list() == [2, 9, 10]
    assert counts.vocabulary.names == ("2", "9", "10")
    assert counts.csr.toarray().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert counts.settings.format == "edges"
    assert counts.n_repeated == 0  # nothing was added up


def test_weighted_edges(tmp_path):
    path = tmp_path / "g.edges"
    path.write_text("b a 2\na b 0.5\na c 1\nd a 0\n")
    counts = read_counts(path)
    assert counts.row_ids.to_list() == ["a", "b", "c"]  # an edge of weight 0 is none
    assert counts.csr.toarray().tolist() == [[0, 2.5, 1], [2.5, 0, 0], [1, 0, 0]]
    assert counts.n_repeated == 1
    assert read_counts(path, min_value=1).csr.toarray().tolist() == [
        [0, 2, 1],
        [2, 0, 0],
        [1, 0, 0],
    ]
    assert read_counts(path, binarize=True).totals.tolist() == [2, 1, 1]
    with pytest.raises(DataError, match=r"No edge of .* is left with min_value=3: .* is 2"):
        read_counts(path, min_value=3)


def test_edges_to_the_node_itself_are_left_out_and_counted(tmp_path):
    path = tmp_path / "g.edges"
    path.write_text("a a\nb b\na c\n")
    with pytest.warns(DataWarning, match=r"2 of 3 edges .*the first at node 'a'"):
        counts = read_counts(path)
    assert counts.row_ids.to_list() == ["a", "c"]
    path.write_text("a a\n")
    with (
        pytest.warns(DataWarning, match="1 of 1 edges"),
        pytest.raises(DataError, match="holds no edge between two different nodes"),
    ):
        read_counts(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b\nc\n", "Line 2 .* holds 'c'; expected two nodes, separated"),
        ("a b 1\na c\n", "Line 2 .* expected two nodes and a weight, as on the lines before"),
        ("# x\na b 1 2\n", r"Line 2 .* holds 'a b 1 2'; .*symmetric"),
        ("a b 1\na c x\n", "Line 2 .* has the weight 'x'; expected a finite number"),
        ("a b -1\n", "Line 1 .* has the weight '-1'"),
        ("a b nan\n", "Line 1 .* has the weight 'nan'"),
        ("# nothing\n", "holds comments alone"),
    ],
)
def test_damaged_edge_lists(tmp_path, content, message):
    (tmp_path / "g.edges").write_text(content)
    with pytest.raises(DataError, match=message):
        read_counts(tmp_path / "g.edges")


def test_a_threshold_needs_weights(tmp_path):
    (tmp_path / "g.edges").write_text("a b\n")
    with pytest.raises(DataError, match="min_value needs weights"):
        read_counts(tmp_path / "g.edges", min_value=1)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_tables_of_edges(tmp_path, name):
    frame = pl.DataFrame({"a": [3, 1, 3], "b": [1, 3, 20], "w": [1.0, 2.0, 4.0]})
    path = write(tmp_path / name, frame)
    columns = {"row_column": "a", "feature_column": "b", "symmetric": True}
    counts = read_counts(path, **columns)
    assert counts.row_ids.to_list() == [1, 3, 20]
    assert counts.vocabulary.names == ("1", "3", "20")
    assert counts.csr.toarray().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    weighted = read_counts(path, **columns, value_column="w")
    assert weighted.csr.toarray().tolist() == [[0, 3, 0], [3, 0, 4], [0, 4, 0]]


def test_new_edges_for_a_model(tmp_path):
    (tmp_path / "g.edges").write_text("a b\nb c\n")
    train = read_counts(tmp_path / "g.edges")
    (tmp_path / "new.edges").write_text("new a\nnew b\nnew other\n")
    counts, unseen = read_like(tmp_path / "new.edges", train.settings, train.vocabulary)
    assert counts.vocabulary == train.vocabulary
    assert counts.row_ids.to_list() == ["a", "b", "new", "other"]
    assert counts.csr.toarray().tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert unseen.n_features == 2
    (tmp_path / "x.basket").write_text("a,b\n")
    with pytest.raises(DataError, match=r"read as basket .* model's data were a graph \(edges\)"):
        read_like(tmp_path / "x.basket", train.settings, train.vocabulary)


nodes = st.integers(-3, 12)
graphs = st.sets(st.tuples(nodes, nodes).filter(lambda e: e[0] < e[1]), min_size=1)


@given(graphs, st.randoms(use_true_random=False))
def test_graphs_round_trip(tmp_path_factory, graph, random):
    listed = [random.sample(edge, 2) for edge in graph]
    path = tmp_path_factory.mktemp("g") / "g.edges"
    path.write_text("".join(f"{a} {b}\n" for a, b in listed))
    counts = read_counts(path)
    names = sorted({node for edge in graph for node in edge})
    assert counts.row_ids.to_list() == names
    assert counts.vocabulary.names == tuple(map(str, names))
    dense = counts.csr.toarray()
    assert np.array_equal(dense, dense.T)
    found = {(names[a], names[b]) for a, b in zip(*np.nonzero(np.triu(dense)), strict=True)}
    assert found == graph
