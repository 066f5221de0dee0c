"""What a page consists of: sections, and the kinds of blocks in them.

Blocks hold plain text and tables; the templates beside this module make HTML of them, and escape
everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from longtail.displays import Figure
from longtail.displays.base import TABLE_ROWS

__all__ = ["Block", "Card", "Cards", "Chart", "Facts", "Item", "Lines", "Prose", "Section", "Table"]


@dataclass(frozen=True)
class Prose:
    """A paragraph. "missing" says what to do so that there is something here."""

    text: str
    tone: Literal["plain", "finding", "missing"] = "plain"
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Facts:
    """Pairs of what and how much."""

    pairs: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Lines:
    """Things explained: (name, figure, sentence) each."""

    lines: tuple[tuple[str, str, str], ...]
    kind: ClassVar[str] = "lines"


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure with its table.

    Attributes
    ----------
    name
        Unique on the page; the name of its files.
    display
        Where the picture and the table come from.
    title, caption
        In words.
    alt
        What is to be seen, for those who do not see it.
    searchable
        It has a field of its own to type into, and many points.
    """

    name: str
    display: Figure
    title: str
    caption: str
    alt: str
    searchable: bool = False
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True, eq=False)
class Table:
    """A table to read on the page."""

    name: str
    frame: pl.DataFrame
    title: str
    shown: int = TABLE_ROWS
    folded: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Item:
    """A feature in a list: its name, what is said of it, and whether it matters less."""

    name: str
    note: str = ""
    muted: bool = False


@dataclass(frozen=True)
class Card:
    """A few lists of features under one heading.

    Attributes
    ----------
    title, note
        The heading and a line below it.
    lists
        Each with a heading of its own.
    """

    title: str
    note: str
    lists: tuple[tuple[str, tuple[Item, ...]], ...]


@dataclass(frozen=True)
class Cards:
    """Cards side by side; or wide ones, one below the other, their lists side by side."""

    cards: tuple[Card, ...]
    wide: bool = False
    kind: ClassVar[str] = "cards"


Block = Prose | Facts | Lines | Chart | Table | Cards


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes
    ----------
    name
        Unique on the page; the target of links.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
