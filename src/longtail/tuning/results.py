"""What a search has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from longtail.displays import ImportanceDisplay, TrialsDisplay
from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.tuning.metrics import Metric
from longtail.tuning.study import load_optuna, quiet

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["Tuning"]

_FEWEST_FOR_IMPORTANCE = 4
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "interrupted"}


@dataclass(frozen=True, eq=False)
class Tuning:
    """The trials of a study, and the best of them.

    Attributes
    ----------
    task
        Whose space was searched.
    metric
        What trials were judged by: `.name`, `.label`, `.direction`.
    base
        Parameters that all trials share, where they are not defaults.
    best
        The best trial, as Optuna has it.
    trials
        All trials, as Optuna has them.
    model
        Of the best trial, fitted. Its validation rows chose it: judge it by test rows.
    stopped
        Why the search ended.
    """

    task: str
    metric: Metric
    base: dict[str, Any]
    best: FrozenTrial
    trials: tuple[FrozenTrial, ...]
    model: NonlinearFactorAnalysis
    stopped: str

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters of `NonlinearFactorAnalysis` where they are not defaults."""
        return {**self.base, **self.best.params}

    @property
    def best_value(self) -> float:
        """Its metric on the validation rows."""
        assert self.best.value is not None
        return self.best.value

    def frame(self) -> pl.DataFrame:
        """One line a trial: trial, state, value, epochs, best_epoch, seconds, each parameter.

        The value of a pruned trial is that of its last epoch. A trial that was interrupted and
        continued has one line.
        """
        schema: dict[str, Any] = {
            "trial": pl.Int64,
            "state": pl.String,
            "value": pl.Float64,
            "epochs": pl.Int64,
            "best_epoch": pl.Int64,
            "seconds": pl.Float64,
            "stopped": pl.String,
        }
        attributes = ("epochs", "best_epoch", "seconds", "stopped")
        lines = [
            {"trial": t.number, "state": _STATES[t.state.name], "value": t.value}
            | {name: t.user_attrs.get(name) for name in attributes}
            | t.params
            for t in self.trials
            if t.state.name in _STATES
        ]
        return pl.DataFrame(lines, schema_overrides=schema, infer_schema_length=None)

    def importance(self) -> pl.DataFrame:
        """How much of the metric's variation over complete trials each parameter explains.

        By functional ANOVA over a random forest (Hutter et al. 2014), shares that sum to 1:
        parameter, importance. With few trials it says little.

        Raises
        ------
        ParameterError
            If there are fewer than 4 complete trials.
        """
        complete = [t for t in self.trials if t.state.name == "COMPLETE"]
        if len(complete) < _FEWEST_FOR_IMPORTANCE:
            raise ParameterError(
                f"Importance needs {_FEWEST_FOR_IMPORTANCE} complete trials; there are "
                f"{len(complete)}. Resume the study with more trials or minutes."
            )
        optuna = load_optuna()
        with quiet(optuna):
            study = optuna.create_study(direction=self.metric.direction)
        study.add_trials(complete)
        shares = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
        return pl.DataFrame(
            list(shares.items()),
            schema={"parameter": pl.String, "importance": pl.Float64},
            orient="row",
        )

    def display(self) -> TrialsDisplay:
        """The trials as a figure with its table."""
        return TrialsDisplay(self.frame(), self.metric.label, self.metric.direction)

    def plot(self) -> Any:
        """The trials as an Altair chart."""
        return self.display().plot()

    def plot_importance(self) -> Any:
        """The parameters' importance as an Altair chart."""
        return ImportanceDisplay(self.importance(), self.metric.label).plot()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the trials are only counted."""
        states = [t.state.name for t in self.trials]
        return {
            "task": self.task,
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "best_value": self.best_value,
            "best_trial": self.best.number,
            "best_params": self.best_params,
            "complete": states.count("COMPLETE"),
            "pruned": states.count("PRUNED"),
            "stopped": self.stopped,
        }

    def __str__(self) -> str:
        found = self.to_dict()
        lines = [
            f"{found['complete']} trials complete, {found['pruned']} cut short; {self.stopped}",
            f"best, trial {self.best.number}: {self.metric.label} {self.best_value:.5g}",
            *(f"  {name} = {value!r}" for name, value in self.best_params.items()),
        ]
        return "\n".join(lines)

    __repr__ = __str__
