"""`tune`: search the settings of a kind of data on validation rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longtail.archive import check_replaceable
from longtail.data import CountMatrix
from longtail.data.files import as_path
from longtail.data.long_tables import refuse_long_table
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis, load
from longtail.estimator.exposures import take_exposures
from longtail.estimator.inputs import MOST, whole
from longtail.estimator.prepare import TrainingRows, prepare, require_values
from longtail.presets import find_preset
from longtail.tuning.metrics import get_metric
from longtail.tuning.results import Tuning
from longtail.tuning.spaces import METRICS, SPACES, Dimension, check_space
from longtail.tuning.study import Identity, StudyBook, load_optuna, open_book
from longtail.tuning.trials import Budget, OutOfTimeError, TrialRun

if TYPE_CHECKING:
    import optuna

__all__ = ["tune"]

_VALIDATION_FRACTION = 0.1
_MODEL, _CHECKPOINT = "model", "checkpoint"


def tune(
    X: Any,
    *,
    task: str = "documents",
    minutes: float | None = None,
    trials: int | None = None,
    metric: str | None = None,
    valid: Any = None,
    fixed: Mapping[str, Any] | None = None,
    space: Mapping[str, Dimension] | None = None,
    seed: int = 0,
    storage: str | Path | None = None,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Search for settings that suit the data, by validation rows.

    The preset of the task is tried first, then what Optuna's TPE sampler proposes from the trials
    so far. Trials whose validation figure falls below the median of the others at the same epoch
    are cut short. Every trial has the same rows and the same seed.

    Parameters
    ----------
    X
        Counts, as for `NonlinearFactorAnalysis.fit`. Leave test rows out.
    task
        Names a preset, a search space (`longtail.tuning.SPACES`) and a metric.
    minutes
        Of this call: looked at after every epoch, of which a call trains at least one. A trial
        that is under way then continues when the study is resumed.
    trials
        Of the study in all, at most. Give `minutes`, `trials` or both.
    metric
        ``"elbo"``, ``"completion"``, or a ranking such as ``"ndcg@100"`` or ``"recall@20"``, for
        which a fifth of each validation row's items are hidden. None: that of the task.
    valid
        Validation rows; those that are training rows too are left out. Otherwise a tenth of X, at
        most 2,000 rows, exact duplicates on one side.
    fixed
        Parameters that are not searched but have these values: ``{"epochs": 30}``.
    space
        What is searched, by parameter, in place of the task's space.
    seed
        Of the sampler, the split and every fit.
    storage
        Folder for the study, a checkpoint of the trial under way, and the best model so far; None
        keeps all in memory.
    resume
        Go on with the study there, if there is one.
    say
        Called with a line for each trial.
    clock
        Seconds, for the budget.

    Returns
    -------
    Tuning
        `.best_params`, `.model`, `.frame()`.

    Raises
    ------
    ParameterError
        If the task, the metric or a parameter is unknown or out of range, the budget is too small
        for one trial, the folder holds another study, or another search is working in it.
    DataError
        If the rows cannot be fitted or judged.
    MissingExtraError
        If Optuna is not installed.
    """
    load_optuna()
    defaults = NonlinearFactorAnalysis().get_params(deep=False)
    start = find_preset(task).parameters | dict(fixed or {})
    searched = SPACES[task] if space is None else space
    searched = {name: d for name, d in searched.items() if name not in (fixed or {})}
    base = {name: value for name, value in start.items() if name not in searched}
    check_space(searched, base)
    _check_budget(minutes, trials)
    seed = whole("seed", seed, 0)
    policy = base.get("counts", "fractional")
    refuse_long_table(X)
    refuse_long_table(valid)
    counts = CountMatrix.from_any(X, counts=policy)
    held_out = None if valid is None else CountMatrix.from_any(valid, counts=policy)
    exposure = base.get("exposure", defaults["exposure"])
    counts = take_exposures(exposure, counts)
    if held_out is not None:
        held_out = take_exposures(exposure, held_out, what="validation rows")
    rows = prepare(counts, held_out, validation_fraction=_VALIDATION_FRACTION, seed=seed)
    rows, judged = _apart(rows)
    require_values(base.get("likelihood", defaults["likelihood"]), rows.train)
    judge = get_metric(metric or _usual_metric(task, judged.n_features), judged, seed=seed)
    settings = {
        "task": task,
        "metric": judge.name,
        "space": {name: repr(d) for name, d in searched.items()},
        "fixed": {name: repr(value) for name, value in base.items() if name != "verbose"},
        "seed": seed,
    }
    folder = None if storage is None else as_path(storage, "storage")
    if folder is not None:
        check_replaceable(folder / _MODEL)
    run = TrialRun(
        base=base,
        rows=rows,
        metric=judge,
        budget=Budget(minutes, clock),
        checkpoint=None if folder is None else folder / _CHECKPOINT,
        seed=seed,
    )
    with open_book(
        folder,
        Identity(rows.fingerprint({"refine_steps": "auto", **settings}, seed), settings),
        searched,
        direction=judge.direction,
        first=_first(searched, defaults | start),
        epochs=int(base.get("epochs", defaults["epochs"])),
        seed=seed,
        resume=resume,
    ) as book:
        return _Search(book, run, folder, say or (lambda line: None)).until(trials, task)


class _Search:
    """The loop over trials; keeps the best model."""

    def __init__(
        self, book: StudyBook, run: TrialRun, folder: Path | None, say: Callable[[str], None]
    ) -> None:
        self.book = book
        self.run = run
        self.folder = folder
        self.say = say
        self.model: NonlinearFactorAnalysis | None = None
        self.number: int | None = None  # of the trial whose model it is

    def until(self, trials: int | None, task: str) -> Tuning:
        """Run trials while the budget lasts."""
        begun = False
        while True:
            done = len(self.book.finished())
            if trials is not None and done >= trials:
                stopped = f"{done} trials done"
                break
            stopped = "time is up"
            # Every call trains an epoch at least, so that calls add up to whole trials.
            if self.run.budget.spent() and begun:
                break
            begun = True
            try:
                self._trial()
            except OutOfTimeError:
                break
        best = self.book.best()
        if best is None:
            raise ParameterError(
                f"No trial came to its end: {stopped}. "
                + (
                    "What was trained is kept: continue it with resume=True (--resume)."
                    if self.folder
                    else "Give more minutes, fewer epochs (fixed), or fewer rows."
                )
            )
        return Tuning(
            task=task,
            metric=self.run.metric,
            base={n: v for n, v in self.run.base.items() if n != "verbose"},
            best=best,
            trials=tuple(self.book.all()),
            model=self._best_model(best.number, best.params),
            stopped=stopped,
        )

    def _trial(self) -> None:
        trial = self.book.interrupted()
        reports = {} if trial is None else self.book.reports(trial)
        resume = trial is not None
        if trial is None:
            # Before there is a trial that might be continued from it.
            self.run.forget_checkpoint()
            trial = self.book.next()
        told = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
        self.say(f"trial {trial.number}{' (continued)' if resume else ''}: {told}")
        result = self.run(trial, reports, resume=resume)
        if result is None:
            self.book.tell(trial, None)
            self.say(f"trial {trial.number}: cut short")
        else:
            self._keep(trial, *result)
        self.run.forget_checkpoint()

    def _keep(self, trial: optuna.Trial, model: NonlinearFactorAnalysis, value: float) -> None:
        """Record a trial that ran to its end.

        The model is saved first: after a kill between the two the trial is judged again from its
        checkpoint, while a recorded trial without its model would have to be fitted again.
        """
        if self.book.improves(value):
            self.model, self.number = model, trial.number
            if self.folder is not None:
                model.save(self.folder / _MODEL)
        self.book.tell(trial, value)
        best = self.book.best()
        assert best is not None
        self.say(
            f"trial {trial.number}: {self.run.metric.name} {value:.5g} "
            f"(best {best.value:.5g}, trial {best.number})"
        )

    def _best_model(self, number: int, params: Mapping[str, Any]) -> NonlinearFactorAnalysis:
        """The model of the best trial: at hand, saved, or fitted again if the save was lost."""
        if self.model is not None and self.number == number:
            return self.model
        if self.folder is not None and (self.folder / _MODEL).exists():
            saved = load(self.folder / _MODEL)
            expected = {**self.run.base, **params}
            kept = saved.get_params(deep=False)
            if all(kept[name] == value for name, value in expected.items() if name != "verbose"):
                return saved
        self.say(f"trial {number} is the best, but its model is gone: fitting it again")
        model = self.run.refit(params)
        if self.folder is not None:
            model.save(self.folder / _MODEL)
        return model


def _usual_metric(task: str, n_features: int) -> str:
    """The metric of a task, whose lists are no longer than there are items."""
    ranking, at, cutoff = METRICS[task].partition("@")
    return ranking + (f"@{min(int(cutoff), n_features)}" if at else "")


def _check_budget(minutes: Any, trials: Any) -> None:
    if minutes is None and trials is None:
        raise ParameterError("Give minutes, trials or both: a search has no end of its own.")
    if minutes is not None and not (
        isinstance(minutes, int | float | np.number) and 0 < minutes <= MOST
    ):
        raise ParameterError(f"minutes must be a number > 0 and ≤ {MOST:,}; got {minutes!r}.")
    if trials is not None:
        whole("trials", trials, 1, MOST)


def _first(space: Mapping[str, Dimension], start: Mapping[str, Any]) -> dict[str, Any]:
    """The preset, where the space holds it; the sampler draws the rest."""
    return {name: start[name] for name, d in space.items() if d.holds(start[name])}


def _apart(rows: TrainingRows) -> tuple[TrainingRows, CountMatrix]:
    """Without validation rows that are training rows too; and those validation rows."""
    if rows.valid is None:
        raise DataError(
            "A tenth of the rows is held out to judge settings by, which takes at least 10 "
            f"validation rows; there are only {rows.train.n_rows:,} rows in all. Give at least "
            "100 rows, or validation rows of your own (valid=, --valid)."
        )
    new = np.flatnonzero(~np.isin(rows.valid.row_keys(), rows.train.row_keys()))
    if len(new) == 0:
        raise DataError(
            "Every validation row is a training row too: nothing is left to judge settings by. "
            "Give other validation rows (valid), or none, for a split that keeps duplicates on "
            "one side."
        )
    valid = rows.valid if len(new) == rows.valid.n_rows else rows.valid[new]
    return replace(rows, valid=valid), valid


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
