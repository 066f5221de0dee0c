"""The frozen two-way map between feature names and column numbers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from longtail.data.files import as_path
from longtail.data.surrogates import check_names, first_broken
from longtail.errors import DataError

__all__ = ["LINE_LABEL", "Vocabulary", "feature_label", "suggest_from"]

LINE_LABEL = 60
"""Widest label, in characters, where several stand in one line."""

_SHOWN = 5
# Above this many names, spelling suggestions look only at names with the same first letters.
_COMPARED = 10_000


def suggest_from(name: str, candidates: Iterable[str], n: int = 5) -> list[str]:
    """Return at most `n` candidates spelled like `name`, closest first.

    Parameters
    ----------
    name
        What was asked for.
    candidates
        What there is.
    n
        How many to return at most.
    """
    if n <= 0:
        return []
    folded = name.casefold()
    slack = max(2, len(name) // 3)
    near = [c for c in candidates if abs(len(c) - len(name)) <= slack]
    for length in range(1, len(name)):
        # Comparing takes ~25 µs a name; a slip is rarer at the beginning of a word.
        if len(near) <= _COMPARED:
            break
        near = [c for c in near if c[:length].casefold() == folded[:length]]
    # Case is the commonest slip, so it must not count as a difference.
    spelled: dict[str, list[str]] = {}
    for candidate in near:
        spelled.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(folded, spelled, n=n, cutoff=0.6)
    return [candidate for key in close for candidate in spelled[key]][:n]


def feature_label(name: str, description: str | None, width: int | None = None) -> str:
    """A feature for people: its name, and what it means where that is known.

    A description that makes it longer than `width` is cut; the name never is.
    """
    if not description:
        return name
    label = f"{name} {description}"
    if width is None or len(label) <= width:
        return label
    return f"{label[: max(width - 1, len(name))].rstrip()}…"


class Vocabulary:
    """An immutable list of distinct feature names; column ``i`` is called ``names[i]``.

    Two vocabularies are equal when they hold the same names in the same order (and are both
    named, or both positional), so they can serve as dictionary keys. What the names mean is for
    reading only: descriptions do not count.

    Parameters
    ----------
    names
        The feature names in column order. Every name must be a `str`, not empty, and occur once.
    descriptions
        What features mean, by name, such as the text of a code. Some may be missing, and those
        of other features are left out.

    Raises
    ------
    DataError
        If a name is not a string, is empty, occurs twice or holds half a character (a lone
        surrogate), or a description is not a string or holds one; the message says which and where.

    Examples
    --------
    >>> words = Vocabulary(["kernel", "tree"])
    >>> words.index("tree")
    1
    >>> words.codes(["tree", "leaf"]).tolist()
    [1, -1]
    >>> Vocabulary(["401.9"], {"401.9": "Essential hypertension"}).label("401.9")
    '401.9 Essential hypertension'
    """

    __slots__ = ("_descriptions", "_hash", "_lookup", "_named", "_names")

    _names: tuple[str, ...]
    _descriptions: Mapping[str, str]
    _named: bool
    _lookup: dict[str, int] | None
    _hash: int | None

    def __init__(self, names: Iterable[str], descriptions: Mapping[str, str] | None = None) -> None:
        if isinstance(names, str):
            raise DataError(
                f"A vocabulary needs a list of feature names, but got the single string "
                f"{names!r}; wrap it in a list, or use Vocabulary.from_file(path) for a file."
            )
        listed = tuple(names)
        for position, name in enumerate(listed):
            if not isinstance(name, str):
                raise DataError(
                    f"Feature names must be strings, but name {position} is {name!r} "
                    f"({type(name).__name__}); convert the names with str() first."
                )
        # numpy.str_ is a str, but keeps its array's memory alive and prints differently.
        listed = tuple(name if type(name) is str else str(name) for name in listed)
        if "" in listed:
            raise DataError(
                f"Feature names must not be empty, but name {listed.index('')} is "
                f"({listed.count('')} such name(s) in all); give every feature a name."
            )
        check_names(listed, "Feature name")
        self._name(listed, descriptions)

    @classmethod
    def saved(cls, names: Iterable[str], descriptions: Mapping[str, str] | None = None) -> Self:
        """Return a vocabulary that was checked before: older saved models may hold an empty name.

        Raises
        ------
        DataError
            If a name occurs twice, or a description is not a string.
        """
        vocabulary = cls.__new__(cls)
        vocabulary._name(tuple(names), descriptions)
        return vocabulary

    def _name(self, listed: tuple[str, ...], descriptions: Mapping[str, str] | None) -> None:
        lookup = {name: position for position, name in enumerate(listed)}
        if len(lookup) != len(listed):
            raise DataError(_duplicate_message(listed))
        self._fill(listed, lookup, named=True)
        if descriptions:
            known = _known_descriptions(lookup, descriptions)
            object.__setattr__(self, "_descriptions", MappingProxyType(known))

    def _fill(self, names: tuple[str, ...], lookup: dict[str, int] | None, *, named: bool) -> None:
        # Attribute assignment is blocked below, so the one place that fills goes around it.
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_lookup", lookup)
        object.__setattr__(self, "_named", named)
        object.__setattr__(self, "_hash", None)
        object.__setattr__(self, "_descriptions", MappingProxyType({}))

    @classmethod
    def positional(cls, n: int) -> Vocabulary:
        """Return the vocabulary of `n` columns without names, called ``"0"``, ``"1"``, ….

        Data under such a vocabulary are aligned by column position, never by name.
        """
        if n < 0:
            raise DataError(f"The number of columns must be 0 or more, but got {n}.")
        vocabulary = cls.__new__(cls)
        vocabulary._fill(tuple(map(str, range(n))), None, named=False)
        return vocabulary

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary from a UTF-8 text file with one feature a line.

        Raises
        ------
        DataError
            If the file cannot be read, is not UTF-8, is empty, or has a blank or repeated
            line (the message gives the line number).
        """
        path = as_path(path)
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"Cannot read the vocabulary file '{path}': {error.strerror or error}. "
                "Expected a text file with one feature a line."
            ) from error
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            number = raw.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"The vocabulary file '{path}' is not UTF-8: line {number} (byte {error.start}) "
                "cannot be decoded. Save the file as UTF-8."
            ) from error
        # Not str.splitlines(): a name may hold the rarer separators that it also splits on.
        lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        if lines == [""]:
            raise DataError(f"The vocabulary file '{path}' is empty; expected one feature a line.")
        first_seen: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                raise DataError(
                    f"Line {number} of the vocabulary file '{path}' is blank; line i names "
                    "column i, so every line must hold a feature. Remove the blank line."
                )
            if line in first_seen:
                raise DataError(
                    f"Line {number} of the vocabulary file '{path}' repeats {line!r} from line "
                    f"{first_seen[line]}; every feature must occur once. Remove one of them."
                )
            first_seen[line] = number
        return cls(lines)

    @property
    def names(self) -> tuple[str, ...]:
        """All names in column order."""
        return self._names

    @property
    def named(self) -> bool:
        """Whether the columns have names of their own (False: `positional`)."""
        return self._named

    @property
    def descriptions(self) -> Mapping[str, str]:
        """What features mean, by name; without those of which nothing is known."""
        return self._descriptions

    def described(self, descriptions: Mapping[str, str]) -> Vocabulary:
        """Return the same names with these descriptions besides those there are.

        Raises
        ------
        DataError
            If the columns have no names, or a description is not a string.
        """
        if not self._named:
            raise DataError(
                "Descriptions belong to feature names, but these columns have none. Name them "
                "first: CountMatrix.from_any(counts, vocabulary=names)."
            )
        return self.saved(self._names, {**self._descriptions, **descriptions})

    def described_like(self, other: Vocabulary) -> Vocabulary:
        """Return this vocabulary, with the descriptions of another if it has none of its own."""
        if self._descriptions or not other._descriptions or not self._named:
            return self
        return self.described(other._descriptions)

    def select(self, positions: Iterable[int]) -> Vocabulary:
        """Return the features at these positions, in their order.

        Columns without names stay so, and are numbered anew.
        """
        names = [self._names[int(position)] for position in positions]
        return self.saved(names, self._descriptions) if self._named else self.positional(len(names))

    def label(self, name: str, width: int | None = None) -> str:
        """A feature for people: ``"401.9 Essential hypertension"``; the name alone if that is all.

        Every figure and command writes features in this way. `width` cuts long descriptions.
        """
        return feature_label(name, self._descriptions.get(name), width)

    def listed(self, names: Iterable[str]) -> str:
        """Features for people in one line, long descriptions cut."""
        return self.separator.join(self.label(name, LINE_LABEL) for name in names)

    @property
    def separator(self) -> str:
        """What stands between features in one line: descriptions have commas of their own."""
        return "; " if self._descriptions else ", "

    def columns(self, names: Sequence[str | None], called: str = "feature") -> dict[str, list[Any]]:
        """Columns of a table that name features: `called`, and ``description`` if there are any."""
        columns: dict[str, list[Any]] = {called: list(names)}
        if self._descriptions:
            get = self._descriptions.get
            columns["description"] = [None if n is None else get(n) for n in names]
        return columns

    @property
    def _index_of(self) -> dict[str, int]:
        if self._lookup is None:
            object.__setattr__(self, "_lookup", {name: i for i, name in enumerate(self._names)})
        assert self._lookup is not None
        return self._lookup

    def index(self, name: str) -> int:
        """Return the column number of `name`.

        Raises
        ------
        DataError
            If there is no such feature; the message suggests similar spellings.
        """
        found = self._index_of.get(name)
        if found is None:
            raise DataError(self._unknown_message(name))
        return found

    def codes(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the column number of each of `names`, and -1 where it is unknown.

        Parameters
        ----------
        names
            Any sequence of strings, of length n.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        get = self._index_of.get
        return np.fromiter((get(name, -1) for name in names), dtype=np.int64, count=len(names))

    def suggest(self, name: str, n: int = 5) -> list[str]:
        """Return at most `n` feature names spelled like `name`, closest first."""
        return suggest_from(name, self._names, n)

    def _unknown_message(self, name: object) -> str:
        size = f"the vocabulary of {len(self):,} features"
        if not self._named:
            return (
                f"Unknown feature {name!r}: the columns have no names; use a column number "
                f"between 0 and {len(self) - 1}, written as a string."
            )
        similar = self.suggest(name) if isinstance(name, str) else []
        meant = self._described_by(name)
        if meant:
            listed = self.listed(meant[:_SHOWN])
            more = f"; and {len(meant) - _SHOWN:,} more" if len(meant) > _SHOWN else ""
            return (
                f"Unknown feature {name!r} in {size}. Ask for a feature by its name; described "
                f"so are: {listed}{more}."
            )
        if similar:
            return f"Unknown feature {name!r} in {size}. Did you mean {_quote(similar)}?"
        return f"Unknown feature {name!r} in {size}, and nothing is spelled like it."

    def _described_by(self, text: object) -> list[str]:
        """Return the features whose description holds a text, the shortest first."""
        if not isinstance(text, str) or not text.strip():
            return []
        asked = text.strip().casefold()
        found = [n for n, said in self._descriptions.items() if asked in said.casefold()]
        return sorted(found, key=lambda name: len(self._descriptions[name]))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, position: int) -> str:
        return self._names[position]

    def __contains__(self, name: object) -> bool:
        return name in self._index_of

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        if self is other:
            return True
        return self._named == other._named and self._names == other._names

    def __hash__(self) -> int:
        if self._hash is None:
            object.__setattr__(self, "_hash", hash((self._named, self._names)))
        assert self._hash is not None
        return self._hash

    def __repr__(self) -> str:
        if not self._named:
            return f"Vocabulary.positional({len(self)})"
        shown = ", ".join(map(repr, self._names[:_SHOWN]))
        return f"Vocabulary([{shown}{', …' if len(self) > _SHOWN else ''}], {len(self):,} features)"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A Vocabulary cannot be changed (tried to set {name!r}).")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A Vocabulary cannot be changed (tried to delete {name!r}).")

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # Copies are rebuilt from content: hashes of strings differ between processes.
        if self._named:
            return Vocabulary.saved, (self._names, dict(self._descriptions))
        return Vocabulary.positional, (len(self),)


def _quote(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _known_descriptions(
    lookup: Mapping[str, int], descriptions: Mapping[str, str]
) -> dict[str, str]:
    """The descriptions of features that there are, in one line each, blank ones left out."""
    known = {}
    for name in lookup:
        text = descriptions.get(name)
        if text is None:
            continue
        if not isinstance(text, str):
            raise DataError(
                f"Descriptions must be strings, but that of {name!r} is {text!r} "
                f"({type(text).__name__})."
            )
        if first_broken([text]) is not None:
            raise DataError(
                f"The description of {name!r} is {text!a}, which holds half a character, such "
                "as an emoji cut in two, and cannot be saved. Correct it, or remove that half."
            )
        tidy = " ".join(text.split())
        if tidy:
            known[name] = tidy
    return known


def _duplicate_message(names: Sequence[str]) -> str:
    first_seen: dict[str, int] = {}
    repeats: list[str] = []
    for position, name in enumerate(names):
        if name in first_seen:
            repeats.append(f"{name!r} at positions {first_seen[name]} and {position}")
        else:
            first_seen[name] = position
    shown = "; ".join(repeats[:_SHOWN])
    more = f" (and {len(repeats) - _SHOWN:,} more)" if len(repeats) > _SHOWN else ""
    return (
        f"Feature names must be unique, but some are duplicate: {shown}{more}. "
        "Rename them, or sum the columns that mean the same."
    )
