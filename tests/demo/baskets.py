"""Small baskets of three tastes, for the demos that hide and recommend items."""

from __future__ import annotations

import numpy as np

ITEMS = [[f"{taste}{i}" for i in range(8)] for taste in "abc"]
SMALL = {"n_components": 4, "n_hidden": 16, "batch_size": 50, "eval_refine_steps": 5}
SMALL |= {"learning_rate": 0.02, "features": "binary"}


def draw(n: int, seed: int) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [rng.choice(ITEMS[i % 3], 5 + i % 3, replace=False).tolist() for i in range(n)]
