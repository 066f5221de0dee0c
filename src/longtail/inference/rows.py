"""A batch on the device that computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from longtail.inference.noise import NoiseKey
from longtail.ops import SparseRows

if TYPE_CHECKING:
    from longtail.data.batches import Batch

__all__ = ["Rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """B rows: what the likelihood scores, what the encoder reads, and whose noise it is.

    Attributes
    ----------
    counts, features
        B×V, sparse. The counts have the rows' exposures, where they are given.
    keys
        int64 (B,): content keys of the rows.
    """

    counts: SparseRows
    features: SparseRows
    keys: Tensor

    @classmethod
    def from_batch(cls, batch: Batch, device: torch.device | str = "cpu") -> Rows:
        """Copy a SciPy batch to the device."""
        return cls(
            SparseRows.from_scipy(batch.counts, device, exposure=batch.exposure),
            SparseRows.from_scipy(batch.features, device),
            torch.as_tensor(batch.keys.view(np.int64), device=device),
        )

    def noise_key(self, seed: int) -> NoiseKey:
        """The key of these rows' noise under a seed."""
        return NoiseKey(self.keys, seed)
