"""A small estimator and data for it."""

from __future__ import annotations

import numpy as np

from longtail import NonlinearFactorAnalysis
from tests.builders import topic_counts


def small(**changes):
    options = {
        "n_components": 3,
        "n_hidden": 8,
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 0.01,
        "refine_steps": 2,
        "eval_refine_steps": 10,
        "eval_samples": 5,
        "validation_fraction": 0.2,
        "random_state": 0,
    }
    return NonlinearFactorAnalysis(**(options | changes))


def words(n_rows=80, n_features=20, **kwargs):
    return topic_counts(n_rows, n_features, seed=1, **kwargs)


def names(n):
    return [f"w{i:02d}" for i in range(n)]


def same_network(first, second):
    a, b = first.network_.state_dict(), second.network_.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
