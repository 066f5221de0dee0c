"""What changes during training: KL weight, learning rate, refinement steps.

Each is a pure function of the update or epoch number, so that a resumed run follows the same
path as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

__all__ = ["RefineSchedule", "draws_at", "kl_weight", "learning_rate", "steps_at"]

RefineSchedule = Sequence[tuple[int, int]]

# Share of the updates over which "warmup" rises.
_RISE = 0.1

# Draws that teach the decoder by importance weight, where rows are refined.
_DRAWS = 8


def draws_at(steps: int, samples: int | Literal["auto"]) -> int:
    """S in an epoch of M refinement steps: "auto" leaves a plain variational auto-encoder plain."""
    if samples == "auto":
        return _DRAWS if steps else 1
    return samples


def kl_weight(update: int, anneal_updates: float, final: float = 1.0) -> float:
    """β: rises linearly from 0 to `final` over the first `anneal_updates` updates."""
    if anneal_updates <= 0:
        return final
    return final * min(1.0, update / anneal_updates)


def learning_rate(
    update: int, total: int, peak: float, schedule: Literal["cosine", "constant", "warmup"]
) -> float:
    """Adam's step size: "constant", or falling to 0 along half a cosine.

    "warmup" is the latter after a rise over the first tenth of the updates: for a fitted model
    that goes on, whose optimiser knows nothing yet of its gradients.
    """
    if schedule == "constant":
        return peak
    if schedule == "warmup":
        rise = max(1, round(_RISE * total))
        if update < rise:
            return peak * (update + 1) / (rise + 1)
        update, total = update - rise, max(1, total - rise)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, update / total)))


def steps_at(epoch: int, schedule: RefineSchedule) -> int:
    """M in an epoch: that of the last pair (first epoch, M) which has begun.

    ``[(0, 10)]`` is hybrid throughout, ``[(0, 0)]`` a plain VAE, ``[(0, 0), (20, 10)]`` starts
    plain and refines from epoch 20 on.
    """
    return next((m for start, m in reversed(schedule) if start <= epoch), 0)
