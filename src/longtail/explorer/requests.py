"""What the API is asked, and its bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from longtail.explorer.limits import LIMITS

__all__ = [
    "CountsRow",
    "ItemsRow",
    "NeighborsRequest",
    "PosteriorRequest",
    "RecommendRequest",
    "ScoreRequest",
    "TextRow",
]

Name = Annotated[str, Field(min_length=1, max_length=LIMITS.name)]
Count = Annotated[float, Field(gt=0, le=2**24, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextRow(_Request):
    """A text, cut into tokens as the model's training data were."""

    text: Annotated[str, Field(min_length=1, max_length=LIMITS.text)]


class CountsRow(_Request):
    """Features and their counts; 1 each where the model knows presence only."""

    counts: Annotated[
        dict[Name, Count],
        Field(min_length=1, max_length=LIMITS.features, examples=[{"kernel": 2, "thread": 1}]),
    ]


class ItemsRow(_Request):
    """Items, each with a count of 1."""

    items: Annotated[list[Name], Field(min_length=1, max_length=LIMITS.features)]


def _row_kind(value: Any) -> str:
    if isinstance(value, TextRow) or (isinstance(value, dict) and "text" in value):
        return "text"
    return "counts"


def _history_kind(value: Any) -> str:
    if isinstance(value, ItemsRow) or (isinstance(value, dict) and "items" in value):
        return "items"
    return "counts"


Row = Annotated[
    Annotated[TextRow, Tag("text")] | Annotated[CountsRow, Tag("counts")],
    Discriminator(_row_kind),
]
History = Annotated[
    Annotated[ItemsRow, Tag("items")] | Annotated[CountsRow, Tag("counts")],
    Discriminator(_history_kind),
]
Rows = Annotated[list[Row], Field(min_length=1, max_length=LIMITS.rows)]
Steps = Annotated[
    int | None,
    Field(ge=0, le=LIMITS.refine_steps, description="M; the model's own if not given."),
]


class PosteriorRequest(_Request):
    """Rows whose posteriors are asked for."""

    rows: Rows
    refine_steps: Steps = None
    top: Annotated[
        int, Field(ge=1, le=LIMITS.listed, description="Length of each list of features.")
    ] = 12
    nearest: Annotated[int, Field(ge=0, le=LIMITS.listed, description="Nearest rows.")] = 5


class ScoreRequest(_Request):
    """Rows whose bounds are asked for."""

    rows: Rows
    refine_steps: Steps = None
    samples: Annotated[
        int | None,
        Field(ge=1, le=LIMITS.samples, description="S; the model's own if not given."),
    ] = None


class NeighborsRequest(_Request):
    """A feature whose neighbours are asked for, in some contexts."""

    feature: Name
    contexts: Annotated[
        list[Annotated[list[Name], Field(max_length=LIMITS.context_features)]],
        Field(
            min_length=1,
            max_length=LIMITS.contexts,
            description="Each a list of features; an empty one is no context.",
        ),
    ] = [[]]
    k: Annotated[int, Field(ge=1, le=LIMITS.neighbors)] = 12


class RecommendRequest(_Request):
    """Histories to which items are recommended."""

    rows: Annotated[list[History], Field(min_length=1, max_length=LIMITS.rows)]
    k: Annotated[int, Field(ge=1, le=LIMITS.listed)] = 10
    reasons: Annotated[
        int, Field(ge=0, le=LIMITS.reasons, description="Own items that speak for each.")
    ] = 3
    exclude_seen: bool = True
    refine_steps: Steps = None
