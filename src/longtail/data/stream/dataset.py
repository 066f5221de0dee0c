"""A Parquet data set as numbered blocks, each of which is counted by itself."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from longtail.data.counts import CountMatrix, Unseen
from longtail.data.files import POLARS_FAULTS, as_path, cannot_read
from longtail.data.formats import FORMATS
from longtail.data.interactions import entries_in_lines
from longtail.data.read import check_applicable, count_part
from longtail.data.settings import ReadSettings, check_field_names
from longtail.data.stream.files import is_url, list_files, open_parquet, reading
from longtail.data.tables import TableFile
from longtail.data.text import id_column, text_column
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["BlockInfo", "ParquetDataset"]


@dataclass(frozen=True)
class BlockInfo:
    """One block of a data set: a row group of one of its files.

    Parameters
    ----------
    number
        From 0, in the order of the files.
    file
        Path or URL of the file.
    row_group
        Number of the row group in the file, from 0.
    n_rows
        Its rows, empty ones included.
    first_row
        Number of its first row in the data set, from 0.
    n_bytes
        Size of all its columns, unpacked.
    """

    number: int
    file: str
    row_group: int
    n_rows: int
    first_row: int
    n_bytes: int

    @property
    def place(self) -> str:
        """The block, for messages."""
        return f"row group {self.row_group} of '{self.file}'"


@dataclass(frozen=True)
class ParquetDataset:
    """A Parquet file, or a folder of them, of which one block at a time is in memory.

    Make one with `open`. No file is held open, so it may be pickled and sent elsewhere. Lines must
    be whole rows: texts, lists of features (perhaps with lists of their counts beside), or cells
    of codes that ``feature_separator`` cuts.

    Parameters
    ----------
    path
        Of the file or folder, or a URL.
    settings
        How rows are read, with the text column that was found.
    blocks
        All of them, in order.
    columns
        The columns that are read.
    id_column
        The one that identifies rows, in texts: named in the settings or found. None: rows are
        numbered.
    fingerprint
        SHA-256 of file names, sizes and row groups: tells whether the data are the same.
    """

    path: str
    settings: ReadSettings
    blocks: Sequence[BlockInfo]
    columns: tuple[str, ...]
    id_column: str | None
    fingerprint: str

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        settings: ReadSettings | None = None,
        **fields: Any,
    ) -> ParquetDataset:
        """Find the files and their row groups; no rows are read but those of one id column.

        Parameters
        ----------
        path
            A Parquet file; a folder, whose files ending in .parquet or .pq are taken in the order
            of their paths, those in folders below it too, hidden ones (``.name``, ``_name``) not;
            or a URL that fsspec or pyarrow opens.
        settings
            How to read, such as those of a model; the limits min_df, max_df and max_features do
            not apply. The format may be that of any table or text.
        **fields
            Fields of `ReadSettings` to set.

        Raises
        ------
        DataError
            If there are no such files or columns, files have different columns, or the rows of
            the data are not one a line.
        MissingExtraError
            If pyarrow is missing.
        """
        check_field_names(fields)
        as_path(path)  # a URL is no path, but looks like one
        path = os.fspath(path)
        path = path if is_url(path) else os.path.expanduser(path)
        chosen = _for_parquet(replace(settings or ReadSettings(), **fields), path)
        files = list_files(path)
        blocks, digest, schemas = _row_groups(path, files)
        if sum(block.n_rows for block in blocks) == 0:
            raise DataError(f"'{path}' has columns but no rows; expected at least one.")
        chosen, columns, ids = _settle(chosen, path, blocks, schemas[0])
        _check_columns(files, schemas, columns)
        return cls(path, chosen, blocks, columns, ids, digest)

    @property
    def n_rows(self) -> int:
        """Rows of all blocks, empty ones included."""
        return self.blocks[-1].first_row + self.blocks[-1].n_rows

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    def read_block(self, number: int, vocabulary: Vocabulary) -> tuple[CountMatrix, Unseen]:
        """Count a block over a vocabulary.

        Returns
        -------
        counts : CountMatrix
            Every row of the block in order, empty ones included, with the ids of the id column
            (of the row column, in a table of lists), or the numbers of the rows in the data set.
        unseen : Unseen
            What the vocabulary does not have.

        Raises
        ------
        CorruptBlockError
            If the row group is corrupt; names file and row group.
        DataError
            If its rows cannot be counted.
        """
        return self.count_block(number).align(vocabulary)

    def count_block(self, number: int) -> CountMatrix:
        """Count every feature of a block, in the order of their names; see `read_block`."""
        # An id column that was found must not be asked of new data: the settings stay as they are.
        own = replace(self.settings, id_column=self.id_column)
        counts = count_part(_part(self.blocks[number], self.columns), own)
        return replace(counts, settings=self.settings)


def _part(block: BlockInfo, columns: tuple[str, ...]) -> TableFile:
    """A block as a part of a table."""

    def load(names: Sequence[str]) -> pl.DataFrame:
        with _opened(block.file, block.place) as file, reading(block.place):
            table = file.read_row_group(block.row_group, columns=list(names), use_threads=False)
        try:
            frame = pl.from_arrow(table)
        except POLARS_FAULTS as error:
            raise cannot_read(block.file, error, "columns that polars reads") from error
        assert isinstance(frame, pl.DataFrame)
        return frame.select(names)

    label = f"{block.file} (row group {block.row_group})"
    return TableFile(label, columns, None, load, part_from=block.first_row)


@contextmanager
def _opened(path: str, place: str) -> Iterator[Any]:
    file = open_parquet(path, place)
    try:
        yield file
    finally:
        file.close(force=True)


def _for_parquet(settings: ReadSettings, path: str) -> ReadSettings:
    """Settings of other tables or texts as those of Parquet."""
    known = FORMATS.get(settings.format)
    if known is not None and known.holds not in ("texts", "table"):
        raise DataError(
            f"'{path}' is read as Parquet, a table of texts or lists, but the settings are for "
            f"{settings.format} ({known.about}). Give data of the same kind."
        )
    is_new = settings.format == "auto"  # a model's settings name a format
    settings = replace(settings, format="parquet")
    check_applicable(path, "parquet", settings, is_new=is_new)
    return settings


def _row_groups(path: str, files: tuple[str, ...]) -> tuple[tuple[BlockInfo, ...], str, list[Any]]:
    """The blocks of all files, a digest of them, and the Arrow schema of each file."""
    blocks: list[BlockInfo] = []
    facts: list[Any] = []
    schemas: list[Any] = []
    first_row = 0
    for name in files:
        with _opened(name, f"'{name}'") as file:
            metadata = file.metadata
            schemas.append(file.schema_arrow)
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            sizes = [(g.num_rows, g.total_byte_size) for g in groups]
        facts.append((name.removeprefix(path), metadata.serialized_size, sizes))
        for row_group, (n_rows, n_bytes) in enumerate(sizes):
            blocks.append(BlockInfo(len(blocks), name, row_group, n_rows, first_row, n_bytes))
            first_row += n_rows
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return tuple(blocks), digest, schemas


def _settle(
    settings: ReadSettings, path: str, blocks: Sequence[BlockInfo], schema: Any
) -> tuple[ReadSettings, tuple[str, ...], str | None]:
    """Name the columns that are read, and that of ids; one that is only called so must serve."""
    names = tuple(schema.names)
    table = TableFile(path, names, None, lambda _: pl.DataFrame())
    if settings.is_long_table:
        named = {
            setting: getattr(settings, setting)
            for setting in ("row_column", "feature_column", "value_column", "exposure_column")
        }
        columns = tuple(table.require(n, s) for s, n in named.items() if n is not None)
        if settings.feature_separator is None and not _holds_lists(schema, settings):
            raise entries_in_lines(path)
        return settings, columns, None
    texts = text_column(table, settings)
    ids = id_column(table, settings)
    first = next(block for block in blocks if block.n_rows)
    if ids is not None and settings.id_column is None and not _identifies(ids, first, names):
        ids = None
    columns = (texts,) if ids in (None, texts) else (texts, str(ids))
    if settings.exposure_column is not None:
        exposed = table.require(settings.exposure_column, "exposure_column")
        columns = tuple(dict.fromkeys([*columns, exposed]))
    return replace(settings, text_column=texts), columns, ids


def _holds_lists(schema: Any, settings: ReadSettings) -> bool:
    kind = str(schema.field(settings.feature_column).type)
    return "list<" in kind or kind == "null"


def _identifies(column: str, block: BlockInfo, names: tuple[str, ...]) -> bool:
    """Whether a column holds ids, as far as one block tells."""
    ids = _part(block, names).load([column])[column]
    usable = ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum)
    return usable and not ids.null_count() and ids.n_unique() == len(ids)


def _check_columns(files: Sequence[str], schemas: Sequence[Any], columns: tuple[str, ...]) -> None:
    """Check that every file has the columns; their types are checked when they are read."""
    for name, schema in zip(files, schemas, strict=True):
        table = TableFile(name, tuple(schema.names), None, lambda _: pl.DataFrame())
        for column in columns:
            table.require(column, f"the first of the files, '{files[0]}'")
