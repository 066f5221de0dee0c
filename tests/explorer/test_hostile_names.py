"""Feature names are arbitrary text of users: nothing may break, or be taken for anything else."""

from __future__ import annotations

import pytest

from longtail.explorer.desk import Desk
from tests.explorer.conftest import client_of, fitted, two_topics, wait_for_rows

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "🎣🏴‍☠️",
    "שלום עולם",
    "\u202egnp.exe",
    "x" * 10_000,
    "Café",
    "café",
    "cafe\u0301",
    "__proto__",
    "../../etc/passwd",
    "a,b\\c\n\td",
    "{{7*7}}",
    "constructor",
    " ",
    "İstanbul",
]


@pytest.fixture(scope="module")
def hostile():
    desk = Desk(fitted(HOSTILE, epochs=4), two_topics(HOSTILE, 20, seed=1), samples=40)
    with client_of(desk) as client:
        wait_for_rows(client)
        yield client


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_each_is_one_feature_like_any_other(hostile, name):
    found = hostile.get("/api/features", params={"prefix": name[:200], "limit": 100})
    assert name in {f["feature"] for f in found.json()["features"]}
    answer = hostile.post(
        "/api/neighbors", json={"feature": name, "contexts": [[], [name]], "k": 3}
    )
    assert answer.status_code == 200
    assert answer.json()["feature"]["feature"] == name
    assert answer.headers["content-type"] == "application/json"
    rows = [{"counts": {name: 2}}]
    own = hostile.post("/api/posterior", json={"rows": rows}).json()["rows"][0]
    assert own["features"] == [{"feature": name, "description": None, "count": 2}]
    rows = [{"items": [name]}]
    told = hostile.post("/api/recommend", json={"rows": rows, "k": 100}).json()["rows"][0]
    assert {i["feature"] for i in told["items"]} == set(HOSTILE) - {name}


def test_all_at_once(hostile):
    rows = [{"counts": dict.fromkeys(HOSTILE, 1)}]
    own = hostile.post("/api/posterior", json={"rows": rows, "top": 100}).json()["rows"][0]
    assert {f["feature"] for f in own["features"]} == set(HOSTILE)
    for path in ("/api/directions", "/api/dimension/0", "/api/spectrum"):
        assert hostile.get(path).status_code == 200


@pytest.mark.parametrize("name", ["CAFÉ", "y" * 10_000, "<SCRIPT>", "\u0000", "💥"])
def test_unknown_ones_are_told_in_short(hostile, name):
    answer = hostile.post("/api/neighbors", json={"feature": name})
    assert answer.status_code == 422
    assert len(answer.json()["error"]["message"]) < 1000
    assert answer.headers["content-type"] == "application/json"


def test_case_alone_does_not_make_two_features_one(hostile):
    near = [
        hostile.post("/api/neighbors", json={"feature": name, "k": 15}).json()["contexts"][0]
        for name in ("Café", "café")
    ]
    first, second = ({n["feature"] for n in one["neighbors"]} for one in near)
    assert "café" in first
    assert "Café" in second


def test_no_valid_text_is_refused(hostile):
    body = b'{"feature": "\\ud800"}'
    answer = hostile.post(
        "/api/neighbors", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert "feature" in answer.json()["error"]["message"]
