"""Where collected corpora are kept, and when one that was collected before still holds."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import platformdirs
import polars as pl

from longtail.data.docstrings import Source
from longtail.data.files import POLARS_FAULTS
from longtail.errors import ParameterError

__all__ = ["CorpusCache", "cache_folder", "without_cycle_collection"]

_LOG = logging.getLogger(__name__)


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return where collected corpora are kept.

    `cache_dir` if given, else the environment variable ``LONGTAIL_CACHE``, else the user's cache
    folder of this system.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    from_environment = os.environ.get("LONGTAIL_CACHE")
    return Path(from_environment or platformdirs.user_cache_dir("longtail"))


@dataclass(frozen=True)
class CorpusCache:
    """The cached frame of one corpus.

    Parameters
    ----------
    name
        What the corpus is called.
    schema
        The columns of its frame.
    collection
        Part of the key: to be raised when what is collected changes.
    """

    name: str
    schema: Mapping[str, pl.DataType | type[pl.DataType]]
    collection: int

    def draw(
        self,
        available: tuple[list[Source], tuple[str, ...]],
        collect: Callable[[list[Source]], pl.DataFrame],
        sample: int | None,
        seed: int,
        cache_dir: str | Path | None,
    ) -> pl.DataFrame:
        """Return rows of the corpus, drawn without replacement; says what it is made of.

        Parameters
        ----------
        available
            Packages found here, and the names of those that are not.
        collect
            Makes the corpus of the packages found.
        sample, seed
            How many rows, None for all; and which.
        """
        _check_sample(sample, seed)
        sources, missing = available
        _LOG.info("%s of %s", self.name, ", ".join(source.package for source in sources))
        if missing:
            _LOG.info("Not installed, so skipped: %s", ", ".join(missing))
        return _drawn(self.load(sources, lambda: collect(sources), cache_dir), sample, seed)

    def load(
        self,
        sources: list[Source],
        collect: Callable[[], pl.DataFrame],
        cache_dir: str | Path | None,
    ) -> pl.DataFrame:
        """Return the corpus of these sources from the cache, or collect and keep it."""
        path = cache_folder(cache_dir) / f"{self.name}-{_key(sources, self.collection)}.parquet"
        frame = self._read(path)
        if frame is None:
            frame = collect()
            self._write(path, frame)
        return frame

    def _read(self, path: Path) -> pl.DataFrame | None:
        """Return the cached frame, or None if there is none or it is damaged."""
        if not path.is_file():
            return None
        try:
            frame = pl.read_parquet(path, glob=False)
        except POLARS_FAULTS as error:
            _LOG.warning("The cache '%s' is damaged (%s) and is made anew.", path, error)
            return None
        return frame if dict(frame.schema) == dict(self.schema) and len(frame) else None

    def _write(self, path: Path, frame: pl.DataFrame) -> None:
        """Write whole or not at all; a cache that cannot be written only costs time."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(partial)
            os.replace(partial, path)
        except POLARS_FAULTS as error:
            _LOG.warning("The %s cannot be cached in '%s': %s.", self.name, path.parent, error)
            with suppress(OSError):
                partial.unlink()


def _key(sources: list[Source], collection: int) -> str:
    """Hash what determines a corpus: Python's version and each package's."""
    distributions = metadata.packages_distributions()
    versions = [["python", sys.version], ["collection", collection]]
    for source in sources:
        names = sorted(set(distributions.get(source.package, [])))
        versions.append([source.package, [metadata.version(name) for name in names]])
    return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:16]


def _check_sample(sample: int | None, seed: int) -> None:
    """Raise a ParameterError unless `sample` rows can be drawn with `seed`."""
    if sample is not None and sample < 1:
        raise ParameterError(f"sample must be 1 or more, or None for all, but got {sample}.")
    if seed < 0:
        raise ParameterError(f"seed must be 0 or more, but got {seed}.")


def _drawn(frame: pl.DataFrame, sample: int | None, seed: int) -> pl.DataFrame:
    """Draw rows without replacement, in their order; all if there are not more than `sample`."""
    if sample is None or sample >= len(frame):
        return frame
    drawn = np.random.default_rng(seed).choice(len(frame), size=sample, replace=False)
    return frame[np.sort(drawn)]


@contextmanager
def without_cycle_collection() -> Iterator[None]:
    """Pause the search for reference cycles: syntax trees have none, and it takes a third."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
