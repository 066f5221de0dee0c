"""Descriptions of features: from the fit through the saved model into every list."""

from __future__ import annotations

import pytest

import longtail as lt
from longtail.data import CountMatrix
from tests.estimator.models import names, small, words

TEXTS = {name: f"meaning of {name}" for name in names(20)[1:]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rows = CountMatrix.from_any(words(), vocabulary=names(20)).described(TEXTS)
    folder = tmp_path_factory.mktemp("described") / "model"
    small(epochs=8, learning_rate=0.03).fit(rows).save(folder)
    return lt.load(folder)


def rows():
    return CountMatrix.from_any(words(), vocabulary=names(20))


def test_the_saved_model_knows_them(model):
    assert model.vocabulary_.descriptions == TEXTS
    assert model.align(rows())[0].vocabulary.descriptions == TEXTS
    assert "`w01 meaning of w01`" in lt.estimator.saved.to_archive(model).card


def test_embeddings_and_neighbors(model):
    vectors = lt.embeddings(model)
    assert vectors.frame()["description"].to_list() == [None, *TEXTS.values()]
    found = vectors.neighbors("w03", 4)
    assert found.columns == ["rank", "feature", "description", "similarity"]
    assert found["description"].to_list() == [TEXTS.get(f) for f in found["feature"]]
    shown = lt.neighborhoods(model, "w03", [["w00", "w04"]], k=3)
    assert shown.feature == "w03 meaning of w03"
    assert list(shown.lists) == ["no context", "w00; w04 meaning of w04"]
    assert "description" in shown.frame().columns


def test_directions(model):
    found = lt.directions(model, top=1, words=3)
    table = found.frame()
    assert table["description"].to_list() == [TEXTS.get(f) for f in table["feature"]]
    first = found.to_dict()["directions"][0]["positive"]["features"][0]
    assert first.keys() == {"feature", "description", "weight"}
    strongest = found[0].positive.names[0]
    assert f"+ {model.vocabulary_.label(strongest)} " in str(found)


def test_recommendations_and_their_reasons(model):
    one = rows()[[0]]
    found = model.recommend(one, 15, exclude_seen=False)
    table = found.frame()
    assert table["description"].to_list() == [TEXTS.get(i) for i in table["item"]]
    first = found.to_dict()["recommendations"][0]
    assert first["descriptions"] == [TEXTS.get(i) for i in first["items"]]
    assert model.vocabulary_.label(found.items(0)[0]) in str(found)
    why = lt.explain_recommendation(model, one, "w05", k=2)
    assert str(why).startswith("w05 meaning of w05: probability")
    assert why.own_items["description"].to_list() == [TEXTS.get(i) for i in why.own_items["item"]]


def test_without_descriptions_nothing_is_added():
    plain = small(epochs=2).fit(rows())
    assert "description" not in plain.recommend(rows()[[0]], 2).frame().columns
    assert "description" not in lt.embeddings(plain, samples=10).neighbors("w03").columns
    assert "descriptions" not in plain.recommend(rows()[[0]], 2).to_dict()["recommendations"][0]
