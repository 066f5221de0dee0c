"""States of PyTorch that a caller may have left, and what they consist of."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def set_within(setter, value, before):
    setter(value)
    try:
        yield
    finally:
        setter(before)


STATES = {
    "float64": lambda: set_within(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: set_within(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: set_within(torch.set_grad_enabled, False, True),
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "meta": lambda: set_within(torch.set_default_device, "meta", None),
    "deterministic": lambda: set_within(torch.use_deterministic_algorithms, True, False),
    "medium": lambda: set_within(torch.set_float32_matmul_precision, "medium", "highest"),
}


@contextmanager
def all_states():
    """All of them at once; of two that exclude each other the latter."""
    with ExitStack() as stack:
        for state in STATES.values():
            stack.enter_context(state())
        yield


def state_of_torch():
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
    )
