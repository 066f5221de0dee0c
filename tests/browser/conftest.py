"""A tiny model with hostile names, its explorer in a process of its own, and Chromium."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from scipy.sparse import csr_array

import longtail as lt
from longtail.data import Vocabulary
from tests.builders import topic_counts

CHROMIUM = os.environ.get("LONGTAIL_CHROMIUM", "/usr/bin/chromium")

SCRIPT = "<script>window.injected = true</script>"
IMAGE = "<img src=x onerror='window.injected = true'>"
LONG = "endless" + "x" * 9_993
HEBREW = "שלום עולם"
HOSTILE = (
    SCRIPT,
    IMAGE,
    LONG,
    HEBREW,
    "\u202eturned",
    "👩‍👩‍👧‍👦🎉",
    "Kernel",
    "kernel",
    "__proto__",
    "2*two",
    "a&b=c#d?e%20",
    "two\nlines",
)


class Server:
    """An explorer in a process of its own."""

    def __init__(self, *paths: Path) -> None:
        command = [sys.executable, "-m", "longtail", "explore", *map(str, paths)]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--no-browser", "--json"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )

    @cached_property
    def url(self) -> str:
        """Waits until it serves."""
        line = self.process.stdout.readline()
        assert line, f"the explorer stopped with {self.process.wait()}"
        return json.loads(line)["url"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def fitted(tmp_path_factory) -> tuple[Path, Path]:
    """The folder of a model and a file of rows."""
    folder = tmp_path_factory.mktemp("explorer")
    dense = topic_counts(200, 24, tokens=15)
    # The most frequent features get the hostile names, so that they are everywhere.
    order = np.argsort(-dense.sum(0), kind="stable")
    plain = ["gaussian", "thread", *(f"word{i}" for i in range(22 - len(HOSTILE)))]
    names = [*HOSTILE, *plain]
    counts = lt.CountMatrix.from_any(
        csr_array(dense[:, order]),
        vocabulary=Vocabulary(names),
    )
    model = lt.NonlinearFactorAnalysis(4, n_hidden=16, epochs=6, batch_size=50, random_state=0)
    model.fit(counts)
    model.save(folder / "model")
    # Of texts only tokens are known: words, and none of the hostile names but one.
    texts = [
        " ".join(name for name, n in zip(names, row, strict=True) for _ in range(n))
        for row in dense[:40, order]
    ]
    ids = [f"row {d} {SCRIPT}" for d in range(40)]
    pl.DataFrame({"id": ids, "text": texts}).write_parquet(folder / "rows.parquet")
    return folder / "model", folder / "rows.parquet"


@pytest.fixture(scope="session")
def servers(fitted):
    """One to ask, and one to stop; they start side by side."""
    running = [Server(*fitted), Server(*fitted)]
    yield running
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def server(servers):
    return servers[0]


@pytest.fixture(scope="session")
def doomed(servers):
    return servers[1]


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Chromium's sandbox refuses to run as root, as in a container.
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """What happened in a page."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def open_page(browser: Browser, url: str, **options) -> tuple[Page, Watched]:
    page = browser.new_page(base_url=url, **options)
    page.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    seen = Watched()
    page.on("console", lambda m: m.type in ("error", "warning") and seen.console.append(m.text))
    page.on("pageerror", lambda e: seen.console.append(str(e)))
    page.on("request", lambda r: seen.requests.append(r.url))
    return page, seen


@pytest.fixture
def page(browser, server):
    """A page that must neither complain, nor ask another host, nor run what a name holds."""
    opened, seen = open_page(browser, server.url)
    yield opened
    injected = opened.evaluate("window.injected")
    opened.close()
    assert injected is None
    # Chromium itself reports answers to bad input (4xx), and those of a busy server (503).
    reported = re.compile("responded with a status of (4|503)")
    assert [text for text in seen.console if not reported.search(text)] == []
    assert [url for url in seen.requests if not url.startswith(server.url)] == []
