"""The study: its trials in memory or in a file, and which settings come next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from longtail.errors import MissingExtraError, ParameterError, WriteError
from longtail.folders import BusyError, locked
from longtail.tuning.spaces import Dimension

if TYPE_CHECKING:
    import optuna

__all__ = ["Identity", "StudyBook", "load_optuna", "open_book", "quiet"]

STUDY_FILE, LOCK_FILE = "study.db", "study.lock"

# Trials before hopeless ones are cut short, and the share of the epochs that each has for a start.
_BEFORE_PRUNING, _WARM_UP = 4, 0.25
# Trials before the sampler learns from them.
_AT_RANDOM = 10


def load_optuna() -> Any:
    """The module, imported when a study is wanted.

    Raises
    ------
    MissingExtraError
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            "Tuning needs Optuna, which the extra brings: pip install longtail[tune]. "
            "Presets, longtail.preset(task), need nothing."
        ) from error
    return optuna


@dataclass(frozen=True)
class Identity:
    """What a study is a study of.

    Attributes
    ----------
    data
        Digest of training and validation rows.
    settings
        JSON-ready: what is searched, and how trials are judged.
    """

    data: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For the study."""
        return f"longtail-{self.settings['task']}-{self.data[:16]}"


class StudyBook:
    """The trials of a study.

    Parameters
    ----------
    study
        Optuna's.
    space
        What is searched.
    seed
        Of the sampler.
    first
        Settings to try first.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Mapping[str, Dimension],
        *,
        seed: int,
        first: Mapping[str, Any],
    ) -> None:
        self._optuna = load_optuna()
        self._study = study
        self._space = space
        self._seed = seed
        self._drop_incomplete()
        failed = self._optuna.trial.TrialState.FAIL
        if all(trial.state == failed for trial in study.get_trials(deepcopy=False)):
            study.enqueue_trial(dict(first))

    def interrupted(self) -> optuna.Trial | None:
        """The trial that an earlier search left unfinished, if any: to be continued."""
        running = self._study.get_trials(states=[self._optuna.trial.TrialState.RUNNING])
        # Built on the record that is there, so that number, settings and reports stay.
        return self._optuna.Trial(self._study, running[-1]._trial_id) if running else None

    def next(self) -> optuna.Trial:
        """A new trial with its settings, `trial.params`.

        They follow from the seed and the trials that have finished, so that a study which was
        interrupted goes on as if it had not been.
        """
        state = np.random.SeedSequence([self._seed, len(self.finished())]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=int(state[0]), n_startup_trials=_AT_RANDOM
        )
        trial = self._study.ask()
        for name, dimension in self._space.items():
            dimension.suggest(trial, name)
        return trial

    def tell(self, trial: optuna.Trial, value: float | None) -> None:
        """A trial has ended, with a value or without: pruned."""
        if value is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, value)

    def finished(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that are over, whether pruned or not, in order."""
        states = self._optuna.trial.TrialState
        return self._study.get_trials(states=(states.COMPLETE, states.PRUNED))

    def all(self) -> list[optuna.trial.FrozenTrial]:
        """Every trial, in order."""
        return self._study.get_trials()

    def best(self) -> optuna.trial.FrozenTrial | None:
        """The best trial that ran to its end; of equal ones the first."""
        complete = self._study.get_trials(states=[self._optuna.trial.TrialState.COMPLETE])
        pick = max if self._maximize else min
        return pick(complete, key=lambda trial: trial.value or 0.0, default=None)

    def improves(self, value: float) -> bool:
        """Whether a trial with this value would be the best."""
        best = self.best()
        if best is None or best.value is None:
            return True
        return value > best.value if self._maximize else value < best.value

    def reports(self, trial: optuna.Trial) -> dict[int, float]:
        """The figures that a trial has reported, by epoch."""
        return self._study.get_trials()[trial.number].intermediate_values

    @property
    def _maximize(self) -> bool:
        return bool(self._study.direction == self._optuna.study.StudyDirection.MAXIMIZE)

    def _drop_incomplete(self) -> None:
        """Fail trials that were interrupted before they had all their settings.

        The sampler proposes the same settings again, because it does not count failed trials.
        """
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(states=[states.RUNNING]):
            if trial.params.keys() != self._space.keys():
                self._study.tell(trial.number, state=states.FAIL)


@contextmanager
def open_book(
    storage: Path | None,
    identity: Identity,
    space: Mapping[str, Dimension],
    *,
    direction: Literal["maximize", "minimize"],
    first: Mapping[str, Any],
    epochs: int,
    seed: int,
    resume: bool,
) -> Iterator[StudyBook]:
    """Open the study in a folder, or begin it.

    Parameters
    ----------
    storage
        Folder; None keeps the study in memory.
    epochs
        Of a trial.

    Raises
    ------
    ParameterError
        If there is a study already and `resume` is not set, it is a study of something else, or
        another search is working on it.
    WriteError
        If the file cannot be written.
    MissingExtraError
    """
    optuna = load_optuna()
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=_BEFORE_PRUNING, n_warmup_steps=max(1, int(_WARM_UP * epochs))
    )
    with _opened(optuna, storage) as backend:
        _refuse_others(optuna, backend, storage, identity, resume)
        with quiet(optuna):
            study = optuna.create_study(
                storage=backend,
                study_name=identity.name,
                direction=direction,
                pruner=pruner,
                load_if_exists=True,
            )
        study.set_user_attr("data", identity.data)
        study.set_user_attr("settings", json.dumps(identity.settings))
        yield StudyBook(study, space, seed=seed, first=first)


@contextmanager
def _opened(optuna: Any, storage: Path | None) -> Iterator[Any]:
    if storage is None:
        yield optuna.storages.InMemoryStorage()
        return
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import SQLAlchemyError

    path = storage / STUDY_FILE
    # Not an f-string: names of folders may hold what means something in an address.
    url = URL.create("sqlite", database=str(path.absolute()))
    with ExitStack() as stack:
        try:
            storage.mkdir(parents=True, exist_ok=True)
            # Two searches would use one trial and one checkpoint.
            stack.enter_context(locked(storage / LOCK_FILE))
            backend = optuna.storages.RDBStorage(str(url))
        except BusyError:
            raise ParameterError(
                f"Another search is working in {storage}. Wait until it has ended, or choose "
                "another folder."
            ) from None
        except (OSError, SQLAlchemyError) as error:
            reason = str(error).splitlines()[0]
            raise WriteError(
                f"The study {path} could not be opened for writing: {reason}."
            ) from error
        stack.callback(backend.engine.dispose)
        stack.callback(backend.remove_session)
        yield backend


def _refuse_others(
    optuna: Any, backend: Any, storage: Path | None, identity: Identity, resume: bool
) -> None:
    """Refuse a study that should not be gone on with, and say what is different."""
    for study in optuna.get_all_study_summaries(backend, include_best_trial=False):
        if study.n_trials == 0:  # a search was interrupted before its first trial
            continue
        saved = json.loads(study.user_attrs.get("settings", "{}"))
        now = json.loads(json.dumps(identity.settings))
        differs = [n for n in sorted(saved.keys() | now.keys()) if saved.get(n) != now.get(n)]
        if differs:
            told = "; ".join(f"{n} was {saved.get(n)!r}, is {now.get(n)!r}" for n in differs)
            what = f"a study with other settings: {told}"
        elif study.user_attrs.get("data") != identity.data:
            what = "a study of other data"
        elif not resume:
            raise ParameterError(
                f"{storage} holds an earlier study of these data (trials: {study.n_trials}). "
                "Continue it with resume=True (--resume), or choose another folder."
            )
        else:
            continue
        raise ParameterError(
            f"{storage} holds {what}. Trials are comparable only within one study: repeat its data "
            "and settings to go on with it, or choose another folder."
        )


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Without Optuna's note that a study was created."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
