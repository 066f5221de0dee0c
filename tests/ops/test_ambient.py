from __future__ import annotations

import threading

import pytest
import torch

from longtail.ops.ambient import float32_products, neutral_torch
from tests.ambient import STATES, state_of_torch


@pytest.mark.parametrize("state", STATES)
def test_neutral_within_and_restored_afterwards(state):
    with STATES[state]():
        before = state_of_torch()
        with neutral_torch():
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.empty(0).device.type == "cpu"
            assert torch.backends.mkldnn.matmul.fp32_precision in ("none", "ieee")
            with neutral_torch():
                pass
            assert torch.is_grad_enabled()
        assert state_of_torch() == before
        with pytest.raises(ZeroDivisionError), neutral_torch():
            raise ZeroDivisionError
        assert state_of_torch() == before


def test_the_default_dtype_is_left_to_other_threads():
    with STATES["float64"](), neutral_torch():
        assert torch.get_default_dtype() == torch.float64


def test_products_are_exact_while_any_thread_computes():
    x = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    exact, results = x @ x, []
    inside, leave = threading.Event(), threading.Event()

    def compute():
        with float32_products():
            inside.set()
            assert leave.wait(10)
            results.append(x @ x)

    with STATES["medium"]():
        other = threading.Thread(target=compute)
        with float32_products():
            other.start()
            assert inside.wait(10)
        leave.set()
        other.join()
        assert torch.get_float32_matmul_precision() == "medium"
    torch.testing.assert_close(results[0], exact, rtol=0, atol=0)
