"""Posterior, score, recommendations: what is asked of rows."""

from __future__ import annotations

import numpy as np
import pytest

from longtail import CountMatrix, explain_recommendation
from longtail.data import ReadSettings
from longtail.explorer.desk import Desk
from tests.estimator.models import small
from tests.explorer.conftest import WORDS, client_of, fitted, two_topics

SEA = {"counts": {"boat": 3, "wave": 2}}


def row(model, counts):
    dense = [[counts.get(word, 0) for word in WORDS]]
    return CountMatrix.from_any(np.array(dense), vocabulary=model.vocabulary_)


def posterior(client, *rows, **options):
    answer = client.post("/api/posterior", json={"rows": list(rows), **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestPosterior:
    def test_is_that_of_the_model(self, client, model):
        told = posterior(client, SEA, refine_steps=10)
        assert told["refine_steps"] == 10
        own = told["rows"][0]
        rows = row(model, SEA["counts"])
        before = model.posterior(rows, refine_steps=0)
        np.testing.assert_allclose(own["amortized"]["mean"], before.mean[0], rtol=1e-5)
        np.testing.assert_allclose(own["amortized"]["scale"], before.scale[0], rtol=1e-5)

    def test_bounds_are_those_of_the_ladder(self, client, model):
        own = posterior(client, SEA)["rows"][0]
        ladder = model.evaluate(row(model, SEA["counts"]), completion=False).per_row
        assert own["elbo_amortized"] == pytest.approx(ladder["elbo_amortized"][0], rel=1e-5)
        assert own["elbo_refined"] == pytest.approx(ladder["elbo_refined"][0], rel=1e-5)
        assert own["gap"] == pytest.approx(own["elbo_refined"] - own["elbo_amortized"])

    def test_steps_lead_from_one_bound_to_the_other(self, client):
        own = posterior(client, SEA, refine_steps=9)["rows"][0]
        assert [s["evaluations"] for s in own["steps"]] == [0, 2, 4, 8, 9]
        assert own["steps"][0]["elbo"] == own["elbo_amortized"]
        assert own["steps"][-1]["elbo"] == own["elbo_refined"]

    def test_without_steps_nothing_moves(self, client):
        own = posterior(client, SEA, refine_steps=0)["rows"][0]
        assert own["amortized"] == own["refined"]
        assert own["gap"] == 0
        assert len(own["steps"]) == 1

    def test_kl_is_that_of_the_refined_posterior(self, client):
        own = posterior(client, SEA)["rows"][0]
        m, s = (np.array(own["refined"][k]) for k in ("mean", "scale"))
        np.testing.assert_allclose(own["kl"], (m**2 + s**2 - 1) / 2 - np.log(s), atol=1e-6)

    def test_the_sea_makes_its_own_words_probable(self, client):
        own = posterior(client, SEA, top=4)["rows"][0]
        assert {"boat", "wave", "sail", "tide"} == {f["feature"] for f in own["probable"]}
        assert [f["feature"] for f in own["missing"][:2]] in (["sail", "tide"], ["tide", "sail"])
        assert all(f["count"] == 0 and f["feature"] not in SEA["counts"] for f in own["missing"])

    def test_directions_and_the_rest_add_up(self, client):
        own = posterior(client, SEA)["rows"][0]
        told = sum(d["nats"] for d in own["directions"]) + own["other_directions"]
        assert told == pytest.approx(own["explained"])
        for d in own["directions"]:
            assert sum(c["nats"] for c in d["contributions"]) == pytest.approx(d["nats"], abs=1e-5)

    def test_nearest_rows(self, client, desk):
        near = posterior(client, SEA, nearest=3)["rows"][0]["nearest"]
        assert len(near) == 3
        similarity = [n["similarity"] for n in near]
        assert similarity == sorted(similarity, reverse=True)
        assert all(n["row_id"] in set(desk.rows.counts.row_ids) for n in near)

    def test_a_text_is_its_tokens(self, client):
        text, counts = (
            posterior(client, one)["rows"][0]
            for one in ({"text": "Boat, wave! boat; BOAT wave"}, SEA)
        )
        assert text == counts

    def test_unknown_features_are_told(self, client):
        own = posterior(client, {"counts": {"boat": 3, "BOAT": 2, "zeppelin": 5}})["rows"][0]
        assert [u["feature"] for u in own["unknown"]] == ["zeppelin", "BOAT"]
        assert own["unknown"][1]["suggestions"] == ["boat"]
        assert own["unknown_share"] == pytest.approx(0.7)
        assert own["total"] == 3

    def test_a_row_without_known_features_beside_another(self, client):
        own = posterior(client, SEA, {"text": "zeppelin"})["rows"]
        assert own[1]["total"] == 0
        assert own[1]["unknown_share"] == 1
        assert own[1]["refined"]["mean"] == [0.0] * 3
        assert own[1]["nearest"] == []


def test_nothing_known(client):
    for path in ("posterior", "score", "recommend"):
        answer = client.post(f"/api/{path}", json={"rows": [{"counts": {"baot": 1}}]})
        assert answer.status_code == 422
        assert "Did you mean 'boat'" in answer.json()["error"]["message"]
    answer = client.post("/api/score", json={"rows": [{"text": "!?"}]})
    assert "no token" in answer.json()["error"]["message"]


class TestScore:
    def test_is_the_ladder(self, client, model):
        answer = client.post("/api/score", json={"rows": [SEA, {"text": "salt oven pan"}]}).json()
        ladder = model.evaluate(row(model, SEA["counts"]), completion=False).per_row
        first = answer["rows"][0]
        assert first["elbo_amortized"] == pytest.approx(ladder["elbo_amortized"][0], rel=1e-5)
        assert first["elbo_refined"] == pytest.approx(ladder["elbo_refined"][0], rel=1e-5)
        assert first["importance_weighted"] == pytest.approx(ladder["iw"][0], rel=1e-5)
        assert "M = 10" in answer["estimator"]
        assert len(answer["rows"]) == 2

    def test_one_draw_has_no_error(self, client):
        answer = client.post("/api/score", json={"rows": [SEA], "samples": 1}).json()
        assert answer["rows"][0]["standard_errors"] == [None] * 3


class TestRecommend:
    def test_is_that_of_the_model(self, client, model):
        ask = {"rows": [{"items": ["boat", "boat", "wave"]}], "k": 4}
        told = client.post("/api/recommend", json=ask).json()["rows"][0]
        rows = row(model, {"boat": 2, "wave": 1})
        own = model.recommend(rows, 4).frame()
        assert [i["feature"] for i in told["items"]] == own["item"].to_list()
        assert told["known"] == 2
        first = told["items"][0]
        reasons = explain_recommendation(model, rows, first["feature"]).own_items
        expected = dict(reasons.select("item", "influence").iter_rows())
        for reason in first["reasons"]:
            assert reason["nats"] == pytest.approx(expected[reason["feature"]], rel=1e-3)

    def test_seen_items_if_wanted(self, client):
        ask = {"rows": [SEA], "k": 10}
        unseen, seen = (
            {
                i["feature"]
                for i in client.post("/api/recommend", json=ask | {"exclude_seen": e}).json()[
                    "rows"
                ][0]["items"]
            }
            for e in (True, False)
        )
        assert unseen == set(WORDS) - {"boat", "wave"}
        assert seen == set(WORDS)

    def test_a_history_of_unknown_items_gets_what_is_frequent(self, client, model):
        ask = {"rows": [{"items": ["zeppelin"]}, {"items": ["boat"]}], "k": 3}
        told = client.post("/api/recommend", json=ask).json()["rows"]
        frequent = np.argsort(-model.unigram_, kind="stable")[:3]
        assert [i["feature"] for i in told[0]["items"]] == [WORDS[v] for v in frequent]
        assert all(i["reasons"] == [] for i in told[0]["items"])


@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "poisson", "negative_binomial", "dirichlet_multinomial"]
)
def test_other_likelihoods(likelihood):
    rows = two_topics(WORDS)
    rows = rows.binarized() if likelihood == "bernoulli" else rows
    model = small(likelihood=likelihood, epochs=2).fit(rows)
    with client_of(Desk(model, samples=40)) as client:
        own = posterior(client, {"counts": {"boat": 1}})
        assert own["rows"][0]["nearest"] is None
        assert own["rows"][0]["explained"] == pytest.approx(
            sum(d["nats"] for d in own["rows"][0]["directions"])
            + own["rows"][0]["other_directions"]
        )
        context = {"feature": "boat", "contexts": [["wave", "sail"]]}
        assert client.post("/api/neighbors", json=context).status_code == 200
        twice = posterior(client, {"text": "boat boat"})["rows"][0]
        assert twice["total"] == (1 if likelihood == "bernoulli" else 2)


def test_codes_are_read_without_dots():
    """A model fitted to codes without full stops takes them with full stops."""

    model = fitted(["25000", "4019", "v581", "e849", "001", "002"], epochs=1)
    model.read_settings_ = ReadSettings(
        row_column="patient", feature_column="code", strip_dots=True
    )
    desk = Desk(model, samples=40)
    assert not desk.reader.takes_text
    with client_of(desk) as client:
        own = posterior(client, {"counts": {"250.00": 2, "25000": 1}})["rows"][0]
        assert own["features"] == [{"feature": "25000", "description": None, "count": 3.0}]
        answer = client.post("/api/posterior", json={"rows": [{"text": "250.00"}]})
        assert answer.status_code == 422
        assert "Give counts" in answer.json()["error"]["message"]


class TestExposures:
    """Of a model that takes exposures given with the rows: a request has a typical one."""

    @pytest.fixture
    def exposed(self):
        rows = two_topics(WORDS, 80).with_exposure(np.linspace(0.5, 4, 80))
        model = small(likelihood="poisson", exposure="given", epochs=2).fit(rows)
        desk = Desk(model, rows[:10], samples=5)
        with client_of(desk) as client:
            yield model, client

    def test_it_is_told(self, exposed, client):
        model, own = exposed
        typical = model.fit_info_["median_exposure"]
        assert own.get("/api/model").json()["typical_exposure"] == typical
        assert client.get("/api/model").json()["typical_exposure"] is None

    def test_answers_are_those_of_the_model(self, exposed):
        model, own = exposed
        rows = row(model, SEA["counts"]).with_exposure([model.fit_info_["median_exposure"]])
        told = posterior(own, SEA, SEA)["rows"]
        found = model.posterior(rows)
        for one in told:
            np.testing.assert_allclose(one["refined"]["mean"], found.mean[0], rtol=1e-4)
        asked = {"rows": [SEA], "k": 2, "reasons": 1}
        answer = own.post("/api/recommend", json=asked)
        assert answer.status_code == 200, answer.text
        assert own.post("/api/score", json={"rows": [SEA]}).status_code == 200
