"""Going on with a fitted model: the order of things."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from longtail.data.stream import CountStream
from longtail.errors import DataWarning
from longtail.estimator.about import environment
from longtail.estimator.network import resolve_device
from longtail.estimator.parameters import check_same_network, continuing_config
from longtail.estimator.running import RunningCounts
from longtail.estimator.updating.changes import bounds, drift, forgetting, idf_change
from longtail.estimator.updating.growing import feature_start, grown
from longtail.estimator.updating.report import BoundChange, UpdateReport
from longtail.estimator.updating.rows import (
    NewRows,
    Retained,
    new_rows,
    retained_rows,
    stacked,
)
from longtail.estimator.updating.settings import UpdateSettings
from longtail.estimator.updating.streamed import streamed_rows
from longtail.features import FeatureTransform
from longtail.training import Callback, FitResult, History, TrainingConfig
from longtail.training import fit as run_training
from longtail.training.progress import ProgressBar

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["continue_fit", "running_counts"]

# Of the fit's peak. Adam starts with empty moments and steps of full size, and the decay of the
# weights is proportional to it: at the peak itself an update would undo more than it adds.
_RATE_SHARE = 0.5


def continue_fit(
    model: NonlinearFactorAnalysis,
    X: Any,
    retain: Any,
    settings: UpdateSettings,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Go on with a fitted model; if anything goes wrong the model is as it was.

    Raises
    ------
    ParameterError, DataError, NonFiniteError
    """
    model.check_parameters()
    check_same_network(model.parameters_, model.get_params(deep=False))
    seed = _seed(model, settings)
    begin = streamed_rows if isinstance(X, CountStream) else new_rows
    rows = begin(model, X, settings, seed)
    retained = retained_rows(model, retain, rows.growth.vocabulary, seed)
    updated = _grown_copy(model, rows, settings)
    rate = settings.learning_rate or _RATE_SHARE * float(model.learning_rate)
    config = continuing_config(
        model.get_params(deep=False), seed, epochs=settings.epochs, learning_rate=rate
    )
    before = None if rows.valid is None else bounds(updated, rows.valid, config)
    result = _train(updated, rows, retained, config, callbacks)
    change = None
    if rows.valid is not None and before is not None:
        change = BoundChange.of(before, bounds(updated, rows.valid, config))
    running = running_counts(updated)
    report = UpdateReport(
        rows=int(rows.seen.rows),
        tokens=float(rows.seen.totals.sum()),
        held_out_rows=0 if rows.valid is None else rows.valid.n_rows,
        dropped_rows=rows.dropped,
        retained_rows=retained.train.n_rows if retained is not None and rows.rehearses else 0,
        epochs=len(result.history),
        best_epoch=result.best_epoch,
        updates=result.history[-1].updates if len(result.history) else 0,
        learning_rate=rate,
        seed=seed,
        total_rows=running.rows,
        features=updated.n_features_in_,
        added=rows.growth.added,
        left_out=rows.growth.left_out,
        reasons=rows.growth.reasons,
        unseen_mass=rows.unseen_mass,
        idf=idf_change(model, running, settings),
        drift=drift(model, updated, rows.valid, retained),
        new_rows=change,
        old_rows=forgetting(model, updated, retained, config),
        notes=_notes(running, rows, retained),
    )
    _record(updated, rows, result, report)
    model.__dict__.update(updated.__dict__)
    if change is not None and change.is_worse:
        warnings.warn(
            f"The update made held-out new rows worse: {change.before:.2f} → "
            f"{change.after:.2f} nats a row. Give more rows, fewer epochs or a lower "
            "learning_rate, or keep the earlier model.",
            DataWarning,
            stacklevel=3,
        )


def running_counts(model: NonlinearFactorAnalysis) -> RunningCounts:
    """The counts behind a fitted model: kept, or worked out if it was saved without."""
    if model.running_ is not None:
        return model.running_
    info = model.fit_info_
    return RunningCounts.recover(
        model.unigram_,
        model.transform_.idf,
        rows=int(info["train_rows"]),
        tokens=float(info["train_tokens"]),
    )


def _seed(model: NonlinearFactorAnalysis, settings: UpdateSettings) -> int:
    """Of this update: another one for each, and the same when a saved model goes on."""
    if settings.seed is not None:
        return int(settings.seed)
    number = len(model.fit_info_.get("updates", ()))
    return int(np.random.SeedSequence([model.seed_, number]).generate_state(1)[0])


def _grown_copy(
    model: NonlinearFactorAnalysis, rows: NewRows, settings: UpdateSettings
) -> NonlinearFactorAnalysis:
    """The model with its new features and counts, before it has learnt from the new rows."""
    vocabulary = rows.growth.vocabulary
    before = running_counts(model).widened(len(vocabulary))
    running = before.plus(rows.seen, forget=float(settings.forget))
    transform = _transform(model, running, settings)
    start = None
    if rows.growth.added:
        start = feature_start(
            model.network_, rows.sample, rows.seen, transform, len(model.vocabulary_)
        )
    unigram = running.unigram()
    network = grown(
        model.network_,
        start,
        unigram,
        refine_features=model.refine_features,
        theta_features=model.theta_features,
    )
    result = copy.copy(model)
    result.set_fitted(
        network=network,
        vocabulary=vocabulary.described_like(rows.sample.vocabulary),
        transform=transform,
        unigram=unigram,
        history=model.history_,
        read_settings=model.read_settings_,
        seed=model.seed_,
        fit_info=model.fit_info_,
        running=running,
    )
    if hasattr(result, "feature_names_in_"):
        result.feature_names_in_ = np.asarray(vocabulary.names, dtype=object)
    return result


def _transform(
    model: NonlinearFactorAnalysis, running: RunningCounts, settings: UpdateSettings
) -> FeatureTransform:
    """What the encoder reads. Kept inverse document frequencies do not move; new ones join."""
    old = model.transform_.idf
    if old is None:
        return model.transform_
    idf = running.idf()
    if settings.idf == "keep":
        idf[: len(old)] = old
    return FeatureTransform(model.transform_.kind, idf)


def _train(
    updated: NonlinearFactorAnalysis,
    rows: NewRows,
    retained: Retained | None,
    config: TrainingConfig,
    callbacks: Sequence[Callback],
) -> FitResult:
    """Train the copy in place."""
    if config.epochs == 0:
        return FitResult(History(), 0, "no epochs asked for")
    valid, rehearsed = rows.valid, None
    if retained is not None:
        rehearsed = retained.train
        valid = retained.held_out if valid is None else stacked(valid, retained.held_out)
    bar = ProgressBar(label="update") if updated.verbose else None
    try:
        return run_training(
            updated.network_.requires_grad_(True),
            rows.batches(updated.transform_, rehearsed),
            valid,
            updated.transform_,
            config,
            device=resolve_device(updated.device),
            callbacks=[*callbacks, *([bar] if bar else [])],
        )
    finally:
        updated.network_.requires_grad_(False)
        if bar is not None:
            bar.close()


def _record(
    updated: NonlinearFactorAnalysis, rows: NewRows, result: FitResult, report: UpdateReport
) -> None:
    """Put the update into the model's history and the facts of its fit."""
    done = updated.history_
    epochs, updates = len(done), done[-1].updates if len(done) else 0
    for record in result.history:
        done = done.plus(
            replace(record, epoch=record.epoch + epochs, updates=record.updates + updates)
        )
    updated.history_, updated.n_iter_ = done, len(done)
    was = updated.fit_info_
    share = report.rows / (report.rows + was["train_rows"])
    info = was | {
        "train_rows": was["train_rows"] + report.rows,
        "valid_rows": was["valid_rows"] + report.held_out_rows,
        "dropped_rows": was["dropped_rows"] + rows.dropped,
        "train_tokens": was["train_tokens"] + report.tokens,
        # Two medians do not make one: their mean, weighted by rows.
        "median_total": (1 - share) * was["median_total"] + share * rows.median_total,
        "environment": environment(str(resolve_device(updated.device))),
        "updates": [*was.get("updates", ()), report.to_dict()],
    }
    if rows.median_exposure is not None:
        before = was["median_exposure"]
        info |= {"median_exposure": (1 - share) * before + share * rows.median_exposure}
    if len(result.history):
        info |= {"best_epoch": epochs + result.best_epoch, "stopped": result.stopped}
    updated.fit_info_, updated.update_report_ = info, report


def _notes(running: RunningCounts, rows: NewRows, retained: Retained | None) -> tuple[str, ...]:
    notes = [running.recovered] if running.recovered else []
    if rows.growth.added:
        notes.append("new features are counted from this update on: in earlier rows they are 0")
    if retained is not None and not rows.rehearses:
        notes.append(
            "retained rows measure what was forgotten and are not rehearsed: put old rows among "
            "those that are streamed"
        )
    return tuple(notes)
