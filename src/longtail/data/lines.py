"""Plain files with one basket or one edge a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.entries import (
    Entries,
    NothingToCountError,
    count_edges,
    count_entries,
    no_counts,
)
from longtail.data.files import numbered_lines, read_text
from longtail.data.settings import ReadSettings
from longtail.errors import DataError

__all__ = ["read_baskets", "read_edges"]


def read_baskets(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read a file with one record a line: its items, separated by commas.

    ``feature_separator`` names another separator. White space around an item is removed, and so
    are items without a character; a line without items is an empty record.

    Raises
    ------
    DataError
        If no line holds an item.
    """
    separator = "," if settings.feature_separator is None else settings.feature_separator
    lines = [line for _, line in numbered_lines(read_text(path, settings.encoding))]
    rows = pl.Series("row", np.arange(len(lines)))
    frame = pl.DataFrame({"row": rows, "item": lines})
    items = frame.with_columns(pl.col("item").str.split(separator)).explode("item")
    items = items.with_columns(pl.col("item").str.strip_chars()).filter(pl.col("item") != "")
    if len(items) == 0:
        raise NothingToCountError(
            f"No line of '{path}' holds an item; expected one record a line, with items separated "
            f"by {separator!r} (feature_separator= names another separator).",
            no_counts(None, len(lines)),
        )
    return count_entries(Entries(items["row"], items["item"]), rows, settings)


def read_edges(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read an undirected graph: on each line the two nodes of an edge, perhaps a weight.

    They stand apart by white space or a comma. A ``#`` at the start of a line or after white
    space opens a comment, a ``%`` at the start of a line too; lines without content are skipped.
    See `longtail.data.entries.count_edges` for what becomes of the edges.

    Raises
    ------
    DataError
        If a line has another number of fields than the first, or a weight is not a number, or
        negative; names the line.
    """
    frame = _fields(path, settings.encoding)
    weighted = frame["fields"].list.len()[0] == 3
    values = _weights(frame, path) if weighted else None
    entries = Entries(frame["fields"].list.get(0), frame["fields"].list.get(1), values)
    if settings.min_value is not None:
        if values is None:
            raise DataError(
                f"min_value needs weights, but the lines of '{path}' hold two nodes each and no "
                "weight. Leave min_value out."
            )
        entries = entries[values >= settings.min_value]
        if len(entries.rows) == 0:
            raise DataError(
                f"No edge of '{path}' is left with min_value={settings.min_value:g}: the largest "
                f"weight is {values.max():g}. Lower min_value."
            )
    return count_edges(entries, f"'{path}'", self_links=settings.self_links)


def _fields(path: Path, encoding: str) -> pl.DataFrame:
    """Cut each line with content into its fields; all lines have as many."""
    text = read_text(path, encoding).removesuffix("\n")
    lines = pl.DataFrame({"text": text.split("\n")}).with_row_index("line", offset=1)
    content = pl.col("text").str.replace(r"^\s*%.*$|(^|\s)#.*$", "")
    fields = content.str.extract_all(r"[^\s,]+").alias("fields")
    lines = lines.with_columns(fields).filter(pl.col("fields").list.len() > 0)
    if len(lines) == 0:
        raise DataError(f"'{path}' holds comments alone; expected one edge a line.")
    lengths = lines["fields"].list.len()
    expected = lengths[0] if lengths[0] in (2, 3) else 2
    wrong = lines.filter(lengths != expected)
    if len(wrong):
        raise DataError(
            f"Line {wrong['line'][0]} of '{path}' holds {wrong['text'][0].strip()!r}; expected "
            + ("two nodes" if expected == 2 else "two nodes and a weight, as on the lines before")
            + f", separated by white space or a comma ({len(wrong):,} such line(s) in all). "
            "Remove other columns, or give a table with a header through row_column, "
            "feature_column, value_column and symmetric."
        )
    return lines


def _weights(frame: pl.DataFrame, path: Path) -> npt.NDArray[np.float64]:
    given = frame["fields"].list.get(2)
    weights = given.cast(pl.Float64, strict=False)
    bad = (weights.is_null() | ~weights.is_finite() | (weights < 0)).fill_null(True)
    if bad.any():
        first = int(bad.arg_max() or 0)
        raise DataError(
            f"Line {frame['line'][first]} of '{path}' has the weight {given[first]!r}; expected a "
            f"finite number, 0 or more ({int(bad.sum()):,} such line(s) in all)."
        )
    return weights.to_numpy()
