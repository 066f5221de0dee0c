"""The API keeps to its own schema, whatever it is sent."""

from __future__ import annotations

import threading

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from longtail.explorer.app import create_app
from longtail.explorer.desk import Desk
from longtail.explorer.serve import bind, url_of
from tests.explorer.conftest import fitted
from tests.profiles import examples

EXAMPLES = 25


@pytest.fixture(scope="module")
def api():
    """The schema of a server on this machine, read from it."""
    model = fitted(["0", "00", "000", "1", "a", "A", "aa", "é", "false", "null"], epochs=1)
    bound = bind("127.0.0.1", 0)
    config = uvicorn.Config(create_app(Desk(model, samples=40)), log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield schemathesis.openapi.from_url(f"{url_of(bound)}openapi.json", wait_for_schema=10)
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/posterior"),
        ("POST", "/api/score"),
        ("POST", "/api/neighbors"),
        ("POST", "/api/recommend"),
        ("GET", "/api/model"),
        ("GET", "/api/features"),
        ("GET", "/api/spectrum"),
        ("GET", "/api/directions"),
        ("GET", "/api/dimension/{i}"),
        ("GET", "/api/walk"),
        ("GET", "/healthz"),
    ],
)
def test_every_answer_is_one_that_is_described(api, method, path):
    @settings(
        max_examples=examples(EXAMPLES),
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(api[path][method].as_strategy())
    def answer(case):
        if path in ("/api/posterior", "/api/score"):
            case.body["rows"] = [*case.body["rows"][:31], {"text": "aa 00"}]
        # The schema cannot tell which features the model knows.
        response = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        seen.add(response.status_code)

    seen = set()
    answer()
    assert 200 in seen


def test_all_are_tested(api):
    (own,) = (m for m in test_every_answer_is_one_that_is_described.pytestmark)
    operations = {(o.ok().method.upper(), o.ok().path) for o in api.get_all_operations()}
    assert operations == set(own.args[1])
