from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from longtail.inference import NoiseKey, Stream, normal_noise, sign_noise

KEYS = {
    "hashes": torch.from_numpy(np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 20_000)),
    # Counters are the hardest keys: they differ in few bits.
    "counters": torch.arange(20_000),
}


def draw(keys, seed=0, k=4, stream=Stream.REFINE, step=0):
    return normal_noise(NoiseKey(keys, seed), k, stream, step)


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_standard_normal(keys):
    x = draw(keys, k=10).double()
    assert x.shape == (20_000, 10)
    n = x.numel()
    assert abs(x.mean()) < 4 / n**0.5
    assert abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert kstest(x.flatten().numpy(), "norm").pvalue > 0.001
    for dimension in x.T:
        assert kstest(dimension.numpy(), "norm").pvalue > 0.0001


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_uncorrelated_over_everything_it_is_keyed_by(keys):
    columns = [
        *draw(keys, k=6).T,
        *(draw(keys, step=s, k=1)[:, 0] for s in range(1, 5)),
        *(draw(keys, stream=s, k=1)[:, 0] for s in Stream if s != Stream.REFINE),
        *(draw(keys, seed=s, k=1)[:, 0] for s in (-1, 1, 2, 2**40)),
        draw(keys.roll(1), k=1)[:, 0],
    ]
    x = torch.stack(columns).double()
    # Squares too: Box–Muller pairs share their radius, and must be independent all the same.
    for table in (x, x**2):
        correlation = table.corrcoef() - torch.eye(len(x))
        assert correlation.abs().max() < 5 / len(keys) ** 0.5


def test_it_belongs_to_the_row():
    keys = KEYS["hashes"][:300]
    whole = draw(keys, k=7)
    for first, last in [(0, 1), (5, 6), (0, 17), (100, 233), (299, 300)]:
        assert torch.equal(draw(keys[first:last], k=7), whole[first:last])
    order = torch.randperm(300)
    assert torch.equal(draw(keys[order], k=7), whole[order])
    assert torch.equal(draw(keys[[4, 4]], k=7), whole[[4, 4]])


@pytest.mark.parametrize("k", [1, 2, 3, 101])
def test_any_number_of_dimensions(k):
    x = draw(KEYS["hashes"][:50], k=k)
    assert x.shape == (50, k)
    assert x.dtype == torch.float32
    assert x.unique().numel() == x.numel()


def test_folding_depends_on_seed_and_value():
    keys = KEYS["counters"][:10]
    folded = {(s, v): NoiseKey(keys, s).folded(v) for s in range(5) for v in range(50)}
    assert len({key.seed for key in folded.values()}) == 250
    x = normal_noise(folded[2, 3], 4, Stream.REFINE, 0)
    assert torch.equal(x, normal_noise(NoiseKey(keys, 2).folded(3), 4, Stream.REFINE, 0))


def test_the_numbers_themselves():
    """Every seeded result would change with them."""
    x = draw(torch.tensor([0, -1, 2**62]), seed=7, k=3, stream=Stream.BOUND, step=2)
    expected = torch.tensor(
        [
            [-0.704705, -0.031361, -0.183025],
            [0.730122, -0.182685, 0.894710],
            [-0.386723, -0.355108, -0.147967],
        ]
    )
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


# --- signs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 64, 65, 100, 128, 130])
def test_signs_average_to_the_identity_over_a_cycle(k):
    key = NoiseKey(KEYS["hashes"][:4], 3)
    order = 1 << max(0, k - 1).bit_length()
    eps = torch.stack([sign_noise(key, k, Stream.REFINE, t) for t in range(order)])
    assert eps.dtype == torch.float32
    assert (eps.abs() == 1).all()
    outer = torch.einsum("tbi,tbj->bij", eps, eps) / order
    assert torch.equal(outer, torch.eye(k).expand(4, k, k))
    # Then a new cycle, of other signs.
    again = sign_noise(key, k, Stream.REFINE, order)
    assert k < 64 or not torch.equal(again, eps[0])


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_signs_of_rows_are_independent(keys):
    columns = [
        *sign_noise(NoiseKey(keys, 0), 100, Stream.REFINE, 0).T[[0, 1, 2, 63, 64, 99]],
        sign_noise(NoiseKey(keys, 1), 1, Stream.REFINE, 0)[:, 0],
        sign_noise(NoiseKey(keys, 0), 1, Stream.BOUND, 0)[:, 0],
        sign_noise(NoiseKey(keys, 0), 1, Stream.REFINE, 1)[:, 0],
        sign_noise(NoiseKey(keys.roll(1), 0), 1, Stream.REFINE, 0)[:, 0],
    ]
    x = torch.stack(columns).double()
    assert (x.mean(1).abs() < 5 / len(keys) ** 0.5).all()
    correlation = x.corrcoef() - torch.eye(len(x))
    assert correlation.abs().max() < 5 / len(keys) ** 0.5


def test_signs_belong_to_the_row():
    keys = KEYS["hashes"][:300]
    whole = sign_noise(NoiseKey(keys, 0), 70, Stream.REFINE, 5)
    order = torch.randperm(300)
    shuffled = sign_noise(NoiseKey(keys[order], 0), 70, Stream.REFINE, 5)
    assert torch.equal(shuffled, whole[order])
    few = sign_noise(NoiseKey(keys[7:9], 0), 70, Stream.REFINE, 5)
    assert torch.equal(few, whole[7:9])


@pytest.mark.parametrize("k", [1, 3, 65])
def test_a_new_cycle_has_signs_of_its_own(k):
    key, order = NoiseKey(KEYS["hashes"][:500], 0), 1 << (k - 1).bit_length()
    first, second = (
        torch.stack([sign_noise(key, k, Stream.REFINE, c * order + t) for t in range(order)])
        for c in (0, 1)
    )
    assert (first[0] * second[0]).mean().abs() < 5 / (500 * k) ** 0.5
    outer = torch.einsum("tbi,tbj->bij", second, second) / order
    assert torch.equal(outer, torch.eye(k).expand(500, k, k))


def test_the_signs_themselves():
    """Every refined result would change with them."""
    key = NoiseKey(torch.tensor([0, -1, 2**62]), 7)
    found = sign_noise(key, 70, Stream.BOUND, 139)[:, [0, 1, 2, 63, 64, 69]]
    assert found.int().tolist() == [
        [-1, 1, 1, 1, 1, -1],
        [1, -1, 1, -1, -1, -1],
        [1, 1, 1, 1, -1, 1],
    ]
