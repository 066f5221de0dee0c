"""Hypothesis strategies shared by the tests of the data layer."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

dense_counts = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8),
    # Mostly zeros and few values, so that empty and equal rows are common.
    elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 7.0, 0.5, 16777216.0]),
)
