from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import Batches, CountMatrix
from longtail.data.hashing import row_keys
from longtail.evaluation import EvaluationSettings, completion_rows, evaluate_rows, split_tokens
from longtail.evaluation import row_scores as row_scores_module
from longtail.inference import RefineSettings, Stream, normal_noise
from tests.builders import as_rows, small_network
from tests.data.strategies import dense_counts
from tests.evaluation.fitted import fitted, fresh_rows

seeds = st.integers(0, 2**31)


def split(dense, seed=0, **kwargs):
    counts = CountMatrix.from_any(dense)
    observed, held = split_tokens(counts.csr, counts.row_keys(), seed, **kwargs)
    return observed.toarray(), held.toarray()


@given(dense_counts, seeds, st.booleans())
def test_a_split_into_halves(dense, seed, by_feature):
    dense = dense.astype(np.float32)
    observed, held = split(dense, seed, by_feature=by_feature)
    np.testing.assert_array_equal(observed + held, dense)
    assert (observed >= 0).all()
    assert (held >= 0).all()
    for row, kept, hidden in zip(dense, observed, held, strict=True):
        if not by_feature and (row == np.rint(row)).all():
            assert (hidden == np.rint(hidden)).all()
            assert hidden.astype(np.float64).sum() == row.astype(np.float64).sum() // 2
        else:
            assert not ((kept > 0) & (hidden > 0)).any()
            assert (hidden > 0).sum() == (row > 0).sum() // 2


@given(dense_counts, seeds, st.randoms(use_true_random=False))
def test_a_rows_split_does_not_depend_on_its_place(dense, seed, random):
    order = list(range(len(dense)))
    random.shuffle(order)
    order = order + order[:1]
    for whole, moved in zip(split(dense, seed), split(dense[order], seed), strict=True):
        np.testing.assert_array_equal(moved, whole[order])


def test_the_seed_matters():
    dense = np.full((1, 30), 3)
    assert not np.array_equal(split(dense, 0)[1], split(dense, 1)[1])


def test_every_token_is_as_likely_to_be_held_out():
    row = np.array([1, 2, 4, 9, 0, 6])
    held = np.mean([split(row[None], s)[1][0] for s in range(2000)], axis=0)
    # Hypergeometric: n/2 of n tokens.
    n = row.sum()
    expected = row * (n // 2) / n
    variance = (n // 2) * row / n * (1 - row / n) * (n - n // 2) / (n - 1)
    assert (np.abs(held - expected) <= 4 * np.sqrt(variance / 2000)).all()


def test_totals_beyond_the_sampler_are_split_by_feature():
    observed, held = split(np.full((1, 100), 2.0**24))
    assert not ((observed > 0) & (held > 0)).any()
    assert (held > 0).sum() == 50


def test_the_source_is_left_alone():
    counts = CountMatrix.from_any(fresh_rows(5))
    before = counts.csr.toarray()
    observed, held = split_tokens(counts.csr, counts.row_keys(), 0)
    observed.data[:] = held.data[:] = 0
    np.testing.assert_array_equal(counts.csr.toarray(), before)


def completed(network, transform, observed, held, *, steps=10, samples=4, batch_size=500):
    observed, held = CountMatrix.from_any(observed).csr, CountMatrix.from_any(held).csr
    batches = Batches(observed, transform.apply(observed), row_keys(observed), batch_size)
    return completion_rows(
        network,
        batches.ordered(),
        held,
        refine=RefineSettings(steps),
        samples=samples,
        seed=3,
    )


def test_the_score_is_that_of_the_posterior_predictive():
    network, transform, _ = fitted()
    observed, held = split(fresh_rows())
    found = completed(network, transform, observed, held)
    x = as_rows(observed, transform)
    psi = network.refined(
        x.counts, network.amortized(x.features), x.noise_key(3), RefineSettings(10)
    )
    predictive = 0
    for s in range(4):
        z = psi.sample(normal_noise(x.noise_key(3), 3, Stream.COMPLETION, s))
        predictive = predictive + torch.softmax(network.generative.decoder(z), 1) / 4
    expected = (held * predictive.log().numpy()).sum(1)
    np.testing.assert_allclose(found.log_prob, expected, rtol=1e-4)
    np.testing.assert_array_equal(found.totals, held.sum(1))
    in_parts = completed(network, transform, observed, held, batch_size=7)
    np.testing.assert_allclose(in_parts.log_prob, expected, rtol=1e-4)


def test_the_held_out_half_does_not_reach_the_posterior(monkeypatch):
    network, transform, _ = fitted()
    seen, original = [], type(network).refined

    def refined(self, *args, **kwargs):
        seen.append(original(self, *args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(type(network), "refined", refined)
    observed, held = split(fresh_rows())
    completed(network, transform, observed, held)
    completed(network, transform, observed, np.roll(held, 3, axis=1))
    assert torch.equal(seen[0].mean, seen[1].mean)
    assert torch.equal(seen[0].log_var, seen[1].log_var)


def test_an_evaluation_shows_the_model_the_observed_half_only(monkeypatch):
    network, transform, unigram = fitted()
    counts = CountMatrix.from_any(fresh_rows())
    seen = []

    def spy(model, batches, held_out, **kwargs):
        seen.extend(batches)
        return completion_rows(model, seen, held_out, **kwargs)

    monkeypatch.setattr(row_scores_module, "completion_rows", spy)
    settings = EvaluationSettings(RefineSettings(2), samples=2, seed=6)
    evaluate_rows(network, counts, transform, unigram, 12.0, settings)
    (batch,) = seen
    observed, _ = split_tokens(counts.csr, counts.row_keys(), 6)
    assert (batch.counts != observed).nnz == 0
    assert (batch.features != transform.apply(observed)).nnz == 0
    np.testing.assert_array_equal(batch.keys, row_keys(observed))


@pytest.mark.parametrize("steps", [0, 5])
def test_a_model_that_ignores_z_scores_as_the_unigram(steps):
    _, transform, unigram = fitted()
    network = small_network(unigram)
    with torch.no_grad():
        network.generative.decoder.weight.zero_()
    observed, held = split(fresh_rows())
    found = completed(network, transform, observed, held, steps=steps)
    np.testing.assert_allclose(found.log_prob, held @ np.log(unigram), rtol=1e-5)


def test_an_unlikely_feature_is_not_an_impossible_one():
    _, transform, unigram = fitted()
    network = small_network(unigram)
    with torch.no_grad():
        network.generative.decoder.bias[0] = -500
    observed = np.eye(20)[[3, 4]]
    held = np.eye(20)[[0, 1]]
    found = completed(network, transform, observed, held)
    assert found.log_prob[0] == pytest.approx(-500, abs=10)
    assert found.log_prob[1] > -20


def test_a_fitted_model_completes_better_than_the_unigram():
    network, transform, unigram = fitted()
    observed, held = split(fresh_rows())
    found = completed(network, transform, observed, held, steps=50, samples=20)
    assert found.log_prob.sum() > (held @ np.log(unigram)).sum() + 60
