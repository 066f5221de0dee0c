"""Recommendations: the posterior predictive's best items, with the seen ones left out."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest

from longtail.data import CountMatrix, split_items
from longtail.errors import DataError, DataWarning, NotFittedError, ParameterError
from longtail.estimator.recommending import match_rows
from longtail.introspection import explain_recommendation
from tests.builders import topic_counts
from tests.estimator.models import names, small, words


@cache
def fitted():
    return small(epochs=15, learning_rate=0.03).fit(named(words()))


def named(dense, row_ids=None):
    return CountMatrix.from_any(dense, vocabulary=names(20), row_ids=row_ids)


def fresh(n=30, **kwargs):
    return named(topic_counts(n, 20, seed=7, **kwargs), [f"u{i}" for i in range(n)])


def predictive(X):
    return fitted().inverse_transform(fitted().posterior(X).mean)


def test_the_best_unseen_items_by_the_posterior_predictive():
    X = fresh()
    found = fitted().recommend(X, 4)
    p = predictive(X)
    p[X.csr.nonzero()] = 0
    np.testing.assert_array_equal(found.indices, np.argsort(-p, axis=1, kind="stable")[:, :4])
    np.testing.assert_allclose(found.scores, np.take_along_axis(p, found.indices, 1), rtol=1e-5)
    assert found.row_ids.equals(X.row_ids)
    assert not found.no_history.any()
    assert not found.short.any()


def test_seen_items_where_they_are_wanted():
    X = fresh()
    found = fitted().recommend(X, 1, exclude_seen=False)
    np.testing.assert_array_equal(found.indices[:, 0], predictive(X).argmax(1))


@pytest.mark.parametrize("allowed", [["w03", "w07"], [3, 7], np.isin(np.arange(20), [3, 7])])
def test_only_items_that_the_filter_allows(allowed):
    found = fitted().recommend(fresh(), 3, filter_items=allowed, exclude_seen=False)
    assert {tuple(sorted(row)) for row in found.indices[:, :2].tolist()} == {(3, 7)}
    assert (found.indices[:, 2] == -1).all()
    assert found.short.all()
    assert np.isnan(found.scores[:, 2]).all()


def test_rows_without_history_get_what_is_frequent():
    found = fitted().recommend(fresh(5, empty=[2]), 3)
    assert found.no_history.tolist() == [False, False, True, False, False]
    top = np.argsort(-fitted().unigram_, kind="stable")[:3]
    np.testing.assert_array_equal(found.indices[2], top)
    np.testing.assert_allclose(found.scores[2], fitted().unigram_[top], rtol=1e-5)
    assert "u2 (no history)" in str(found)


def test_a_row_that_has_seen_everything_gets_nulls():
    X = named(np.vstack([np.ones(20), topic_counts(1, 20, seed=3)[0]]))
    found = fitted().recommend(X, 3)
    assert found.short.tolist() == [True, False]
    frame = found.frame()
    assert frame.height == 6
    assert frame.filter(pl.col("row_id") == 0).select("item", "score").null_count().row(0) == (3, 3)
    assert frame.filter(pl.col("row_id") == 1)["item"].to_list() == found.items(1)
    assert "nothing left" in str(found)
    assert "1 row(s) had fewer than 3" in str(found)


def test_items_unknown_to_the_model_are_reported():
    X = fresh(5)
    wider = np.hstack([X.csr.toarray(), np.ones((5, 1))])
    wider = CountMatrix.from_any(wider, vocabulary=[*names(20), "zebra"], row_ids=X.row_ids)
    found = fitted().recommend(wider, 3)
    assert found.unseen.rows == 1.0
    assert found.unseen.examples == ("zebra",)
    np.testing.assert_array_equal(found.indices, fitted().recommend(X, 3).indices)
    assert found.to_dict()["unseen"]["items"] == 1


def test_lists_depend_neither_on_the_batch_nor_on_the_chunk(monkeypatch):
    X = fresh()
    whole = fitted().recommend(X, 5)
    monkeypatch.setattr("longtail.evaluation.topk._CHUNK", 60)
    again = fitted().recommend(X[[7, 3]], 5)
    np.testing.assert_array_equal(again.indices, whole.indices[[7, 3]])


@pytest.mark.parametrize("k", [20, 21, 10**9])
def test_more_items_than_there_are(k):
    found = fitted().recommend(fresh(3), k, exclude_seen=False)
    assert found.indices.shape == (3, 20)
    np.testing.assert_array_equal(np.sort(found.indices, 1), np.tile(np.arange(20), (3, 1)))
    assert found.short.tolist() == [k > 20] * 3


@pytest.mark.parametrize("k", [0, 2**31, 10**30, 1.0, True, None])
def test_what_is_no_number_of_items(k):
    with pytest.raises(ParameterError, match="k must be a whole number ≥ 1"):
        fitted().recommend(fresh(3), k)


@pytest.mark.parametrize("items", [3, 1.5, True])
def test_items_are_a_list(items):
    with pytest.raises(ParameterError, match="filter_items must be a list"):
        fitted().recommend(fresh(3), 2, filter_items=items)
    with pytest.raises(ParameterError, match="cutoffs must be a list"):
        fitted().rank(fresh(3), fresh(3), cutoffs=items)


def test_text_and_json_are_complete():
    found = fitted().recommend(fresh(7), 6)
    plain = found.to_dict()
    assert plain["rows"] == 7
    assert plain["recommendations"][3]["items"] == found.items(3)
    assert "and 2 more rows" in str(found)
    assert len(found) == 7
    assert found.frame().columns == ["row_id", "rank", "item", "score", "no_history"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ParameterError, "k must be a whole number ≥ 1"),
        ({"filter_items": ["w3"]}, DataError, "Unknown feature 'w3'.*Did you mean.*'w03'"),
        ({"filter_items": [20]}, DataError, "from 0 to 19; got"),
        ({"filter_items": [True]}, DataError, "needs 20 entries"),
        ({"filter_items": [0.5]}, ParameterError, "names, column numbers or a mask; got float"),
        ({"filter_items": []}, ParameterError, "allows no item"),
        ({"filter_items": np.zeros(20, dtype=bool)}, ParameterError, "allows no item"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        fitted().recommend(fresh(3), **options)
    with pytest.raises(NotFittedError):
        small().recommend(fresh(3))


def test_ranking_beats_popularity_where_there_is_something_to_learn():
    X = fresh(200, tokens=30)
    observed, held_out = split_items(X, 0.3, seed=0)
    found = fitted().rank(observed, held_out, cutoffs=[3])
    popular = fitted().rank(named(np.zeros((200, 20)), X.row_ids), held_out, cutoffs=[3])
    assert found["ndcg@3"] > popular["ndcg@3"] + 0.1
    assert "novelty@3" in found.metrics


def test_held_out_rows_are_matched_by_id():
    X = fresh(6)
    observed, held_out = split_items(X, 0.5, seed=0)
    partly = held_out[[4, 1]]
    matched = match_rows(observed, partly)
    assert matched.row_ids.equals(observed.row_ids)
    expected = np.zeros((6, 20))
    expected[[4, 1]] = partly.csr.toarray()
    np.testing.assert_array_equal(matched.csr.toarray(), expected)
    assert fitted().rank(observed, partly, cutoffs=[5]).rows <= 2
    with pytest.raises(DataError, match=r"1 of 2 held-out rows are not among.*'u4'"):
        match_rows(observed[:4], partly)


def test_ranking_says_which_held_out_items_could_never_be_found():
    observed = CountMatrix.from_any([[1.0, 0.0]], vocabulary=["w00", "w01"])
    held_out = CountMatrix.from_any([[1.0, 1.0]], vocabulary=["w03", "zebra"])
    with pytest.warns(DataWarning, match="zebra"):
        assert fitted().rank(observed, held_out, cutoffs=[3]).held_out == 1


def test_no_warning_says_twice_what_the_result_reports():
    X = CountMatrix.from_any([[1.0, 2.0]], vocabulary=["w00", "zebra"])
    with pytest.warns(DataWarning):
        fitted().transform(X)
    assert fitted().recommend(X, 2).unseen.mass == pytest.approx(2 / 3)


def test_items_given_by_number_where_a_name_could_be_meant():
    X = fresh().csr
    plain = small().fit(X)
    with pytest.warns(DataWarning, match="filter_items: .* because the model's features have no"):
        by_text = plain.recommend(X, 2, filter_items=["3", "12"])
    by_number = plain.recommend(X, 2, filter_items=[3, 12])
    np.testing.assert_array_equal(by_text.indices, by_number.indices)
    items = CountMatrix.from_any(X, vocabulary=[str(n) for n in range(10, 30)])
    numbered = small().fit(items)
    with pytest.warns(DataWarning, match="called by numbers. Give names as text"):
        found = numbered.recommend(items, 2, filter_items=[10, 11])
    assert set(found.frame()["item"]) <= {"20", "21"} | {None}
    named = numbered.recommend(items, 2, filter_items=["10", "11"], exclude_seen=False)
    assert set(named.frame()["item"]) == {"10", "11"}
    numbered.recommend(items, 2, filter_items=[1, 2])
    with pytest.warns(DataWarning, match="item: .* not as a name"):
        explain_recommendation(numbered, items[0], 10)
