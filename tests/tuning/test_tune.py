from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest

import longtail as lt
from longtail.errors import DataError, MissingExtraError, ParameterError
from longtail.presets import PRESETS
from longtail.tuning import METRICS, SPACES, Choice, Range
from longtail.tuning.search import _usual_metric
from longtail.tuning.spaces import check_space
from tests.builders import topic_counts

FIXED = {
    "n_components": 2,
    "n_hidden": 4,
    "epochs": 3,
    "batch_size": 64,
    "refine_steps": 1,
    "eval_refine_steps": 4,
    "eval_samples": 2,
    "patience": None,
}
SPACE = {"learning_rate": Range(1e-3, 1e-2, log=True), "weight_decay": Range(0.0, 4.0)}


class Clock:
    """Goes on by a minute each time it is looked at."""

    def __init__(self):
        self.minutes = -1

    def __call__(self):
        self.minutes += 1
        return 60.0 * self.minutes


def rows(seed=1, n=120):
    return topic_counts(n, 15, seed=seed)


def tune(X=None, **changes):
    options = {"trials": 2, "fixed": FIXED, "space": SPACE}
    return lt.tune(rows() if X is None else X, **(options | changes))


def values(found):
    return found.frame()["value"].to_list()


@pytest.mark.parametrize("task", PRESETS)
def test_every_space_holds_its_preset(task):
    defaults = lt.NonlinearFactorAnalysis().get_params()
    start = defaults | lt.preset(task)
    for name, dimension in SPACES[task].items():
        assert dimension.holds(start[name]), name
    check_space(SPACES[task], {k: v for k, v in start.items() if k not in SPACES[task]})
    assert PRESETS.keys() == SPACES.keys() == METRICS.keys()


def test_the_preset_is_first_and_the_best_is_fitted():
    found = tune(trials=3, fixed=FIXED | {"verbose": 0})
    frame = found.frame()
    assert frame["trial"].to_list() == [0, 1, 2]
    assert frame["learning_rate"][0] == 2e-3
    assert frame["weight_decay"][0] == 2.0
    assert found.best_value == frame["value"].max()
    assert found.best_params == FIXED | found.best.params
    again = lt.NonlinearFactorAnalysis(**found.best_params)
    assert again.get_params() == found.model.set_params(random_state=None).get_params()
    epoch = found.model.history_[found.model.fit_info_["best_epoch"] - 1]
    assert found.best_value == epoch.valid_nats_per_row
    assert found.stopped == "3 trials done"


def test_the_seed_decides():
    assert tune().frame().drop("seconds").equals(tune().frame().drop("seconds"))
    assert values(tune(seed=1)) != values(tune())


@pytest.mark.parametrize(
    ("metric", "better"), [("completion", min), ("ndcg@5", max), ("recall@3", max)]
)
def test_other_metrics(metric, better):
    found = tune(task="recommendation", metric=metric, space={"kl_weight": Range(0.1, 1.0)})
    assert found.best_value == better(values(found))
    assert found.best_params["features"] == "binary"
    for trial in found.trials:
        assert sorted(trial.intermediate_values) == [1, 2, 3]
    # After the last epoch the network is what the fit ends with, if no earlier epoch was better.
    last = [t for t in found.trials if t.user_attrs["best_epoch"] == 3]
    for trial in last:
        assert trial.intermediate_values[3] == pytest.approx(trial.value, rel=0.05)


def test_hopeless_trials_are_cut_short():
    space = {"learning_rate": Choice(2e-3, 1e-7)}
    found = tune(trials=10, space=space, fixed=FIXED | {"epochs": 6, "kl_anneal": 0.0})
    pruned = found.frame().filter(pl.col("state") == "pruned")
    assert pruned.height
    assert set(pruned["learning_rate"]) == {1e-7}
    assert (pruned["epochs"] < 6).all()
    assert found.best_params["learning_rate"] == 2e-3


def test_a_study_goes_on(tmp_path):
    whole = tune(trials=3)
    first = tune(trials=2, storage=tmp_path / "s")
    assert (tmp_path / "s" / "model").is_dir()
    assert not (tmp_path / "s" / "checkpoint").exists()
    with pytest.raises(ParameterError, match=r"trials: 2.*--resume"):
        tune(trials=3, storage=tmp_path / "s")
    second = tune(trials=3, storage=tmp_path / "s", resume=True)
    assert values(second)[:2] == values(first)
    assert values(second) == values(whole)
    again = tune(trials=3, storage=tmp_path / "s", resume=True)
    np.testing.assert_array_equal(again.model.transform(rows()), second.model.transform(rows()))


def test_a_lost_model_is_fitted_again(tmp_path):
    found = tune(storage=tmp_path)
    for path in (tmp_path / "model").iterdir():
        path.unlink()
    (tmp_path / "model").rmdir()
    again = tune(storage=tmp_path, resume=True)
    np.testing.assert_array_equal(again.model.transform(rows()), found.model.transform(rows()))


def test_time_is_looked_at_between_epochs_and_nothing_is_lost(tmp_path):
    whole = tune()
    # Looks: the start, before trial 0, after its epochs 1 and 2, before trial 1, after its epoch 1.
    cut = tune(minutes=5, trials=None, storage=tmp_path, clock=Clock())
    assert cut.stopped == "time is up"
    assert cut.frame()["state"].to_list() == ["complete", "interrupted"]
    assert cut.frame()["epochs"].to_list() == [3, 1]
    second = tune(storage=tmp_path, resume=True)
    frame = second.frame()
    assert values(second) == values(whole)
    assert frame["state"].to_list() == ["complete", "complete"]
    assert frame["epochs"].to_list() == [3, 3]
    assert sorted(second.trials[-1].intermediate_values) == [1, 2, 3]


def test_an_interrupted_trial_has_the_same_settings_again(tmp_path):
    class Stop(BaseException):
        pass

    def interrupt(line):
        if line.startswith("trial 1:"):
            raise Stop

    whole = tune()
    with pytest.raises(Stop):
        tune(storage=tmp_path, say=interrupt)
    assert values(tune(storage=tmp_path, resume=True)) == values(whole)


def test_too_little_time_for_one_trial(tmp_path):
    with pytest.raises(ParameterError, match="No trial came to its end"):
        tune(minutes=1, trials=None, clock=Clock())


def test_a_study_of_something_else_is_refused(tmp_path):
    tune(trials=1, storage=tmp_path)
    with pytest.raises(ParameterError, match="a study of other data"):
        tune(rows(seed=2), storage=tmp_path, resume=True)
    with pytest.raises(ParameterError, match="metric was 'elbo', is 'completion'"):
        tune(metric="completion", storage=tmp_path, resume=True)


def test_duplicates_stand_on_one_side():
    train, valid = rows(), rows(seed=3, n=30)
    found = tune(train, valid=np.concatenate([valid, train[:20]]))
    alone = tune(train, valid=valid)
    assert found.model.fit_info_["valid_rows"] <= 30
    assert values(found) == values(alone)
    with pytest.raises(DataError, match="Every validation row is a training row too"):
        tune(train, valid=train[:20])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "films"}, "task must be one of"),
        ({"trials": None}, "minutes, trials or both"),
        ({"minutes": 0}, "minutes must be a number > 0"),
        ({"trials": 0}, "trials must be a whole number"),
        ({"metric": "auc"}, "metric must be elbo, completion"),
        ({"metric": "ndcg@99"}, "lists of 99 items, but there are 15"),
        ({"fixed": {"depth": 3}}, "depth: no such parameter"),
        ({"fixed": {"epochs": 0}}, "epochs must be a whole number"),
        ({"space": {}}, "nothing to search"),
        ({"space": {"feature_dropout": Range(0.0, 1.5)}}, "feature_dropout must be"),
        ({"space": {"weight_decay": Range(2.0, 1.0)}}, "The range of weight_decay is empty"),
        ({"X": rows(n=20)}, "at least 10"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises((ParameterError, DataError), match=message):
        tune(**changes)


def test_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install longtail\[tune\]"):
        tune()


def test_what_mattered():
    found = tune(trials=4)
    shares = found.importance()
    assert set(shares["parameter"]) == set(SPACE)
    assert shares["importance"].sum() == pytest.approx(1)
    assert "learning_rate" in found.plot_importance().to_json()
    assert found.display().frame()["best"].to_list()[-1] == found.best_value
    assert "best so far" in found.plot().to_json()
    with pytest.raises(ParameterError, match="4 complete trials; there are 1"):
        tune(trials=1).importance()


def test_exposures_that_are_given():
    fixed = FIXED | {"likelihood": "poisson", "exposure": "given"}
    X = lt.CountMatrix.from_any(rows(), exposure=rows().sum(1) / 10)
    for metric in ("elbo", "completion", "ndcg@5"):
        assert all(np.isfinite(values(tune(X, fixed=fixed, metric=metric))))
    with pytest.raises(DataError, match="needs an exposure for each row"):
        tune(fixed=fixed)


@pytest.mark.parametrize(
    ("task", "n_features", "expected"),
    [
        ("plays", 30, "ndcg@30"),
        ("plays", 100, "ndcg@100"),
        ("plays", 5000, "ndcg@100"),
        ("documents", 30, "elbo"),
    ],
)
def test_the_usual_metric_has_no_more_items_than_there_are(task, n_features, expected):
    assert _usual_metric(task, n_features) == expected
