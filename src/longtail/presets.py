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


# Rows of few items out of very many.
_CHOICES: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "n_components": (256, "tastes are many, and rows of few items need them all"),
        "decoder_layers": (0, "log-linear: deeper ones overfit rows as sparse as these"),
        "encoder_layers": (1, "refinement does the rest"),
        "n_hidden": (300, "of the encoder alone"),
        "feature_dropout": (0.5, "the encoder learns to read a history with items missing"),
        "kl_weight": (0.5, "a posterior that says more about the row ranks better"),
        "kl_anneal": (0.2, "a low weight needs no long rise"),
        "refine_steps": (4, "the decoder learns from refined posteriors, not guesses"),
        "importance_samples": (1, "tighter bounds do not rank better"),
        "learning_rate": (5e-3, "a log-linear decoder takes it"),
        "weight_decay": (0.5, "with that rate"),
        "epochs": (25, "with that rate"),
    }
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "documents": _preset("Words of texts: what the defaults are for."),
        "recommendation": _preset(
            "Who chose what, each item once: ratings, visits, purchases.",
            features=("binary", "that an item was chosen is all there is to see"),
            **_CHOICES,
        ),
        "plays": _preset(
            "How often each item was chosen: plays, clicks, purchases with repeats.",
            likelihood=(
                "dirichlet_multinomial",
                "a thousand plays of an item say little more than a hundred",
            ),
            features=("binary", "which items they are says most"),
            # The likelihood discounts repeats itself: the KL has its own weight.
            **{name: pair for name, pair in _CHOICES.items() if name != "kl_weight"},
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
            n_hidden=(128, "thousands of cells, not millions"),
            decoder_layers=(1, "one layer has room enough for them"),
            batch_size=(128, "more updates an epoch"),
            output_epsilon=(1e-2, "holds genes back that few cells express"),
            patience=(15, "the bound still rises late"),
        ),
        "network": _preset(
            "Neighbours of each node: friends, links, citations.",
            features=("binary", "an edge is there or is not"),
            **_CHOICES,
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
