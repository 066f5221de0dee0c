"""Settings for each kind of data: what differs from the defaults, and why.

They are where to begin. `longtail.tune` searches from there; its ranges are in
`longtail.tuning.spaces`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from longtail.errors import ParameterError

__all__ = ["PRESETS", "Preset", "Setting", "find_preset", "preset"]


@dataclass(frozen=True)
class Setting:
    """A parameter's value.

    Attributes
    ----------
    value
        Of a parameter of `NonlinearFactorAnalysis`.
    why
        In a line.
    """

    value: Any
    why: str


@dataclass(frozen=True)
class Preset:
    """Settings for one kind of data.

    Attributes
    ----------
    data
        What a row is, and what is counted.
    settings
        What differs from the defaults of `NonlinearFactorAnalysis`, by parameter.
    """

    data: str
    settings: Mapping[str, Setting]

    @property
    def parameters(self) -> dict[str, Any]:
        """Values by parameter."""
        return {name: setting.value for name, setting in self.settings.items()}


def _preset(data: str, **settings: tuple[Any, str]) -> Preset:
    return Preset(data, MappingProxyType({n: Setting(*pair) for n, pair in settings.items()}))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "documents": _preset("Words of texts: what the defaults are for."),
        "recommendation": _preset(
            "Who chose what, each item once: ratings, visits, purchases.",
            features=("binary", "that an item was chosen is all there is to see"),
            feature_dropout=(0.5, "the encoder learns to read a history with items missing"),
            kl_weight=(0.2, "a posterior that says more about the row ranks better"),
            encoder_layers=(1, "deeper networks overfit rows as sparse as these"),
            decoder_layers=(1, "as for the encoder"),
        ),
        "plays": _preset(
            "How often each item was chosen: plays, clicks, purchases with repeats.",
            features=("log1p", "a thousand plays say little more than a hundred"),
            feature_dropout=(0.5, "the encoder learns to read a history with items missing"),
            encoder_layers=(1, "deeper networks overfit rows as sparse as these"),
            decoder_layers=(1, "as for the encoder"),
        ),
        "codes": _preset(
            "Codes of short records: diagnoses of a stay, tags, small baskets.",
            features=("binary", "a record has a code or has it not"),
            encoder_layers=(1, "there is little to combine in a handful of codes"),
            weight_decay=(1.0, "new records resemble old ones"),
        ),
        "cells": _preset(
            "Molecules of each gene in single cells.",
            likelihood=(
                "negative_binomial",
                "counts vary more than a Poisson's; depth is exposure",
            ),
            features=("log1p", "a few genes would drown the others"),
            batch_size=(128, "there are thousands of cells, not millions: more updates an epoch"),
        ),
        "network": _preset(
            "Neighbours of each node: friends, links, citations.",
            features=("binary", "an edge is there or is not"),
            feature_dropout=(0.5, "the encoder learns to read a node with edges missing"),
            kl_weight=(0.2, "a posterior that says more about the node ranks better"),
            encoder_layers=(1, "deeper networks overfit rows as sparse as these"),
            decoder_layers=(1, "as for the encoder"),
        ),
    }
)
"""By task."""


def find_preset(task: str) -> Preset:
    """The preset of a task.

    Raises
    ------
    ParameterError
        If there is none of this name.
    """
    if task not in PRESETS:
        raise ParameterError(f"task must be one of {', '.join(PRESETS)}; got {task!r}.")
    return PRESETS[task]


def preset(task: str) -> dict[str, Any]:
    """Parameters of `NonlinearFactorAnalysis` for a kind of data, where the defaults differ.

    Parameters
    ----------
    task : {"documents", "recommendation", "plays", "codes", "cells", "network"}
        `PRESETS` says what each is for, and why it has these values.

    Raises
    ------
    ParameterError
        If there is none of this name.

    Examples
    --------
    >>> import longtail as lt
    >>> lt.preset("cells")["likelihood"]
    'negative_binomial'

    ``model = lt.NonlinearFactorAnalysis(**lt.preset("cells") | {"epochs": 100})``
    """
    return find_preset(task).parameters
