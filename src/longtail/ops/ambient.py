"""PyTorch's state as the caller left it, set aside while this library computes.

Gradient mode, inference mode, autocast and the default device belong to the thread. The precision
of float32 products belongs to the process, but other threads lose nothing by products that are more
exact. The default dtype belongs to the process, too, and other threads may need it as it is:
so nothing here changes it, and tensors are made with a dtype of their own everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

__all__ = ["float32_products", "neutral_torch"]

_LOCK = threading.Lock()
_computing = 0  # in all threads
_precisions: dict[Any, str] = {}  # as they were before the first of them began


@contextmanager
def neutral_torch() -> Iterator[None]:
    """Compute as if the caller had changed no state of PyTorch; restore it afterwards.

    Every public function that computes with PyTorch uses this, as a decorator or, where warnings
    point at the caller's line, within.
    """
    with ExitStack() as stack:
        stack.enter_context(float32_products())
        # Gradients are on within, whether inference mode or `no_grad` had turned them off.
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != torch.device("cpu"):
            # Not otherwise: it slows every operation down.
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def float32_products() -> Iterator[None]:
    """Multiply float32 matrices as such, in all threads, until the last to ask for it is done.

    With `torch.set_float32_matmul_precision` they may be rounded to TF32 or bfloat16 first.
    """
    global _computing
    with _LOCK:
        if _computing == 0:
            _precisions.update(_lowered())
            for backend in _precisions:
                _set(backend, "ieee")
        _computing += 1
    try:
        yield
    finally:
        with _LOCK:
            _computing -= 1
            if _computing == 0:
                for backend, precision in _precisions.items():
                    _set(backend, precision)
                _precisions.clear()


def _lowered() -> dict[Any, str]:
    """Settings under which products of float32 are less exact, and their values."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # before PyTorch 2.9
        precision = torch.get_float32_matmul_precision()
        return {} if precision == "highest" else {torch: precision}
    families: tuple[Any, ...] = (torch.backends.cuda, torch.backends.mkldnn)
    values = {family.matmul: family.matmul.fp32_precision for family in families}
    return {backend: value for backend, value in values.items() if value not in ("none", "ieee")}


def _set(backend: Any, precision: str) -> None:
    if backend is torch:
        torch.set_float32_matmul_precision("highest" if precision == "ieee" else precision)
    else:
        backend.fp32_precision = precision
