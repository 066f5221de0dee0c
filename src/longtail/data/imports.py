"""Real baskets that are on every machine: which modules each installed Python file imports.

The files are those of `longtail.data.corpora`; they are read as syntax trees, and nothing is
imported or executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from longtail.data.corpora import package_sources
from longtail.data.corpus_cache import CorpusCache, without_cycle_collection
from longtail.data.counts import CountMatrix
from longtail.data.docstrings import Source, parse_source, path_within, source_files
from longtail.data.entries import Entries, count_entries
from longtail.data.limits import limit_features
from longtail.data.settings import ReadSettings
from longtail.errors import DataError

__all__ = ["import_counts", "import_settings", "imports_of", "load_imports"]


_CACHE = CorpusCache(
    "imports",
    {"file": pl.String, "package": pl.String, "imports": pl.List(pl.String)},
    collection=1,
)
_FEWEST = 2


def load_imports(
    sample: int | None = None,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: str | Path | None = None,
) -> pl.DataFrame:
    """Collect which modules the files of the standard library and of installed packages import.

    The files of `longtail.data.corpora.PACKAGES`, tests left out. Left out too are files that
    import fewer than 2 modules, and files that import exactly the modules of an earlier one. The
    first call takes up to a minute; the result is cached, for these versions of Python and of
    the packages.

    Parameters
    ----------
    sample
        Return this many of them, drawn without replacement; all if there are not more. None: all.
    seed
        Of the sample.
    progress
        Called with (files read, files in all), when the cache has to be made.
    cache_dir
        Where the cache is kept; see `longtail.data.corpora.cache_folder`.

    Returns
    -------
    polars.DataFrame
        ``file`` (``"package/path.py"``, ``"stdlib/path.py"``), ``package``, ``imports`` (sorted
        names; see `imports_of`); in the order of `PACKAGES`, then by path.
    """
    return _CACHE.draw(
        package_sources(), lambda found: _collect(found, progress), sample, seed, cache_dir
    )


def import_counts(
    baskets: pl.DataFrame | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    min_df: int | float = 5,
    max_df: int | float = 1.0,
    max_features: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: str | Path | None = None,
) -> CountMatrix:
    """Make the import corpus a matrix: file × imported module, 1 where a file imports it.

    Parameters
    ----------
    baskets
        A frame with the columns file and imports (lists of names); None: `load_imports` with the
        parameters sample, seed, progress and cache_dir.
    sample, seed, progress, cache_dir
        See `load_imports`.
    min_df, max_df, max_features
        Which modules are common enough to keep; see `ReadSettings`.

    Returns
    -------
    CountMatrix
        Row ids are the files. Its settings let `longtail.data.read_like` read new baskets from a
        table with the columns file and imports.

    Raises
    ------
    DataError
        If a column is missing, or no module is common enough.
    """
    settings = import_settings(min_df=min_df, max_df=max_df, max_features=max_features)
    if baskets is None:
        baskets = load_imports(sample, seed, progress=progress, cache_dir=cache_dir)
    lacking = [name for name in ("file", "imports") if name not in baskets.columns]
    if lacking:
        raise DataError(
            "Expected a frame with the columns file and imports, as from load_imports, but "
            f"{' and '.join(lacking)} is missing; its columns: {', '.join(baskets.columns)}."
        )
    pairs = baskets.select("file", "imports").explode("imports").drop_nulls("imports").unique()
    if len(pairs) == 0:
        raise DataError("Every list of imports is empty; expected at least one name.")
    counts = count_entries(Entries(pairs["file"], pairs["imports"]), baskets["file"], settings)
    named = CountMatrix.from_any(counts, row_ids=baskets["file"])
    return limit_features(replace(named, settings=settings), settings)


def import_settings(
    *, min_df: int | float = 5, max_df: int | float = 1.0, max_features: int | None = None
) -> ReadSettings:
    """Return the settings with which `import_counts` reads."""
    return ReadSettings(
        format="parquet",
        row_column="file",
        feature_column="imports",
        binarize=True,
        min_df=min_df,
        max_df=max_df,
        max_features=max_features,
    )


def imports_of(file: Path) -> list[str]:
    """Return the sorted names of the modules that a Python file imports, each once.

    A name is that of the module as the statement has it: ``numpy`` for ``import numpy as np``,
    ``os.path`` for ``import os.path`` and for ``from os.path import join``, ``os`` for
    ``from os import path``, because from the file alone nobody knows whether ``path`` is a
    module. Statements inside functions and conditions count; relative imports do not, nor does
    ``__future__``, which is a switch of the compiler. A file that cannot be parsed has none.
    """
    tree = parse_source(file)
    names: set[str] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return sorted(names - {"__future__"})


def _collect(sources: list[Source], progress: Callable[[int, int], None] | None) -> pl.DataFrame:
    files = [(source, file) for source in sources for file in source_files(source)]
    seen: set[tuple[str, ...]] = set()
    rows: list[tuple[str, str, list[str]]] = []
    with without_cycle_collection():
        for done, (source, file) in enumerate(files):
            if progress is not None:
                progress(done, len(files))
            basket = imports_of(file)
            if len(basket) >= _FEWEST and tuple(basket) not in seen:
                seen.add(tuple(basket))
                rows.append((path_within(source, file), source.package, basket))
    if progress is not None:
        progress(len(files), len(files))
    frame = pl.DataFrame(rows, schema=dict(_CACHE.schema), orient="row")
    return frame.unique("file", keep="first", maintain_order=True)
