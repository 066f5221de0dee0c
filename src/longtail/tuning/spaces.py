"""What is searched for each kind of data, and by what it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis

if TYPE_CHECKING:
    import optuna

__all__ = ["METRICS", "SPACES", "Choice", "Dimension", "Range", "check_space"]


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Attributes
    ----------
    low, high
        Two whole numbers for whole numbers only.
    log
        Searched on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Values whose validity stands for that of all."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether a value is among those searched."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        kind = int if whole else int | float
        return isinstance(value, kind) and self.low <= value <= self.high

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """The value of a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


@dataclass(frozen=True, init=False)
class Choice:
    """One of several values: ``Choice(200, 400, 800)``."""

    ends: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "ends", values)

    def holds(self, value: Any) -> bool:
        """Whether a value is among those searched."""
        return value in self.ends

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, self.ends)


Dimension = Range | Choice

_LEARNING_RATE = Range(5e-4, 8e-3, log=True)

_RANKED: Mapping[str, Dimension] = {
    "kl_weight": Range(0.05, 1.0, log=True),
    "feature_dropout": Range(0.0, 0.8),
    "learning_rate": _LEARNING_RATE,
    "weight_decay": Range(0.0, 8.0),
    "n_components": Choice(64, 128, 256, 512),
    "n_hidden": Choice(200, 300, 600),
    "encoder_layers": Choice(1, 2),
    "decoder_layers": Choice(0, 1),
}

SPACES: Mapping[str, Mapping[str, Dimension]] = MappingProxyType(
    {
        "documents": {
            "learning_rate": _LEARNING_RATE,
            "weight_decay": Range(0.0, 8.0),
            "kl_anneal": Range(0.2, 0.8),
            "feature_dropout": Range(0.0, 0.5),
            "n_components": Choice(50, 100, 200),
            "n_hidden": Choice(200, 400, 800),
            "decoder_layers": Choice(0, 1, 2, 3),
        },
        "recommendation": _RANKED,
        "plays": {**_RANKED, "features": Choice("log1p", "tfidf", "binary")},
        "codes": {
            "learning_rate": _LEARNING_RATE,
            "weight_decay": Range(0.0, 4.0),
            "kl_anneal": Range(0.2, 0.8),
            "feature_dropout": Range(0.0, 0.5),
            "n_components": Choice(50, 100, 200),
            "n_hidden": Choice(200, 400, 800),
            "encoder_layers": Choice(1, 2),
            "decoder_layers": Choice(0, 1, 2),
        },
        "cells": {
            "learning_rate": _LEARNING_RATE,
            "weight_decay": Range(0.0, 8.0),
            "kl_anneal": Range(0.2, 0.8),
            "feature_dropout": Range(0.0, 0.5),
            "batch_size": Choice(64, 128, 256),
            "n_components": Choice(20, 50, 100),
            "n_hidden": Choice(64, 128, 256),
            "decoder_layers": Choice(0, 1, 2),
        },
        "network": _RANKED,
    }
)
"""By task; every one holds the task's preset, which is tried first."""

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "documents": "elbo",
        "recommendation": "ndcg@100",
        "plays": "ndcg@100",
        "codes": "elbo",
        "cells": "elbo",
        "network": "ndcg@100",
    }
)
"""The metric of each task, if no other is asked for."""


def check_space(space: Mapping[str, Dimension], base: Mapping[str, Any]) -> None:
    """Check that every model of the space can be made.

    Parameters
    ----------
    space
        By parameter.
    base
        Parameters that all trials share.

    Raises
    ------
    ParameterError
        If the space is empty, names something that is no parameter, or holds values out of range.
    """
    known = set(NonlinearFactorAnalysis().get_params(deep=False))
    unknown = sorted((set(space) | set(base)) - known)
    if unknown:
        raise ParameterError(
            f"{', '.join(unknown)}: no such parameter of NonlinearFactorAnalysis. It has "
            f"{', '.join(sorted(known))}."
        )
    NonlinearFactorAnalysis(**base).check_parameters()
    if not space:
        raise ParameterError("Every parameter is fixed: there is nothing to search.")
    for name, dimension in space.items():
        if isinstance(dimension, Range) and not dimension.low < dimension.high:
            raise ParameterError(f"The range of {name} is empty: {dimension}.")
        for value in dimension.ends:
            NonlinearFactorAnalysis(**dict(base) | {name: value}).check_parameters()
