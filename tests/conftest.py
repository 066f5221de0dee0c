from __future__ import annotations

import pytest
import torch

from tests import profiles

profiles.load()

# Tests compute little at a time: more threads would only get into each other's way.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_torch_seed():
    """The library never draws from torch's global generator; tests may."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, so that no process waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_on_ray.py")
