"""Fitting: the loop, its schedules, history and checkpoints."""

from longtail.training.callbacks import Callback, StopTraining
from longtail.training.config import TrainingConfig
from longtail.training.fit import FitResult, fit
from longtail.training.history import EpochRecord, History
from longtail.training.schedules import kl_weight, learning_rate, steps_at

__all__ = [
    "Callback",
    "EpochRecord",
    "FitResult",
    "History",
    "StopTraining",
    "TrainingConfig",
    "fit",
    "kl_weight",
    "learning_rate",
    "steps_at",
]
