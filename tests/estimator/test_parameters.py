from __future__ import annotations

import numpy as np
import pytest

from longtail import NonlinearFactorAnalysis
from longtail.errors import ParameterError
from longtail.estimator.network import _n_weights
from longtail.estimator.parameters import _CHECKS, refine_schedule
from tests.estimator.models import words

WRONG = {
    "n_components": [0, 2.0, True, "3", None, 10**20, 10**400],
    "likelihood": ["gaussian", None],
    "exposure": ["none", 1, None],
    "features": ["bm25", 1],
    "n_hidden": [0, 10**12],
    "encoder_layers": [0, 101],
    "decoder_layers": [-1, 2**31],
    "skip": [1, "yes"],
    "epochs": [0, -1, 10**20],
    "batch_size": [0, 2**31],
    "learning_rate": [0, -1e-3, np.nan, np.inf, "fast", 1.1, 10**400, 1j, np.complex64(1)],
    "lr_schedule": ["linear"],
    "weight_decay": [-1, np.nan, np.inf, 1e308],
    "output_epsilon": [0, -1, np.nan, 10**400],
    "feature_dropout": [1.0, -0.1, np.nan],
    "kl_weight": [-0.1, np.nan, np.inf, 1e300],
    "kl_anneal": [1.1, -0.1],
    "refine_steps": [
        -1,
        1.5,
        "10",
        [],
        [(0, -1)],
        [(5, 1), (0, 2)],
        [(0, 1), (0, 2)],
        [(-1, 2)],
        10**12,
        [(0, 10**12)],
        [(10**12, 1)],
        [("0", "1")],
        [(0, 1.5)],
        [(0, np.inf)],
        5.0,
        b"1",
        {0: 1},
        [(0, 10**400)],
    ],
    "refine_method": ["bfgs"],
    "importance_samples": [0, 1.5, None, "many", True, 10**12],
    "refine_features": [0, "some", 1.5, True, None],
    "theta_features": [-1, None, "some", 0],
    "eval_refine_steps": [-1, 10**12],
    "eval_samples": [0, 10**12],
    "validation_fraction": [1.0, -0.5],
    "patience": [0, 1.5, 10**20],
    "counts": ["loose"],
    "device": [0],
    "random_state": [-1, 2**32, 1.5, "seed", True],
    "verbose": ["loud"],
}
RIGHT = {
    "n_components": [1, np.int64(5)],
    "decoder_layers": [0],
    "skip": [True, np.bool_(False)],
    "learning_rate": [1, np.float32(0.1)],
    "weight_decay": [0],
    "feature_dropout": [0, 0.99],
    "kl_weight": [0, 0.2, 2],
    "kl_anneal": [0, 1],
    "refine_features": ["auto", "all", 1, np.int64(7)],
    "theta_features": ["auto", "all", 1],
    "refine_method": ["natural", "adam"],
    "importance_samples": [1, np.int64(8), "auto"],
    "refine_steps": [0, "auto", np.int64(3), [(0, 0), (20, 10)], ((5, 1),), [[0, 1]]],
    "eval_refine_steps": [0],
    "validation_fraction": [0, 0.99],
    "patience": [None, 1],
    "random_state": [None, 0, 2**32 - 1, np.int64(3), np.random.RandomState(0)],
    "verbose": [False, 2],
}


def cases(table):
    return [pytest.param(n, v, id=f"{n}={v!r}"[:40]) for n, vs in table.items() for v in vs]


def test_every_parameter_is_checked():
    assert set(NonlinearFactorAnalysis().get_params()) == set(_CHECKS) == set(WRONG)
    NonlinearFactorAnalysis().check_parameters()


@pytest.mark.parametrize(("name", "value"), cases(WRONG))
def test_out_of_range(name, value):
    with pytest.raises(ParameterError, match=f"  {name} must be .*; got"):
        NonlinearFactorAnalysis(**{name: value}).fit(words())


@pytest.mark.parametrize(("name", "value"), cases(RIGHT))
def test_in_range(name, value):
    NonlinearFactorAnalysis(**{name: value}).check_parameters()


def test_all_faults_are_told_at_once():
    wrong = {name: values[0] for name, values in WRONG.items()}
    with pytest.raises(ParameterError) as caught:
        NonlinearFactorAnalysis(**wrong).check_parameters()
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(_CHECKS)
    assert "  learning_rate must be a number > 0 and ≤ 1; got 0" in lines
    assert "  feature_dropout must be a number ≥ 0 and < 1; got 1.0" in lines


DEVICES = ["meta", "hpu", "xla", "mps:7", "cuda:99", "cpu:", "", "cpu:-1", "CPU", "opengl", "cpu\0"]


@pytest.mark.parametrize("device", [*DEVICES, "mkldnn", "privateuseone", "é", "cpu:99999999999"])
def test_a_device_that_cannot_compute(device):
    model = NonlinearFactorAnalysis(n_components=2, device=device)
    with pytest.raises(ParameterError, match=r"is not available here .* Use 'auto'") as e:
        model.fit("no data")  # refused before anything is read
    assert len(str(e.value)) < 200
    assert len(str(e.value).splitlines()) == 1


def test_set_params_is_checked_when_used():
    model = NonlinearFactorAnalysis(n_components=2, n_hidden=3, epochs=1).fit(words())
    with pytest.raises(ParameterError, match="device 'meta' is not available"):
        model.set_params(device="meta").partial_fit(words())


@pytest.mark.parametrize("sizes", [{"n_components": 10**6, "n_hidden": 10**6}, {"n_hidden": 10**6}])
def test_a_network_larger_than_memory(sizes):
    with pytest.raises(ParameterError, match=r"features needs [\d,.]+ GB .* this machine has"):
        NonlinearFactorAnalysis(**sizes).fit(words())


def test_the_weights_that_memory_is_checked_for():
    parameters = {"encoder_layers": 3, "decoder_layers": 2, "n_components": 4, "n_hidden": 7}
    for change in ({}, {"decoder_layers": 0}, {"encoder_layers": 1}):
        model = NonlinearFactorAnalysis(**parameters | change, epochs=1).fit(words())
        found = _n_weights(model.get_params(), model.n_features_in_)
        assert found == sum(p.numel() for p in model.network_.parameters() if p.ndim == 2)


def test_a_parameter_error_is_a_value_error():
    with pytest.raises(ValueError, match="n_components"):
        NonlinearFactorAnalysis(n_components=0).fit(words())


def test_refine_schedule():
    assert refine_schedule(10) == ((0, 10),)
    assert refine_schedule([(0, 0), (20, 10)]) == ((0, 0), (20, 10))
