from __future__ import annotations

import numpy as np
import pytest

from longtail.errors import ParameterError
from longtail.introspection.closed_form import average_jacobian
from longtail.introspection.products import JacobianProducts
from tests.builders import small_network
from tests.introspection.handmade import KINDS
from tests.introspection.handmade import points as drawn

V, K = 17, 4


@pytest.fixture(
    params=["multinomial", "bernoulli", "poisson", "negative_binomial", "dirichlet_multinomial"]
)
def generative(request):
    network = small_network(V, K, decoder_layers=2, scale=2.0, likelihood=request.param)
    return network.generative.requires_grad_(False)


@pytest.mark.parametrize("of", KINDS)
def test_they_are_those_of_the_jacobian(generative, of):
    z = drawn(6, K).float()
    full = average_jacobian(generative.decoder, [z], of, likelihood=generative.likelihood)
    full, z = full.mean.numpy(), z.numpy()
    products = JacobianProducts(generative, z, of)
    chosen = [3, 0, 16, 3]
    np.testing.assert_allclose(products.rows(chosen), full[chosen], rtol=1e-4, atol=1e-6)
    q = np.random.default_rng(0).normal(size=K).astype(np.float32)
    np.testing.assert_allclose(products.times(q), full @ q, rtol=1e-4, atol=1e-5)
    assert products.rows([]).shape == (0, K)


@pytest.mark.parametrize("shape", [(0, K), (K,)])
def test_points_of_a_wrong_shape(generative, shape):
    with pytest.raises(ParameterError, match=r"points must be of shape \(S, K\)"):
        JacobianProducts(generative, np.zeros(shape, np.float32), "logits")
