from __future__ import annotations

import numpy as np
import pytest
import torch

from longtail.errors import ParameterError
from longtail.introspection.row_explanations import direction_shares
from tests.introspection.handmade import learned, model_of
from tests.introspection.test_spectra import rotation


def rise(model, mean, features, counts):
    """x_v [log p_v(μ) − log p_v(0)] of each feature."""
    generative = model.network_.generative
    z = torch.tensor(np.stack([mean, 0 * mean])).to(generative.decoder.weight)
    with torch.no_grad():
        log_p = generative.likelihood.log_probabilities(generative.decoder(z)).numpy()
    return np.asarray(counts) * (log_p[0] - log_p[1])[features]


def test_over_a_complete_set_of_directions_they_sum_to_the_rise():
    model = learned()
    k = model.network_.generative.decoder.n_components
    mean, features, counts = np.linspace(-1, 1.5, k), [0, 4, 7], [2.0, 1.0, 0.5]
    shares = direction_shares(model, mean, features, counts, rotation(k), points=400)
    assert shares.shape == (3, k)
    np.testing.assert_allclose(shares.sum(1), rise(model, mean, features, counts), atol=5e-3)


def test_a_few_points_are_enough():
    model = learned()
    k = model.network_.generative.decoder.n_components
    mean, axes = np.linspace(-1, 1.5, k), rotation(k)
    few, many = (
        direction_shares(model, mean, [0, 4, 7], [1, 1, 1], axes, points=n) for n in (16, 400)
    )
    np.testing.assert_allclose(few, many, atol=0.02)


def test_where_the_logits_are_linear_only_one_direction_gives():
    """log p has the slope W_v − E_p[W]; a direction without weights gives nothing."""
    weight = np.zeros((4, 3))
    weight[:, 0] = [1, -1, 0, 0]
    model = model_of(weight)
    shares = direction_shares(model, [2.0, 1.0, -1.0], [0, 1], [1, 3], np.eye(3))
    np.testing.assert_allclose(shares[:, 1:], 0, atol=1e-6)
    expected = rise(model, np.array([2.0, 1.0, -1.0]), [0, 1], [1, 3])
    np.testing.assert_allclose(shares[:, 0], expected, atol=0.02)


def test_axes_must_be_orthonormal():
    with pytest.raises(ParameterError, match="orthonormal"):
        direction_shares(model_of(np.ones((4, 2))), [1, 1], [0], [1], [[1, 0], [1, 1]])
