from __future__ import annotations

import threading

import pytest

from longtail.data import download
from longtail.data.remote import fetch
from tests.data.file_server import FileServer


@pytest.fixture
def server(monkeypatch):
    """A server on this machine; what is fetched from it is tried again without a pause."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "_PAUSES", (0, 0, 0))
    server = FileServer()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def known(server, tmp_path):
    """A function that fetches or reads from the server, into a cache of its own."""

    def use(name, function=fetch, **fields):
        return function(name, cache_dir=tmp_path, base_url=server.url, **fields)

    return use
