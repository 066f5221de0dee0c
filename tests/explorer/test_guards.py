"""Who may ask, and how much."""

from __future__ import annotations

import asyncio
import json

import pytest

from longtail.explorer.desk import Desk
from longtail.explorer.guards import BodyLimit
from longtail.explorer.limits import LIMITS
from tests.explorer.conftest import client_of

JSON = {"content-type": "application/json"}


def message(answer):
    return answer.json()["error"]["message"]


class TestLimits:
    @pytest.mark.parametrize(
        ("path", "body", "words"),
        [
            ("posterior", {"rows": []}, "rows: List should have at least 1 item"),
            ("posterior", {"rows": [{"text": "a"}] * 33}, "rows: List should have at most 32"),
            ("posterior", {"rows": [{"text": ""}]}, "rows[0].text: String should have at least 1"),
            ("posterior", {"rows": [{"text": "a" * 100_001}]}, "at most 100000 characters"),
            ("posterior", {"rows": [{"counts": {"boat": -1}}]}, "rows[0].counts['boat']: Input"),
            ("posterior", {"rows": [{"counts": {}}]}, "rows[0].counts: Dictionary should have"),
            ("posterior", {"rows": [{"txt": "a"}]}, "rows[0].counts: Field required"),
            ("posterior", {"rows": [{"text": "a"}], "refine_steps": 201}, "equal to 200"),
            ("posterior", {"rows": [{"text": "a"}], "refine": 2}, "refine: Extra inputs"),
            ("score", {"rows": [{"text": "a"}], "samples": 0}, "samples: Input should be greater"),
            ("recommend", {"rows": [{"items": ["a" * 20_001]}]}, "at most 20000 characters"),
            ("recommend", {"rows": [{"items": ["a"] * 2001}]}, "at most 2000 items"),
            ("neighbors", {"feature": "boat", "contexts": [[]] * 9}, "at most 8 items"),
            ("neighbors", {}, "feature: Field required"),
            ("neighbors", [], "the body: Input should be"),
        ],
    )
    def test_refused_in_words(self, client, path, body, words):
        answer = client.post(f"/api/{path}", json=body)
        assert answer.status_code == 422
        assert words in message(answer)

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"feature": NaN}', b"null"]
    )
    def test_not_json(self, client, body):
        answer = client.post("/api/neighbors", content=body, headers=JSON)
        assert answer.status_code in (400, 422)
        assert message(answer)

    def test_counts_are_finite_numbers(self, client):
        for value in ("NaN", "Infinity", "1e999"):
            body = f'{{"rows": [{{"counts": {{"boat": {value}}}}}]}}'
            assert client.post("/api/score", content=body, headers=JSON).status_code == 422

    def test_faults_do_not_repeat_what_was_sent(self, client):
        answer = client.post("/api/posterior", json={"rows": [{"counts": {"k" * 20_001: 1}}]})
        assert answer.status_code == 422
        assert len(answer.content) < 2_000

    def test_a_long_body(self, client):
        answer = client.post("/api/neighbors", content=b" " * (LIMITS.body_bytes + 1), headers=JSON)
        assert answer.status_code == 413
        assert "1,000,000 bytes" in message(answer)

    def test_a_long_body_of_undeclared_length(self, client):
        parts = (b" " * 100_000 for _ in range(11))
        answer = client.post("/api/neighbors", content=parts, headers=JSON)
        assert answer.status_code == 413

    def test_the_longest_allowed_passes(self, client):
        body = json.dumps({"feature": "boat", "k": 1}).encode().ljust(LIMITS.body_bytes)
        assert client.post("/api/neighbors", content=body, headers=JSON).status_code == 200


def test_a_long_body_is_not_read_to_its_end():
    read, sent = 0, []

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 10, "more_body": True}

    async def send(part):
        sent.append(part)

    async def app(scope, receive, send):
        raise AssertionError("it must not come so far")

    asyncio.run(BodyLimit(app, 100)({"type": "http", "headers": []}, receive, send))
    assert sent[0]["status"] == 413
    assert read == 11


class TestOrigins:
    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.a", ""])
    def test_other_names_are_refused(self, client, host):
        answer = client.get("/api/model", headers={"host": host})
        assert answer.status_code == 400
        assert "boat" not in answer.text

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765"])
    def test_names_of_this_machine(self, client, host):
        assert client.get("/healthz", headers={"host": host}).status_code == 200

    def test_pages_elsewhere_may_not_read_answers(self, client):
        elsewhere = {"origin": "https://evil.example"}
        asked = elsewhere | {"access-control-request-method": "POST"}
        preflight = client.options("/api/neighbors", headers=asked)
        assert preflight.status_code == 405
        answer = client.get("/api/model", headers=elsewhere)
        assert not [h for h in answer.headers if h.startswith("access-control")]

    def test_pages_elsewhere_may_not_ask(self, client):
        # What a form elsewhere can send without being asked for leave is not taken for JSON.
        body = json.dumps({"feature": "boat"})
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            answer = client.post("/api/neighbors", content=body, headers={"content-type": kind})
            assert answer.status_code == 422


class TestPages:
    @pytest.mark.parametrize("path", ["/", "/docs", "/docs.css", "/api/model", "/nothing"])
    def test_guarding_headers(self, client, path):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"

    @pytest.mark.parametrize(
        "name",
        [
            "../app.py",
            "..%2fapp.py",
            "%2e%2e/app.py",
            "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "..\\app.py",
            "index.html%00.js",
            ".",
            "",
        ],
    )
    def test_no_address_reads_other_files(self, client, name):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 404
        assert "import" not in answer.text

    def test_the_front_page_has_no_script_of_its_own(self, client):
        page = client.get("/")
        assert page.status_code == 200
        assert "<script>" not in page.text
        assert "//" not in page.text.replace("http://www.w3.org", "")  # nothing from elsewhere

    def test_every_operation_is_described(self, client):
        page = client.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script" not in page.text
        for path in client.get("/openapi.json").json()["paths"]:
            assert f"{path}</code></h2>" in page.text
        assert client.get("/docs.css").headers["content-type"].startswith("text/css")


def test_a_fault_of_the_server_is_told_in_the_same_form(model, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    desk = Desk(model, samples=40)
    with client_of(desk, raise_server_exceptions=False) as client:
        monkeypatch.setattr(desk.reader, "read", broken)
        answer = client.post("/api/score", json={"rows": [{"text": "boat"}]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "failed" in message(answer)
