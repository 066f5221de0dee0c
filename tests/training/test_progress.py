from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from longtail.training.progress import ProgressBar
from tests.training.runs import BASE, Stop, StopAtUpdate, run
from tests.training.test_history import record


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_plain_lines_in_a_log_file():
    bar = ProgressBar(out := console(False), "demo")
    run(callbacks=[bar])
    lines = out.file.getvalue().splitlines()
    assert lines[0].startswith("demo: epoch 1/4 valid ppl ψ(x)")
    assert "KL×" in lines[0]
    assert "M=3" in lines[0]
    assert "rows/s" in lines[0]
    # Quiet for ten seconds, but the last epoch is always told.
    assert [line.split(" valid")[0] for line in lines[1:]] == [
        "demo: epoch 4/4",
        "demo: all 4 epochs done",
    ]


def test_without_validation_it_shows_the_training_bound():
    bar = ProgressBar(out := console(False))
    bar.on_fit_begin(replace(BASE, epochs=1), 40, 0)
    bar.on_epoch_end(record(1, valid=False))
    assert "train -10.1 nats/row · 2 dims" in out.file.getvalue()


def test_a_live_line_on_a_terminal():
    bar = ProgressBar(out := console(True))
    run(callbacks=[bar])
    assert "all 4 epochs done" in out.file.getvalue()
    assert "valid ppl" in out.file.getvalue()
    assert bar._progress is None


def test_resuming_is_announced():
    bar = ProgressBar(out := console(False))
    bar.on_fit_begin(BASE, 40, 3)
    bar.on_resume(3, 0)
    bar.on_resume(3, 1200)
    assert out.file.getvalue().splitlines() == [
        "fit: resuming after epoch 3",
        "fit: resuming after epoch 3 and 1,200 rows of the next",
    ]


def test_it_can_be_closed_after_an_interruption():
    bar = ProgressBar(console(True))
    with pytest.raises(Stop):
        run(callbacks=[bar, StopAtUpdate(2)])
    assert bar._progress is not None
    bar.close()
    bar.close()
    assert bar._progress is None
