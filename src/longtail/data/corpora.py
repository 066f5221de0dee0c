"""Real documents that are on every machine: the docstrings of the packages installed.

They are read from source files as syntax trees; nothing is imported or executed.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import platformdirs
import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.docstrings import Source, docstrings_of, find_source, source_files
from longtail.data.limits import limit_features
from longtail.data.settings import ReadSettings
from longtail.data.text import Documents, count_documents
from longtail.errors import DataError, ParameterError

__all__ = [
    "BOILERPLATE",
    "PACKAGES",
    "cache_folder",
    "docstring_counts",
    "docstring_packages",
    "docstring_settings",
    "load_docstrings",
]

_LOG = logging.getLogger(__name__)

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

_SCHEMA = {"doc_id": pl.String, "package": pl.String, "text": pl.String}
# Part of the cache key: raise it when what is collected changes.
_COLLECTION = 1
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
    if sample is not None and sample < 1:
        raise ParameterError(f"sample must be 1 or more, or None for all, but got {sample}.")
    if seed < 0:
        raise ParameterError(f"seed must be 0 or more, but got {seed}.")
    sources, missing = _sources()
    _LOG.info("Docstrings of %s", ", ".join(source.package for source in sources))
    if missing:
        _LOG.info("Not installed, so skipped: %s", ", ".join(missing))
    path = cache_folder(cache_dir) / f"docstrings-{_key(sources)}.parquet"
    frame = _read_cache(path)
    if frame is None:
        frame = _collect(sources, progress)
        _write_cache(path, frame)
    if sample is not None and sample < len(frame):
        drawn = np.random.default_rng(seed).choice(len(frame), size=sample, replace=False)
        frame = frame[np.sort(drawn)]
    return frame


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
    sources, missing = _sources()
    return tuple(source.package for source in sources), missing


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return where collected corpora are kept.

    `cache_dir` if given, else the environment variable ``LONGTAIL_CACHE``, else the user's cache
    folder of this system.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    from_environment = os.environ.get("LONGTAIL_CACHE")
    return Path(from_environment or platformdirs.user_cache_dir("longtail"))


def _sources() -> tuple[list[Source], tuple[str, ...]]:
    found = {package: find_source(package) for package in PACKAGES}
    missing = tuple(package for package, source in found.items() if source is None)
    return [source for source in found.values() if source is not None], missing


def _key(sources: list[Source]) -> str:
    """Hash what determines the corpus: Python's version and each package's."""
    distributions = metadata.packages_distributions()
    versions = [["python", sys.version], ["collection", _COLLECTION]]
    for source in sources:
        names = sorted(set(distributions.get(source.package, [])))
        versions.append([source.package, [metadata.version(name) for name in names]])
    return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:16]


def _collect(sources: list[Source], progress: Callable[[int, int], None] | None) -> pl.DataFrame:
    files = [(source, file) for source in sources for file in source_files(source)]
    seen: set[bytes] = set()
    ids: dict[str, int] = {}
    rows: list[tuple[str, str, str]] = []
    with _without_cycle_collection():
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
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


@contextmanager
def _without_cycle_collection() -> Iterator[None]:
    """Pause the search for reference cycles: syntax trees have none, and it takes a third."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


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


def _read_cache(path: Path) -> pl.DataFrame | None:
    """Return the cached frame, or None if there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        _LOG.warning("The cache '%s' is damaged (%s) and is made anew.", path, error)
        return None
    return frame if dict(frame.schema) == _SCHEMA and len(frame) else None


def _write_cache(path: Path, frame: pl.DataFrame) -> None:
    """Write whole or not at all; a cache that cannot be written only costs time."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(partial)
        os.replace(partial, path)
    except (OSError, pl.exceptions.PolarsError) as error:
        _LOG.warning("The docstrings cannot be cached in '%s': %s.", path.parent, error)
        with suppress(OSError):
            partial.unlink()
