from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from longtail import archive as archive_module
from longtail import load
from longtail.archive import read_archive, write_archive
from longtail.data import CountMatrix, ReadSettings
from longtail.errors import ArchiveError, ArchiveWriteError, DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.training import Callback
from tests.estimator.models import names, same_network, small, words
from tests.test_archive import rewrite


@pytest.fixture
def saved(tmp_path):
    model = small().fit(pd.DataFrame(words(), columns=names(20)))
    model.save(tmp_path / "model")
    return model, tmp_path / "model"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"features": "log1p", "skip": True},
        {"decoder_layers": 0, "encoder_layers": 3},
        {"refine_steps": [(0, 0), (2, 1)], "patience": None, "validation_fraction": 0},
        {"refine_steps": np.int64(2), "n_components": np.int64(2), "skip": np.bool_(True)},
        {"refine_features": np.int64(5), "theta_features": 5, "refine_steps": "auto"},
    ],
)
def test_round_trip(tmp_path, changes):
    X = words()
    model = small(**changes).fit(X)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert same_network(model, again)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert again.evaluate(X).to_dict() == model.evaluate(X).to_dict()
    assert list(again.history_) == list(model.history_)
    assert again.fit_info_ == model.fit_info_
    assert again.vocabulary_ == model.vocabulary_
    assert again.n_features_in_ == 20
    assert again.n_iter_ == model.n_iter_
    np.testing.assert_array_equal(again.unigram_, model.unigram_)
    listed = [list(p) for p in changes.get("refine_steps", [])] if "patience" in changes else None
    for name, value in model.get_params().items():
        if name == "refine_steps" and listed:
            value = listed
        assert again.get_params()[name] == value
    again.fit(X)  # the parameters are those of a new fit, too
    assert same_network(model, again)


def test_the_seed_of_a_seedless_fit_is_kept(tmp_path):
    model = small(random_state=None).fit(words())
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.random_state == model.seed_
    np.testing.assert_array_equal(again.transform(words()), model.transform(words()))
    assert same_network(again.fit(words()), model)


def test_names_and_read_settings_are_kept(tmp_path, saved):
    model, folder = saved
    again = load(folder)
    assert again.vocabulary_.named
    frame = pd.DataFrame(words(), columns=names(20))[names(20)[::-1]]
    np.testing.assert_array_equal(again.transform(frame), model.transform(frame))
    assert again.read_settings_ is None
    counts = CountMatrix.from_any(frame)
    settings = ReadSettings(text_column="body", stop_words=("the",), min_df=3)
    read = CountMatrix(counts.csr, counts.row_ids, counts.vocabulary, settings)
    small(epochs=1).fit(read).save(tmp_path / "read")
    assert load(tmp_path / "read").read_settings_ == settings


def test_a_loaded_model_can_be_saved(tmp_path, saved):
    _, folder = saved
    load(folder).save(tmp_path / "copy")
    load(folder).save(folder)
    for name in ("weights.safetensors", "config.json", "vocabulary.json", "history.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_a_model_from_a_device_that_is_not_here_opens(saved):
    _, folder = saved
    change_config(folder, lambda c: c["parameters"].update(device="cuda:7"))
    assert load(folder).device == "auto"


def test_the_card(saved):
    model, folder = saved
    card = (folder / "README.md").read_text("utf-8")
    assert "64 training rows (0 empty rows left out), 16 validation rows" in card
    assert "20 features: `w00`, `w01`" in card
    assert f"{model.history_[model.fit_info_['best_epoch'] - 1].valid_per_doc_refined:.1f}" in card
    assert "n_hidden = 8" in card
    assert card.count("```") == 2


def change_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    rewrite(folder, "config.json", json.dumps(config).encode())


TAMPERED = {
    "wrong width": lambda c: c["parameters"].update(n_hidden=9),
    "other tensors": lambda c: c["parameters"].update(decoder_layers=1),
    "huge": lambda c: c["parameters"].update(n_components=10**12, n_hidden=10**12),
    "large": lambda c: c["parameters"].update(n_hidden=10**6),
    "unknown parameter": lambda c: c["parameters"].update(magic=1),
    "parameter out of range": lambda c: c["parameters"].update(epochs=0),
    "parameters of another type": lambda c: c.update(parameters=[1]),
    "no parameters": lambda c: c.pop("parameters"),
    "another kind": lambda c: c.update(kind="Pickle"),
    "no kind": lambda c: c.pop("kind"),
    "another number of features": lambda c: c.update(n_features=19),
    "unknown likelihood": lambda c: c["parameters"].update(likelihood="gaussian"),
    "another transform": lambda c: c["parameters"].update(features="l1"),
    "unknown read setting": lambda c: c.update(read={"nonsense": 1}),
    "no seed": lambda c: c["parameters"].update(random_state=None),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_config_that_was_tampered_with(saved, change):
    _, folder = saved
    change_config(folder, change)
    with pytest.raises(ArchiveError, match=r"cannot|can be opened") as caught:
        load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.vocabulary.pop(),
        lambda a: a.vocabulary.__setitem__(0, a.vocabulary[1]),
        lambda a: a.tensors.pop("unigram"),
        lambda a: a.tensors.pop("features.idf"),
        lambda a: a.tensors.pop("model.decoder.bias", None) or a.tensors.popitem(),
        lambda a: a.tensors.update({"model.extra": np.zeros(2)}),
        lambda a: a.tensors.update(
            {k: v.astype(np.float64) for k, v in a.tensors.items() if k.startswith("model.")}
        ),
        lambda a: a.tensors.update({"features.idf": np.ones(3, dtype=np.float32)}),
        lambda a: a.history.append({"epoch": 1}),
    ],
)
def test_parts_that_do_not_fit(saved, change):
    _, folder = saved
    archive = read_archive(folder)
    change(archive)
    write_archive(folder, archive)
    with pytest.raises(ArchiveError, match=r"cannot|can be opened"):
        load(folder)


def test_what_is_not_a_model(tmp_path):
    with pytest.raises(ArchiveError, match="not a saved model"):
        load(tmp_path)


# --- parameters that are changed after the fit ---------------------------------------------------

OTHERS = {
    "n_components": 7,
    "likelihood": "poisson",
    "exposure": "given",
    "features": "binary",
    "n_hidden": 9,
    "encoder_layers": 1,
    "decoder_layers": 0,
    "skip": True,
    "epochs": 1,
    "batch_size": 7,
    "learning_rate": 0.5,
    "lr_schedule": "constant",
    "weight_decay": 0.0,
    "output_epsilon": 1.0,
    "feature_dropout": 0.9,
    "kl_weight": 0.01,
    "kl_anneal": 0.0,
    "refine_steps": 0,
    "refine_method": "adam",
    "importance_samples": 3,
    "refine_features": 5,
    "theta_features": 5,
    "eval_refine_steps": 1,
    "eval_samples": 2,
    "validation_fraction": 0.0,
    "patience": None,
    "counts": "strict",
    "device": "cpu",
    "random_state": 99,
    "verbose": 1,
}
SCORING = {"batch_size", "counts", "device", "eval_refine_steps", "eval_samples", "verbose"}


@pytest.fixture(scope="module")
def fitted():
    return small().fit(words())


def answers(model):
    X = words()[:9]
    return {
        "posterior": model.posterior(X).mean,
        "scale": model.posterior(X).scale,
        "bounds": model.score_samples(X),
        "evaluation": model.evaluate(X, completion=False).to_dict(),
        "recommended": model.recommend(X, 3).scores,
        "expected": model.inverse_transform(np.ones((1, 3))),
        "drawn": model.sample(3, random_state=1).toarray(),
        "names": list(model.get_feature_names_out()),
        "html": model._repr_html_inner().split("fitted")[-1],
    }


@pytest.fixture(scope="module")
def expected(fitted):
    return answers(fitted)


def same_answers(first, second):
    assert first.keys() == second.keys()
    return all(np.array_equal(np.array(first[k]), np.array(second[k])) for k in first)


def test_every_parameter_is_changed_below():
    assert OTHERS.keys() == NonlinearFactorAnalysis().get_params().keys()


@pytest.mark.parametrize("name", [*OTHERS, "all"])
def test_a_parameter_that_is_changed_after_the_fit(tmp_path, fitted, expected, name):
    changes = OTHERS if name == "all" else {name: OTHERS[name]}
    model = pickle.loads(pickle.dumps(fitted)).set_params(**changes)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert same_network(model, again)
    back = answers(again)
    assert same_answers(answers(model), back)
    if not SCORING & changes.keys():
        assert same_answers(back, expected)
    assert {k: model.get_params()[k] for k in changes} == changes  # they wait for the next fit
    for key, value in fitted.get_params().items():
        assert again.get_params()[key] == (changes.get(key, value) if key in SCORING else value)
    assert again.parameters_ == model.parameters_ == fitted.parameters_


def test_scoring_parameters_are_used_at_once(fitted):
    model = copy.deepcopy(fitted).set_params(eval_refine_steps=0)
    mean = fitted.posterior(words(), refine_steps=0).mean
    np.testing.assert_array_equal(model.transform(words()), mean)


def test_a_device_that_is_not_here_can_be_set_back(fitted, expected):
    model = copy.deepcopy(fitted).set_params(device="cuda:99")
    with pytest.raises(ParameterError, match="device 'cuda:99' is not available"):
        model.transform(words())
    assert same_answers(answers(model.set_params(device="cpu:0")), expected)


def test_a_schedule_that_is_changed_in_place(tmp_path):
    steps = [[0, 0], [2, 1]]
    model = small(refine_steps=steps).fit(words())
    steps.append([3, -1])
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").refine_steps == [[0, 0], [2, 1]]


def test_a_scoring_parameter_out_of_range_is_not_saved(tmp_path, fitted):
    fitted.save(tmp_path / "model")
    model = copy.deepcopy(fitted).set_params(eval_samples=0)
    with pytest.raises(ParameterError, match=r"eval_samples must be a whole number ≥ 1 .*; got 0"):
        model.save(tmp_path / "model")
    assert load(tmp_path / "model").eval_samples == 5


def test_an_update_needs_the_network_of_the_fit(fitted):
    model = copy.deepcopy(fitted).set_params(n_components=7, likelihood="poisson", kl_weight=0.5)
    with pytest.raises(ParameterError) as caught:
        model.partial_fit(words())
    told = str(caught.value)
    assert "n_components was 3, and is 7" in told
    assert "likelihood was 'multinomial', and is 'poisson'" in told
    assert "set_params(n_components=3, likelihood='multinomial')" in told
    assert "kl_weight" not in told
    assert same_answers(answers(model), answers(fitted))


def test_an_update_may_train_otherwise(tmp_path, fitted):
    changes = {"learning_rate": 0.002, "kl_weight": 0.5, "refine_method": "adam"}
    model = copy.deepcopy(fitted).set_params(**changes)
    model.partial_fit(words(), epochs=1)
    assert model.parameters_ == fitted.parameters_ | changes
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert {k: again.get_params()[k] for k in changes} == changes
    assert same_answers(answers(model), answers(again))


def stop(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize("fails", ["data", "interrupted"])
def test_a_fit_that_fails_leaves_the_earlier_one(tmp_path, fitted, expected, fails):
    model = copy.deepcopy(fitted).set_params(n_components=2, likelihood="bernoulli", skip=True)
    if fails == "data":
        with pytest.raises(DataError):
            model.fit(words())  # not 0 and 1
    else:
        callback = Callback()
        callback.on_epoch_end = stop
        with pytest.raises(KeyboardInterrupt):
            model.fit(np.minimum(words(), 1), callbacks=[callback])
    assert same_answers(answers(model), expected)
    model.save(tmp_path / "model")
    assert same_answers(answers(load(tmp_path / "model")), expected)
    model.fit(np.minimum(words(), 1))
    assert (model.parameters_["n_components"], model.parameters_["skip"]) == (2, True)
    assert model.transform(np.minimum(words(), 1)).shape == (80, 2)


# --- what was written is looked at ---------------------------------------------------------------


class WithMore(NonlinearFactorAnalysis):
    def get_params(self, deep=True):
        return super().get_params(deep) | {"more": 1}


def test_a_model_that_could_not_be_opened_replaces_nothing(tmp_path, fitted):
    fitted.save(tmp_path / "model")
    with pytest.raises(ArchiveWriteError, match=r"could not be opened.*more.*has changed"):
        WithMore(2, epochs=1).fit(words()).save(tmp_path / "model")
    assert same_network(load(tmp_path / "model"), fitted)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("where", ["weights", "json"])
def test_what_comes_back_otherwise_replaces_nothing(tmp_path, fitted, monkeypatch, where):
    fitted.save(tmp_path / "model")
    monkeypatch.setattr(
        archive_module,
        *{
            "weights": ("load_tensors", one_bit_off(archive_module.load_tensors)),
            "json": ("_parse", without_history(archive_module._parse)),
        }[where],
    )
    with pytest.raises(ArchiveWriteError, match=r"do not come back as they were: (unigram|hist)"):
        fitted.save(tmp_path / "model")
    monkeypatch.undo()
    assert same_network(load(tmp_path / "model"), fitted)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def one_bit_off(load_tensors):
    def load(data):
        tensors = load_tensors(data)
        tensors["unigram"] = tensors["unigram"].copy()
        tensors["unigram"].view(np.uint8)[0] ^= 1
        return tensors

    return load


def without_history(parse):
    return lambda path, data: [] if path.name == "history.json" else parse(path, data)
