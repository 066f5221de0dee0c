"""How counts were read from a file, so that new data can be read in the same way."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from longtail.data.formats import FORMATS
from longtail.data.vocabulary import suggest_from
from longtail.errors import DataError

__all__ = ["ReadSettings"]

_MOST = 2**63 - 1  # counts of rows are held in 64 bits
_LARGEST = sys.float_info.max
_DEFAULT_TOKEN = r"(?u)\b\w\w+\b"


@dataclass(frozen=True)
class ReadSettings:
    """Every choice that turns a file into counts; JSON-safe, kept with a fitted model.

    Raises
    ------
    DataError
        If a field is of the wrong type or out of range; the message lists all such fields.
    """

    format: str = "auto"
    """Name of the reader, one of `longtail.data.formats.FORMATS`; ``"auto"`` picks it by the
    file's extension and the columns named below."""
    text_column: str | None = None
    """Column that holds the documents, in a table of texts. None: the one column called text,
    body, content, document or summary."""
    id_column: str | None = None
    """Column that holds the row identifiers, in a table of texts. None: a column called id,
    doc_id or row_id, if its values are unique; else the rows are numbered."""
    row_column: str | None = None
    """Column that says which row an entry belongs to, in a long table (user, document …)."""
    feature_column: str | None = None
    """Column that says which feature an entry counts, in a long table (item, word, code …).
    Its cells may be lists: then every element counts once, and without `row_column` every line
    of the table is a row."""
    value_column: str | None = None
    """Column that holds the count of an entry, in a long table; beside a feature column of lists,
    the lists of their counts. None: each entry counts 1."""
    exposure_column: str | None = None
    """Column that holds each row's exposure, a number above 0 such as person-years, in a table or
    in ``obs`` of an AnnData file. In a long table every line of a row repeats it. None: none."""
    feature_separator: str | None = None
    """What stands between the codes of a cell of the feature column (``"A01;B02"``), whose cells
    then are lists, or between the items of a line of a ``.basket`` file. White space around a
    code is removed. None: cells are single features; items are separated by commas."""
    strip_dots: bool = False
    """Whether every full stop is removed from the features of long tables and baskets, so that
    the codes ``"250.00"`` and ``"25000"`` are one; those that become equal are added up."""
    symmetric: bool = False
    """Whether a long table lists the edges of an undirected graph: every edge becomes two
    entries, and rows and features are the same nodes. ``.edges`` files always are read so."""
    self_links: bool = False
    """Whether every node of a graph becomes a neighbour of its own; see `with_self_links`."""
    min_value: float | None = None
    """Leave out entries with a smaller value, before they are added up or checked. None: none."""
    binarize: bool = False
    """Presence instead of counts: every positive count becomes 1."""
    layer: str | None = None
    """Which layer of an AnnData file holds the counts; where there is no layer of that name,
    ``"X"`` means X, and ``"raw"`` the matrix and the genes of ``.raw``. None: X."""
    transpose: bool = False
    """Whether a ``.npz`` or ``.mtx`` file is features × rows, as those of cells often are."""
    lowercase: bool = True
    """Whether texts are lowercased before they are cut into tokens."""
    stop_words: str | tuple[str, ...] | None = None
    """Words to leave out of texts: None, ``"english"`` (scikit-learn's list), or a tuple."""
    ngram_range: tuple[int, int] = (1, 1)
    """Shortest and longest n-gram of tokens that becomes a feature of a text."""
    token_pattern: str = _DEFAULT_TOKEN
    """Regular expression of a token, with at most one group. Default: two or more word
    characters."""
    min_df: int | float = 1
    """Fewest rows (int) or smallest share of rows (float) that must hold a feature."""
    max_df: int | float = 1.0
    """Most rows (int) or largest share of rows (float) that may hold a feature."""
    max_features: int | None = None
    """Keep only this many features, those with the largest total count. None: all."""
    index_base: int | None = None
    """Number of the first column in svmlight files, 0 or 1. None: 0 if the file has a column 0,
    else 1; what was found is kept, so that later files are read alike."""
    encoding: str = "utf-8"
    """Character encoding of text files, CSV files included."""
    counts: str = "fractional"
    """``"strict"`` refuses fractional counts; ``"fractional"`` takes them."""

    def __post_init__(self) -> None:
        """Normalise lists from JSON to tuples and check every field."""
        if isinstance(self.stop_words, list):
            object.__setattr__(self, "stop_words", tuple(self.stop_words))
        if isinstance(self.ngram_range, list):
            object.__setattr__(self, "ngram_range", tuple(self.ngram_range))
        faults = [fault for fault in _faults(self) if fault]
        if faults:
            raise DataError("Cannot read with these settings: " + "; ".join(faults) + ".")

    @property
    def is_long_table(self) -> bool:
        """Whether the settings name the columns of a long table."""
        return self.row_column is not None or self.feature_column is not None

    @property
    def rows_bring_features(self) -> bool:
        """Whether the features are those that the rows hold, not the columns of a matrix."""
        known = FORMATS.get(self.format)
        return known is not None and known.holds != "matrix"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of JSON types."""
        result = asdict(self)
        if not self.transpose:
            # Earlier versions did not write it: their checkpoints and parts must go on matching.
            del result["transpose"]
        result["ngram_range"] = list(self.ngram_range)
        if isinstance(self.stop_words, tuple):
            result["stop_words"] = list(self.stop_words)
        return result

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReadSettings:
        """Make settings from `to_dict`'s result.

        Raises
        ------
        DataError
            If a key is unknown (the message lists the valid ones) or a value is out of range.
        """
        check_field_names(values)
        return cls(**values)


def check_field_names(names: Mapping[str, Any]) -> None:
    """Raise a DataError if `names` has a key that is no field of `ReadSettings`."""
    valid = [field.name for field in fields(ReadSettings)]
    for name in names:
        if name not in valid:
            close = suggest_from(str(name), valid, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataError(
                f"Unknown reading setting {name!r}.{hint} Valid settings: {', '.join(valid)}."
            )


def _faults(settings: ReadSettings) -> list[str]:
    """Return what is wrong with each field, in words ('' where nothing is)."""
    columns = (
        *("text_column", "id_column", "row_column", "feature_column", "value_column"),
        "exposure_column",
    )
    found = [_optional_name(name, getattr(settings, name)) for name in columns]
    known = ("auto", *FORMATS)
    found.append(
        ""
        if settings.format in known
        else f"format must be one of {', '.join(known)}, but is {settings.format!r}"
    )
    if settings.text_column is not None and settings.is_long_table:
        found.append("text_column and row_column/feature_column exclude each other")
    if settings.feature_column is None and (settings.row_column or settings.value_column):
        found.append("a long table needs feature_column")
    long = [settings.row_column, settings.feature_column, settings.value_column]
    named = [name for name in long if name is not None]
    if len(set(named)) < len(named):
        found.append("row_column, feature_column and value_column must be different columns")
    if settings.exposure_column is not None and settings.exposure_column in (
        *named,
        settings.text_column,
    ):
        found.append("exposure_column must be a column of its own")
    found += _entry_faults(settings)
    for name in ("lowercase", "strip_dots", "symmetric", "self_links", "binarize", "transpose"):
        if not isinstance(getattr(settings, name), bool):
            found.append(f"{name} must be True or False, but is {getattr(settings, name)!r}")
    found += [_stop_word_fault(settings.stop_words), _ngram_fault(settings.ngram_range)]
    found += [_token_fault(settings.token_pattern)]
    found += [_limit_fault(name, getattr(settings, name)) for name in ("min_df", "max_df")]
    if settings.max_features is not None and not _is_count(settings.max_features):
        found.append(f"max_features must be 1 or more, or None, but is {settings.max_features!r}")
    if settings.index_base not in (None, 0, 1):
        found.append(f"index_base must be 0, 1 or None, but is {settings.index_base!r}")
    if settings.counts not in ("fractional", "strict"):
        found.append(f"counts must be 'fractional' or 'strict', but is {settings.counts!r}")
    found.append(_encoding_fault(settings.encoding))
    return found


def _entry_faults(settings: ReadSettings) -> list[str]:
    """Return what is wrong with the fields on the entries of tables, baskets and graphs."""
    found = []
    separator, layer, least = settings.feature_separator, settings.layer, settings.min_value
    if separator is not None and not (isinstance(separator, str) and separator):
        found.append(f"feature_separator must be a string or None, but is {separator!r}")
    if layer is not None and not (isinstance(layer, str) and layer):
        found.append(f"layer must be the name of a layer or None, but is {layer!r}")
    if least is not None and not _is_number(least):
        found.append(f"min_value must be a number or None, but is {least!r}")
    if least is not None and settings.feature_column and settings.value_column is None:
        found.append("min_value needs value_column, because without it every entry counts 1")
    if settings.symmetric is True and settings.feature_separator is not None:
        found.append("symmetric and feature_separator exclude each other")
    if settings.symmetric is True and settings.exposure_column is not None:
        found.append("symmetric and exposure_column exclude each other")
    if settings.symmetric is True and settings.feature_column and settings.row_column is None:
        found.append("symmetric needs row_column and feature_column, the two ends of an edge")
    return found


def _is_number(value: object) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]


def _is_count(value: object) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and 1 <= value <= _MOST  # type: ignore[operator]


def _optional_name(field: str, value: object) -> str:
    if value is None or (isinstance(value, str) and value):
        return ""
    return f"{field} must be a column name or None, but is {value!r}"


def _stop_word_fault(value: object) -> str:
    if value is None or value == "english":
        return ""
    if isinstance(value, tuple) and all(isinstance(word, str) for word in value):
        return ""
    return f"stop_words must be None, 'english' or a list of words, but is {value!r}"


def _ngram_fault(value: object) -> str:
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value))
    if is_pair and value[0] <= value[1]:  # type: ignore[index]
        return ""
    return f"ngram_range must be two whole numbers 1 ≤ shortest ≤ longest, but is {value!r}"


def _token_fault(value: object) -> str:
    if not isinstance(value, str):
        return f"token_pattern must be a regular expression, but is {value!r}"
    try:
        groups = re.compile(value).groups
    except re.error as error:
        return f"token_pattern {value!r} is not a regular expression ({error})"
    return f"token_pattern {value!r} has {groups} groups instead of at most 1" * (groups > 1)


def _limit_fault(field: str, value: object) -> str:
    if _is_count(value) or (isinstance(value, float) and 0.0 <= value <= 1.0):
        return ""
    return (
        f"{field} must be a number of rows ≥ 1 (int) or a share in [0, 1] (float), but is {value!r}"
    )


def _encoding_fault(value: object) -> str:
    try:
        codecs.lookup(value)  # type: ignore[arg-type]
        b"a".decode(value)  # type: ignore[arg-type]
    except UnicodeDecodeError:  # as in UTF-16, whose characters have two bytes
        return ""
    except (LookupError, TypeError, ValueError):
        return f"encoding must be one of text that Python knows, such as 'utf-8', but is {value!r}"
    return ""
