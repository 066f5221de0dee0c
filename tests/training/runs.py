"""Short training runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from longtail.evaluation.evaluate import make_batches
from longtail.inference import RefineSettings
from longtail.training import Callback, TrainingConfig, fit
from tests.builders import prepared, small_network, topic_counts

BASE = TrainingConfig(
    epochs=4,
    batch_size=16,
    learning_rate=0.01,
    lr_schedule="cosine",
    weight_decay=0.01,
    output_epsilon=1e-8,
    feature_dropout=0.0,
    kl_weight=1.0,
    kl_anneal=0.5,
    refine_schedule=((0, 3),),
    refine_method="natural",
    importance_samples=1,
    valid_refine=RefineSettings(5),
    patience=None,
    seed=3,
)


OPTIONS = ("callbacks", "checkpoints", "checkpoint_every", "resume", "processes")


def run(*, network_seed=0, n_valid=12, network=None, binary=False, source=lambda b: b, **changes):
    """Fit a small network; the data are always the same, though perhaps only 0 and 1.

    `network` are options of the network, and `source` may wrap the batches.
    """
    options = {name: changes.pop(name) for name in OPTIONS if name in changes}
    top = 1 if binary else np.inf
    train, transform, unigram = prepared(np.minimum(topic_counts(40, 20, seed=1), top))
    valid = None
    if n_valid:
        valid = prepared(np.minimum(topic_counts(n_valid, 20, seed=2), top))[0]
    network = small_network(unigram, seed=network_seed, scale=0.1, **(network or {}))
    config = replace(BASE, **changes)
    result = fit(
        network,
        source(make_batches(train, transform, config.batch_size)),
        valid,
        transform,
        config,
        **options,
    )
    return network, result


def same_weights(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def timeless(history):
    """The records without their wall times."""
    return [replace(r, seconds=0, rows_per_second=0) for r in history]


class Stop(Exception):  # noqa: N818
    """Ends a run from a callback, as Ctrl-C would."""


class StopAfterEpoch(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, record):
        if record.epoch == self.epoch:
            raise Stop


class AtUpdate(Callback):
    """Do something after some updates."""

    def __init__(self, update, action):
        self.left = update
        self.action = action

    def on_batch_end(self, epoch, rows_done):
        self.left -= 1
        if self.left == 0:
            self.action()


class StopAtUpdate(AtUpdate):
    """End after some updates: in good order with StopTraining, at once with anything else."""

    def __init__(self, update, error=Stop):
        super().__init__(update, self.stop)
        self.error = error

    def stop(self):
        raise self.error


def assert_same_run(first, second):
    assert same_weights(first[0], second[0])
    assert timeless(first[1].history) == timeless(second[1].history)
    assert first[1].best_epoch == second[1].best_epoch
    assert first[1].stopped == second[1].stopped
