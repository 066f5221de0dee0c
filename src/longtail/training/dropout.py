"""Feature dropout: which of a row's features the encoder does not see at an update."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from longtail.data import Batch
from longtail.data.hashing import mix

__all__ = ["with_dropout"]


def with_dropout(batch: Batch, rate: float, seed: int, update: int) -> Batch:
    """Hide a share of the features and scale up the rest, as if they had been all.

    Whether an entry is hidden is a function of seed, update, the row's content and the feature
    alone: not of the rows beside it, nor of the process that has the row.
    """
    if rate == 0:
        return batch
    features = batch.features.copy()
    of_update = mix(mix(np.array([seed], np.uint64)) + np.uint64(update))
    of_row = np.repeat(mix(batch.keys ^ of_update), np.diff(features.indptr))
    bits = mix(of_row + features.indices.astype(np.uint64)) >> np.uint64(11)
    kept = bits >= np.uint64(rate * 2**53)
    features.data = np.where(kept, features.data / (1 - rate), 0).astype(np.float32)
    return replace(batch, features=features)
