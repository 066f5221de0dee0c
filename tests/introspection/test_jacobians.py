from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from longtail import Posterior, jacobian
from longtail.errors import DataError, NotFittedError, ParameterError
from tests.estimator.models import names, small
from tests.introspection.handmade import (
    KINDS,
    by_autodiff,
    even_model,
    learned,
    model_of,
    named_words,
)

ROWS = {
    "prior": lambda: "prior",
    "counts": lambda: named_words(12),
    "frame": lambda: pl.DataFrame(named_words(12).csr.toarray(), schema=names(20)),
    "posterior": lambda: learned().posterior(named_words(12)),
    "point": lambda: np.array([0.5, -1.0, 0.2]),
    "points": lambda: np.random.default_rng(0).normal(size=(50, 3)),
}


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("shape", [(3,), (1, 3), (5, 3)])
def test_at_given_points_it_is_exact(of, shape):
    z = np.random.default_rng(1).normal(size=shape)
    j = jacobian(learned(), of, z)
    decoder = learned().network_.generative.decoder
    points = torch.from_numpy(np.atleast_2d(z))
    expected = by_autodiff(decoder.double(), points, of).numpy()
    decoder.float()
    assert j.matrix.dtype == np.float32
    np.testing.assert_allclose(j.matrix, expected.mean(0), atol=1e-5 * np.abs(expected).max())
    second = np.einsum("svk,svl->kl", expected, expected) / len(expected)
    np.testing.assert_allclose(j.second_moment, second, atol=1e-5 * second.max())
    assert j.standard_error is None
    assert j.noise == 0
    assert j.samples == len(points)


def test_rows_of_probabilities_point_as_those_of_log_probabilities():
    z = np.array([0.3, 1.0, -0.7])
    p = learned().inverse_transform(z[None])[0]
    j_p, j_l = (jacobian(learned(), of, z).matrix for of in KINDS[:2])
    np.testing.assert_allclose(j_p, p[:, None] * j_l, atol=1e-6)
    j_r = jacobian(learned(), "root_probabilities", z).matrix
    np.testing.assert_allclose(j_r, np.sqrt(p)[:, None] * j_l, atol=1e-6)


def test_it_is_the_slope_of_what_the_model_predicts():
    z, step = np.array([0.3, 1.0, -0.7]), 1e-2
    j = jacobian(learned(), "probabilities", z).matrix
    ends = [learned().inverse_transform(z + s * step * np.eye(3)) for s in (1, -1)]
    np.testing.assert_allclose(j, (ends[0] - ends[1]).T / (2 * step), atol=2e-3)


@pytest.mark.parametrize("at", ROWS)
@pytest.mark.parametrize("of", ["log_probabilities", "root_probabilities"])
def test_the_seed_decides_bitwise(at, of):
    first, again, other = (
        jacobian(learned(), of, ROWS[at](), samples=60, seed=s) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.second_moment, again.second_moment)
    assert first.noise == again.noise
    assert (first.standard_error is None) == at.startswith("point")
    assert np.array_equal(first.matrix, other.matrix) == at.startswith("point")


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("at", ["prior", "counts"])
def test_two_seeds_agree_within_their_errors(at, of):
    a, b = (jacobian(learned(), of, ROWS[at](), samples=400, seed=s) for s in (0, 1))
    error = np.hypot(a.standard_error, b.standard_error)
    # A ratio to an error from 20 batches has heavier tails than a normal one.
    assert (np.abs(a.matrix - b.matrix) <= 7 * error + 1e-6).all()
    assert np.linalg.norm(a.matrix - b.matrix, 2) < 5 * np.hypot(a.noise, b.noise)


def test_rows_and_their_posterior_are_the_same_place():
    from_rows = jacobian(learned(), at=ROWS["counts"](), samples=100)
    from_frame = jacobian(learned(), at=ROWS["frame"](), samples=100)
    from_posterior = jacobian(learned(), at=ROWS["posterior"](), samples=100)
    np.testing.assert_array_equal(from_rows.matrix, from_frame.matrix)
    np.testing.assert_allclose(from_rows.matrix, from_posterior.matrix, atol=1e-5)


def test_a_posterior_without_width_is_a_point():
    mean = np.array([[0.5, -1.0, 0.2]], dtype=np.float32)
    drawn = jacobian(learned(), at=Posterior(mean, np.zeros_like(mean)), samples=60)
    given = jacobian(learned(), at=mean)
    np.testing.assert_allclose(drawn.matrix, given.matrix, atol=1e-6)
    assert drawn.noise < 1e-6


@pytest.mark.parametrize("at", ["prior", "points"])
def test_a_log_linear_decoder_has_the_same_jacobian_everywhere(at):
    weight = np.random.default_rng(0).normal(size=(7, 3))
    j = jacobian(model_of(weight), "logits", ROWS[at](), samples=100)
    np.testing.assert_allclose(j.matrix, weight, atol=1e-6)
    np.testing.assert_allclose(j.column_norms(), np.linalg.norm(weight, axis=0), rtol=1e-6)
    if at == "prior":
        assert j.standard_error.max() < 1e-6


def test_an_even_effect_shows_in_the_second_moment_only():
    j = jacobian(even_model(strength=2.0), "logits", samples=2000)
    np.testing.assert_allclose(j.second_moment, [[4.0, 0.0], [0.0, 0.0]], atol=1e-5)
    assert abs(j.matrix[0, 0]) < 5 * j.standard_error[0, 0]
    np.testing.assert_allclose(j.standard_error[0, 0], 2 / np.sqrt(2000), rtol=0.6)
    assert (j.matrix[1:] == 0).all()
    assert (j.matrix[:, 1] == 0).all()


def test_what_it_says_about_itself():
    j = jacobian(learned(), "logits", named_words(12), samples=50, seed=7)
    assert (j.of, j.samples, j.seed) == ("logits", 40, 7)
    assert "12 rows" in j.at
    assert j.vocabulary == learned().vocabulary_
    frame = j.frame()
    assert frame.columns == ["feature", "z0", "z1", "z2"]
    assert frame["feature"].to_list() == list(learned().vocabulary_)
    np.testing.assert_array_equal(frame.select("z0", "z1", "z2").to_numpy(), j.matrix)


def test_fewer_samples_than_two_a_batch_have_no_error():
    j = jacobian(learned(), samples=39)
    assert j.standard_error is None
    assert j.noise == 0


def test_progress_ends_at_the_end():
    calls = []
    jacobian(learned(), samples=100, progress=lambda *done: calls.append(done))
    assert calls[-1] == (100, 100)
    assert [done for done, _ in calls] == list(range(5, 101, 5))


def test_nothing_is_drawn_from_the_global_generators():
    torch.manual_seed(0)
    before, state = torch.get_rng_state(), np.random.get_state()[1].copy()
    jacobian(learned(), at=named_words(12), samples=50)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(state, np.random.get_state()[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"of": "odds"}, "of must be one of probabilities, .*; got 'odds'"),
        ({"at": "posterior"}, "at must be 'prior'"),
        ({"samples": 0}, "samples must be a whole number ≥ 1; got 0"),
        ({"samples": 10.0}, r"samples .* got 10\.0"),
        ({"samples": True}, "samples .* got True"),
        ({"seed": -1}, "seed must be a whole number ≥ 0; got -1"),
        ({"seed": None}, "seed .* got None"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ParameterError, match=message):
        jacobian(learned(), **arguments)


def test_bad_shapes_and_models():
    with pytest.raises(DataError, match=r"\(n, 3\); got shape \(5,\)"):
        jacobian(learned(), at=np.zeros(5))
    with pytest.raises(NotFittedError):
        jacobian(small())
