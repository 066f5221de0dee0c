"""Links of a network: probabilities from both ends, held to products of dense ones."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from longtail.data import CountMatrix, split_edges
from longtail.errors import DataError, DataWarning
from tests.estimator.models import names, small

N = 20


@cache
def graph():
    """Two circles of ten friends with a few links between them; node 7 has none."""
    rng = np.random.default_rng(0)
    close = np.where(np.add.outer(np.arange(N) // 10, np.arange(N) // 10) % 2 == 0, 0.6, 0.05)
    upper = np.triu(rng.random((N, N)) < close, 1)
    links = (upper | upper.T).astype(np.float32)
    links[7] = links[:, 7] = 0
    return CountMatrix.from_any(links, vocabulary=names(N), row_ids=names(N))


@cache
def fitted(**kwargs):
    return small(epochs=15, learning_rate=0.03, **kwargs).fit(graph()[graph().totals > 0])


@pytest.mark.parametrize("likelihood", ["multinomial", "bernoulli"])
def test_scores_are_products_of_both_directions(likelihood):
    model, X = fitted(likelihood=likelihood), graph()
    p = model.inverse_transform(model.posterior(X).mean)
    p /= p.sum(1, keepdims=True)
    p[7] = model.unigram_  # without neighbours
    both = p * p.T
    np.fill_diagonal(both, 0)
    both[X.csr.nonzero()] = 0
    found = model.recommend(X, 3, network=X)
    np.testing.assert_array_equal(found.indices, np.argsort(-both, 1, kind="stable")[:, :3])
    np.testing.assert_allclose(found.scores, np.take_along_axis(both, found.indices, 1), rtol=1e-4)
    assert found.no_history.tolist() == (np.arange(N) == 7).tolist()


def test_some_rows_are_scored_as_among_all():
    model, X = fitted(), graph()
    all_, some = model.recommend(X, 4, network=X), model.recommend(X[[3, 12]], 4, network=X)
    np.testing.assert_array_equal(some.indices, all_.indices[[3, 12]])


def test_an_item_without_a_row_has_no_history():
    model, X = fitted(), graph()
    without = X[np.arange(N) != 5]
    emptied = X.csr.toarray()
    emptied[5] = 0
    emptied = CountMatrix.from_any(emptied, vocabulary=X.vocabulary, row_ids=X.row_ids)
    expected = model.recommend(X[[2]], 6, network=emptied)
    np.testing.assert_array_equal(
        model.recommend(X[[2]], 6, network=without).indices, expected.indices
    )


def test_nobody_is_recommended_to_themselves():
    X = graph()
    found = fitted().recommend(X, N, exclude_seen=False, network=X)
    assert all(row not in items for row, items in enumerate(found.indices.tolist()))
    assert found.short.all()


def test_held_out_links_are_ranked_from_both_ends():
    observed, held_out = split_edges(graph(), 0.2, seed=1)
    found = fitted().rank(observed, held_out, cutoffs=(5,), network=observed)
    assert found["recall@5"] > 1.5 * 5 / N


def test_without_names_in_the_model_those_of_the_rows_count():
    X = graph()
    plain = small(epochs=15, learning_rate=0.03).fit(X.csr[X.totals > 0])
    order = [f"n{i}" for i in reversed(range(N))]
    turned = CountMatrix.from_any(X.csr, vocabulary=order, row_ids=order)
    with pytest.warns(DataWarning, match="rows have feature names") as notices:
        by_name = plain.recommend(turned, 4, network=turned[list(range(N))[::-1]])
    assert len(notices) == 2  # of the rows, and of the network
    np.testing.assert_array_equal(by_name.indices, plain.recommend(X.csr, 4, network=X.csr).indices)


def test_rows_that_are_no_items_are_refused():
    ids = [f"somebody {i}" for i in range(N)]
    X = CountMatrix.from_any(graph().csr, vocabulary=graph().vocabulary, row_ids=ids)
    with pytest.raises(DataError, match="20 of 20 rows are none; the first is 'somebody 0'"):
        fitted().recommend(X, 2, network=X)
    with pytest.raises(DataError, match="None of the 20 rows of the network"):
        fitted().recommend(graph(), 2, network=X)
