from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.ops import (
    FeatureSample,
    FeatureSampler,
    data_term,
    multinomial_log_prob,
    sampled_multinomial_log_prob,
)
from tests.builders import sparse
from tests.profiles import examples

B, V, H = 6, 40, 4


def example(dtype=torch.float64, *, draws=None, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (B, V))
    counts[1] = 0
    generator = torch.Generator().manual_seed(seed)
    shapes = [(B, H) if draws is None else (draws, B, H), (V, H), (V,)]
    parts = [torch.randn(*s, generator=generator, dtype=dtype) for s in shapes]
    parts[0] *= scale
    return sparse(counts, dtype), parts


def frequencies(v=V, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.full(v, 0.3)) + 1e-6)


# --- the sampler -------------------------------------------------------------------------------


@given(
    weights=st.lists(
        st.sampled_from([1e-30, 1e-9, 1.0, 2.0, 1e3]) | st.floats(1e-6, 1e3),
        min_size=1,
        max_size=60,
    ),
    size=st.integers(1, 70),
    number=st.integers(0, 10_000),
)
@settings(max_examples=examples(150))
def test_inclusion_and_draws(weights, size, number):
    p = torch.tensor(weights, dtype=torch.float64)
    sampler = FeatureSampler(p, size)
    pi = sampler.inclusion
    n = min(size, len(p))
    assert pi.sum().item() == pytest.approx(n, abs=1e-6)
    assert (pi > 0).all()
    assert (pi <= 1).all()
    assert (pi[p.argsort()].diff() >= -1e-12).all()
    # Proportional to size, evenly mixed, wherever it is below 1.
    mixed = 0.9 * p / p.sum() + 0.1 / len(p)
    ratio = (pi / mixed)[pi < 1 - 1e-9]
    if len(ratio):
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
        assert (mixed[pi >= 1 - 1e-9] * ratio[0] >= 1 - 1e-6).all()
    drawn = sampler.draw(number)
    assert abs(len(drawn.features) - n) <= 1
    assert (drawn.features.diff() > 0).all()
    always = (pi >= 1).nonzero().flatten()
    assert set(always.tolist()) <= set(drawn.features.tolist())
    expected = torch.zeros(len(p), dtype=torch.float64)
    expected[drawn.features] = 1 / pi[drawn.features]
    torch.testing.assert_close(drawn.expansion, expected)
    torch.testing.assert_close(drawn.weights, expected[drawn.features])


def test_each_feature_is_drawn_as_often_as_its_inclusion_says():
    sampler = FeatureSampler(frequencies(), 12)
    drawn = torch.stack([sampler.draw(i).expansion > 0 for i in range(4000)]).double().mean(0)
    torch.testing.assert_close(drawn, sampler.inclusion, rtol=0, atol=2e-3)


def test_a_draw_is_a_function_of_its_number():
    first, second = (FeatureSampler(frequencies(), 12) for _ in range(2))
    assert torch.equal(first.draw(7).features, second.draw(7).features)
    assert not torch.equal(first.draw(7).features, first.draw(8).features)


def test_a_feature_of_frequency_0_is_drawn_sometimes():
    sampler = FeatureSampler(torch.tensor([1.0, 0.0, 3.0, 0.0]), 2)
    assert (sampler.inclusion > 0).all()
    assert sum((sampler.draw(i).expansion > 0)[1].item() for i in range(300)) > 0


def test_no_weight_is_huge():
    p = torch.tensor([1e9] * 10 + [1e-9] * 90)
    assert (1 / FeatureSampler(p, 20, uniform=0.1).inclusion).max() <= 100 / (0.1 * 20)


def test_the_scale_of_the_frequencies_does_not_matter():
    counts, shares = FeatureSampler(frequencies() * 1e6, 9), FeatureSampler(frequencies(), 9)
    torch.testing.assert_close(counts.inclusion, shares.inclusion)


def test_a_sample_of_everything():
    drawn = FeatureSampler(frequencies(), V + 5).draw(3)
    assert drawn.features.tolist() == list(range(V))
    assert (drawn.weights == 1).all()


# --- the estimate ------------------------------------------------------------------------------


def normaliser(parts, x, log_p):
    """Z of each row, from its log-probability."""
    h, weight, bias = parts
    data = data_term(x, weight, bias)
    linear = (h * data.xw).sum(-1) + data.xb
    keep = data.totals > 0
    return ((linear - log_p) / data.totals)[..., keep].exp()


def test_the_normaliser_is_unbiased():
    x, parts = example(scale=0.5)
    data = data_term(x, *parts[1:])
    exact = normaliser(parts, x, multinomial_log_prob(*parts, x))
    sampler = FeatureSampler(frequencies(), 12)
    draws = torch.stack(
        [
            normaliser(parts, x, sampled_multinomial_log_prob(*parts, x, data, sampler.draw(i)))
            for i in range(3000)
        ]
    )
    assert (draws.std(0) > 0.01 * exact).all()
    torch.testing.assert_close(draws.mean(0), exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("features", [[0, 1, 4, 9], [0, 39], [], list(range(5, 40, 3))])
def test_the_estimate_is_the_formula(features):
    x, parts = example(scale=0.5)
    h, weight, bias = parts
    inclusion = FeatureSampler(frequencies(), 12).inclusion
    chosen = torch.tensor([0, *features]).unique()
    weights = 1 / inclusion[chosen]
    expansion = torch.zeros(V, dtype=torch.float64).index_copy(0, chosen, weights)
    a, own = (h @ weight.T + bias).exp(), x.to_dense() > 0
    expected = (a * expansion).sum(1) + (a * own * (1 - expansion)).sum(1)
    sample = FeatureSample(chosen, weights, expansion)
    found = normaliser(parts, x, sampled_multinomial_log_prob(*parts, x, None, sample))
    torch.testing.assert_close(found, expected[x.totals() > 0])


def test_its_logarithm_is_biased_downwards():
    x, parts = example(scale=0.5)
    sampler = FeatureSampler(frequencies(), 5)
    draws = [sampled_multinomial_log_prob(*parts, x, None, sampler.draw(i)) for i in range(1000)]
    estimates = torch.stack([normaliser(parts, x, log_p).log() for log_p in draws])
    exact = normaliser(parts, x, multinomial_log_prob(*parts, x)).log()
    assert (estimates.mean(0) < exact).all()


def test_a_rows_own_features_are_exact():
    """With all the mass on features that each row has, nothing is left to chance."""
    counts = np.zeros((2, V))
    counts[0, 30:] = 1
    counts[1, 20:30] = 2
    x, (h, weight, bias) = sparse(counts, torch.float64), example()[1]
    h, weight = h[:2] * 0.1, weight * 0.1
    bias = torch.full_like(bias, -60.0)
    sampler = FeatureSampler(frequencies(), 8)
    for row, own in ((0, slice(30, 40)), (1, slice(20, 30))):
        likely = bias.clone()
        likely[own] = 0.0
        data = data_term(x, weight, likely)
        exact = multinomial_log_prob(h, weight, likely, x)[row]
        for number in range(5):
            sample = sampler.draw(number)
            found = sampled_multinomial_log_prob(h, weight, likely, x, data, sample)[row]
            torch.testing.assert_close(found, exact)


@pytest.mark.parametrize("draws", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_features_give_the_exact_value_and_gradients(dtype, draws):
    x, parts = example(dtype, draws=draws)
    sample = FeatureSampler(frequencies(), V).draw(0)
    weights = torch.randn(parts[0].shape[:-1], dtype=dtype)
    found, exact = ([p.detach().clone().requires_grad_() for p in parts] for _ in range(2))
    estimate = sampled_multinomial_log_prob(*found, x, None, sample)
    value = multinomial_log_prob(*exact, x)
    close = {"rtol": 1e-4, "atol": 1e-3} if dtype == torch.float32 else {}
    torch.testing.assert_close(estimate, value, **close)
    for a, b in zip(
        torch.autograd.grad(estimate, found, weights),
        torch.autograd.grad(value, exact, weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b, **close)


@pytest.mark.parametrize("draws", [None, 2])
def test_gradcheck(draws):
    x, parts = example(draws=draws)
    sample = FeatureSampler(frequencies(), 12).draw(5)
    asked = [p.requires_grad_() for p in parts]
    assert torch.autograd.gradcheck(
        lambda *p: sampled_multinomial_log_prob(*p, x, None, sample), asked
    )
    weight, bias = (p.detach() for p in parts[1:])
    data = data_term(x, weight, bias)
    assert torch.autograd.gradcheck(
        lambda h: sampled_multinomial_log_prob(h, weight, bias, x, data, sample), asked[:1]
    )


def test_a_held_data_term_changes_nothing_for_z():
    x, (h, weight, bias) = example()
    sample = FeatureSampler(frequencies(), 12).draw(4)
    h.requires_grad_()
    held, fresh = (
        sampled_multinomial_log_prob(h, weight, bias, x, data, sample)
        for data in (data_term(x, weight, bias), None)
    )
    assert torch.equal(held, fresh)
    gradients = [torch.autograd.grad(out.sum(), h)[0] for out in (held, fresh)]
    assert torch.equal(*gradients)


def test_gradients_of_draws_of_z_are_those_of_separate_calls():
    x, parts = example(draws=3)
    h, weight, bias = (p.requires_grad_() for p in parts)
    sample = FeatureSampler(frequencies(), 12).draw(4)
    together = sampled_multinomial_log_prob(h, weight, bias, x, None, sample)
    apart = torch.stack(
        [sampled_multinomial_log_prob(one, weight, bias, x, None, sample) for one in h]
    )
    upstream = torch.randn_like(apart)
    for a, b in zip(
        torch.autograd.grad(together, parts, upstream),
        torch.autograd.grad(apart, parts, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_draws_of_z_are_those_of_separate_calls():
    x, parts = example(draws=3)
    data = data_term(x, *parts[1:])
    sample = FeatureSampler(frequencies(), 12).draw(1)
    together = sampled_multinomial_log_prob(*parts, x, data, sample)
    for h, expected in zip(parts[0], together, strict=True):
        alone = sampled_multinomial_log_prob(h, *parts[1:], x, data, sample)
        torch.testing.assert_close(alone, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [30, 1e4, -1e4])
def test_huge_logits_do_not_overflow(size, dtype):
    x, parts = example(dtype, scale=size)
    sampler = FeatureSampler(frequencies(), 6)
    asked = [p.requires_grad_() for p in parts]
    for number in range(20):
        out = sampled_multinomial_log_prob(*asked, x, None, sampler.draw(number))
        assert out.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), asked))


def test_an_empty_row_has_log_prob_0_and_no_gradient():
    x, parts = example()
    asked = [p.requires_grad_() for p in parts]
    sample = FeatureSampler(frequencies(), 12).draw(1)
    out = sampled_multinomial_log_prob(*asked, x, None, sample)
    assert out[1] == 0
    assert all((g == 0).all() for g in torch.autograd.grad(out[1], asked))


def test_without_any_count():
    _, parts = example()
    x = sparse(np.zeros((B, V)), torch.float64)
    sample = FeatureSampler(frequencies(), 12).draw(1)
    out = sampled_multinomial_log_prob(*parts, x, data_term(x, *parts[1:]), sample)
    assert (out == 0).all()


@pytest.mark.parametrize("weight", [1e2, 1e5, 1e7])
def test_a_heavy_own_feature_that_dominates_stays_finite(weight):
    """Its weighted and its exact part nearly cancel; rounding must not make the rest negative."""
    counts = np.zeros((4, V))
    counts[:, 3] = 2
    x = sparse(counts, torch.float32)
    h, w, bias = (p.detach() for p in example(torch.float32, scale=3.0)[1])
    h = h[:4]
    expansion = torch.zeros(V, dtype=torch.float64)
    expansion[3] = weight
    sample = FeatureSample(torch.tensor([3]), expansion[3:4], expansion)
    h.requires_grad_()
    out = sampled_multinomial_log_prob(h, w, bias, x, data_term(x, w, bias), sample)
    (gradient,) = torch.autograd.grad(out.sum(), h)
    assert out.isfinite().all()
    assert gradient.isfinite().all()
    # Only feature 3 is known of: its probability is 1, and never more.
    assert (out < 1e-3).all()
