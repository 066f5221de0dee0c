from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from tests import profiles

profiles.load()

# Tests compute little at a time: more threads would only get into each other's way.
torch.set_num_threads(1)


def _seed_everything():
    """The library draws from global generators only where it has no seed; tests may."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Fixtures of a module or a session start alike, whichever test needs them first."""
    _seed_everything()


@pytest.fixture(autouse=True)
def _fixed_seeds():
    _seed_everything()


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, so that no process waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_on_ray.py")
