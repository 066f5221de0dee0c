from __future__ import annotations

import sys
import time
from pathlib import Path

import polars as pl
import pytest

from longtail.data import corpora, docstring_counts, load_docstrings, read_like
from longtail.data.docstrings import Source, docstrings_of, find_source, source_files
from longtail.errors import DataError, ParameterError

MODULE = '''
"""The module says what it does, in more than eight words of prose."""
from nowhere import nothing
raise SystemExit("must not be executed")

class Tree:
    """A tree of nodes in which every node has at most two children."""

    @property
    def root(self):
        """The root of the tree, which is the node that has no parent."""

    @root.setter
    def root(self, node):
        """Replace the root of the tree by another node, children and all."""

    def short(self):
        """Too short."""

try:
    async def fetch():
        """Fetch   the kernel of a signal
        from a batch of many threads and frames."""
except ImportError:
    def fetch():
        """Fetch the kernel of a signal from a batch of many threads and frames."""
else:
    def odd():
        """Half a surrogate \\ud800 pair stands in this docstring, which no file can hold."""
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a few files, the only one that the corpus looks for."""
    root = tmp_path / "site" / "toytail"
    for folder in ("sub", "tests", "testing"):
        (root / folder).mkdir(parents=True)
    (root / "__init__.py").write_text(MODULE)
    (root / "sub" / "__init__.py").write_text("")
    (root / "sub" / "more.py").write_text(
        '"""Another module with a docstring that is long enough."""'
    )
    (root / "sub" / "broken.py").write_text(
        '"""A file that does not parse, for one reason or other"""('
    )
    (root / "tests" / "x.py").write_text(
        '"""A docstring of a test, which must not be in the corpus."""'
    )
    for name in ("test_x.py", "x_test.py", "conftest.py", "testing/y.py"):
        (root / name).write_text('"""A docstring of a test, which must not be in the corpus."""')
    monkeypatch.syspath_prepend(root.parent)
    monkeypatch.setattr(corpora, "PACKAGES", ("toytail", "surely_not_installed"))
    return root


def test_a_corpus_of_one_package(package, tmp_path):
    calls = []
    frame = load_docstrings(cache_dir=tmp_path, progress=lambda *call: calls.append(call))
    assert frame.schema == {"doc_id": pl.String, "package": pl.String, "text": pl.String}
    assert frame["doc_id"].to_list() == [
        "toytail",
        "toytail:Tree",
        "toytail:Tree.root",
        "toytail:Tree.root#2",
        "toytail:fetch",
        "toytail:odd",
        "toytail.sub.more",
    ]
    assert set(frame["package"]) == {"toytail"}
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert "toytail" not in sys.modules
    assert corpora.docstring_packages() == (("toytail",), ("surely_not_installed",))


def test_the_cache_is_used_and_remade_when_damaged(package, tmp_path, monkeypatch, caplog):
    frame = load_docstrings(cache_dir=tmp_path)
    (cached,) = tmp_path.glob("*.parquet")
    assert not list(tmp_path.glob(".*.parquet*"))  # no half-written file is left
    monkeypatch.setattr(corpora, "_collect", lambda *_: pytest.fail("the cache was not used"))
    assert load_docstrings(cache_dir=tmp_path).equals(frame)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(corpora, "PACKAGES", ("toytail", "surely_not_installed"))
    for damaged in (cached.read_bytes()[:50], b""):
        cached.write_bytes(damaged)
        assert load_docstrings(cache_dir=tmp_path).equals(frame)
        assert "is damaged" in caplog.text
    pl.DataFrame({"other": [1]}).write_parquet(cached)
    assert load_docstrings(cache_dir=tmp_path).equals(frame)
    assert pl.read_parquet(cached).equals(frame)


def test_without_a_cache_folder_it_only_takes_longer(package, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert len(load_docstrings(cache_dir=tmp_path / "file" / "under")) == 7
    assert "cannot be cached" in caplog.text


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "env"))
    assert corpora.cache_folder() == tmp_path / "env"
    assert corpora.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv("LONGTAIL_CACHE")
    assert corpora.cache_folder().name == "longtail"


def test_samples_are_seeded(package, tmp_path):
    one = load_docstrings(3, cache_dir=tmp_path)
    assert len(one) == 3
    assert one.equals(load_docstrings(3, cache_dir=tmp_path))
    others = [load_docstrings(3, seed, cache_dir=tmp_path)["doc_id"].to_list() for seed in range(5)]
    assert len(set(map(tuple, others))) > 1
    assert len(load_docstrings(1000, cache_dir=tmp_path)) == 7
    with pytest.raises(ParameterError, match="sample must be 1 or more"):
        load_docstrings(0, cache_dir=tmp_path)
    with pytest.raises(ParameterError, match="seed must be 0 or more"):
        load_docstrings(3, -1, cache_dir=tmp_path)


def test_counts(package, tmp_path):
    counts = docstring_counts(min_df=1, max_df=1.0, cache_dir=tmp_path)
    assert counts.n_rows == 7
    assert counts.row_ids[0] == "toytail"
    assert {"kernel", "tree", "signal"} <= set(counts.vocabulary)
    assert not {"the", "which", "returns", "at"} & set(counts.vocabulary)
    path = tmp_path / "new.txt"
    path.write_text("The kernel_tree returns 12 kernels\n")
    new, unseen = read_like(path, counts.settings, counts.vocabulary)
    assert new.top_features(0) == [("kernel", 1.0), ("tree", 1.0)]
    assert unseen.examples == ("kernels",)


def test_counts_of_given_documents():
    frame = pl.DataFrame({"doc_id": ["a", "b"], "text": ["kernel tree", "tree"]})
    assert docstring_counts(frame, min_df=2, max_df=1.0).vocabulary.names == ("tree",)
    with pytest.raises(DataError, match="doc_id is missing; its columns: text"):
        docstring_counts(frame.select("text"))


def test_finding_sources():
    assert find_source("surely_not_installed") is None
    stdlib = find_source("stdlib")
    names = [file.relative_to(stdlib.roots[0]).as_posix() for file in source_files(stdlib)]
    assert "json/decoder.py" in names
    assert not any("site-packages" in name or name.startswith("test/") for name in names)
    one_file = find_source("threadpoolctl")
    assert [file.name for file in source_files(one_file)] == ["threadpoolctl.py"]
    assert next(docstrings_of(one_file, one_file.roots[0]))[0] == "threadpoolctl"


def test_the_standard_library_yields_thousands():
    stdlib = find_source("stdlib")
    folder = Source("stdlib", (stdlib.roots[0] / "email",))
    start = time.process_time()
    found = [pair for file in source_files(folder) for pair in docstrings_of(folder, file)]
    assert len(found) > 100
    assert time.process_time() - start < 10


def test_unreadable_files_yield_nothing(tmp_path):
    assert list(docstrings_of(Source("x", (tmp_path,)), Path(tmp_path / "gone.py"))) == []
    (tmp_path / "nul.py").write_bytes(b'"""x"""\0')
    assert list(docstrings_of(Source("x", (tmp_path,)), tmp_path / "nul.py")) == []
