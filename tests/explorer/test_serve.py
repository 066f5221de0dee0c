"""The program itself: started, asked, and stopped."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import polars as pl
import pytest

from longtail.errors import MissingExtraError, ParameterError
from longtail.explorer.serve import bind, load_server, url_of
from tests.explorer.conftest import WORDS, fitted

PROGRAM = [sys.executable, "-W", "error", "-m", "longtail", "explore"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    fitted(WORDS, epochs=2).save(folder / "model")
    pl.DataFrame({"text": ["boat wave sail", "pan oven", "salt salt"] * 3}).write_parquet(
        folder / "rows.parquet"
    )
    return folder


@pytest.fixture
def start():
    """The program, until the end of the test; its address."""
    started = []

    def call(*arguments):
        program = subprocess.Popen(
            [*PROGRAM, *map(str, arguments), "--port", "0", "--no-browser", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        line = program.stdout.readline()
        assert line, program.stderr.read()
        return program, json.loads(line)["url"]

    yield call
    for program in started:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop_and_ends_what_it_has_begun(start, folder, sent):
    rows = [folder / "rows.parquet"] if sent == signal.SIGINT else []
    program, url = start(folder / "model", *rows)
    assert url.startswith("http://127.0.0.1:")
    answers = []
    with httpx2.Client(base_url=url, timeout=30) as http:
        health = http.get("healthz")
        assert health.json() == {"status": "ok"}
        assert "server" not in health.headers

        def ask():
            body = {"rows": [{"text": "boat wave"}] * 8, "refine_steps": 200, "samples": 20}
            answers.append(http.post("api/score", json=body).status_code)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(1)  # it is on its way, or answered
        program.send_signal(sent)
        out, err = program.communicate(timeout=30)
        thread.join()
    assert answers == [200]
    assert program.returncode == 0
    assert out == ""
    assert "Stopped." in err
    assert "Traceback" not in err


def test_a_taken_port():
    with bind("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(ParameterError, match=f"port {port}: Address already in use.*--port"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine():
    with pytest.raises(ParameterError, match=r"Cannot serve at 192\.0\.2\.1"):
        bind("192.0.2.1", 0)
    with pytest.raises(ParameterError, match=r"Cannot serve at no\.such\.host\.invalid"):
        bind("no.such.host.invalid", 0)


def test_where_a_browser_finds_it():
    for host in ("127.0.0.1", "0.0.0.0"):
        with bind(host, 0) as bound:
            assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}/"
    if socket.has_ipv6:
        with bind("::1", 0) as bound:
            assert url_of(bound) == f"http://[::1]:{bound.getsockname()[1]}/"


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingExtraError, match=r"longtail\[explore\]"):
        load_server()


def test_nothing_of_it_is_imported_before_it_is_wanted():
    code = (
        "import sys, longtail.cli, longtail.explorer; "
        "assert not {'fastapi', 'uvicorn', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
