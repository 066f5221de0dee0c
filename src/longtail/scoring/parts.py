"""The parts of an output: a Parquet file for each block, there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from longtail.errors import WriteError
from longtail.scoring.facts import Facts

__all__ = ["Parts", "sync_folder"]

_JOB, _FACTS = b"longtail.job", b"longtail.facts"


@dataclass(frozen=True)
class Parts:
    """The folder of an output.

    Parameters
    ----------
    folder
        Where the parts are: ``part-000000.parquet`` and so on, by number of block.
    job
        Digest of what they are made of; each part carries it.
    """

    folder: Path
    job: str

    def path(self, number: int) -> Path:
        """Where the part of a block is, or will be."""
        return self.folder / f"part-{number:06d}.parquet"

    def facts(self, number: int, n_rows: int) -> Facts | None:
        """What a finished part says of its rows; None if it is not there, or not of this job.

        Reads the end of the file only: it is written last.
        """
        import pyarrow as pa
        from pyarrow.parquet import read_metadata

        try:
            metadata = read_metadata(self.path(number))
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        told = metadata.metadata or {}
        if told.get(_JOB) != self.job.encode() or metadata.num_rows != n_rows:
            return None
        return Facts.from_json(told[_FACTS].decode())

    def write(self, number: int, tables: Iterable[tuple[pl.DataFrame, Facts]]) -> Facts:
        """Write the part of a block, a table at a time.

        Raises
        ------
        WriteError
            If it cannot be written: no part of it is left.
        """
        target = self.path(number)
        # Two workers may write the same part, if one was given up too early: each its own file.
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}")
        try:
            facts = self._write(partial, tables)
            partial.replace(target)
            sync_folder(self.folder)
        except OSError as error:
            raise WriteError(
                f"{target} could not be written: {error.strerror or error}. The parts that are "
                "finished are kept. Free some space, or see that the folder is there and may be "
                "written to; then repeat the command, which goes on where it stopped."
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return facts

    def _write(self, path: Path, tables: Iterable[tuple[pl.DataFrame, Facts]]) -> Facts:
        from pyarrow.parquet import ParquetWriter

        facts, writer = Facts(), None
        with path.open("wb") as file:
            try:
                for table, found in tables:
                    facts += found
                    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
                    writer = writer or ParquetWriter(file, arrow.schema)
                    writer.write_table(arrow)
                assert writer is not None
                writer.add_key_value_metadata({_JOB: self.job, _FACTS: facts.to_json()})
            finally:
                if writer is not None:
                    writer.close()
            file.flush()
            os.fsync(file.fileno())
        return facts

    def remove_partial(self) -> None:
        """Remove what processes that were killed have left."""
        for partial in self.folder.glob(".part-*"):
            partial.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove the parts."""
        self.remove_partial()
        for part in self.folder.glob("part-*.parquet"):
            part.unlink()


def sync_folder(folder: Path) -> None:
    """Make sure that renamed files survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
