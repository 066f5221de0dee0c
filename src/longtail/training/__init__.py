"""Fitting: the loop, its schedules, history and checkpoints."""

from longtail.training.callbacks import Callback, StopTraining
from longtail.training.config import TrainingConfig
from longtail.training.fabric import join_processes
from longtail.training.fit import FitResult, fit
from longtail.training.history import EpochRecord, History
from longtail.training.processes import OneProcess, Processes, on_first
from longtail.training.schedules import kl_weight, learning_rate, steps_at

__all__ = [
    "Callback",
    "EpochRecord",
    "FitResult",
    "History",
    "OneProcess",
    "Processes",
    "StopTraining",
    "TrainingConfig",
    "fit",
    "join_processes",
    "kl_weight",
    "learning_rate",
    "on_first",
    "steps_at",
]
