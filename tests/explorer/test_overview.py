"""What the model is: its spectrum, directions, dimensions, features, and walks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longtail.explorer.desk import Desk
from tests.explorer.conftest import WORDS, client_of


def get(client, path, **query):
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_model(client):
    told = get(client, "/api/model")
    assert told["name"] == "kitchen & sea"
    assert (told["features"], told["components"]) == (10, 3)
    assert told["rows"] == {"ready": True, "done": 30, "total": 30}
    assert told["limits"]["rows"] > 0


def test_spectrum(client):
    told = get(client, "/api/spectrum")
    assert len(told["root_eigenvalues"]) == len(told["dimensions"]) == told["components"] == 3
    assert told["n_rows"] == 30
    assert all(d["kl"] >= 0 for d in told["dimensions"])
    assert told["advice"]


def test_directions_are_ranked_and_have_rows(client):
    told = get(client, "/api/directions")
    assert [d["rank"] for d in told["directions"]] == list(range(1, told["live"] + 1))
    first = told["directions"][0]
    ends = [{f["feature"] for f in first[end]["features"][:4]} for end in ("positive", "negative")]
    assert {"boat", "wave", "sail", "tide"} in ends
    assert first["positive"]["rows"][0]["place"] > first["negative"]["rows"][0]["place"]


def test_a_dimension_has_the_rows_furthest_along_it(client, desk):
    told = get(client, "/api/dimension/1")
    means = desk.rows.posterior.mean[:, 1]
    places = [r["place"] for r in told["positive"]["rows"]]
    np.testing.assert_allclose(places, np.sort(means)[::-1][: len(places)])
    assert told["dimension"]["dimension"] == 1


def test_a_walk_tells_probabilities_along_it(client, model):
    told = get(client, "/api/walk", axis="dimension", index=2, steps=5, reach=2, top=10)
    assert told["places"] == [-2, -1, 0, 1, 2]
    z = torch.zeros(5, 3)
    z[:, 2] = torch.linspace(-2, 2, 5)
    generative = model.network_.generative
    with torch.no_grad():
        p = generative.likelihood.probabilities(generative.decoder(z)).numpy()
    for feature in told["features"]:
        own = p[:, WORDS.index(feature["feature"])]
        np.testing.assert_allclose(feature["probabilities"], own, rtol=1e-5)


def test_a_walk_along_a_direction_goes_to_its_end(client):
    first = get(client, "/api/directions")["directions"][0]
    told = get(client, "/api/walk", index=1, steps=3, top=2)
    assert told["name"] == first["name"]
    rising = {f["feature"] for f in first["positive"]["features"]}
    for feature in told["features"]:
        p = feature["probabilities"]
        assert (p[-1] > p[0]) == (feature["feature"] in rising)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/dimension/3", "There are dimensions 0 to 2; got 3"),
        ("/api/walk?axis=dimension&index=3", "There are dimensions 0 to 2; got 3"),
        ("/api/walk?index=0", "There are directions 1 to"),
        ("/api/nothing", "nothing at this address"),
    ],
)
def test_not_there(client, path, words):
    answer = client.get(path)
    assert answer.status_code == 404
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/walk", "index: Field required"),
        ("/api/walk?index=1&reach=nan", "reach"),
        ("/api/walk?index=1&steps=1000", "steps: Input should be less than or equal to 61"),
        ("/api/dimension/x", "i: Input should be a valid integer"),
        ("/api/features?limit=0", "limit: Input should be greater than or equal to 1"),
    ],
)
def test_refused(client, path, words):
    answer = client.get(path)
    assert answer.status_code == 422
    assert words in answer.json()["error"]["message"]


def test_features(client):
    told = get(client, "/api/features", prefix="s", limit=1)
    assert told["more"]
    assert told["features"][0]["feature"] in ("sail", "salt")
    assert len(get(client, "/api/features", limit=100)["features"]) == 10
    assert get(client, "/api/features", prefix="zz") == {"features": [], "more": False}


def test_rows_are_not_needed(model):
    with client_of(Desk(model, samples=40)) as client:
        assert get(client, "/api/model")["rows"] is None
        assert get(client, "/api/spectrum")["dimensions"][0]["kl"] is None
        assert get(client, "/api/dimension/0")["positive"]["rows"] == []


def test_healthz(client):
    assert get(client, "/healthz") == {"status": "ok"}
