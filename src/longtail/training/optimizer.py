"""AdamW as it is used here, and what it needs now and then."""

from __future__ import annotations

from typing import Any

import torch

from longtail.inference import HybridModel

__all__ = ["FLUSH_EVERY", "flush_subnormal", "optimizer_of"]

# Updates in which no moment falls from `_VANISHED` to where it is slow: 0.9^64 is 1e-3.
FLUSH_EVERY, _VANISHED = 64, 1e-30


def optimizer_of(
    model: HybridModel, learning_rate: float, weight_decay: float, output_epsilon: float
) -> torch.optim.Optimizer:
    """AdamW in one fused kernel, whose decay spares the biases.

    Adam divides each gradient by its usual size, so that the weights of a rare feature, whose few
    occurrences say little, move as far as those of a frequent one. An ε of the order of their
    gradients keeps the rare ones' steps small, and leaves them to the decay.
    """
    output = model.generative.decoder.weight
    matrices = [p for p in model.parameters() if p.ndim > 1 and p is not output]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": [output], "weight_decay": weight_decay, "eps": output_epsilon},
        {"params": biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


@torch.no_grad()
def flush_subnormal(optimizer: torch.optim.Optimizer) -> None:
    """Set moments that have all but vanished to 0.

    The moments of a rare feature that no batch brings up fade towards 0, and processors compute
    with numbers below 1e-38 many times more slowly than with others.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name].masked_fill_(state[name].abs() < _VANISHED, 0)
