from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from longtail import load
from longtail.archive import read_archive, write_archive
from longtail.data import CountMatrix, ReadSettings
from longtail.errors import ArchiveError
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
