"""Features drawn to stand for all of them, with known probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["FeatureSample", "FeatureSampler"]

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class FeatureSample:
    """Features drawn once.

    Attributes
    ----------
    features
        int64 (n,), ascending.
    weights
        1/π of each: float64 (n,).
    expansion
        The same over all features, 0 where not drawn: (V,).
    """

    features: Tensor
    weights: Tensor
    expansion: Tensor


class FeatureSampler(nn.Module):
    """Draws features with probabilities proportional to size, systematically.

    Frequent features have π = 1: they are always there, exactly. From the rest every draw takes
    an evenly spread selection, and successive draws (a golden-ratio sequence) other ones.

    Parameters
    ----------
    frequencies
        (V,), positive; their scale does not matter.
    size
        n, features a draw has on average.
    uniform
        Share of the probability that is spread evenly, so that no weight is huge.
    """

    def __init__(self, frequencies: Tensor, size: int, *, uniform: float = 0.1) -> None:
        super().__init__()
        p = frequencies.double() / frequencies.double().sum()
        p = (1 - uniform) * p + uniform / len(p)
        # Buffers follow the model to its device; they are not saved, being made from frequencies.
        self.inclusion: Tensor
        self.cumulated: Tensor
        self.register_buffer("inclusion", _inclusion(p, min(size, len(p))), persistent=False)
        self.register_buffer("cumulated", self.inclusion.cumsum(0), persistent=False)

    def draw(self, number: int) -> FeatureSample:
        """The draw of a given number: a pure function of it."""
        offset = (0.5 + number * _GOLDEN) % 1.0
        ticks = (self.cumulated - offset).floor()
        before = torch.cat([ticks.new_tensor([-1.0]), ticks[:-1]])
        features = (ticks > before).nonzero().flatten()
        weights = 1 / self.inclusion[features]
        expansion = torch.zeros_like(ticks)
        expansion[features] = weights
        return FeatureSample(features, weights, expansion)


def _inclusion(p: Tensor, size: int) -> Tensor:
    """min(1, c p) with c such that they sum to `size`."""
    descending = p.sort(descending=True).values
    # With the k most frequent at 1, the others share size − k: the first k at which they fit.
    rest = descending.flip(0).cumsum(0).flip(0)
    k = torch.arange(len(p), device=p.device)
    fits = (size - k) * descending <= rest
    first = int(fits.nonzero()[0]) if bool(fits.any()) else len(p)
    if first == len(p):
        return torch.ones_like(p)
    return (p * (size - first) / rest[first]).clamp_(max=1)
