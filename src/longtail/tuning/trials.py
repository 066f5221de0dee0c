"""One trial: a fit that reports every epoch, and may be cut short."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.errors import CheckpointError, CheckpointWriteError, NonFiniteError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.prepare import TrainingRows
from longtail.inference import HybridModel
from longtail.training import Callback, EpochRecord, TrainingConfig
from longtail.training.checkpoint import CheckpointStore
from longtail.tuning.metrics import Elbo, Metric, fitted_copy
from longtail.tuning.study import load_optuna

if TYPE_CHECKING:
    import optuna

__all__ = ["Budget", "OutOfTimeError", "TrialRun"]


class OutOfTimeError(Exception):
    """The budget is spent in the middle of a trial."""


class Budget:
    """Minutes that a search may take.

    Parameters
    ----------
    minutes
        None: no limit.
    clock
        Seconds since whenever.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = None if minutes is None else clock() + 60 * minutes

    def spent(self) -> bool:
        """Whether time is up."""
        return self._end is not None and self._clock() >= self._end


@dataclass(frozen=True, eq=False)
class TrialRun:
    """How trials are run.

    Attributes
    ----------
    base
        Parameters that all trials share.
    rows
        Training and validation rows.
    metric
        What trials are judged by.
    budget
        Looked at after every epoch.
    checkpoint
        Folder for the checkpoint of the trial that runs; None for none.
    seed
        Of every fit: settings are compared, not luck.
    """

    base: Mapping[str, Any]
    rows: TrainingRows
    metric: Metric
    budget: Budget
    checkpoint: Path | None
    seed: int

    def __call__(
        self, trial: optuna.Trial, reports: Mapping[int, float], *, resume: bool
    ) -> tuple[NonlinearFactorAnalysis, float] | None:
        """Fit and judge; None if the trial was pruned, or met NaN or infinity.

        Parameters
        ----------
        reports
            What the trial has reported before an interruption, by epoch.
        resume
            Continue from the checkpoint, if any.

        Raises
        ------
        OutOfTimeError
            Between epochs. Those that are done are in the checkpoint.
        """
        parameters = {**self.base, **trial.params}
        watch = _Watch(self, trial, parameters, reports)
        model = NonlinearFactorAnalysis(**parameters, random_state=self.seed)
        try:
            self._fit(model, watch, resume=resume)
        except load_optuna().TrialPruned:
            trial.set_user_attr("stopped", "pruned")
            return None
        except NonFiniteError:
            # A result too: the sampler should keep away from such settings.
            trial.set_user_attr("stopped", "NaN or infinity")
            return None
        value = self.metric.of_fit(model)
        trial.set_user_attr("stopped", model.fit_info_["stopped"])
        trial.set_user_attr("best_epoch", model.fit_info_["best_epoch"])
        model.set_params(verbose=0)
        return model, value

    def refit(self, parameters: Mapping[str, Any]) -> NonlinearFactorAnalysis:
        """The model of a trial, once more: bitwise the same, on a CPU."""
        model = NonlinearFactorAnalysis(**{**self.base, **parameters}, random_state=self.seed)
        model.fit(self.rows.train, valid=self.rows.valid)
        model.set_params(verbose=0)
        return model

    def _fit(self, model: NonlinearFactorAnalysis, watch: _Watch, *, resume: bool) -> None:
        def fit() -> None:
            model.fit(
                self.rows.train,
                valid=self.rows.valid,
                callbacks=[watch],
                checkpoint=self.checkpoint,
                resume=resume,
            )

        try:
            fit()
        except CheckpointWriteError:
            raise
        except CheckpointError:
            # Damaged, or of another trial: this one begins anew.
            self.forget_checkpoint()
            fit()

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint of the trial that has ended."""
        if self.checkpoint is not None:
            CheckpointStore(self.checkpoint, "").clear()


class _Watch(Callback):
    """Reports every epoch, and ends the fit when the trial is hopeless or time is up."""

    def __init__(
        self,
        run: TrialRun,
        trial: optuna.Trial,
        parameters: Mapping[str, Any],
        reports: Mapping[int, float],
    ) -> None:
        self._run = run
        self._trial = trial
        self._parameters = parameters
        self._reported = set(reports)
        self._seconds = float(trial.user_attrs.get("seconds", 0.0))

    def on_network(self, network: HybridModel) -> None:
        self._network = network

    def on_fit_begin(self, config: TrainingConfig, n_rows: int, first_epoch: int) -> None:
        self._epochs = config.epochs
        if first_epoch == 0:
            return
        # A kill may have come after the checkpoint of an epoch and before its report.
        if first_epoch not in self._reported:
            self._trial.set_user_attr("epochs", first_epoch)
            self._trial.report(self._value(None), first_epoch)
        self._end_if_hopeless()

    def on_epoch_end(self, record: EpochRecord) -> None:
        self._seconds += record.seconds
        self._trial.set_user_attr("seconds", self._seconds)
        self._trial.set_user_attr("epochs", record.epoch)
        if record.epoch not in self._reported:
            self._trial.report(self._value(record), record.epoch)
        self._end_if_hopeless()
        if record.epoch < self._epochs and self._run.budget.spent():
            raise OutOfTimeError

    def _end_if_hopeless(self) -> None:
        if self._trial.should_prune():
            raise load_optuna().TrialPruned

    def _value(self, record: EpochRecord | None) -> float:
        """The figure of an epoch; None stands for the record of one before an interruption."""
        run = self._run
        if record is not None and isinstance(run.metric, Elbo):
            return run.metric.of_record(record)
        model = fitted_copy(self._parameters, self._network, run.rows, run.seed)
        return run.metric.of_epoch(model)
