"""A small fitted model, and rows to score."""

from __future__ import annotations

from functools import cache

from tests.builders import prepared, topic_counts
from tests.training.runs import run


@cache
def fitted():
    """The network, its transform and its unigram frequencies."""
    network, _ = run(epochs=25, learning_rate=0.03)
    _, transform, unigram = prepared(topic_counts(40, 20, seed=1))
    return network.requires_grad_(False), transform, unigram


def fresh_rows(n_rows=60, empty=()):
    """Rows that the model was not fitted on."""
    return topic_counts(n_rows, 20, seed=5, empty=empty)
