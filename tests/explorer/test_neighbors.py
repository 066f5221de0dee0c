from __future__ import annotations

import numpy as np
import pytest

from longtail import embeddings


def neighbors(client, feature, contexts=((),), **options):
    ask = {"feature": feature, "contexts": [list(c) for c in contexts], **options}
    answer = client.post("/api/neighbors", json=ask)
    assert answer.status_code == 200, answer.text
    return answer.json()["contexts"]


def test_overall_they_are_those_of_the_embeddings(client, model):
    (told,) = neighbors(client, "boat", k=4)
    # The desk's own number of draws.
    own = embeddings(model, samples=200).neighbors("boat", 4)
    assert [n["feature"] for n in told["neighbors"]] == own["feature"].to_list()
    similarity = [n["similarity"] for n in told["neighbors"]]
    np.testing.assert_allclose(similarity, own["similarity"], rtol=1e-5)


def test_in_a_context_they_are_those_of_the_embeddings_there(client, model):
    (told,) = neighbors(client, "salt", [["boat", "wave"]], k=4)
    own = embeddings(model, ["boat", "wave"], samples=50).neighbors("salt", 4)
    assert [n["feature"] for n in told["neighbors"]] == own["feature"].to_list()
    similarity = [n["similarity"] for n in told["neighbors"]]
    np.testing.assert_allclose(similarity, own["similarity"], rtol=2e-3)


def test_every_context_places_what_is_near_in_any(client):
    contexts = neighbors(client, "and", [[], ["boat"], ["pan", "oven"]], k=3)
    shown = [{n["feature"] for n in c["neighbors"] + c["others"]} for c in contexts]
    for c, own in zip(contexts, ([], ["boat"], ["pan", "oven"]), strict=True):
        assert len(c["neighbors"]) == 3
        assert "and" not in {n["feature"] for n in c["neighbors"]}
        assert not {n["feature"] for n in c["neighbors"]} & set(own)
        places = np.array([[n["x"], n["y"]] for n in c["neighbors"] + c["others"]])
        assert np.linalg.norm(places, axis=1).max() == pytest.approx(1)
    assert shown[0] == shown[1] == shown[2]


def test_unknown_context_features_are_left_out_and_told(client):
    (told,) = neighbors(client, "salt", [["boat", "zeppelin"]])
    assert [f["feature"] for f in told["context"]] == ["boat"]
    assert [u["feature"] for u in told["unknown"]] == ["zeppelin"]


def test_more_neighbors_than_there_are(client):
    (told,) = neighbors(client, "salt", k=100)
    assert len(told["neighbors"]) == 9


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"feature": "baot"}, "Did you mean 'boat'"),
        ({"feature": "Boat"}, "Did you mean 'boat'"),
        ({"feature": "boat", "contexts": [["zeppelin"]]}, "no feature of this context"),
        ({"feature": "boat", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"feature": "boat", "contexts": []}, "contexts: List should have at least 1 item"),
    ],
)
def test_refused(client, ask, words):
    answer = client.post("/api/neighbors", json=ask)
    assert answer.status_code == 422
    assert words in answer.json()["error"]["message"]
