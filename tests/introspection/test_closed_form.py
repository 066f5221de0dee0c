from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from longtail.introspection import closed_form
from longtail.introspection.closed_form import (
    average_jacobian,
    feature_rows,
    jacobian_at,
)
from tests.introspection.handmade import KINDS, by_autodiff, points, random_decoder
from tests.profiles import examples

of_every_kind = pytest.mark.parametrize("of", KINDS)

decoders = st.builds(
    random_decoder,
    k=st.integers(1, 5),
    v=st.integers(1, 9),
    layers=st.integers(0, 3),
    hidden=st.integers(2, 6),
    skip=st.booleans(),
    scale=st.sampled_from([0.3, 1.0, 4.0]),
    seed=st.integers(0, 1000),
    dead=st.sampled_from([(), (0,), (0, 1)]),
)


@contextlib.contextmanager
def limits(chunk=None, features=None, columns=None):
    """Smaller blocks, so that a small example has several."""
    with pytest.MonkeyPatch.context() as patch:
        sizes = {"_CHUNK": chunk, "_BLOCK_FEATURES": features, "_BLOCK_COLUMNS": columns}
        for name, size in sizes.items():
            if size is not None:
                patch.setattr(closed_form, name, size)
        yield


def assert_same(found, expected, rtol=1e-10):
    """To a share of the largest entry."""
    size = max(float(expected.abs().max()), 1.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=rtol * size)


# --- one point ------------------------------------------------------------------------------------


@of_every_kind
@settings(max_examples=examples(25))
@given(net=decoders, n=st.integers(1, 4), seed=st.integers(0, 1000))
def test_agrees_with_automatic_differentiation(of, net, n, seed):
    z = points(n, net.n_components, seed)
    found = jacobian_at(net, z, of)
    assert_same(found, by_autodiff(net, z, of))


@of_every_kind
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own
def test_agrees_with_forward_mode(of):
    net = random_decoder(3, 8, layers=2, skip=True)
    z = points(4, 3)
    assert_same(jacobian_at(net, z, of), by_autodiff(net, z, of, torch.func.jacfwd))


@settings(max_examples=examples(25))
@given(net=decoders, seed=st.integers(0, 1000))
def test_the_hidden_layer_and_its_jacobian(net, seed):
    z = points(3, net.n_components, seed)
    j, h = net.hidden_jacobian(z)
    torch.testing.assert_close(h, net.hidden(z))
    assert_same(j, torch.func.vmap(torch.func.jacrev(lambda x: net.hidden(x[None])[0]))(z))


@of_every_kind
@pytest.mark.parametrize("skip", [False, True])
def test_dead_units_leave_the_skip_alone(of, skip):
    net = random_decoder(3, 8, layers=2, hidden=4, skip=skip, dead=range(4))
    z = points(5, 3)
    found = jacobian_at(net, z, of)
    assert_same(found, by_autodiff(net, z, of))
    if skip and of == "logits":
        assert_same(found, net.weight[:, 4:].expand(5, -1, -1))
    if not skip:
        assert (found == 0).all()


@of_every_kind
def test_a_unit_exactly_at_0_does_not_answer(of):
    net = random_decoder(2, 5, layers=1, hidden=3)
    net.hidden_layers[0].bias.zero_()
    z = torch.zeros(1, 2, dtype=torch.float64)
    assert (jacobian_at(net, z, of) == 0).all()
    moments = average_jacobian(net, [z], of)
    assert (moments.mean == 0).all()
    assert (moments.second == 0).all()
    # One unit at its kink, the others not.
    net.hidden_layers[0].bias[1:] = 1.0
    assert_same(jacobian_at(net, z, of), by_autodiff(net, z, of))


@of_every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_neither_overflow_nor_lose_a_number(of, dtype):
    net = random_decoder(3, 40, layers=2, skip=True, scale=40.0).to(dtype)
    z = points(20, 3).to(dtype)
    assert net(z).abs().max() > 1000
    moments = average_jacobian(net, torch.split(z, 5), of)
    for value in (moments.mean, moments.second, moments.standard_error, jacobian_at(net, z, of)):
        assert torch.isfinite(value).all()
    assert np.isfinite(moments.noise)
    expected = by_autodiff(net.double(), z.double(), of)
    size = jacobian_at(net, z.double(), "logits").abs().max()
    close = 1e-4 if dtype == torch.float32 else 1e-11
    assert (moments.mean - expected.mean(0)).abs().max() < close * size


def test_relations_between_the_kinds():
    net = random_decoder(4, 12, layers=2)
    z = points(6, 4)
    p = torch.softmax(net(z), 1)[:, :, None]
    j = {of: jacobian_at(net, z, of) for of in KINDS}
    assert_same(j["probabilities"], p * j["log_probabilities"])
    assert_same(j["root_probabilities"], p.sqrt() * j["log_probabilities"])
    centred = j["logits"] - (p * j["logits"]).sum(1, keepdim=True)
    assert_same(j["log_probabilities"], centred)
    assert j["probabilities"].sum(1).abs().max() < 1e-12


@of_every_kind
@settings(max_examples=examples(20))
@given(net=decoders, n=st.integers(1, 8), seed=st.integers(0, 1000), chunk=st.integers(1, 60))
def test_one_row_at_each_point(of, net, n, seed, chunk):
    z = points(n, net.n_components, seed)
    features = torch.from_numpy(np.random.default_rng(seed).integers(len(net.bias), size=n))
    with limits(chunk=chunk):
        found = feature_rows(net, z, features, of)
    assert_same(found, jacobian_at(net, z, of)[torch.arange(n), features])


# --- averages -------------------------------------------------------------------------------------


@of_every_kind
@settings(max_examples=examples(25))
@given(
    net=decoders,
    n_batches=st.integers(1, 5),
    size=st.integers(1, 6),
    seed=st.integers(0, 1000),
    chunk=st.integers(1, 300),
    features=st.integers(1, 12),
    columns=st.integers(1, 12),
)
def test_averages_are_those_of_the_single_points(
    of, net, n_batches, size, seed, chunk, features, columns
):
    z = points(n_batches * size, net.n_components, seed)
    with limits(chunk, features, columns):
        moments = average_jacobian(net, torch.split(z, size), of)
    each = by_autodiff(net, z, of)
    assert_same(moments.mean, each.mean(0))
    assert moments.second.dtype == torch.float64
    scale = max(1.0, float(jacobian_at(net, z, "logits").square().sum((1, 2)).max()))
    second = (each.mT @ each).mean(0)
    torch.testing.assert_close(moments.second, second, rtol=0, atol=1e-10 * scale)
    if n_batches == 1:
        assert moments.standard_error is None
        assert moments.noise == 0
        return
    means = each.view(n_batches, size, *each.shape[1:]).mean(1).numpy()
    se = means.std(0, ddof=1) / np.sqrt(n_batches)
    # A sum of squares knows its root only to the square root of its precision.
    np.testing.assert_allclose(moments.standard_error, se, atol=1e-7 * np.sqrt(scale))


@of_every_kind
def test_more_features_than_a_block(of):
    v = 2 * closed_form._BLOCK_FEATURES + 37
    net = random_decoder(3, v, layers=1, skip=True)
    z = points(6, 3)
    moments = average_jacobian(net, torch.split(z, 3), of)
    each = by_autodiff(net, z, of)
    assert_same(moments.mean, each.mean(0))
    torch.testing.assert_close(moments.second, (each.mT @ each).mean(0), rtol=1e-10, atol=1e-10)


@of_every_kind
def test_in_single_precision(of):
    net = random_decoder(5, 60, layers=2, skip=True)
    z = points(40, 5)
    exact = average_jacobian(net, torch.split(z, 10), of)
    rough = average_jacobian(net.float(), torch.split(z.float(), 10), of)
    assert rough.mean.dtype == torch.float32
    assert (rough.mean - exact.mean).abs().max() < 1e-5 * exact.mean.abs().max()
    assert (rough.second - exact.second).abs().max() < 1e-5 * exact.second.abs().max()


def test_batches_weigh_the_same_whatever_their_size():
    net = random_decoder(2, 6)
    z = points(5, 2)
    moments = average_jacobian(net, [z[:1], z[1:]], "probabilities")
    each = by_autodiff(net, z, "probabilities")
    assert_same(moments.mean, (each[0] + each[1:].mean(0)) / 2)


def test_progress_counts_points():
    done = []
    net = random_decoder(2, 6)
    average_jacobian(net, torch.split(points(7, 2), 3), "logits", done.append)
    assert done == [3, 6, 7]


def test_the_fisher_information():
    """E[J_rᵀ J_r] is the covariance of the score ∂ log p(v | z) of a token v."""
    net = random_decoder(3, 9, layers=2)
    z = points(8, 3)
    found = average_jacobian(net, [z], "root_probabilities").second
    score = by_autodiff(net, z, "log_probabilities")
    p = torch.softmax(net(z), 1)
    assert (p[:, :, None] * score).sum(1).abs().max() < 1e-12
    assert_same(found, torch.einsum("sv,svk,svl->kl", p, score, score) / len(z))


@pytest.mark.parametrize("skip", [False, True])
def test_a_log_linear_decoder_has_one_jacobian(skip):
    net = random_decoder(4, 10, layers=0, skip=skip)
    moments = average_jacobian(net, torch.split(points(60, 4), 20), "logits")
    assert_same(moments.mean, net.weight)
    assert moments.standard_error.abs().max() < 1e-15
    assert moments.noise < 1e-14
    assert_same(moments.second, net.weight.T @ net.weight)


def test_an_even_effect_cancels_in_the_mean_only():
    net = random_decoder(1, 3, layers=1, hidden=2)
    net.hidden_layers[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    net.hidden_layers[0].bias.zero_()
    net.weight.copy_(torch.tensor([[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    z = points(2000, 1)
    moments = average_jacobian(net, torch.split(torch.cat([z, -z]), 400), "logits")
    assert moments.mean.abs().max() < 1e-12
    assert moments.second.item() == pytest.approx(4.0)
    moments = average_jacobian(net, torch.split(z, 100), "root_probabilities")
    assert moments.mean.abs().max() < 5 * moments.standard_error.max()
    assert moments.second.item() > 100 * moments.mean.abs().max() ** 2


def test_steins_identity():
    """E[∂p/∂z] = E[p(z) zᵀ] under N(0, I): the two sides come from no common code."""
    net = random_decoder(3, 7, layers=2, hidden=8, skip=True, scale=1.5, seed=3)
    n_batches = 40
    batches = torch.split(points(400 * n_batches, 3, seed=1), 400)
    moments = average_jacobian(net, batches, "probabilities")
    products = torch.stack([torch.softmax(net(z), 1).T @ z / len(z) for z in batches])
    jacobians = [average_jacobian(net, [z], "probabilities").mean for z in batches]
    differences = products - torch.stack(jacobians)
    error = differences.std(0) / n_batches**0.5
    assert (differences.mean(0).abs() < 5 * error).all()
    assert moments.mean.abs().max() > 20 * error.max()
    torch.testing.assert_close(torch.stack(jacobians).mean(0), moments.mean)


@pytest.mark.parametrize("n_batches", [8, 7])
@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_noise_is_as_large_as_the_error(of, n_batches):
    net = random_decoder(3, 10, layers=1, hidden=8, scale=2.0)
    truth = average_jacobian(net, [points(40_000, 3, seed=10_000)], of).mean
    noises, errors = [], []
    for seed in range(60):
        moments = average_jacobian(net, points(20 * n_batches, 3, seed).split(20), of)
        noises.append(moments.noise)
        errors.append(torch.linalg.matrix_norm(moments.mean - truth, 2).item())
    spread = np.hypot(np.std(noises), np.std(errors)) / np.sqrt(60)
    assert abs(np.mean(noises) - np.mean(errors)) < 4 * spread
    assert spread < 0.1 * np.mean(errors)


# --- memory ---------------------------------------------------------------------------------------


class Largest(TorchFunctionMode):
    """Remembers the size of the largest array that any torch function returned."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return out


@of_every_kind
def test_no_array_holds_every_point_feature_and_dimension(of):
    n, v, k = 500, 300, 8
    net = random_decoder(k, v, layers=2, hidden=6, skip=True)
    z = points(n, k)
    limit = 5 * v * k
    with limits(limit, features=32, columns=64), Largest() as largest:
        average_jacobian(net, [z], of)
    assert v * k <= largest.numel <= limit
    with limits(limit), Largest() as largest:
        feature_rows(net, z, torch.arange(n) % v, of)
    assert largest.numel <= limit
