from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.ops import data_term, fused, multinomial_log_prob, reference
from tests.builders import sparse

# B, V, H
SHAPES = [(1, 1, 1), (1, 7, 3), (5, 1, 2), (4, 9, 1), (13, 37, 5)]
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-11}


def example(shape, dtype, *, empty=False, scale=1.0):
    b, v, h = shape
    counts = np.random.default_rng(0).poisson(1.0, (b, v))
    if empty:
        counts[0] = 0
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(*s, generator=generator, dtype=dtype) for s in [(b, h), (v, h), (v,)]]
    parts[0] *= scale
    return sparse(counts, dtype), [p.requires_grad_() for p in parts]


def values_and_gradients(kernel, parts, x, weights):
    out = kernel(*parts, x)
    return [out, *torch.autograd.grad(out, parts, weights)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape, empty, dtype):
    x, parts = example(shape, dtype, empty=empty)
    weights = torch.randn(shape[0], dtype=dtype)
    fused = values_and_gradients(multinomial_log_prob, parts, x, weights)
    readable = values_and_gradients(reference.multinomial_log_prob, parts, x, weights)
    for a, b in zip(fused, readable, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_gradcheck():
    x, parts = example((4, 6, 3), torch.float64, empty=True)
    assert torch.autograd.gradcheck(lambda *p: multinomial_log_prob(*p, x), parts)


def test_an_empty_row_has_log_prob_0_and_no_gradient():
    x, parts = example((3, 5, 2), torch.float32, empty=True)
    out = multinomial_log_prob(*parts, x)
    assert out[0] == 0
    gradients = torch.autograd.grad(out[0], parts)
    assert all((g == 0).all() for g in gradients)


def test_without_any_count():
    _, parts = example((2, 4, 3), torch.float32)
    out = multinomial_log_prob(*parts, sparse(np.zeros((2, 4)), torch.float32))
    assert out.tolist() == [0, 0]
    assert all((g == 0).all() for g in torch.autograd.grad(out.sum(), parts))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_do_not_overflow(size, dtype):
    x, (h, weight, bias) = example((3, 6, 2), dtype, empty=True)
    spread = torch.linspace(-1, 1, 6, dtype=dtype) * size
    for parts in ([h * size, weight, bias], [h, weight, bias + size], [h, weight, bias + spread]):
        fresh = [p.detach().requires_grad_() for p in parts]
        ones = torch.ones(3, dtype=dtype)
        fused = values_and_gradients(multinomial_log_prob, fresh, x, ones)
        readable = values_and_gradients(reference.multinomial_log_prob, fresh, x, ones)
        for a, b in zip(fused, readable, strict=True):
            assert a.isfinite().all()
            # Rounding is relative to logits of 1e4 and totals of about 6.
            atol = 6e4 * torch.finfo(dtype).eps * 20
            torch.testing.assert_close(a, b, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_the_gradients_asked_for(wanted):
    x, parts = example((4, 6, 3), torch.float64)
    expected = torch.autograd.grad(reference.multinomial_log_prob(*parts, x).sum(), parts)
    asked = [p.detach().requires_grad_(i in wanted) for i, p in enumerate(parts)]
    multinomial_log_prob(*asked, x).sum().backward()
    for i, part in enumerate(asked):
        if i in wanted:
            torch.testing.assert_close(part.grad, expected[i])
        else:
            assert part.grad is None


@pytest.mark.parametrize("keep", [0, 10**6])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_many_blocks(monkeypatch, dtype, keep):
    """Largest logits that rise, fall and rise again from block to block."""
    monkeypatch.setattr(fused, "_BLOCK_CPU", 13 * 16)
    monkeypatch.setattr(fused, "_KEEP", keep)
    x, parts = example((13, 90, 5), dtype, empty=True)
    with torch.no_grad():
        parts[2] += 30 * torch.sin(torch.arange(90.0) / 12)
    assert len(list(fused.blocks(13, parts[1]))) > 4
    weights = torch.randn(13, dtype=dtype)
    found = values_and_gradients(multinomial_log_prob, parts, x, weights)
    readable = values_and_gradients(reference.multinomial_log_prob, parts, x, weights)
    for a, b in zip(found, readable, strict=True):
        torch.testing.assert_close(a, b, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])
    if dtype == torch.float64:
        small = [p.detach().requires_grad_() for p in parts]
        assert torch.autograd.gradcheck(lambda *p: multinomial_log_prob(*p, x), small)


@pytest.mark.parametrize("keep", [0, 10**6])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", [1e4, -1e4], ids=["rising", "falling"])
def test_huge_logits_in_many_blocks(monkeypatch, size, dtype, keep):
    monkeypatch.setattr(fused, "_BLOCK_CPU", 1)
    monkeypatch.setattr(fused, "_KEEP", keep)
    x, (h, weight, bias) = example((5, 75, 3), dtype, empty=True)
    slope = torch.linspace(0, size, 75, dtype=dtype)
    # Rounding is relative to logits of 1e4 and totals of about 75.
    atol = 75e4 * torch.finfo(dtype).eps * 20
    for parts in ([h, weight, slope], [h * size, weight, bias]):
        fresh = [p.detach().clone().requires_grad_() for p in parts]
        ones = torch.ones(5, dtype=dtype)
        found = values_and_gradients(multinomial_log_prob, fresh, x, ones)
        readable = values_and_gradients(reference.multinomial_log_prob, fresh, x, ones)
        assert found[0][0] == 0
        for a, b in zip(found, readable, strict=True):
            assert a.isfinite().all()
            torch.testing.assert_close(a, b, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("keep", [0, 10**6])
@pytest.mark.parametrize("wanted", [(0,), (1,), (0, 2)])
def test_only_the_gradients_asked_for_in_many_blocks(monkeypatch, wanted, keep):
    monkeypatch.setattr(fused, "_BLOCK_CPU", 1)
    monkeypatch.setattr(fused, "_KEEP", keep)
    x, parts = example((4, 40, 3), torch.float64)
    expected = torch.autograd.grad(reference.multinomial_log_prob(*parts, x).sum(), parts)
    asked = [p.detach().requires_grad_(i in wanted) for i, p in enumerate(parts)]
    multinomial_log_prob(*asked, x).sum().backward()
    for i, part in enumerate(asked):
        if i in wanted:
            torch.testing.assert_close(part.grad, expected[i])
        else:
            assert part.grad is None


@given(n=st.integers(0, 3000), v=st.integers(1, 5000), size=st.integers(1, 2**20))
def test_blocks_are_equal_and_small_enough(n, v, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_BLOCK_CPU", size)
        widths = [stop - start for start, stop in fused.blocks(n, torch.empty(v, 0))]
    most = max(16, size // max(1, n))
    assert max(widths) <= -(-most // 16) * 16
    assert set(widths[:-1]) <= {widths[0]}
    assert widths[-1] <= widths[0]


@given(n=st.integers(0, 5000), v=st.integers(1, 3_000_000))
def test_blocks_cover_the_features_once(n, v):
    blocks = list(fused.blocks(n, torch.empty(v, 0)))
    assert blocks[0][0] == 0
    assert blocks[-1][1] == v
    assert all(a[1] == b[0] for a, b in pairwise(blocks))
    assert all(start < stop for start, stop in blocks)


@pytest.mark.parametrize("v", [6, 40])
@pytest.mark.parametrize("keep", [0, 10**6])
def test_draws_of_z_are_those_of_separate_calls(monkeypatch, keep, v):
    monkeypatch.setattr(fused, "_BLOCK_CPU", 1)
    monkeypatch.setattr(fused, "_KEEP", keep)
    x, (h, weight, bias) = example((4, v, 3), torch.float64, empty=True)
    stacked = torch.stack([h, -h, 0.5 * h]).detach().requires_grad_()
    upstream = torch.randn(3, 4, dtype=torch.float64)
    together = values_and_gradients(multinomial_log_prob, [stacked, weight, bias], x, upstream)
    singles = [one.detach().requires_grad_() for one in stacked]
    apart = [
        values_and_gradients(multinomial_log_prob, [one, weight, bias], x, u)
        for one, u in zip(singles, upstream, strict=True)
    ]
    for i in (0, 1):
        torch.testing.assert_close(together[i], torch.stack([a[i] for a in apart]))
    for i in (2, 3):
        torch.testing.assert_close(together[i], sum(a[i] for a in apart))


def test_no_gradient_asked_for():
    x, parts = example((4, 6, 3), torch.float64)
    out = multinomial_log_prob(*(p.detach() for p in parts), x)
    assert not out.requires_grad


def test_a_held_data_term_changes_nothing():
    x, (h, weight, bias) = example((4, 6, 3), torch.float64)
    term = data_term(x, weight, bias)
    for scale in (1.0, -2.0):
        parts = [(h * scale).detach().requires_grad_(), weight, bias]
        ones = torch.ones(4, dtype=torch.float64)
        once = values_and_gradients(multinomial_log_prob, parts, x, ones)
        held = values_and_gradients(lambda *p: multinomial_log_prob(*p, data=term), parts, x, ones)
        for a, b in zip(once, held, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
