from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import MissingExtraError, ParameterError
from longtail.introspection import neighbors
from longtail.introspection.neighbors import NearestRows, check_metric, norms, unit
from tests.profiles import examples

METRICS = ("cosine", "dot", "euclidean")


def vectors(n, k, seed=0):
    return np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)


def by_definition(rows, query, metric):
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        return np.array([-np.sqrt(sum((r - query) ** 2)) for r in rows])
    products = np.array([sum(r * query) for r in rows])
    if metric == "dot":
        return products
    return products / np.array([np.sqrt(sum(r**2)) * np.sqrt(sum(query**2)) for r in rows])


@settings(max_examples=examples(30))
@given(
    metric=st.sampled_from(METRICS),
    v=st.integers(1, 12),
    n=st.integers(1, 5),
    k=st.integers(1, 15),
    dimensions=st.integers(1, 4),
    chunk=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_search_against_sorting_everything(metric, v, n, k, dimensions, chunk, seed):
    rows, queries = vectors(v, dimensions, seed), vectors(n, dimensions, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "_CHUNK", chunk)
        found, similarity = NearestRows(rows, metric).search(queries, k)
    assert found.shape == similarity.shape == (n, min(k, v))
    for q, near, values in zip(queries, found, similarity, strict=True):
        every = by_definition(rows, q, metric)
        assert len(set(near)) == len(near)
        np.testing.assert_allclose(values, every[near], atol=1e-5)
        # Near ties may come in either order.
        np.testing.assert_allclose(values, np.sort(every)[::-1][: len(near)], atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("approximate", [False, True])
def test_a_row_finds_itself(metric, approximate):
    rows = vectors(50, 8)
    found, values = NearestRows(rows, metric, approximate=approximate).search(rows, 1)
    assert found[:, 0].tolist() == list(range(50))
    np.testing.assert_allclose(values, 1 if metric == "cosine" else 0, atol=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_approximate_neighbours_are_mostly_the_exact_ones(metric):
    rows, queries = vectors(400, 10), vectors(40, 10, seed=1)
    exact, values = NearestRows(rows, metric).search(queries, 10)
    found, about = NearestRows(rows, metric, approximate=True).search(queries, 10)
    assert found.shape == about.shape == (40, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall > 0.8
    # The similarities are the same numbers, not usearch's distances.
    expected = [by_definition(rows[f], q, metric) for f, q in zip(found, queries, strict=True)]
    np.testing.assert_allclose(about, expected, atol=1e-4)
    assert (np.diff(about, axis=1) <= 1e-5).all()
    assert about.dtype == values.dtype == np.float32


@pytest.mark.parametrize("metric", METRICS)
def test_approximate_search_for_more_than_there_are(metric):
    found, _ = NearestRows(vectors(5, 3), metric, approximate=True).search(vectors(2, 3), 10)
    assert np.sort(found, axis=1).tolist() == [[0, 1, 2, 3, 4]] * 2


def test_without_usearch(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtraError, match=r"pip install longtail\[ann\]"):
        NearestRows(vectors(5, 3), "dot", approximate=True)
    NearestRows(vectors(5, 3), "dot").search(vectors(1, 3), 2)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_zeros_are_no_trouble(metric):
    rows = np.zeros((4, 3), dtype=np.float32)
    rows[0] = [1, 0, 0]
    found, values = NearestRows(rows, metric).search(rows[:1], 4)
    assert found[0, 0] == 0
    assert np.isfinite(values).all()
    _, values = NearestRows(rows, metric).search(rows[1:2], 4)
    assert np.isfinite(values).all()


def test_unit_vectors():
    rows = np.array([[3, 4], [0, 0], [1e-3, 0]], dtype=np.float32)
    np.testing.assert_allclose(unit(rows), [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)
    np.testing.assert_allclose(norms(rows), [5, 0, 1e-3], rtol=1e-6)
    assert unit(rows).dtype == norms(rows).dtype == np.float32


def test_metrics():
    for metric in METRICS:
        check_metric(metric)
    with pytest.raises(ParameterError, match="cosine, dot, euclidean; got 'manhattan'"):
        check_metric("manhattan")
    with pytest.raises(ParameterError, match="manhattan"):
        NearestRows(vectors(2, 2), "manhattan")
