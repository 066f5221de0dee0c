"""Plans: how costs move with sizes, workers and machines, and what is chosen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import longtail as lt
from longtail.costs import MACHINES, Machine, Work, calibrate, find_machine
from longtail.costs.estimate import estimate
from longtail.errors import ParameterError
from tests.profiles import examples

ROUND = Machine("round", 1e9, 1e9, 1e9, 1e9, 1e-6, 1e11, 1e9, 1e-3, 1e9)


def one(*sizes, **options):
    return lt.plan_cost(*sizes, **({"machine": ROUND} | options)).estimates[0]


def test_seconds_of_work_add_up():
    work = Work(flops=1e9, softmax=2e9, stream=3e9, gather=4e9, calls=1e6, disk=5e9) * 2
    assert (work + Work(network=1e9, messages=1000)).seconds(ROUND) == pytest.approx(34)


@settings(max_examples=examples(30))
@given(
    rows=st.integers(1000, 10**8),
    features=st.integers(100, 10**6),
    workers=st.integers(1, 64),
    streamed=st.booleans(),
    steps=st.sampled_from([0, 4, "auto"]),
)
def test_the_parts_make_up_the_whole(rows, features, workers, streamed, steps):
    cost = one(
        rows, features, 50, workers=[workers], streamed=streamed, refine_steps=steps,
        batch_size=1000,
    )  # fmt: skip
    assert sum(cost.seconds.values()) == pytest.approx(cost.epoch_seconds)
    rest = sum(work.seconds(ROUND) for work in cost.epoch.values())
    assert cost.epoch_seconds == pytest.approx(cost.load.updates * cost.update_seconds + rest)
    assert min(cost.seconds.values()) >= 0
    assert cost.seconds[cost.bottleneck] == max(cost.seconds.values())
    assert cost.frame()["share"].sum() == pytest.approx(1)
    assert (cost.network_bytes > 0) == (workers > 1)
    assert (sum(w.disk for w in cost.update.values()) > 0) == streamed
    json.dumps(cost.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "more",
    [
        {"refine_steps": 8},
        {"n_hidden": 800},
        {"n_components": 200},
        {"decoder_layers": 3},
        {"importance_samples": 16},
        {"refine_features": "all"},
        {"likelihood": "negative_binomial"},
    ],
)
def test_more_takes_longer(more):
    small = one(1e5, 20_000, 50, refine_steps=4)
    large = one(1e5, 20_000, 50, **({"refine_steps": 4} | more))
    assert large.update_seconds > small.update_seconds


def test_what_every_worker_does_does_not_shrink():
    plan = lt.plan_cost(1e6, 20_000, 50, workers=(1, 4, 16), machine=ROUND, batch_size=3200)
    alone, *others = plan.estimates
    for cost in others:
        n = cost.workers
        assert cost.update["refinement"].flops == pytest.approx(
            alone.update["refinement"].flops / n
        )
        assert cost.update["optimiser"] == alone.update["optimiser"]
        sent = cost.update["gradient exchange"].network
        assert sent == pytest.approx(2 * (n - 1) / n * 4 * alone.load.n_parameters)
    speedups = plan.frame()["speedup"].to_list()
    assert speedups[0] == 1
    assert all(s < n for s, n in zip(speedups[1:], (4, 16), strict=True))


def test_a_table_that_fits_no_worker_is_split():
    small = replace(ROUND, memory=8e9)
    plan = lt.plan_cost(1e6, 10**6, 50, workers=(1, 2, 8, 16), machine=small, n_hidden=200)
    assert [e.fits for e in plan.estimates] == [False] * 4
    shards = [e.shards for e in plan.estimates]
    assert shards[0] is None
    assert [(s.of, s.groups) for s in shards[1:]] == [(2, 1), (2, 4), (2, 8)]
    for s, cost in zip(shards[1:], plan.estimates[1:], strict=True):
        assert s.memory < 0.9 * 8e9 < cost.peak_bytes
        assert s.network > 0
    assert lt.plan_cost(1e6, 10**6, 50, machine=replace(ROUND, memory=1e12)).estimates[0].fits


def test_the_plan_takes_the_fastest_settings_that_are_allowed():
    plan = lt.plan_cost(
        1e7, 10**6, 50, machine="gpu", epochs=2, choose=True, workers=(1, 4), refine_steps=2
    )
    first, *rest = plan.choices
    assert first.allowed
    assert (plan.load.batch_size, plan.load.theta_features) == (
        first.batch_size,
        first.theta_features,
    )
    assert plan.load.updates * 2 >= 10_000
    assert all(c.epoch_seconds >= first.epoch_seconds for c in rest if c.allowed)
    assert {c.theta_features for c in plan.choices} == {50_000, 10**6}
    assert plan.estimates[-1].epoch_seconds == first.epoch_seconds
    fixed = estimate(replace(plan.load, batch_size=500), plan.machine, 4)
    assert fixed.epoch_seconds >= first.epoch_seconds


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((0, 100, 5), {}, "rows"),
        ((10, 1, 1), {}, "features must be"),
        ((np.inf, 10, 1), {}, "rows must be a number ≥ 1 and ≤ 1e"),
        ((np.nan, 10, 1), {}, "rows must be"),
        ((10**400, 10, 1), {}, "rows must be"),
        (("10", 10, 1), {}, "rows must be"),
        ((10, 2**31, 1), {}, "features must be a whole number ≥ 2 and ≤ 2,147,483,647"),
        ((10, 10.0, 1), {}, "features must be"),
        ((10, 10, np.nan), {}, "non_zeros, of a row"),
        ((10, 10, None), {}, "non_zeros, of a row"),
        ((10, 10, 1), {"workers": 4}, "workers must be a list"),
        ((10, 10, 1), {"workers": [10**20]}, "workers must be"),
        ((10, 10, 1), {"n_components": 10**20}, "n_components must be"),
        ((10, 100, 200), {}, "non_zeros"),
        ((10, 100, 5), {"workers": ()}, "workers"),
        ((10, 100, 5), {"workers": (0,)}, "workers"),
        ((10, 100, 5), {"machine": "abacus"}, "laptop"),
        ((10, 100, 5), {"epoch": 3}, "no parameter epoch"),
        ((10, 100, 5), {"epochs": 0}, "epochs"),
    ],
)
def test_what_cannot_be_planned_for(sizes, options, message):
    with pytest.raises(ParameterError, match=message):
        lt.plan_cost(*sizes, **options)


def test_a_machine_is_saved_and_opened(tmp_path):
    MACHINES["server"].save(tmp_path / "m.json")
    assert find_machine(tmp_path / "m.json") == MACHINES["server"]
    assert find_machine(str(tmp_path / "m.json")) == find_machine(MACHINES["server"])
    (tmp_path / "bad.json").write_text('{"flops": 1}')
    with pytest.raises(ParameterError, match="expected name, flops"):
        find_machine(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("no")
    with pytest.raises(ParameterError, match="--calibrate"):
        find_machine(tmp_path / "bad.json")
    with pytest.raises(ParameterError, match="flops must be a positive number; got 0"):
        replace(ROUND, flops=0)


def test_this_machine_is_measured():
    found = calibrate(seconds=0.0, megabytes=2)
    assert found.name == "this machine"
    assert found.memory > 1e8
    assert found.flops > found.softmax > 1e6
    assert lt.plan_cost(1000, 1000, 10, machine=found).estimates[0].epoch_seconds > 0
