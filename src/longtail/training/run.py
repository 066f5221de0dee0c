"""The moving parts of one training run: updates, epochs, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from longtail.data import Batch, BatchSource, CountMatrix
from longtail.errors import NonFiniteError
from longtail.evaluation.results import KL_THRESHOLD
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, RefineSettings, Rows
from longtail.training.checkpoint import Checkpoint
from longtail.training.config import TrainingConfig
from longtail.training.dropout import with_dropout
from longtail.training.faults import REMEDY, check_parameters, fault_of
from longtail.training.history import EpochRecord
from longtail.training.optimizer import FLUSH_EVERY, flush_subnormal, optimizer_of
from longtail.training.processes import Processes
from longtail.training.schedules import draws_at, kl_weight, learning_rate, steps_at
from longtail.training.state import EpochSums, RunState, checkpoint_of, restore
from longtail.training.step import StepTerms, step_terms
from longtail.training.validate import Validated, Validation

__all__ = ["Run", "Step"]

_ADAM_STEP = 1e-2  # of the published method, in training


class Run:
    """One model in training; `state` says how far it is."""

    def __init__(
        self,
        model: HybridModel,
        train: BatchSource,
        valid: CountMatrix | None,
        transform: FeatureTransform,
        config: TrainingConfig,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.model = model.to(device)
        self.config = config
        self.device = device
        self.train = train
        self.processes = processes
        self.valid: Validation | None = None
        if valid is not None:
            self.valid = Validation(valid, transform, config, processes, device)
        self.optimizer = optimizer_of(
            model, config.learning_rate, config.weight_decay, config.output_epsilon
        )
        self.step = processes.together(Step(model))
        self.total_updates = config.epochs * len(self.train)
        self.state = RunState()

    def finished(self) -> str | None:
        """Why training is over, or None if it is not."""
        state, config = self.state, self.config
        if state.epoch >= config.epochs:
            return f"all {config.epochs} epochs done"
        if self.valid is None or config.patience is None:
            return None
        # The bound may well rise and fall while the KL weight grows: judge only after that.
        waiting_since = max(state.best_epoch, math.ceil(config.kl_anneal * config.epochs))
        if state.epoch - waiting_since >= config.patience:
            return f"no better validation bound in {config.patience} epochs"
        return None

    # --- an epoch --------------------------------------------------------------------------------

    def batches(self, after_batch: Callable[[], str | None]) -> str | None:
        """Train on what is left of the epoch, until `after_batch` says why to stop."""
        state, config = self.state, self.config
        refine = RefineSettings(
            steps_at(state.epoch, config.refine_schedule),
            config.refine_method,
            learning_rate=_ADAM_STEP,
        )
        since = time.perf_counter()
        for batch in self.train.epoch(
            config.seed, state.epoch, start=state.batches, part=self.processes.part
        ):
            terms = self._update(batch, refine)
            state.batches += 1
            now = time.perf_counter()
            state.sums.add(terms, batch.global_size, now - since)
            since = now
            reason = after_batch()
            if reason is not None:
                return reason
        return None

    def close_epoch(self) -> EpochRecord:
        """Validate, record, and turn to the next epoch."""
        state, started = self.state, time.perf_counter()
        sums = state.sums.over_all(self.processes)
        state.epoch, state.batches, state.sums = state.epoch + 1, 0, EpochSums()
        check_parameters(self.model, state.epoch)
        valid = self.valid(self.model) if self.valid is not None else None
        if valid is not None and not math.isfinite(valid.nats):
            raise NonFiniteError(
                f"After epoch {state.epoch} the validation bound is {valid.nats}." + REMEDY
            )
        record = self._record(sums, valid, sums.seconds + time.perf_counter() - started)
        state.history = state.history.plus(record)
        if valid is not None and valid.objective > state.best_bound:
            state.best_bound, state.best_epoch = valid.objective, state.epoch
            state.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}
        return record

    def _record(self, sums: EpochSums, valid: Validated | None, seconds: float) -> EpochRecord:
        assert sums.kl is not None
        state, kl = self.state, sums.kl.numpy() / sums.rows
        return EpochRecord(
            epoch=state.epoch,
            updates=state.update,
            kl_weight=self._kl_weight(state.update - 1),
            learning_rate=self._learning_rate(state.update - 1),
            refine_steps=steps_at(state.epoch - 1, self.config.refine_schedule),
            train_nats_per_row=sums.bound / sums.rows,
            train_kl=float(kl.sum()),
            valid_nats_per_row=None if valid is None else valid.nats,
            valid_per_doc_amortized=None if valid is None else valid.amortized,
            valid_per_doc_refined=None if valid is None else valid.refined,
            active_kl=int((kl > KL_THRESHOLD).sum()) if valid is None else valid.active,
            seconds=seconds,
            rows_per_second=sums.rows / sums.seconds,
        )

    # --- an update -------------------------------------------------------------------------------

    def _update(self, batch: Batch, refine: RefineSettings) -> StepTerms:
        state, config = self.state, self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(state.update)
        seen = with_dropout(batch, config.feature_dropout, config.seed, state.update)
        rows = Rows.from_batch(seen, self.device)
        terms: StepTerms = self.step(
            rows,
            refine,
            kl_weight=self._kl_weight(state.update),
            key=rows.noise_key(config.seed).folded(state.update),
            update=state.update,
            samples=draws_at(refine.steps, config.importance_samples),
            divisor=batch.global_size / self.processes.world,
        )
        self._check(batch, terms)
        self.optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        state.update += 1
        if state.update % FLUSH_EVERY == 0:
            flush_subnormal(self.optimizer)
        return terms

    def _check(self, batch: Batch, terms: StepTerms) -> None:
        """Raise the same NonFiniteError in all processes if the loss of one is not finite."""
        finite = math.isfinite(terms.loss.item())
        if not self.processes.any([not finite])[0]:
            return
        state, fault = self.state, ""
        where = f"epoch {state.epoch + 1}, batch {state.batches + 1}, update {state.update + 1}"
        if not finite:
            fault = fault_of(self.model, batch, terms, self.train.row_id, where)
        raise NonFiniteError(next(filter(None, self.processes.gather(fault))))

    def _kl_weight(self, update: int) -> float:
        config = self.config
        return kl_weight(update, config.kl_anneal * self.total_updates, config.kl_weight)

    def _learning_rate(self, update: int) -> float:
        config = self.config
        return learning_rate(update, self.total_updates, config.learning_rate, config.lr_schedule)

    # --- checkpoints -----------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Where the run stands, in all processes."""
        sums = self.state.sums.over_all(self.processes) if self.state.batches else EpochSums()
        return checkpoint_of(self.state, sums, self.model, self.optimizer)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, which may come from another number of processes."""
        self.state = restore(checkpoint, self.model, self.optimizer, self.device)
        self.state.sums = self.state.sums.shared(self.processes)


class Step(nn.Module):
    """`step_terms` as the forward pass of a module, which several processes can share.

    The whole update must be one forward pass: gradients are then summed while the one backward
    pass goes on, and refinement inside it needs no communication.
    """

    def __init__(self, model: HybridModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Rows, settings: RefineSettings, **options: Any) -> StepTerms:
        """The loss of these rows, with its terms."""
        return step_terms(self.model, rows, settings, **options)
