from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from longtail.explorer.layout import Layout
from tests.profiles import examples


def vectors(n, k, seed=0):
    return np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)


def test_a_picture_turned_in_space_is_the_same_picture():
    own, around = vectors(1, 6)[0], vectors(12, 6, seed=1)
    layout = Layout(own, around)
    turn, _ = np.linalg.qr(vectors(6, 6, seed=2))
    turned = layout.turned(own @ turn, around @ turn, around)
    centre = layout.places(around)
    # The same up to the fit's own centre: distances in the plane agree.
    assert np.corrcoef(turned.ravel(), centre.ravel())[0, 1] > 0.99


def test_length_does_not_matter():
    own, around = vectors(1, 4)[0], vectors(5, 4, seed=1)
    layout = Layout(own, around)
    np.testing.assert_allclose(layout.places(around), layout.places(3 * around), atol=1e-6)


@pytest.mark.parametrize(("n", "k"), [(0, 3), (1, 1), (1, 3), (2, 2), (9, 1)])
def test_few_features_or_few_dimensions(n, k):
    layout = Layout(np.ones(k, np.float32), vectors(n, k))
    shown = vectors(3, k, seed=1)
    for places in (layout.places(shown), layout.turned(np.ones(k, np.float32), shown, shown)):
        assert places.shape == (3, 2)
        assert np.isfinite(places).all()


@settings(max_examples=examples(30))
@given(arrays(np.float32, (5, 3), elements=st.floats(-10, 10, width=32)))
def test_places_are_finite_and_within_the_circle(shown):
    layout = Layout(shown[0], shown[1:])
    for places in (layout.places(shown), layout.turned(shown[0], shown, shown[::-1])):
        assert np.isfinite(places).all()
        assert np.linalg.norm(places, axis=1).max() <= 1 + 1e-9
