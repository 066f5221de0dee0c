"""Short training runs."""

from __future__ import annotations

from dataclasses import replace

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


def run(*, network_seed=0, n_valid=12, callbacks=(), checkpoints=None, resume=False, **changes):
    """Fit a small network; the data are always the same."""
    train, transform, unigram = prepared(topic_counts(40, 20, seed=1))
    valid = prepared(topic_counts(n_valid, 20, seed=2))[0] if n_valid else None
    network = small_network(unigram, seed=network_seed, scale=0.1)
    config = replace(BASE, **changes)
    result = fit(
        network,
        make_batches(train, transform, config.batch_size),
        valid,
        transform,
        config,
        callbacks=callbacks,
        checkpoints=checkpoints,
        resume=resume,
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


class StopAtUpdate(Callback):
    def __init__(self, update):
        self.left = update

    def on_batch_end(self, epoch, rows_done):
        self.left -= 1
        if self.left == 0:
            raise Stop
