from __future__ import annotations

import sys

import polars as pl
import pytest

from longtail.data import corpora, import_counts, imports, load_imports, read_like
from longtail.errors import DataError, ParameterError

MODULE = """
from __future__ import annotations
import numpy as np, os.path
from os.path import join
from sklearn.base import BaseEstimator
from . import sibling
from .sub.more import thing
raise SystemExit("must not be executed")

def late():
    try:
        import json
    except ImportError:
        from os import path
"""
NAMES = ["json", "numpy", "os", "os.path", "sklearn.base"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a few files, the only one that the corpus looks for."""
    root = tmp_path / "site" / "toytail"
    for folder in ("sub", "tests"):
        (root / folder).mkdir(parents=True)
    (root / "__init__.py").write_text(MODULE)
    (root / "again.py").write_text("\n".join(f"import {name}" for name in reversed(NAMES)))
    (root / "one.py").write_text("import numpy\nimport numpy as np\n")
    (root / "none.py").write_text("from . import one\n")
    (root / "broken.py").write_text("import os, sys, re (")
    (root / "sub" / "more.py").write_text("import numpy, json\n")
    (root / "tests" / "x.py").write_text("import pytest, numpy\n")
    (root / "test_x.py").write_text("import pytest, numpy\n")
    monkeypatch.syspath_prepend(root.parent)
    monkeypatch.setattr(corpora, "PACKAGES", ("toytail", "surely_not_installed"))
    return root


def test_names_of_modules(package):
    assert imports.imports_of(package / "__init__.py") == NAMES
    assert imports.imports_of(package / "broken.py") == []
    assert imports.imports_of(package / "gone.py") == []


def test_a_corpus_of_one_package(package, tmp_path):
    calls = []
    frame = load_imports(cache_dir=tmp_path, progress=lambda *call: calls.append(call))
    assert frame.to_dicts() == [
        {"file": "toytail/__init__.py", "package": "toytail", "imports": NAMES},
        {"file": "toytail/sub/more.py", "package": "toytail", "imports": ["json", "numpy"]},
    ]
    assert calls == [(done, 6) for done in range(7)]
    assert "toytail" not in sys.modules


def test_the_cache_is_used(package, tmp_path, monkeypatch):
    frame = load_imports(cache_dir=tmp_path)
    monkeypatch.setattr(imports, "_collect", lambda *_: pytest.fail("the cache was not used"))
    assert load_imports(cache_dir=tmp_path).equals(frame)
    assert len(load_imports(1, seed=3, cache_dir=tmp_path)) == 1
    with pytest.raises(ParameterError, match="sample must be 1 or more"):
        load_imports(0, cache_dir=tmp_path)


def test_counts(package, tmp_path):
    counts = import_counts(min_df=1, cache_dir=tmp_path)
    assert counts.vocabulary.names == tuple(NAMES)
    assert counts.row_ids.to_list() == ["toytail/__init__.py", "toytail/sub/more.py"]
    assert counts.csr.toarray().tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    path = tmp_path / "new.jsonl"
    path.write_text('{"file": "a.py", "imports": ["numpy", "numpy", "torch"]}\n')
    new, unseen = read_like(path, counts.settings, counts.vocabulary)
    assert new.top_features(0) == [("numpy", 1.0)]
    assert unseen.examples == ("torch",)


def test_counts_of_given_baskets():
    frame = pl.DataFrame({"file": ["b", "a", "c"], "imports": [["x", "y", "x"], ["y"], []]})
    counts = import_counts(frame, min_df=1)
    assert counts.row_ids.to_list() == ["b", "a", "c"]
    assert counts.csr.toarray().tolist() == [[1, 1], [0, 1], [0, 0]]
    assert import_counts(frame, min_df=2).vocabulary.names == ("y",)
    with pytest.raises(DataError, match="imports is missing; its columns: file"):
        import_counts(frame.select("file"))
    with pytest.raises(DataError, match="Every list of imports is empty"):
        import_counts(frame[2:])


def test_the_standard_library_yields_baskets(tmp_path, monkeypatch):
    source = corpora.find_source("stdlib")
    email = corpora.Source("stdlib", (source.roots[0] / "email",))
    monkeypatch.setattr(imports, "package_sources", lambda: ([email], ()))
    frame = load_imports(cache_dir=tmp_path)
    assert len(frame) > 10
    assert frame["imports"].list.contains("email._policybase").any()
