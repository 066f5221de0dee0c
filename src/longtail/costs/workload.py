"""The sizes that costs depend on, from data and the estimator's parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from longtail.data.stream.counts import BUFFER_ROWS, LANES
from longtail.errors import ParameterError
from longtail.estimator.inputs import MOST_ROWS, is_whole
from longtail.estimator.network import feature_sample_size
from longtail.estimator.parameters import check_parameters, training_config
from longtail.estimator.prepare import MOST_VALID_ROWS
from longtail.training.schedules import draws_at, steps_at

__all__ = ["Workload"]

_MOST_ROWS = 1e15


@dataclass(frozen=True)
class Workload:
    """One fit, in the method's letters.

    Attributes
    ----------
    rows, non_zeros, features
        n; features that a row has, on average; V.
    components, hidden
        K and H.
    encoder_layers, decoder_layers, skip
        As of the estimator.
    likelihood
        Its name.
    batch_size, epochs
        B, over all workers; passes.
    refine_steps, draws
        M and S, averages over the epochs.
    refine_features, theta_features
        Features in a refinement step, and in an update of θ; V where all take part.
    valid_rows, valid_steps
        Rows that are scored after each epoch, and their refinement steps.
    streamed
        Whether rows are read from disk in each epoch, instead of held in memory.
    buffer_rows, lanes
        Of a stream: rows that are shuffled together, and streams side by side.
    """

    rows: float
    non_zeros: float
    features: int
    components: int
    hidden: int
    encoder_layers: int
    decoder_layers: int
    skip: bool
    likelihood: str
    batch_size: int
    epochs: int
    refine_steps: float
    draws: float
    refine_features: int
    theta_features: int
    valid_rows: int
    valid_steps: int
    streamed: bool = False
    buffer_rows: int = BUFFER_ROWS
    lanes: int = LANES

    @classmethod
    def of(
        cls,
        parameters: Mapping[str, Any],
        *,
        rows: float,
        features: int,
        non_zeros: float,
        streamed: bool = False,
    ) -> Workload:
        """The work of fitting an estimator with these parameters, all of them given.

        Raises
        ------
        ParameterError
            If a size or a parameter is out of range.
        """
        check_parameters(parameters)
        _check_sizes(rows, features, non_zeros)
        config = training_config(parameters, seed=0)
        steps = [steps_at(epoch, config.refine_schedule) for epoch in range(config.epochs)]
        draws = [draws_at(m, config.importance_samples) for m in steps]
        share = parameters["validation_fraction"]
        return cls(
            rows=float(rows),
            non_zeros=float(non_zeros),
            features=int(features),
            components=int(parameters["n_components"]),
            hidden=int(parameters["n_hidden"]),
            encoder_layers=int(parameters["encoder_layers"]),
            decoder_layers=int(parameters["decoder_layers"]),
            skip=bool(parameters["skip"]) and int(parameters["decoder_layers"]) > 0,
            likelihood=parameters["likelihood"],
            batch_size=int(parameters["batch_size"]),
            epochs=config.epochs,
            refine_steps=float(np.mean(steps)),
            draws=float(np.mean(draws)),
            refine_features=feature_sample_size(features, parameters["refine_features"]),
            theta_features=feature_sample_size(features, parameters["theta_features"]),
            valid_rows=min(int(rows * share), MOST_VALID_ROWS),
            valid_steps=config.valid_refine.steps,
            streamed=streamed,
        )

    @property
    def updates(self) -> int:
        """Updates of an epoch."""
        return max(1, math.ceil(self.rows / self.batch_size))

    @property
    def output_width(self) -> int:
        """D, what the output layer sees: H, or K without hidden layers; K more with a skip."""
        if self.decoder_layers == 0:
            return self.components
        return self.hidden + (self.components if self.skip else 0)

    @property
    def parameters(self) -> dict[str, int]:
        """Numbers to learn, by where they are."""
        v, h, k, d = self.features, self.hidden, self.components, self.output_width
        hidden_encoder = (self.encoder_layers - 1) * (h * h + h) + 2 * (h * k + k) + h
        hidden_decoder = 0
        if self.decoder_layers:
            hidden_decoder = k * h + h + (self.decoder_layers - 1) * (h * h + h)
        dispersions = {"negative_binomial": v, "dirichlet_multinomial": 1}.get(self.likelihood, 0)
        return {
            "output layer": v * d + v + dispersions,
            "encoder's first layer": v * h,
            "hidden layers": hidden_encoder + hidden_decoder,
        }

    @property
    def n_parameters(self) -> int:
        """P, all of them."""
        return sum(self.parameters.values())


def _is_real(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_sizes(rows: float, features: int, non_zeros: float) -> None:
    faults = []
    if not _is_real(rows) or not 1 <= rows <= _MOST_ROWS:
        faults.append(f"  rows must be a number ≥ 1 and ≤ {_MOST_ROWS:g}; got {rows!r}")
    if not is_whole(features, 2, MOST_ROWS):
        faults.append(
            f"  features must be a whole number ≥ 2 and ≤ {MOST_ROWS:,}; got {features!r}"
        )
    elif not _is_real(non_zeros) or not 0 < non_zeros <= features:
        faults.append(f"  non_zeros, of a row, must be > 0 and ≤ {features:,}; got {non_zeros!r}")
    if faults:
        raise ParameterError("\n".join(["These sizes cannot be planned for:", *faults]))
