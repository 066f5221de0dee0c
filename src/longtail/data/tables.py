"""Tables with named columns, from CSV, TSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from longtail.data.files import POLARS_FAULTS, cannot_read, decode, numbered_lines, read_bytes
from longtail.data.surrogates import check_names, check_paths, first_broken, mended
from longtail.data.vocabulary import suggest_from
from longtail.errors import DataError, DataWarning

__all__ = ["TableFile", "column_names", "open_table", "tidy_ids"]

_COLUMNS_SHOWN, _LONGEST_NAME = 20, 80


def column_names(columns: Sequence[str]) -> str:
    """List the columns for an error message; in a file of another format they may be very long."""
    shown = [
        repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")
        for name in columns[:_COLUMNS_SHOWN]
    ]
    others = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {others:,} more" if others else "")


@dataclass(frozen=True)
class TableFile:
    """A table on disk of which chosen columns can be loaded.

    Parameters
    ----------
    path
        The file.
    columns
        The names of its columns.
    first_line
        The line of the file where the first row stands, or None if it has no lines.
    load
        Loads columns by name. Those of CSV and TSV files are all strings, because guessing
        types would turn the code ``"010"`` into the number 10.
    part_from
        Of a part of a larger table: the number there of its first row. A part may hold nothing
        to count, and its columns keep their types, whatever is in them. None: a whole table.
    load_mended
        Does as `load`, with half characters in the one column of documents replaced and counted
        in a `DataWarning`. None: the format cannot hold any.
    """

    path: Path | str
    columns: tuple[str, ...]
    first_line: int | None
    load: Callable[[Sequence[str]], pl.DataFrame]
    part_from: int | None = None
    load_mended: Callable[[Sequence[str], str], pl.DataFrame] | None = None

    @property
    def is_part(self) -> bool:
        """Whether this is a part of a larger table."""
        return self.part_from is not None

    def load_texts(self, names: Sequence[str], text: str) -> pl.DataFrame:
        """Load columns, of which `text` holds documents: a broken one does not end the reading."""
        return self.load(names) if self.load_mended is None else self.load_mended(names, text)

    def row_numbers(self, n: int) -> pl.Series:
        """The numbers of its n rows, in the whole table."""
        first = self.part_from or 0
        return pl.Series("row_id", np.arange(first, first + n, dtype=np.int64))

    def require(self, name: str, setting: str) -> str:
        """Return `name` if there is such a column.

        Raises
        ------
        DataError
            If not; lists the columns and suggests the most similar.
        """
        if name in self.columns:
            return name
        close = suggest_from(name, self.columns, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"'{self.path}' has no column {name!r} (from {setting}).{hint} "
            f"Its columns: {column_names(self.columns)}."
        )

    def place(self, row: int) -> str:
        """Say where row number `row` (from 0) stands; cells with line breaks are not counted."""
        if self.first_line is None:
            return f"row {row + (self.part_from or 0)}"
        return f"line {row + self.first_line}"


def open_table(path: Path, format: str, encoding: str) -> TableFile:
    """Open a table.

    Parameters
    ----------
    path
        The file.
    format
        ``"csv"``, ``"tsv"``, ``"jsonl"`` or ``"parquet"``.
    encoding
        Of the text formats.

    Raises
    ------
    DataError
        If the file cannot be read as such a table; names the line where there is one.
    """
    if format == "parquet":
        table = _open_parquet(path)
    elif format == "jsonl":
        table = _open_jsonl(path, encoding)
    else:
        table = _open_csv(path, "," if format == "csv" else "\t", encoding)
    if not table.columns:
        raise DataError(f"'{path}' has no columns; expected a table with named columns.")
    return table


def tidy_ids(ids: pl.Series) -> pl.Series:
    """Make whole numbers of strings that are nothing else, so that CSV and Parquet agree.

    ``"007"`` stays a string: as a number it could not be told from ``"7"``.
    """
    if ids.dtype != pl.String or len(ids) == 0:
        return ids
    numbers = ids.cast(pl.Int64, strict=False)
    unchanged = (numbers.cast(pl.String) == ids).all() and not numbers.null_count()
    return numbers if unchanged else ids


def _open_parquet(path: Path) -> TableFile:
    expected = "an Apache Parquet file"
    check_paths([str(path)])
    try:
        scan = pl.scan_parquet(path, glob=False)
        columns = tuple(scan.collect_schema().names())
    except POLARS_FAULTS as error:
        raise cannot_read(path, error, expected) from error

    def load(names: Sequence[str]) -> pl.DataFrame:
        try:
            return scan.select(names).collect()
        except POLARS_FAULTS as error:
            raise cannot_read(path, error, expected) from error

    return TableFile(path, columns, None, load)


def _open_jsonl(path: Path, encoding: str) -> TableFile:
    records: list[dict[str, Any]] = []
    for number, line in numbered_lines(decode(read_bytes(path), encoding, path)):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"Line {number} of '{path}' is not JSON ({error}); expected one object a line."
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"Line {number} of '{path}' holds a JSON {type(record).__name__}; expected one "
                'object a line, such as {"id": 1, "text": "…"}.'
            )
        records.append(record)
    columns = tuple(dict.fromkeys(name for record in records for name in record))
    check_names(columns, f"The column names of '{path}': number")

    def load_mended(names: Sequence[str], text: str | None) -> pl.DataFrame:
        return pl.DataFrame([_json_column(path, n, records, mend=n == text) for n in names])

    def load(names: Sequence[str]) -> pl.DataFrame:
        return load_mended(names, None)

    return TableFile(path, columns, 1, load, load_mended=load_mended)


def _json_column(path: Path, name: str, records: list[dict[str, Any]], *, mend: bool) -> pl.Series:
    values = [record.get(name) for record in records]
    if mend:
        values = _mended_texts(path, name, values)
    try:
        return pl.Series(name, values)
    except UnicodeEncodeError as error:
        first = next(i for i, value in enumerate(values) if _holds_halves(value))
        raise DataError(
            f"Column {name!r} of '{path}' holds {values[first]!a} at line {first + 1}: half a "
            "character, such as an emoji cut in two, cannot be part of a name. Correct it, or "
            "remove that half."
        ) from error
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        raise DataError(
            f"Column {name!r} of '{path}' mixes values of types {', '.join(kinds)}; "
            "write all of them as one type, for instance as strings."
        ) from error


def _mended_texts(path: Path, name: str, values: list[Any]) -> list[Any]:
    first = first_broken(values)
    if first is None:
        return values
    whole = [mended(value) if isinstance(value, str) else value for value in values]
    n = sum(new != old for new, old in zip(whole, values, strict=True))
    warnings.warn(
        f"{n:,} of {len(values):,} texts in column {name!r} of '{path}' hold half a character, "
        f"such as an emoji cut in two (the first at line {first + 1}). It is read as '\ufffd'.",
        DataWarning,
        stacklevel=2,
    )
    return whole


def _holds_halves(value: Any) -> bool:
    return first_broken([json.dumps(value, ensure_ascii=False)]) is not None


def _open_csv(path: Path, separator: str, encoding: str) -> TableFile:
    text = decode(read_bytes(path), encoding, path)
    columns = _header(text, separator, path)
    if len(columns) > 1:
        text = text.rstrip("\r\n")  # a file may end in blank lines; elsewhere they are faults
    content = text.encode()

    def load(names: Sequence[str]) -> pl.DataFrame:
        # The last column tells of short lines, which polars fills with nulls.
        wanted = list(dict.fromkeys([*names, columns[-1]]))
        try:
            frame = pl.read_csv(
                io.BytesIO(content), separator=separator, infer_schema=False, columns=wanted
            )
        except POLARS_FAULTS as error:
            _find_broken_line(text, separator, path, len(columns))
            raise cannot_read(path, error, "a table with a header line") from error
        if len(columns) > 1 and frame[columns[-1]].null_count():
            _find_broken_line(text, separator, path, len(columns))
        return frame.select(names)

    return TableFile(path, columns, 2, load)


def _header(text: str, separator: str, path: Path) -> tuple[str, ...]:
    columns = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise DataError(
            f"The header (line 1) of '{path}' repeats the column name(s) "
            f"{', '.join(map(repr, repeated))}; every column needs its own name."
        )
    return tuple(columns)


def _find_broken_line(text: str, separator: str, path: Path, width: int) -> None:
    """Raise a DataError that names the first line which does not fit the header, if any."""
    usual_limit = csv.field_size_limit(sys.maxsize)  # documents may be long
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        start = 1
        try:
            for record in reader:
                if len(record) != width:
                    raise DataError(
                        f"Line {start} of '{path}' has {len(record)} field(s), but the header has "
                        f"{width}. Put texts that hold {separator!r} or line breaks between "
                        "double quotes."
                    )
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"The record that starts on line {start} of '{path}' is broken: {error}. "
                'Close every double quote, and write a quote inside a text as "".'
            ) from error
    finally:
        csv.field_size_limit(usual_limit)
