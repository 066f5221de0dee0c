from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longtail import ops
from longtail.data import CountMatrix
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.inference import RefineSettings
from longtail.ops import fused, reference
from tests.builders import as_rows, prepared, small_network, topic_counts
from tests.evaluation.fitted import fitted, fresh_rows


def bounds(dense, network=None, transform=None, *, steps=50, samples=20, seed=0, batch_size=500):
    default, default_transform, _ = fitted()
    counts = CountMatrix.from_any(dense)
    return row_bounds(
        network or default,
        make_batches(counts, transform or default_transform, batch_size).ordered(),
        refine=RefineSettings(steps),
        samples=samples,
        seed=seed,
    )


def test_the_ladder():
    rows = bounds(fresh_rows(), samples=100)

    def error(*variances):
        return 3 * math.sqrt(sum(v.sum() for v in variances)) / 60

    gained = (rows.elbo_refined - rows.elbo_amortized).mean()
    tightened = (rows.iw - rows.elbo_refined).mean()
    assert gained > error(rows.var_amortized, rows.var_refined)
    assert tightened > error(rows.var_refined, rows.var_iw)
    # Row by row too, but for Monte Carlo error.
    slack = 4 * np.sqrt(rows.var_refined + rows.var_iw)
    assert (rows.iw > rows.elbo_refined - slack).all()


@pytest.fixture(scope="module")
def one_dimension():
    """A log-linear model with K = 1: a fine grid integrates over z, and q comes close."""
    dense = topic_counts(12, 8, seed=3)
    _, transform, unigram = prepared(dense)
    network = small_network(unigram, 1, decoder_layers=0, scale=2.0).double()
    x = as_rows(dense, dtype=torch.float64)
    grid = torch.linspace(-12, 12, 24_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        logits = network.generative.decoder(grid)
        log_p = torch.tensor(dense).double() @ torch.log_softmax(logits, 1).T
    return network, transform, dense, x, grid, log_p


def test_the_importance_weighted_bound_reaches_the_log_likelihood(one_dimension):
    network, transform, dense, _, grid, log_p = one_dimension
    width = (grid[1] - grid[0]).item()
    log_prior = network.generative.prior.log_prob(grid)
    exact = (torch.logsumexp(log_p + log_prior, 1) + math.log(width)).numpy()
    rows = bounds(dense, network, transform, samples=3000)
    standard_error = np.sqrt(rows.var_iw)
    assert standard_error.max() < 0.1
    assert (np.abs(rows.iw - exact) < 4 * standard_error + 0.005).all()
    assert (rows.elbo_refined < exact + 3 * np.sqrt(rows.var_refined)).all()
    few = np.mean([bounds(dense, network, transform, samples=2, seed=s).iw for s in range(40)], 0)
    assert few.mean() < rows.iw.mean()


def test_the_elbo_is_its_integral(one_dimension):
    network, transform, dense, x, grid, log_p = one_dimension
    width = (grid[1] - grid[0]).item()
    with torch.no_grad():
        psi = network.amortized(x.features)
        q = torch.stack([psi.log_prob(z) for z in grid], 1).exp()
        kl = network.generative.prior.kl(psi.mean, psi.log_var).sum(1)
    exact = ((q * log_p).sum(1) * width - kl).numpy()
    rows = bounds(dense, network, transform, samples=2000, steps=0)
    assert (np.abs(rows.elbo_amortized - exact) < 4 * np.sqrt(rows.var_amortized)).all()


def test_the_monte_carlo_variances_are_calibrated():
    repeats = [bounds(fresh_rows(), steps=0, samples=10, seed=s) for s in range(100)]
    for value, variance in [
        ("elbo_amortized", "var_amortized"),
        ("elbo_refined", "var_refined"),
    ]:
        observed = np.var([getattr(r, value) for r in repeats], axis=0, ddof=1).mean()
        claimed = np.mean([getattr(r, variance) for r in repeats])
        assert observed == pytest.approx(claimed, rel=0.15)


def test_the_delta_method_is_calibrated_for_even_weights(one_dimension):
    network, transform, dense, *_ = one_dimension
    repeats = [bounds(dense, network, transform, samples=60, seed=s) for s in range(50)]
    observed = np.var([r.iw for r in repeats], axis=0, ddof=1).mean()
    claimed = np.mean([r.var_iw for r in repeats])
    assert observed == pytest.approx(claimed, rel=0.4)


def test_without_steps_both_elbos_are_the_same():
    rows = bounds(fresh_rows(), steps=0)
    np.testing.assert_array_equal(rows.elbo_amortized, rows.elbo_refined)


def test_one_sample_has_no_variance():
    rows = bounds(fresh_rows(), samples=1)
    assert np.isnan(rows.var_refined).all()
    assert np.isfinite(rows.elbo_refined).all()


def test_rows_keep_their_order_and_do_not_mind_their_company():
    dense = fresh_rows(empty=[4])
    whole = bounds(dense)
    np.testing.assert_allclose(bounds(dense, batch_size=7).iw, whole.iw, atol=1e-3)
    order = np.random.default_rng(0).permutation(len(dense))
    shuffled = bounds(dense[order])
    for name in ("elbo_amortized", "elbo_refined", "iw", "kl", "mean"):
        np.testing.assert_allclose(
            getattr(shuffled, name), getattr(whole, name)[order], atol=1e-3, err_msg=name
        )


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_draws_scored_at_once_are_those_scored_in_turn(monkeypatch, at_once):
    dense = topic_counts(5, 20, empty=[2])
    usual = bounds(dense, samples=9)
    monkeypatch.setattr("longtail.evaluation.bounds._ROWS_AT_ONCE", at_once)
    found = bounds(dense, samples=9)
    for name in ("elbo_amortized", "elbo_refined", "iw", "var_refined", "var_iw"):
        np.testing.assert_allclose(getattr(found, name), getattr(usual, name), rtol=1e-5, atol=1e-5)


def test_an_empty_row_scores_0_on_every_rung():
    for steps in (0, 10):
        rows = bounds(fresh_rows(empty=[0, 4]), steps=steps)
        for name in ("elbo_amortized", "elbo_refined", "iw", "var_refined", "var_iw"):
            assert (getattr(rows, name)[[0, 4]] == 0).all(), name
        assert (rows.mean[[0, 4]] == 0).all()
        assert (rows.kl[[0, 4]] == 0).all()


def test_kl_and_means_are_those_of_the_refined_posterior():
    network, transform, _ = fitted()
    rows = bounds(fresh_rows())
    x = as_rows(fresh_rows(), transform)
    star = network.refined(
        x.counts, network.amortized(x.features), x.noise_key(0), RefineSettings(50)
    )
    np.testing.assert_allclose(rows.mean, star.mean.numpy(), atol=1e-4)
    kl = network.generative.prior.kl(star.mean, star.log_var)
    np.testing.assert_allclose(rows.kl, kl.numpy(), atol=1e-4)


def test_progress_is_told():
    network, transform, _ = fitted()
    seen = []
    batches = make_batches(CountMatrix.from_any(fresh_rows()), transform, 25).ordered()
    row_bounds(network, batches, refine=RefineSettings(0), samples=1, seed=0, progress=seen.append)
    assert seen == [25, 50, 60]


@pytest.mark.parametrize("blocks", [1, 4])
def test_the_ladder_is_that_of_the_readable_kernel(monkeypatch, blocks):
    """A saved model's figures, its refinement included, by both paths: to 1e-5."""
    rows = fresh_rows()
    if blocks > 1:
        monkeypatch.setattr(fused, "_BLOCK_CPU", 1)  # the narrowest blocks there are
    fast = bounds(rows)

    def readable(h, weight, bias, x, data=None):
        return reference.multinomial_log_prob(h, weight, bias, x)

    monkeypatch.setattr(ops, "multinomial_log_prob", readable)
    slow = bounds(rows)
    for rung in ("elbo_amortized", "elbo_refined", "iw"):
        found, expected = getattr(fast, rung), getattr(slow, rung)
        assert abs(found.mean() / expected.mean() - 1) < 1e-5
        np.testing.assert_allclose(found, expected, rtol=1e-4)
