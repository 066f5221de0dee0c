"""The settings of one training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from longtail.inference import RefineMethod, RefineSettings
from longtail.training.schedules import RefineSchedule

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is fitted.

    Attributes
    ----------
    epochs
        Passes over the training rows, at most.
    batch_size
        B.
    learning_rate, lr_schedule
        Adam's peak step size; "cosine" falls to 0 at the last epoch, "constant" does not, "warmup"
        rises first.
    weight_decay
        Decoupled (AdamW), on weight matrices; not on biases.
    output_epsilon
        Adam's ε for the output layer: see `optimizer_of`.
    feature_dropout
        Share of a row's features hidden from the encoder at each update (the likelihood still
        scores all of them).
    kl_weight
        Of the KL, once it has risen. The best epoch is chosen by the bound with this weight;
        the bounds of the history have weight 1.
    kl_anneal
        Share of the updates over which the KL weight rises from 0; 0 for none.
    refine_schedule
        Pairs (first epoch, M): see `schedules.steps_at`.
    refine_method
        The local optimiser: see `RefineSettings`.
    importance_samples
        S, draws from ψ* of which one, chosen by importance weight, teaches the decoder; 1 ascends
        the ELBO. "auto" is 8 in epochs that refine and 1 in those that do not: see
        `schedules.draws_at`.
    valid_refine
        How validation rows are refined.
    patience
        Epochs without a better validation bound before stopping; None never stops early. It
        counts from the end of annealing.
    seed
        Of everything random.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    lr_schedule: Literal["cosine", "constant", "warmup"]
    weight_decay: float
    output_epsilon: float
    feature_dropout: float
    kl_weight: float
    kl_anneal: float
    refine_schedule: RefineSchedule
    refine_method: RefineMethod
    importance_samples: int | Literal["auto"]
    valid_refine: RefineSettings
    patience: int | None
    seed: int
