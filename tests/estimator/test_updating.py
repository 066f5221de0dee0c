"""partial_fit: what goes on, what is kept, what is told."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail import CountMatrix, load
from longtail.errors import DataError, DataWarning, ParameterError
from longtail.estimator.running import RunningCounts
from longtail.estimator.updating import UpdateSettings
from longtail.training import Callback
from tests.estimator.models import names, same_network, small, words
from tests.estimator.test_formats import FIXTURES
from tests.profiles import examples

DENSE = words(300, 24)


def part(first, last, n_features=24):
    called = names(24)[:n_features]
    return pd.DataFrame(DENSE[first:last, :n_features], columns=called)


def state(model):
    facts = {"history": model.history_.to_list(), "fit": model.fit_info_, "n": model.n_features_in_}
    return json.dumps(facts)


def test_an_unfitted_model_is_fitted():
    assert same_network(small().partial_fit(part(0, 80)), small().fit(part(0, 80)))
    assert small().partial_fit(part(0, 80)).update_report_ is None


@settings(max_examples=examples(10))
@given(cuts=st.lists(st.integers(1, 119), max_size=3, unique=True), named=st.booleans())
def test_running_counts_are_those_of_all_rows(cuts, named):
    model = small(epochs=1, validation_fraction=0, n_hidden=2)
    kept = np.flatnonzero(DENSE[:120].sum(0))  # a feature that no row holds is never taken in
    dense = DENSE[:120, kept]
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 120], strict=True):
        rows = dense[first:last]
        if named:
            rows = pd.DataFrame(rows, columns=names(len(kept)))
        model.partial_fit(rows, epochs=0, min_df=1)
    whole = RunningCounts.of(CountMatrix.from_any(dense).csr)
    np.testing.assert_array_equal(model.running_.df, whole.df)
    np.testing.assert_array_equal(model.running_.totals, whole.totals)
    assert model.running_.rows == model.fit_info_["train_rows"] == 120
    np.testing.assert_array_equal(model.unigram_, whole.unigram())


def test_features_that_come_later_are_counted_too():
    model = small(validation_fraction=0, epochs=1).fit(part(0, 100, 16))
    model.partial_fit(part(100, 200), epochs=0, min_df=1)
    model.partial_fit(part(200, 300), epochs=0, min_df=1)
    expected = (DENSE[100:] > 0).sum(0)
    expected[:16] = (DENSE[:, :16] > 0).sum(0)
    place = CountMatrix.from_any(part(0, 300)).vocabulary.codes(model.vocabulary_.names)
    assert model.running_.df.tolist() == expected[place].tolist()


@pytest.mark.parametrize("changes", [{}, {"theta_features": 10, "refine_features": 10}])
def test_a_saved_model_goes_on_as_the_model_itself(tmp_path, changes):
    model = small(**changes).fit(part(0, 100, 16))
    for step in range(2):
        model.save(tmp_path / "model")
        again = load(tmp_path / "model")
        rows = part(100 + 100 * step, 200 + 100 * step)
        model.partial_fit(rows, epochs=2, min_df=1, retain=part(0, 50))
        again.partial_fit(rows, epochs=2, min_df=1, retain=part(0, 50))
        assert same_network(model, again)
        assert again.vocabulary_ == model.vocabulary_
        np.testing.assert_array_equal(again.running_.df, model.running_.df)
        np.testing.assert_array_equal(again.transform(rows), model.transform(rows))
        assert again.update_report_.to_dict() == model.update_report_.to_dict()
    again.save(tmp_path / "model")
    assert load(tmp_path / "model").fit_info_ == again.fit_info_
    assert len(again.fit_info_["updates"]) == 2
    assert (tmp_path / "model" / "README.md").read_text("utf-8").count("new features") == 2


def test_it_learns_the_new_rows_and_tells():
    rng = np.random.default_rng(0)
    new = words(300, 24)[:, rng.permutation(24)]  # other topics of the same words
    frame = pd.DataFrame(new, columns=names(24))
    model = small(epochs=10).fit(part(0, 200))
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, record):
            seen.append((record.kl_weight, record.refine_steps, record.learning_rate))

    model.partial_fit(frame, retain=part(0, 200), callbacks=[Watch()])
    report = model.update_report_
    assert report.new_rows.after > report.new_rows.before + 1
    assert report.old_rows.after < report.old_rows.before
    assert report.drift.of == "retained"
    assert report.drift.shift > 0
    assert report.drift.cosine_low <= report.drift.cosine < 1
    assert (report.rows, report.held_out_rows) == (240, 60)
    assert report.retained_rows == 160
    assert report.learning_rate == pytest.approx(model.learning_rate / 2)
    assert [weight for weight, *_ in seen] == [1.0] * 10
    assert {steps for _, steps, _ in seen} == {2}
    rates = [rate for *_, rate in seen]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert max(rates) <= report.learning_rate
    text = str(report)
    for piece in ("240 new rows", "held-out retained rows", "mean cosine", "idf of running counts"):
        assert piece in text
    json.dumps(report.to_dict(), allow_nan=False)


def test_history_and_facts_go_on():
    model = small().fit(part(0, 100))
    epochs, updates = len(model.history_), model.history_[-1].updates
    rows, tokens = model.fit_info_["train_rows"], model.fit_info_["train_tokens"]
    model.partial_fit(part(100, 200), epochs=3)
    assert [r.epoch for r in model.history_] == list(range(1, epochs + 4))
    assert model.history_[-1].updates == updates + model.update_report_.updates
    assert model.n_iter_ == epochs + 3
    assert epochs < model.fit_info_["best_epoch"] <= epochs + 3
    assert model.fit_info_["train_rows"] == rows + 80
    assert model.fit_info_["train_tokens"] == tokens + model.update_report_.tokens
    assert model.fit(part(0, 100)).update_report_ is None
    assert "updates" not in model.fit_info_


def test_idf_is_kept_unless_asked():
    kept, updated = (small().fit(part(0, 100, 16)) for _ in range(2))
    before = kept.transform_.idf
    kept.partial_fit(part(100, 300), epochs=0, min_df=1)
    updated.partial_fit(part(100, 300), epochs=0, min_df=1, idf="update")
    np.testing.assert_array_equal(kept.transform_.idf[:16], before)
    np.testing.assert_array_equal(updated.transform_.idf, updated.running_.idf())
    np.testing.assert_array_equal(kept.transform_.idf[16:], updated.transform_.idf[16:])
    change = np.abs(updated.transform_.idf[:16] - before)
    for model, applied in ((kept, False), (updated, True)):
        said = model.update_report_.idf
        assert (said.applied, said.largest) == (applied, pytest.approx(change.max()))
        assert said.feature == model.vocabulary_[int(change.argmax())]


@pytest.mark.parametrize("features", ["l1", "log1p", "binary"])
def test_other_transforms_have_no_idf(features):
    model = small(features=features).fit(part(0, 100, 16)).partial_fit(part(100, 200), min_df=1)
    assert model.transform_.idf is None
    assert model.update_report_.idf is None
    assert model.n_features_in_ > 16


def test_forgetting_counts():
    model = small(validation_fraction=0, epochs=1).fit(part(0, 100))
    df = model.running_.df
    model.partial_fit(part(100, 200), epochs=0, forget=0.75)
    np.testing.assert_allclose(model.running_.df, df / 4 + (DENSE[100:200] > 0).sum(0))
    assert model.running_.rows == 125
    assert model.fit_info_["train_rows"] == 200
    model.partial_fit(part(200, 300), epochs=0, forget=1)
    assert model.running_.rows == 100


@pytest.mark.parametrize("version", [1, 2])
def test_a_model_saved_without_running_counts_goes_on(version, tmp_path):
    model = load(FIXTURES / f"model_format_{version}")
    assert model.running_ is None
    rng = np.random.default_rng(0)
    called = [*model.vocabulary_.names[:10], "lichen"]
    rows = pd.DataFrame(rng.poisson(1.0, (60, 11)), columns=called)
    old_rows = model.fit_info_["train_rows"]
    model.partial_fit(rows, epochs=1)
    assert model.running_.rows == old_rows + model.update_report_.rows
    assert model.vocabulary_.names[-1] == "lichen"
    assert "worked out from the saved model" in model.update_report_.notes[0]
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.running_.df, model.running_.df)
    assert again.n_features_in_ == 21


def test_names_and_numbers_of_features():
    model = small().fit(part(0, 100, 16)).partial_fit(part(100, 200), epochs=0, min_df=1)
    assert model.feature_names_in_.tolist() == list(model.vocabulary_.names)
    assert model.n_features_in_ == len(model.feature_names_in_)
    assert model.get_feature_names_out().tolist() == [f"nonlinearfactoranalysis{i}" for i in "012"]
    positional = small().fit(DENSE[:100])
    assert positional.partial_fit(DENSE[100:200], epochs=1).n_features_in_ == 24
    with pytest.raises(DataError, match="X has 23 features, but NonlinearFactorAnalysis is expec"):
        positional.partial_fit(DENSE[:, 1:])


def test_what_is_left_out_is_told():
    model = small().fit(part(0, 100, 16))
    model.partial_fit(part(100, 200), epochs=0, grow=False)
    report = model.update_report_
    assert model.n_features_in_ == 16
    assert report.added == ()
    assert report.unseen_mass == pytest.approx(DENSE[100:200, 16:].sum() / DENSE[100:200].sum())
    assert not report.frame()["added"].any()
    assert sum(report.frame()["count"]) == DENSE[100:200, 16:].sum()
    assert report.to_dict()["left_out"]["reasons"] == dict(report.reasons)
    assert "kept as it is" in str(report)


def test_a_failure_leaves_the_model_as_it_was():
    model = small().fit(part(0, 100, 16))
    before, network = state(model), {k: v.clone() for k, v in model.network_.state_dict().items()}

    class Fails(Callback):
        def on_epoch_end(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(part(100, 200), min_df=1, callbacks=[Fails()])
    assert state(model) == before
    assert model.vocabulary_.names == tuple(names(16))
    assert len(model.running_.df) == 16
    for name, tensor in model.network_.state_dict().items():
        np.testing.assert_array_equal(tensor, network[name])


def test_an_update_that_makes_things_worse_is_told():
    model = small(epochs=10).fit(part(0, 200))
    with pytest.warns(DataWarning, match="made held-out new rows worse") as caught:
        model.partial_fit(part(200, 300), epochs=1, learning_rate=0.4)
    assert caught[0].filename == __file__
    with pytest.warns(DataWarning, match="1 of 101 rows are empty") as caught:
        model.partial_fit(pd.concat([part(200, 300), part(0, 1) * 0]), epochs=0)
    assert caught[0].filename == __file__


def test_without_held_out_rows_nothing_is_compared():
    model = small(validation_fraction=0).fit(part(0, 100)).partial_fit(part(100, 200), epochs=1)
    report = model.update_report_
    assert report.new_rows is report.old_rows is report.drift is None
    model.partial_fit(part(100, 200), epochs=1, retain=part(0, 100))
    assert model.update_report_.old_rows.rows == 1
    assert model.update_report_.old_rows.se is None
    assert model.update_report_.drift.rows == 1


def test_all_faults_of_the_settings_at_once():
    with pytest.raises(ParameterError) as caught:
        UpdateSettings(-1, 0.0, 0, 0, "often", 1.5, -1)
    for name in ("epochs", "learning_rate", "grow", "min_df", "idf", "forget", "seed"):
        assert f"  {name} must be" in str(caught.value)
    with pytest.raises(ParameterError, match="epochs"):
        small().partial_fit(part(0, 80), epochs=1.5)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (pd.DataFrame({"x": [1, 2]}), {}, "None of the 1 features here"),
        (pd.DataFrame({"w00": [0, 0], "x": [1, 2]}), {}, "None of the 2 new rows"),
        (part(0, 20), {"retain": part(0, 1)}, "at least 2 rows"),
        (part(0, 20) / 3, {}, "whole numbers"),
    ],
)
def test_rows_that_cannot_be_used(rows, options, message):
    model = small(likelihood="poisson", epochs=1).fit(part(0, 80))
    with pytest.raises(DataError, match=message):
        model.partial_fit(rows, **options)
