from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from longtail import CountMatrix, Posterior
from longtail.errors import DataError, DataWarning, NotFittedError, ParameterError
from longtail.introspection.latents import N_BATCHES, draw_latents
from tests.estimator.models import small
from tests.introspection.handmade import learned, named_words


def draw(at, samples=200, seed=0):
    return draw_latents(learned(), at, samples=samples, seed=seed)


def batches(latents):
    return list(latents.batches(torch.device("cpu"), torch.float32))


def test_the_prior_is_standard_normal():
    z = draw("prior", samples=4000).points
    assert z.shape == (4000, 3)
    assert z.dtype == np.float32
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(4000)
    assert np.abs(np.cov(z.T) - np.eye(3)).max() < 5 * np.sqrt(2 / 4000)


@pytest.mark.parametrize(
    ("samples", "drawn", "n_batches"),
    [(1, 1, 1), (39, 39, 1), (40, 40, 20), (51, 60, 20), (1000, 1000, 20)],
)
@pytest.mark.parametrize("at", ["prior", "rows", "posterior"])
def test_how_many_points_in_how_many_batches(at, samples, drawn, n_batches):
    rows = named_words(15)
    at = {"prior": "prior", "rows": rows, "posterior": learned().posterior(rows)}[at]
    latents = draw(at, samples)
    parts = batches(latents)
    assert len(latents.points) == sum(map(len, parts)) == drawn
    assert len(parts) == n_batches
    assert len({len(p) for p in parts}) == 1
    assert n_batches in (1, N_BATCHES)
    assert not latents.exact


def test_a_posterior_is_drawn_from_in_equal_parts():
    mean = np.array([[0.0, 10.0, -10.0], [100.0, 0.0, 0.0]], dtype=np.float32)
    scale = np.array([[0.1, 1.0, 0.0], [0.0, 0.0, 0.5]], dtype=np.float32)
    z = draw(Posterior(mean, scale), samples=4000).points
    for row in (0, 1):
        mine = z[(z[:, 0] > 50) == bool(row)]
        assert len(mine) == 2000
        error = 5 * scale[row] / np.sqrt(2000)
        assert (np.abs(mine.mean(0) - mean[row]) <= error + 1e-4).all()
        assert (np.abs(mine.std(0) - scale[row]) <= error + 1e-4).all()


def test_fewer_draws_than_rows_take_each_row_at_most_once():
    mean = np.arange(300, dtype=np.float32).reshape(100, 3)
    latents = draw(Posterior(mean, np.zeros_like(mean)), samples=30)
    chosen = {int(x) for x in latents.points[:, 0]}
    assert len(chosen) == 30
    assert chosen <= set(range(0, 300, 3))
    assert chosen != set(range(0, 90, 3))


def test_rows_are_drawn_from_at_their_posteriors():
    rows = named_words(12)
    posterior = learned().posterior(rows)
    far = draw(rows, samples=4000).points
    assert np.abs(far.mean(0) - posterior.mean.mean(0)).max() < 0.1
    variance = posterior.mean.var(0) + np.square(posterior.scale).mean(0)
    np.testing.assert_allclose(far.var(0), variance, rtol=0.15)


def test_empty_rows_take_no_part():
    counts = named_words(12).csr.toarray()
    with_empty = CountMatrix.from_any(
        np.vstack([np.zeros((5, 20)), counts]), vocabulary=learned().vocabulary_
    )
    np.testing.assert_array_equal(
        draw(with_empty).points, draw(with_empty[np.arange(5, 17)]).points
    )
    with pytest.raises(DataError, match="at='prior' needs no rows"):
        draw(with_empty[:5])


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (7, 3), (100, 3)])
def test_given_points_are_taken_as_they_are(shape, kind):
    z = np.random.default_rng(0).normal(size=shape)
    latents = draw(kind(z))
    np.testing.assert_array_equal(latents.points, np.atleast_2d(z).astype(np.float32))
    assert latents.exact
    assert len(batches(latents)) == 1


def test_where_in_words():
    rows = named_words(12)
    posterior = learned().posterior(rows)
    assert draw("prior").where == "the prior"
    assert "12 rows" in draw(rows).where
    with pytest.warns(DataWarning, match="matched by position"):
        assert "12 rows" in draw(csr_array(rows.csr)).where
    assert "12 rows" in draw(posterior).where
    assert "a row" in draw(Posterior(posterior.mean[:1], posterior.scale[:1])).where
    assert draw(np.zeros(3)).where == "a point"
    assert draw(np.zeros((1200, 3))).where == "1,200 points"


@pytest.mark.parametrize("at", ["prior", "rows", "posterior"])
def test_the_seed_decides(at):
    rows = named_words(12)
    at = {"prior": "prior", "rows": rows, "posterior": learned().posterior(rows)}[at]
    first, again, other = (draw(at, seed=s).points for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (np.zeros(4), r"\(3,\) or \(n, 3\); got shape \(4,\)"),
        (np.zeros((2, 20)), r"Rows of counts are given as a CountMatrix"),
        (np.zeros((2, 2, 3)), r"got shape \(2, 2, 3\)"),
        ([0.0, np.nan, 0.0], "must be finite"),
        ([0.0, np.inf, 0.0], "must be finite"),
        (Posterior(np.zeros((1, 2)), np.ones((1, 2))), r"\(n, 3\)"),
        (csr_array(np.ones((2, 4))), "20 features"),
        (None, "None"),
        (np.empty((0, 3)), r"got shape \(0, 3\)"),
        (Posterior(np.empty((0, 3)), np.empty((0, 3))), r"\(0, 3\)"),
        (Posterior(np.zeros((2, 3)), np.ones((1, 3))), r"\(1, 3\)"),
        (["w00", "w01"], "w00"),
    ],
)
def test_what_is_no_place(at, message):
    with pytest.raises(DataError, match=message):
        draw(at)


def test_other_words_for_the_prior():
    with pytest.raises(ParameterError, match=r"at must be 'prior'.*got 'posterior'"):
        draw("posterior")


def test_an_unfitted_model_has_no_latent_space():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        draw_latents(small(), "prior", samples=10, seed=0)


def test_other_columns_than_the_models_are_left_out():
    wide = CountMatrix.from_any(
        np.hstack([named_words(12).csr.toarray(), np.ones((12, 1))]),
        vocabulary=[*learned().vocabulary_, "zebra"],
    )
    np.testing.assert_array_equal(draw(wide).points, draw(named_words(12)).points)
