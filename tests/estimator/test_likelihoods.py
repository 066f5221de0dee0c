"""The estimator with each likelihood, end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.sparse import csr_array

import longtail as lt
from longtail.errors import DataError, ParameterError
from longtail.model.likelihoods import LIKELIHOODS
from tests.builders import topic_counts

OPTIONS = {
    "n_components": 3,
    "n_hidden": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "epochs": 30,
    "batch_size": 60,
    "learning_rate": 0.02,
    "weight_decay": 0.1,
    "eval_refine_steps": 10,
    "random_state": 0,
}


def rows(likelihood, n=400, seed=0):
    counts = topic_counts(n, 25, tokens=15, seed=seed)
    if likelihood in ("negative_binomial", "dirichlet_multinomial"):
        counts = counts * np.random.default_rng(seed).poisson(1.5, counts.shape)
        counts[counts.sum(1) == 0, 0] = 1
    return counts.clip(max=1) if likelihood == "bernoulli" else counts


@pytest.fixture(scope="module", params=sorted(LIKELIHOODS))
def fitted(request):
    model = lt.NonlinearFactorAnalysis(likelihood=request.param, **OPTIONS)
    return model.fit(rows(request.param))


def test_it_learns(fitted):
    scores = fitted.evaluate(rows(fitted.likelihood, 200, seed=5), samples=10, seed=0)
    assert scores.elbo_refined.nats_per_row > scores.floor.nats_per_row + 0.5
    assert scores.iw.nats_per_row >= scores.elbo_refined.nats_per_row
    assert scores.elbo_refined.nats_per_row > scores.elbo_amortized.nats_per_row
    assert scores.completion.per_word < 20
    full = fitted.evaluate(
        rows(fitted.likelihood, 60, seed=5), samples=10, seed=0, full_covariance=True
    )
    assert full.elbo_full.nats_per_row > full.elbo_refined.nats_per_row - 0.3


def test_perplexities_only_where_tokens_are_scored(fitted):
    scores = fitted.evaluate(rows(fitted.likelihood, 50, seed=5), samples=3, seed=0)
    per_token = fitted.likelihood in ("multinomial", "dirichlet_multinomial")
    for rung in (scores.floor, scores.elbo_refined, scores.iw):
        assert (rung.per_doc is not None) == (rung.per_word is not None) == per_token
    assert ("nats/row are lower bounds" in str(scores)) == (not per_token)
    assert json.loads(json.dumps(scores.to_dict()))["completion"]["per_word"] > 1
    assert scores.frame().height == 5
    assert scores.plot().to_dict()
    record = fitted.history_[-1]
    assert (record.valid_per_doc_refined is not None) == per_token
    assert record.valid_nats_per_row is not None
    assert fitted.history_.plot().to_dict()


def test_saved_and_opened_it_is_the_same(fitted, tmp_path):
    X = rows(fitted.likelihood, 20, seed=3)
    fitted.save(tmp_path / "model")
    opened = lt.load(tmp_path / "model")
    np.testing.assert_array_equal(opened.transform(X), fitted.transform(X))
    a, b = (m.evaluate(X, samples=3, seed=0).to_dict() for m in (fitted, opened))
    assert a == b


def test_means_and_draws(fitted):
    z = fitted.transform(rows(fitted.likelihood, 5))
    means = fitted.inverse_transform(z)
    assert means.shape == (5, 25)
    assert (means > 0).all()
    if fitted.likelihood in ("multinomial", "negative_binomial"):
        np.testing.assert_allclose(means.sum(1), 1, rtol=1e-5)
    if fitted.likelihood == "bernoulli":
        assert means.max() <= 1
    drawn = fitted.sample(300, random_state=0)
    assert isinstance(drawn, csr_array)
    typical = rows(fitted.likelihood).sum(1).mean()
    assert drawn.sum(1).mean() == pytest.approx(typical, rel=0.4)


def test_spectrum_and_directions(fitted):
    spectrum = lt.spectrum(fitted, samples=40, seed=0)
    assert str(spectrum)
    assert lt.jacobian(fitted, "mean", samples=20).matrix.shape == (25, 3)
    assert lt.directions(fitted, samples=40, seed=0)


def test_the_same_seed_is_the_same_model(fitted):
    again = lt.NonlinearFactorAnalysis(likelihood=fitted.likelihood, **OPTIONS)
    again.fit(rows(fitted.likelihood))
    X = rows(fitted.likelihood, 20, seed=3)
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))


def test_refinement_on_samples_of_the_features(fitted):
    options = OPTIONS | {"refine_features": 12, "theta_features": 15, "epochs": 15}
    model = lt.NonlinearFactorAnalysis(likelihood=fitted.likelihood, **options)
    model.fit(rows(fitted.likelihood))
    scores = model.evaluate(rows(fitted.likelihood, 100, seed=5), samples=5, seed=0)
    assert scores.elbo_refined.nats_per_row > scores.floor.nats_per_row


@pytest.mark.parametrize(
    ("likelihood", "value", "message"),
    [
        ("bernoulli", 3.0, r"for 0 and 1 only, but 1 of .* is 3, feature .* of row 2.*binarize"),
        ("poisson", 0.5, r"for whole numbers, but 1 of .* is 0.5.*raw counts"),
        ("negative_binomial", 2.25, r"for whole numbers, but 1 of .*raw counts"),
    ],
)
def test_values_that_the_likelihood_cannot_score(likelihood, value, message):
    X = rows("bernoulli").astype(float)
    model = lt.NonlinearFactorAnalysis(likelihood=likelihood, **OPTIONS)
    X[2, np.flatnonzero(X[2])[0]] = value
    with pytest.raises(DataError, match=message):
        model.fit(X)
    with pytest.raises(DataError, match=message):
        model.fit(rows("bernoulli"), valid=X)


def test_a_choice_of_exposure_that_does_not_apply():
    model = lt.NonlinearFactorAnalysis(likelihood="bernoulli", exposure="total")
    with pytest.raises(ParameterError, match="choose likelihood='poisson'"):
        model.fit(rows("bernoulli"))
    X = rows("poisson")
    total = lt.NonlinearFactorAnalysis(likelihood="poisson", exposure="total", **OPTIONS).fit(X)
    np.testing.assert_allclose(total.inverse_transform(total.transform(X)).sum(1), 1, atol=0.4)
