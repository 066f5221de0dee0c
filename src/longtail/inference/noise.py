"""Standard normal noise that belongs to a row, not to a place in a batch.

A draw is a pure function of (seed, stream, row key, step, latent dimension): a counter-based
generator (SplitMix64's mixing function, Steele et al. 2014) followed by Box–Muller. So a row's
refined posterior does not depend on which rows share its batch or on their order, and training
can resume at any step without a generator's state.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["NoiseKey", "Stream", "normal_noise", "sign_noise"]

# Signed views of SplitMix64's 64-bit constants: torch has no unsigned arithmetic.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


class Stream(IntEnum):
    """What the noise is for: two uses never share it."""

    TRAIN_ENCODER = 1
    TRAIN_DECODER = 2
    REFINE = 3
    BOUND = 4
    COMPLETION = 5
    COVARIANCE = 6
    CHOICE = 7


class NoiseKey(NamedTuple):
    """Whose noise it is.

    Attributes
    ----------
    rows
        Content key of each row: int64 (B,).
    seed
        Any Python integer.
    """

    rows: Tensor
    seed: int

    def folded(self, value: int) -> NoiseKey:
        """The same rows under a seed that also depends on `value` (an update number, say)."""
        return NoiseKey(self.rows, _mix_int(self.seed * 0x2545F491 + value + 1))


def normal_noise(key: NoiseKey, n_components: int, stream: Stream, step: int) -> Tensor:
    """ε ~ N(0, 1), (B, K) float32, the same for the same arguments wherever it is asked for."""
    half = (n_components + 1) // 2
    base = _mix_int(_mix_int(key.seed) + (int(stream) << 32) + step)
    rows = _mix(key.rows ^ _signed(base))
    lanes = torch.arange(1, half + 1, device=rows.device) * _GOLDEN
    bits = _mix(rows[:, None] + lanes)
    # 24 bits each: exactly representable in float32. The half keeps the logarithm finite.
    u1 = ((bits & 0xFFFFFF).to(torch.float32) + 0.5) / 2**24
    u2 = ((bits >> 32) & 0xFFFFFF).to(torch.float32) / 2**24
    radius = u1.log_().mul_(-2).sqrt_()
    angle = u2.mul_(2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :n_components]


def sign_noise(key: NoiseKey, n_components: int, stream: Stream, step: int) -> Tensor:
    """ε of entries ±1, (B, K) float32, whose errors cancel over successive steps.

    Each row has random signs of its own, multiplied at each step by another row of a Hadamard
    matrix of order n ≥ K: over n steps ε εᵀ averages to the identity exactly, and over any power
    of two of them nearly so. After n steps new signs are drawn.
    """
    order = 1 << max(0, n_components - 1).bit_length()
    cycle, row = divmod(step, order)
    base = _mix_int(_mix_int(key.seed) + (int(stream) << 32) + cycle)
    words = -(-n_components // 64)
    device = key.rows.device
    lanes = torch.arange(1, words + 1, device=device) * _GOLDEN
    bits = _mix(_mix(key.rows ^ _signed(base))[:, None] + lanes)
    shifts = torch.arange(64, device=device)
    signs = ((bits[:, :, None] >> shifts) & 1).flatten(1)[:, :n_components]
    return (1 - 2 * (signs ^ _parity(torch.arange(n_components, device=device) & row))).float()


def _parity(x: Tensor) -> Tensor:
    """0 or 1: whether a number below 2³² has an odd count of set bits."""
    for shift in (16, 8, 4, 2, 1):
        x = x ^ (x >> shift)
    return x & 1


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, with shifts made logical by masking."""
    x = x + _GOLDEN
    x = (x ^ ((x >> 30) & (2**34 - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & (2**37 - 1))) * _MIX_2
    return x ^ ((x >> 31) & (2**33 - 1))


def _mix_int(x: int) -> int:
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x
