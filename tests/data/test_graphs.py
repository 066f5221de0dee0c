from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import longtail as lt
from longtail.errors import DataError


@pytest.fixture
def graph(tmp_path):
    edges = pl.DataFrame({"user": ["a", "a", "b", "d"], "friend": ["b", "c", "c", "a"]})
    edges.write_csv(tmp_path / "edges.csv")
    settings = {"row_column": "user", "feature_column": "friend", "symmetric": True}
    return lt.read_counts(tmp_path / "edges.csv", **settings)


def test_every_node_is_its_own_neighbour(graph):
    found = lt.with_self_links(graph)
    expected = graph.csr.toarray()
    np.fill_diagonal(expected, 1)
    np.testing.assert_array_equal(found.csr.toarray(), expected)
    assert found.csr.has_sorted_indices
    assert found.row_ids.to_list() == graph.row_ids.to_list()
    assert found.vocabulary == graph.vocabulary
    assert found.settings == graph.settings


def test_links_that_are_there_keep_their_values(graph):
    once = lt.with_self_links(graph)
    np.testing.assert_array_equal(lt.with_self_links(once).csr.toarray(), once.csr.toarray())
    heavy = once.csr.copy()
    heavy.data = heavy.data * 3
    rows = lt.CountMatrix.from_any(heavy, row_ids=once.row_ids, vocabulary=once.vocabulary)
    np.testing.assert_array_equal(lt.with_self_links(rows).csr.toarray(), heavy.toarray())


def test_they_can_be_read(graph, tmp_path):
    settings = {"row_column": "user", "feature_column": "friend", "symmetric": True}
    found = lt.read_counts(tmp_path / "edges.csv", **settings, self_links=True)
    np.testing.assert_array_equal(found.csr.toarray(), lt.with_self_links(graph).csr.toarray())
    (tmp_path / "graph.edges").write_text("a b\na c\n")
    found = lt.read_counts(tmp_path / "graph.edges", self_links=True)
    np.testing.assert_array_equal(found.csr.toarray(), [[1, 1, 1], [1, 1, 0], [1, 0, 1]])
    with pytest.raises(DataError, match="self_links"):
        lt.read_counts(
            tmp_path / "edges.csv", row_column="user", feature_column="friend", self_links=True
        )


def test_some_rows_in_any_order(graph):
    rows = graph[[2, 0]]
    np.testing.assert_array_equal(
        lt.with_self_links(rows).csr.toarray(), lt.with_self_links(graph).csr.toarray()[[2, 0]]
    )


def test_they_stay_when_edges_are_held_out(graph):
    observed, held_out = lt.split_edges(lt.with_self_links(graph), 0.5, seed=0)
    assert (observed.csr.diagonal() > 0).all()
    assert (held_out.csr.diagonal() == 0).all()


def test_rows_that_are_no_nodes(graph):
    rows = lt.CountMatrix.from_any(
        graph.csr, row_ids=["a", "b", "x", "d"], vocabulary=graph.vocabulary
    )
    with pytest.raises(DataError, match=r"1 of 4 rows are none; the first is 'x'"):
        lt.with_self_links(rows)
