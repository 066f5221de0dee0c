"""The program, called as from a shell but in this process."""

from __future__ import annotations

import signal
import sys
import warnings

import pytest

from longtail.cli import main


@pytest.fixture
def run(monkeypatch, capsys):
    """The program's exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["longtail", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield call
    for sent, handler in handlers.items():
        signal.signal(sent, handler)
