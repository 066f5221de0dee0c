"""Explanations, held to what removing an item and inferring again really does."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from longtail import CountMatrix, NonlinearFactorAnalysis
from longtail.errors import DataError, NotFittedError, ParameterError
from longtail.introspection import explain_recommendation, explain_recommendations
from longtail.introspection.closed_form import jacobian_at
from longtail.introspection.explanations import supporting_items

V = 60


def rows(n, seed):
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).dirichlet(np.full(V, 0.15), size=8)
    weights = rng.dirichlet(np.full(8, 0.2), size=n)
    totals = rng.poisson(20, n) + 3
    dense = [rng.multinomial(t, w @ topics) for t, w in zip(totals, weights, strict=True)]
    return CountMatrix.from_any(np.array(dense), vocabulary=[f"a{v:02d}" for v in range(V)])


@cache
def fitted(decoder_layers):
    return NonlinearFactorAnalysis(
        n_components=6,
        n_hidden=32,
        decoder_layers=decoder_layers,
        epochs=30,
        batch_size=50,
        learning_rate=0.01,
        validation_fraction=0.0,
        eval_refine_steps=200,
        random_state=0,
    ).fit(rows(400, 1))


def influences(model, row, item):
    """Of all own items, in the order of their columns."""
    found = explain_recommendation(model, row, item, k=V).own_items
    by_name = dict(found.select("item", "influence").iter_rows())
    return np.array([by_name[row.vocabulary[int(v)]] for v in row.csr.indices])


def truly_lost(model, row, item):
    """Fall of the item's log-probability when each own item is removed, and inferred again."""
    own = row.csr.indices
    without = np.repeat(row.csr.toarray(), len(own), axis=0)
    without[np.arange(len(own)), own] = 0
    both = CountMatrix.from_any(np.vstack([row.csr.toarray(), without]), vocabulary=row.vocabulary)
    log_p = np.log(model.inverse_transform(model.transform(both))[:, item])
    return log_p[0] - log_p[1:]


@pytest.mark.parametrize(("decoder_layers", "least"), [(0, 0.9), (2, 0.7)])
def test_influence_tells_what_removing_an_item_does(decoder_layers, least):
    model, X = fitted(decoder_layers), rows(25, 2)
    best = model.recommend(X, 1).indices[:, 0]
    correlations, agree, chance, slopes = [], [], [], []
    for d in range(X.n_rows):
        row = X[[d]]
        told = influences(model, row, int(best[d]))
        true = truly_lost(model, row, int(best[d]))
        correlations.append(spearmanr(told, true)[0])
        agree.append(told.argmax() == true.argmax())
        chance.append(1 / len(told))
        slopes.append(told @ true / (told @ told))
    assert np.mean(correlations) > least
    assert np.mean(agree) > 0.6 > 4 * np.mean(chance)
    assert 0.7 < np.median(slopes) < 1.3  # in nats too, not only in order


def test_for_the_multinomial_it_is_the_influence_function():
    model, row = fitted(2), rows(1, 3)
    item = int(model.recommend(row, 1).indices[0, 0])
    z = torch.from_numpy(model.transform(row))
    decoder = model.network_.generative.decoder
    j_l = jacobian_at(decoder, z, "log_probabilities")[0].double().numpy()
    p = model.inverse_transform(z.numpy())[0].astype(np.float64)
    fisher = (j_l.T * p) @ j_l
    expected = []
    for v, x_v in zip(row.csr.indices, row.csr.data, strict=True):
        precision = np.eye(6) + (row.totals[0] - x_v) * fisher
        expected.append(j_l[item] @ np.linalg.solve(precision, x_v * j_l[v]))
    np.testing.assert_allclose(influences(model, row, item), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("decoder_layers", [0, 2])
def test_the_dimensions_shares_sum_to_the_lift(decoder_layers):
    model, row = fitted(decoder_layers), rows(1, 4)
    for item in range(0, V, 7):
        found = explain_recommendation(model, row, item, k=6)
        assert found.directions.height == 6
        p0 = model.inverse_transform(np.zeros((1, 6)))[0, item]
        assert found.lift == pytest.approx(np.log(found.probability / p0), abs=1e-4)
        assert found.directions["contribution"].sum() == pytest.approx(found.lift, abs=0.05)


def test_the_named_features_rise_along_the_direction():
    model, row = fitted(0), rows(1, 4)
    found = explain_recommendation(model, row, 0, k=1)
    k, mean, _, features = found.directions.row(0)
    z = model.transform(row)
    further = z.copy()
    further[0, k] += 0.05 * np.sign(mean)
    before, after = model.inverse_transform(z)[0], model.inverse_transform(further)[0]
    for name in features:
        v = row.vocabulary.index(name)
        assert after[v] > before[v]


def test_lists_are_cut_sorted_and_ready_for_json():
    model, row = fitted(2), rows(1, 5)
    found = explain_recommendation(model, row, "a07", k=3)
    assert found.item == "a07"
    assert found.own_items["influence"].is_sorted(descending=True)
    assert found.own_items.height == found.directions.height == 3
    assert json.loads(json.dumps(found.to_dict()))["own_items"][0]["count"] >= 1
    assert found.own_items["item"][0] in str(found)
    both = explain_recommendations(model, row, [7, 9], k=3)
    assert both[0].own_items["item"].equals(found.own_items["item"])
    assert both[1].item == "a09"
    alone = supporting_items(model, row, [7, 9], k=3)
    assert [own["item"].to_list() for own in alone] == [e.own_items["item"].to_list() for e in both]
    mean = model.posterior(row).mean
    inferred = supporting_items(model, row, [7, 9], k=3, mean=mean)
    for own, given in zip(alone, inferred, strict=True):
        assert own.equals(given)


def test_chunks_do_not_matter(monkeypatch):
    model, row = fitted(2), rows(1, 6)
    whole = influences(model, row, 3)
    monkeypatch.setattr("longtail.introspection.explanations._CHUNK", 2 * V)
    np.testing.assert_allclose(influences(model, row, 3), whole, atol=1e-5)


def test_a_row_with_a_single_item_has_one_reason():
    model = fitted(2)
    counts = [[0.0, 3.0, *[0.0] * (V - 2)]]
    row = CountMatrix.from_any(counts, vocabulary=model.vocabulary_)
    found = explain_recommendation(model, row, 5)
    assert found.own_items.height == 1
    assert found.own_items["influence"][0] == pytest.approx(found.lift, rel=0.5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, ParameterError, "k must be a whole number"),
        ({"item": "a7"}, DataError, "Did you mean"),
        ({"item": V}, DataError, "from 0 to 59; got 60"),
        ({"row": np.ones((2, V))}, DataError, "Expected one row of counts; got 2"),
        ({"row": np.zeros((1, V))}, DataError, "nothing of its own speaks for them"),
    ],
)
def test_refusals(change, error, message):
    arguments = {"row": np.ones((1, V)), "item": 0} | change
    row = CountMatrix.from_any(arguments.pop("row"), vocabulary=fitted(0).vocabulary_)
    with pytest.raises(error, match=message):
        explain_recommendation(fitted(0), row, **arguments)
    with pytest.raises(NotFittedError):
        explain_recommendation(NonlinearFactorAnalysis(), np.ones((1, V)), 0)
