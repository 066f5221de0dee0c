"""Real documents that are on every machine: the docstrings of the packages installed.

They are read from source files as syntax trees; nothing is imported or executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from longtail.data.corpus_cache import (
    CorpusCache,
    cache_folder,
    without_cycle_collection,
)
from longtail.data.counts import CountMatrix
from longtail.data.docstrings import Source, docstrings_of, find_source, source_files
from longtail.data.limits import limit_features
from longtail.data.settings import ReadSettings
from longtail.data.text import Documents, count_documents
from longtail.errors import DataError

__all__ = [
    "BOILERPLATE",
    "PACKAGES",
    "cache_folder",
    "docstring_counts",
    "docstring_packages",
    "docstring_settings",
    "load_docstrings",
    "package_sources",
]


PACKAGES: tuple[str, ...] = (
    *("stdlib", "numpy", "scipy", "sklearn", "torch", "polars", "pandas", "pyarrow", "xarray"),
    *("statsmodels", "skimage", "matplotlib", "seaborn", "altair", "networkx", "sympy", "mpmath"),
    *("numba", "dask", "joblib", "h5py", "anndata", "scanpy", "nltk", "gensim", "tomotopy"),
    *("rich", "typer", "click", "jinja2", "fsspec", "narwhals", "pygments", "IPython"),
    *("safetensors", "platformdirs"),
)
"""Whose docstrings are read: the Python standard library and these packages, where installed."""

BOILERPLATE: tuple[str, ...] = (
    *("arg", "args", "argument", "arguments", "attribute", "attributes", "class", "classes"),
    *("default", "defaults", "deprecated", "doc", "docs", "docstring", "equivalent", "example"),
    *(
        "examples",
        "false",
        "func",
        "function",
        "functions",
        "given",
        "kwargs",
        "instance",
        "method",
    ),
    *("methods", "new", "none", "note", "notes", "object", "objects", "optional", "param"),
    *("parameter", "parameters", "params", "raise", "raised", "raises", "ref", "reference"),
    *(
        "references",
        "result",
        "return",
        "returned",
        "returning",
        "returns",
        "self",
        "set",
        "should",
    ),
    *("specified", "specify", "true", "type", "types", "use", "used", "uses", "using", "value"),
    *("values", "version", "versionadded", "versionchanged", "warning", "warnings", "yield"),
)
"""Words of the form rather than of the matter of a docstring; left out besides English ones."""

_CACHE = CorpusCache(
    "docstrings", {"doc_id": pl.String, "package": pl.String, "text": pl.String}, collection=1
)
_MIN_WORDS = 8


def load_docstrings(
    sample: int | None = None,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: str | Path | None = None,
) -> pl.DataFrame:
    """Collect the docstrings of the standard library and of the scientific packages installed.

    Modules, classes, functions and methods are read from source with `ast`; tests are left out,
    as are docstrings under 8 words and exact repeats (up to white space). The first call takes
    up to a minute; the result is cached, for these versions of Python and of the packages.

    Parameters
    ----------
    sample
        Return this many of them, drawn without replacement; all if there are not more. None: all.
    seed
        Of the sample.
    progress
        Called with (files read, files in all), when the cache has to be made.
    cache_dir
        Where the cache is kept; see `cache_folder`.

    Returns
    -------
    polars.DataFrame
        ``doc_id`` (``"package.module:Class.method"``, ``"package.module"`` for a module),
        ``package``, ``text``; in the order of `PACKAGES`, then of the source.

    Notes
    -----
    Packages of `PACKAGES` that are not installed are skipped; `docstring_packages` lists them.
    """
    return _CACHE.draw(
        package_sources(), lambda found: _collect(found, progress), sample, seed, cache_dir
    )


def docstring_counts(
    documents: pl.DataFrame | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    min_df: int | float = 10,
    max_df: int | float = 0.2,
    max_features: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: str | Path | None = None,
) -> CountMatrix:
    """Count the words of the docstring corpus.

    Words are runs of 3 letters or more, lowercased; numbers, English stop words and
    `BOILERPLATE` are left out, and names such as ``random_state`` are cut at the underscore.

    Parameters
    ----------
    documents
        A frame with the columns doc_id and text; None: `load_docstrings` with the parameters
        sample, seed, progress and cache_dir.
    sample, seed, progress, cache_dir
        See `load_docstrings`.
    min_df, max_df, max_features
        Which words are common enough to keep; see `ReadSettings`.

    Returns
    -------
    CountMatrix
        With settings that let `longtail.data.read_like` read new texts in the same way.
    """
    settings = docstring_settings(min_df=min_df, max_df=max_df, max_features=max_features)
    if documents is None:
        documents = load_docstrings(sample, seed, progress=progress, cache_dir=cache_dir)
    lacking = [name for name in ("doc_id", "text") if name not in documents.columns]
    if lacking:
        raise DataError(
            f"Expected a frame with the columns doc_id and text, as from load_docstrings, but "
            f"{' and '.join(lacking)} is missing; its columns: {', '.join(documents.columns)}."
        )
    texts = documents["text"].fill_null("").to_list()
    counts = count_documents(Documents(texts, documents["doc_id"], "the docstrings"), settings)
    return limit_features(replace(counts, settings=settings), settings)


def docstring_settings(
    *, min_df: int | float = 10, max_df: int | float = 0.2, max_features: int | None = None
) -> ReadSettings:
    """Return the settings with which `docstring_counts` reads."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ReadSettings(
        format="parquet",
        text_column="text",
        stop_words=tuple(sorted(ENGLISH_STOP_WORDS.union(BOILERPLATE))),
        token_pattern=r"(?u)[^\W\d_]{3,}",
        min_df=min_df,
        max_df=max_df,
        max_features=max_features,
    )


def docstring_packages() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of `PACKAGES` are found here, and which are not installed."""
    sources, missing = package_sources()
    return tuple(source.package for source in sources), missing


def package_sources() -> tuple[list[Source], tuple[str, ...]]:
    """Return where each of `PACKAGES` stands here, and which are not installed."""
    found = {package: find_source(package) for package in PACKAGES}
    missing = tuple(package for package, source in found.items() if source is None)
    return [source for source in found.values() if source is not None], missing


def _collect(sources: list[Source], progress: Callable[[int, int], None] | None) -> pl.DataFrame:
    files = [(source, file) for source in sources for file in source_files(source)]
    seen: set[bytes] = set()
    ids: dict[str, int] = {}
    rows: list[tuple[str, str, str]] = []
    with without_cycle_collection():
        for done, (source, file) in enumerate(files):
            if progress is not None:
                progress(done, len(files))
            for name, text in _new(docstrings_of(source, file), seen):
                # The same name can be defined twice, as a property and its setter are.
                ids[name] = ids.get(name, 0) + 1
                doc_id = name if ids[name] == 1 else f"{name}#{ids[name]}"
                rows.append((doc_id, source.package, text))
    if progress is not None:
        progress(len(files), len(files))
    return pl.DataFrame(rows, schema=dict(_CACHE.schema), orient="row")


def _new(found: Iterator[tuple[str, str]], seen: set[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the docstrings that are long enough and have not been seen."""
    for name, text in found:
        words = text.split()
        if sum(any(map(str.isalpha, word)) for word in words) < _MIN_WORDS:
            continue
        digest = hashlib.blake2b(" ".join(words).encode(), digest_size=16)
        if digest.digest() not in seen:
            seen.add(digest.digest())
            yield name, text
