from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from longtail.errors import NonFiniteError
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.inference import RefineSettings
from longtail.training import Callback, fit
from longtail.training.checkpoint import CheckpointStore
from longtail.training.optimizer import flush_subnormal, optimizer_of
from longtail.training.validate import VALID_SAMPLES, Validated, Validation
from tests.builders import prepared, small_network, topic_counts
from tests.training import runs
from tests.training.runs import BASE, run, same_weights, timeless


def valid_bound(network, transform):
    valid = prepared(topic_counts(12, 20, seed=2))[0]
    rows = row_bounds(
        network,
        make_batches(valid, transform, 16).ordered(),
        refine=BASE.valid_refine,
        samples=VALID_SAMPLES,
        seed=BASE.seed,
    )
    return rows.elbo_refined.mean()


@pytest.mark.parametrize("steps", [0, 3])
def test_it_learns(steps):
    _, result = run(
        epochs=25,
        learning_rate=0.03,
        refine_schedule=((0, steps),),
        valid_refine=RefineSettings(20),
    )
    train, _, unigram = prepared(topic_counts(40, 20, seed=1))
    floor = float((train.csr @ np.log(unigram)).mean())
    first, last = result.history[0], result.history[-1]
    assert last.valid_nats_per_row > first.valid_nats_per_row
    assert last.train_nats_per_row > floor + 2
    assert last.active_kl > 0


def test_the_record_of_a_run():
    _, result = run(refine_schedule=((0, 0), (2, 3)))
    history = result.history
    assert [r.epoch for r in history] == [1, 2, 3, 4]
    assert [r.updates for r in history] == [3, 6, 9, 12]
    assert [r.refine_steps for r in history] == [0, 0, 3, 3]
    assert [r.kl_weight for r in history] == pytest.approx([2 / 6, 5 / 6, 1, 1])
    rates = [0.005 * (1 + math.cos(math.pi * u / 12)) for u in (2, 5, 8, 11)]
    assert [r.learning_rate for r in history] == pytest.approx(rates)
    assert all(r.rows_per_second > 0 and r.seconds > 0 for r in history)
    assert all(r.valid_per_doc_refined > 1 for r in history)
    assert result.stopped == "all 4 epochs done"


def test_the_same_seed_makes_the_same_model_bitwise():
    first, one = run(feature_dropout=0.3)
    second, two = run(feature_dropout=0.3)
    other, _ = run(feature_dropout=0.3, seed=4)
    assert same_weights(first, second)
    assert timeless(one.history) == timeless(two.history)
    assert not same_weights(first, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_dropout": 0.5},
        {"kl_anneal": 0.0},
        {"lr_schedule": "constant"},
        {"weight_decay": 1.0},
        {"output_epsilon": 1e-2},
        {"importance_samples": 8},
        {"refine_schedule": ((0, 4),)},
        {"refine_method": "adam"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_setting_reaches_the_updates(changes):
    assert not same_weights(run(n_valid=0)[0], run(n_valid=0, **changes)[0])


@pytest.mark.parametrize("steps", [0, 3])
def test_the_noise_is_fresh_at_each_update(steps):
    # Nothing is learnt at this rate: only the noise can move the training bound.
    _, result = run(n_valid=0, learning_rate=1e-30, refine_schedule=((0, steps),))
    bounds = [r.train_nats_per_row for r in result.history]
    assert min(np.abs(np.diff(sorted(bounds)))) > 1e-4


def test_epsilon_holds_back_small_gradients_of_the_output_layer_alone():
    network = small_network(6, 3)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = optimizer_of(network, learning_rate=0.01, weight_decay=0.0, output_epsilon=1e-2)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 1e-4)
    network.generative.decoder.weight.grad[0] = 100.0
    optimizer.step()
    moved = {k: (v - before[k]).abs() for k, v in network.state_dict().items()}
    output = moved.pop("generative.decoder.weight")
    torch.testing.assert_close(output[0], torch.full_like(output[0], 0.01), rtol=1e-2, atol=0)
    assert output[1:].max() < 2e-4
    assert all(v.min() > 0.0099 for v in moved.values())


def test_weight_decay_spares_biases():
    network, _ = run(n_valid=0, epochs=1, learning_rate=1e-9, weight_decay=1e8)
    # Each of 3 updates multiplies a matrix by about 1 − 0.1 (less as the rate falls).
    start, _ = run(n_valid=0, epochs=1, learning_rate=1e-12)
    for (name, p), q in zip(network.named_parameters(), start.parameters(), strict=True):
        if p.ndim == 1:
            torch.testing.assert_close(p, q, rtol=0, atol=1e-6, msg=name)
        else:
            assert 0.7 < p.norm() / q.norm() < 0.95, name


def test_the_best_epoch_is_restored():
    _, transform, _ = prepared(topic_counts(40, 20, seed=1))
    # Long enough, and at a rate high enough, to overfit.
    network, result = run(epochs=40, learning_rate=0.1, lr_schedule="constant")
    bounds = [r.valid_nats_per_row for r in result.history]
    assert result.best_epoch == 1 + int(np.argmax(bounds))
    assert result.best_epoch < 40
    assert valid_bound(network, transform) == max(bounds)


def test_without_validation_the_last_epoch_counts():
    network, result = run(n_valid=0, patience=1)  # patience has nothing to go by
    assert result.best_epoch == 4
    assert all(r.valid_nats_per_row is None for r in result.history)
    assert all(r.active_kl >= 0 for r in result.history)
    # Validation does not disturb the updates.
    last, with_validation = run()
    assert with_validation.best_epoch == 4
    assert same_weights(network, last)


@pytest.mark.parametrize(
    ("anneal", "stops_after"), [(0.0, 1 + 2), (0.5, 5 + 2), (0.41, 5 + 2), (1.0, 10)]
)
def test_patience_counts_from_the_end_of_annealing(anneal, stops_after):
    # Nothing changes at this rate, so no epoch is better than the first.
    _, result = run(epochs=10, learning_rate=1e-30, kl_anneal=anneal, patience=2)
    assert len(result.history) == stops_after
    assert result.best_epoch == 1
    early = stops_after < 10
    assert result.stopped == (
        "no better validation bound in 2 epochs" if early else "all 10 epochs done"
    )


def test_callbacks_are_told_everything():
    class Recorder(Callback):
        def __init__(self):
            self.seen = []

        def on_fit_begin(self, config, n_rows, first_epoch):
            self.seen.append((config.epochs, n_rows, first_epoch))

        def on_batch_end(self, epoch, rows_done):
            self.seen.append((epoch, rows_done))

        def on_epoch_end(self, record):
            self.seen.append(record.epoch)

        def on_fit_end(self, stopped):
            self.seen.append(stopped)

    recorder = Recorder()
    run(epochs=2, callbacks=[recorder, Callback()])
    batches = [(16, 32, 40), (16, 32, 40)]
    expected = [(2, 40, 0)]
    for epoch, sizes in enumerate(batches, start=1):
        expected += [*((epoch, n) for n in sizes), epoch]
    assert recorder.seen == [*expected, "all 2 epochs done"]


class Poison(Callback):
    """Put NaN into a parameter after some updates."""

    def __init__(self, updates):
        self.left = updates
        self.network = None

    def on_batch_end(self, epoch, rows_done):
        self.left -= 1
        if self.left == 0:
            with torch.no_grad():
                self.network.generative.decoder.bias[0] = torch.nan


def run_poisoned(monkeypatch, updates, **kwargs):
    poison = Poison(updates)

    def capture(*args, **options):
        poison.network = small_network(*args, **options)
        return poison.network

    monkeypatch.setattr(runs, "small_network", capture)
    run(callbacks=[poison], **kwargs)


def test_a_non_finite_loss_says_where(monkeypatch, tmp_path):
    store = CheckpointStore(tmp_path / "c", "f")
    with pytest.raises(NonFiniteError) as caught:
        run_poisoned(monkeypatch, 4, checkpoints=store)
    message = str(caught.value)
    assert "epoch 2, batch 2, update 5" in message
    assert "parameter 'generative.decoder.bias'" in message
    train = prepared(topic_counts(40, 20, seed=1))[0]
    second = list(make_batches(train, prepared(train)[1], 16).epoch(BASE.seed, 1))[1]
    assert f"16 of 16 rows, first row ids {second.rows[:5].tolist()}" in message
    assert "Try a lower learning_rate" in message
    assert store.latest().state["epoch"] == 1


def test_a_parameter_that_breaks_in_the_last_update_of_an_epoch(monkeypatch, tmp_path):
    store = CheckpointStore(tmp_path / "c", "f")
    with pytest.raises(NonFiniteError, match=r"After epoch 2 the parameter 'generative\.decoder"):
        run_poisoned(monkeypatch, 6, checkpoints=store)
    assert store.latest().state["epoch"] == 1


def test_the_rows_at_fault_are_named():
    train, transform, unigram = prepared(topic_counts(40, 20, seed=1))
    rows_with = np.bincount(train.csr.indices, minlength=20)
    rare = int(np.argmin(np.where(rows_with > 0, rows_with, 99)))
    network = small_network(unigram, scale=0.1)
    with torch.no_grad():  # exp(log σ²) overflows in rows that hold this feature
        network.encoder.input_weight[rare] = 1e4
        network.encoder.log_var.weight.fill_(1.0)
    holders = np.flatnonzero(train.csr[:, [rare]].toarray()).tolist()
    batches = make_batches(train, transform, 40)
    with pytest.raises(NonFiniteError, match=rf"; {len(holders)} of 40 rows") as caught:
        fit(network, batches, None, transform, replace(BASE, batch_size=40))
    named = re.search(r"row ids \[(.*?)\]", str(caught.value))[1].split(", ")
    assert sorted(map(int, named)) == holders[:5]
    assert "in log σ² of ψ*" in str(caught.value)


def test_a_validation_bound_that_is_not_finite(monkeypatch):
    broken = Validated(nats=-math.inf, objective=-math.inf, active=0)
    monkeypatch.setattr(Validation, "__call__", lambda self, model: broken)
    with pytest.raises(NonFiniteError, match="After epoch 1 the validation bound is -inf"):
        run()


def test_moments_that_have_vanished_are_set_to_zero():
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3, 2)
    optimizer.step()
    state = optimizer.state[parameter]
    state["exp_avg"][0] = torch.tensor([1e-39, -1e-31])
    state["exp_avg_sq"][1, 0] = 1e-40
    kept = {name: state[name].clone() for name in ("exp_avg", "exp_avg_sq")}
    flush_subnormal(optimizer)
    assert (state["exp_avg"][0] == 0).all()
    assert state["exp_avg_sq"][1, 0] == 0
    assert torch.equal(state["exp_avg"][1:], kept["exp_avg"][1:])
    assert torch.equal(state["exp_avg_sq"][2], kept["exp_avg_sq"][2])


def test_a_smaller_kl_weight_chooses_the_epoch_by_its_own_objective():
    _, result = run(epochs=6, kl_weight=0.1)
    records = result.history
    assert records[-1].kl_weight == pytest.approx(0.1)
    assert max(r.kl_weight for r in records) <= 0.1
    # The bounds of the history have weight 1 all the same: they are below those of the objective.
    assert result.best_epoch >= max(records, key=lambda r: r.valid_nats_per_row).epoch
