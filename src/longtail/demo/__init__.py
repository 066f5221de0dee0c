"""The library on real data that are on every machine, or come with a package: one file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from longtail.errors import ParameterError

__all__ = ["CORPORA", "Corpus", "run_demo"]


@dataclass(frozen=True)
class Corpus:
    """Data that the demo knows.

    Attributes
    ----------
    rows, epochs
        What the demo takes unless told otherwise; rows None: all of them.
    """

    rows: int | None
    epochs: int


CORPORA = {
    "docstrings": Corpus(rows=9000, epochs=25),
    "imports": Corpus(rows=None, epochs=30),
    "phenotypes": Corpus(rows=None, epochs=20),
}


def run_demo(
    out: Path,
    *,
    corpus: str = "docstrings",
    rows: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the demo of a corpus, and write what it makes into a folder.

    Parameters
    ----------
    out
        Made if missing; what an earlier demo left there is replaced.
    corpus
        One of `CORPORA`.
    rows, epochs
        Rows sampled from the corpus and passes over them; None: what suits the corpus.
    say
        Called with each finding.

    Returns
    -------
    dict
        The findings, ready for JSON.

    Raises
    ------
    ParameterError
        If there is no such corpus.
    MissingExtraError
        If a package that the corpus comes with is not installed.
    """
    if corpus not in CORPORA:
        raise ParameterError(f"corpus must be one of {', '.join(CORPORA)}; got {corpus!r}.")
    usual = CORPORA[corpus]
    run = import_module(f"longtail.demo.{corpus}").run_demo
    findings: dict[str, Any] = run(
        out,
        rows=usual.rows if rows is None else rows,
        epochs=usual.epochs if epochs is None else epochs,
        seed=seed,
        say=say,
    )
    return findings
