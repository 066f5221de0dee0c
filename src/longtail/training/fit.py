"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtail.data import Batch, Batches, BatchSource, CountMatrix
from longtail.errors import NonFiniteError
from longtail.evaluation import row_bounds
from longtail.evaluation.evaluate import make_batches
from longtail.evaluation.results import KL_THRESHOLD
from longtail.features import FeatureTransform
from longtail.inference import HybridModel, NoiseKey, RefineSettings, Rows
from longtail.training.callbacks import Callback
from longtail.training.checkpoint import (
    Checkpoint,
    CheckpointStore,
    optimizer_tensors,
    restore_optimizer,
)
from longtail.training.config import TrainingConfig
from longtail.training.history import EpochRecord, History
from longtail.training.schedules import draws_at, kl_weight, learning_rate, steps_at
from longtail.training.step import StepTerms, step_terms

__all__ = ["FitResult", "fit", "flush_subnormal", "optimizer_of"]

_VALID_SAMPLES = 5
# Updates in which no moment falls from `_VANISHED` to where it is slow: 0.9^64 is 1e-3.
_FLUSH_EVERY, _VANISHED = 64, 1e-30
_ADAM_STEP = 1e-2  # of the published method, in training


@dataclass(frozen=True, eq=False)
class FitResult:
    """How training went.

    Attributes
    ----------
    history
        One record an epoch.
    best_epoch
        The epoch whose parameters the model has now, from 1.
    stopped
        Why it ended.
    """

    history: History
    best_epoch: int
    stopped: str


@dataclass
class _State:
    epoch: int = 0
    update: int = 0
    history: History = field(default_factory=History)
    best_bound: float = -math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _EpochSums:
    """Totals over an epoch's training rows."""

    rows: int
    bound: float
    kl: np.ndarray[Any, np.dtype[np.float64]]
    seconds: float


def fit(
    model: HybridModel,
    train: BatchSource,
    valid: CountMatrix | None,
    transform: FeatureTransform,
    config: TrainingConfig,
    *,
    device: torch.device | str = "cpu",
    callbacks: Sequence[Callback] = (),
    checkpoints: CheckpointStore | None = None,
    resume: bool = False,
) -> FitResult:
    """Fit the model in place.

    Parameters
    ----------
    train
        Batches of rows with at least one count each, aligned with the model.
    valid
        Rows of that kind; with them the parameters of the best epoch are kept, by the bound at
        ψ*, otherwise those of the last.
    transform
        What the encoder sees of validation rows.
    checkpoints
        Where to keep a checkpoint after each epoch.
    resume
        Go on from the latest checkpoint, if there is one: the result is bitwise that of an
        uninterrupted run. Otherwise an earlier checkpoint there stays until the first of this run
        replaces it.

    Raises
    ------
    NonFiniteError
        If a bound or a parameter is NaN or infinite.
    CheckpointError
        If a checkpoint cannot be written, or is damaged, or is another run's.
    """
    run = _Run(model, train, valid, transform, config, device)
    if checkpoints is not None and resume:
        run.restore(checkpoints.latest())
    for callback in callbacks:
        callback.on_network(model)
        callback.on_fit_begin(config, train.n_rows, run.state.epoch)
    stopped = run.finished()
    while stopped is None:
        record = run.epoch(callbacks)
        if checkpoints is not None:
            checkpoints.save(run.state.epoch, run.checkpoint())
        for callback in callbacks:
            callback.on_epoch_end(record)
        stopped = run.finished()
    for callback in callbacks:
        callback.on_fit_end(stopped)
    if run.state.best_weights:
        model.load_state_dict(run.state.best_weights)
    best = run.state.best_epoch or run.state.epoch
    return FitResult(run.state.history, best, stopped)


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        model: HybridModel,
        train: BatchSource,
        valid: CountMatrix | None,
        transform: FeatureTransform,
        config: TrainingConfig,
        device: torch.device | str,
    ) -> None:
        self.model = model.to(device)
        self.config = config
        self.device = device
        self.train = train
        self.valid: Batches | None = None
        if valid is not None:
            self.valid = make_batches(valid, transform, config.batch_size)
            self.valid_totals = valid.totals
        self.optimizer = optimizer_of(
            model, config.learning_rate, config.weight_decay, config.output_epsilon
        )
        self.total_updates = config.epochs * len(self.train)
        self.state = _State()

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

    def epoch(self, callbacks: Sequence[Callback]) -> EpochRecord:
        """One pass over the training rows, then validation."""
        state, started = self.state, time.perf_counter()
        sums = self._train_epoch(callbacks)
        state.epoch += 1
        self._check_parameters()
        kl = sums.kl / sums.rows
        valid = self._validate()
        if not math.isfinite(valid.get("nats", 0.0)):
            raise NonFiniteError(
                f"After epoch {state.epoch} the validation bound is {valid['nats']}." + _REMEDY
            )
        record = EpochRecord(
            epoch=state.epoch,
            updates=state.update,
            kl_weight=self._kl_weight(state.update - 1),
            learning_rate=self._learning_rate(state.update - 1),
            refine_steps=steps_at(state.epoch - 1, self.config.refine_schedule),
            train_nats_per_row=sums.bound / sums.rows,
            train_kl=float(kl.sum()),
            valid_nats_per_row=valid.get("nats"),
            valid_per_doc_amortized=valid.get("amortized"),
            valid_per_doc_refined=valid.get("refined"),
            active_kl=int(valid.get("active", (kl > KL_THRESHOLD).sum())),
            seconds=time.perf_counter() - started,
            rows_per_second=sums.rows / sums.seconds,
        )
        state.history = state.history.plus(record)
        if "objective" in valid and valid["objective"] > state.best_bound:
            state.best_bound, state.best_epoch = valid["objective"], state.epoch
            state.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}
        return record

    def _train_epoch(self, callbacks: Sequence[Callback]) -> _EpochSums:
        state, config = self.state, self.config
        refine = RefineSettings(
            steps_at(state.epoch, config.refine_schedule),
            config.refine_method,
            learning_rate=_ADAM_STEP,
        )
        started, done, bound = time.perf_counter(), 0, 0.0
        kl = torch.zeros(0)
        for number, batch in enumerate(self.train.epoch(config.seed, state.epoch)):
            terms = self._update(batch, refine, number)
            per_row = terms.refined.bound().detach()
            bound += float(per_row.double().sum())
            batch_kl = terms.refined.kl.detach().double().sum(0)
            kl = batch_kl if done == 0 else kl + batch_kl
            done += len(batch)
            for callback in callbacks:
                callback.on_batch_end(state.epoch + 1, done)
        return _EpochSums(done, bound, kl.cpu().numpy(), time.perf_counter() - started)

    def _update(self, batch: Batch, refine: RefineSettings, number: int) -> StepTerms:
        state = self.state
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(state.update)
        rows = Rows.from_batch(self._with_dropout(batch), self.device)
        key = NoiseKey(rows.keys, self.config.seed).folded(state.update)
        terms = step_terms(
            self.model,
            rows,
            refine,
            kl_weight=self._kl_weight(state.update),
            key=key,
            update=state.update,
            samples=draws_at(refine.steps, self.config.importance_samples),
        )
        if not math.isfinite(terms.loss.item()):
            self._raise_non_finite(batch, terms, number)
        self.optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        state.update += 1
        if state.update % _FLUSH_EVERY == 0:
            flush_subnormal(self.optimizer)
        return terms

    def _with_dropout(self, batch: Batch) -> Batch:
        rate = self.config.feature_dropout
        if rate == 0:
            return batch
        features = batch.features.copy()
        rng = np.random.default_rng([self.config.seed, 1, self.state.update])
        kept = rng.random(features.nnz) >= rate
        features.data = np.where(kept, features.data / (1 - rate), 0).astype(np.float32)
        return replace(batch, features=features)

    def _kl_weight(self, update: int) -> float:
        config = self.config
        return kl_weight(update, config.kl_anneal * self.total_updates, config.kl_weight)

    def _learning_rate(self, update: int) -> float:
        config = self.config
        return learning_rate(update, self.total_updates, config.learning_rate, config.lr_schedule)

    def _validate(self) -> dict[str, float]:
        if self.valid is None:
            return {}
        rows = row_bounds(
            self.model,
            self.valid.ordered(),
            refine=self.config.valid_refine,
            samples=_VALID_SAMPLES,
            seed=self.config.seed,
            device=self.device,
        )
        nats, kl = float(rows.elbo_refined.mean()), float(rows.kl.sum(1).mean())
        found = {
            "nats": nats,
            "objective": nats + (1 - self.config.kl_weight) * kl,
            "active": int((rows.kl.mean(0) > KL_THRESHOLD).sum()),
        }
        if self.model.generative.likelihood.per_token:
            for name, bound in (("amortized", rows.elbo_amortized), ("refined", rows.elbo_refined)):
                found[name] = float(np.exp(np.mean(-bound / self.valid_totals)))
        return found

    def checkpoint(self) -> Checkpoint:
        """Everything that `restore` needs."""
        s = self.state
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in s.best_weights.items()}
        tensors |= optimizer_tensors(self.optimizer)
        state = {
            "epoch": s.epoch,
            "update": s.update,
            "history": s.history.to_list(),
            "best_bound": s.best_bound if math.isfinite(s.best_bound) else None,
            "best_epoch": s.best_epoch,
        }
        return Checkpoint(state, tensors)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Go back to a checkpoint; None leaves the fresh state."""
        if checkpoint is None:
            return
        saved, tensors = checkpoint.state, checkpoint.tensors
        weights = {k[len("model.") :]: v for k, v in tensors.items() if k.startswith("model.")}
        best = {k[len("best.") :]: v for k, v in tensors.items() if k.startswith("best.")}
        self.model.load_state_dict(weights)
        restore_optimizer(self.optimizer, tensors)
        self.state = _State(
            epoch=saved["epoch"],
            update=saved["update"],
            history=History.from_list(saved["history"]),
            best_bound=-math.inf if saved["best_bound"] is None else saved["best_bound"],
            best_epoch=saved["best_epoch"],
            best_weights={k: v.to(self.device) for k, v in best.items()},
        )

    def _check_parameters(self) -> None:
        for name, value in self.model.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise NonFiniteError(
                    f"After epoch {self.state.epoch} the parameter {name!r} holds NaN or infinity."
                    + _REMEDY
                )

    def _raise_non_finite(self, batch: Batch, terms: StepTerms, number: int) -> None:
        suspects = {f"parameter {n!r}": p for n, p in self.model.named_parameters()}
        per_row = {
            "log σ² of ψ*": terms.psi.log_var,
            "μ of ψ*": terms.psi.mean,
            "KL at ψ(x)": terms.amortized.kl,
            "log p(x | z) at ψ(x)": terms.amortized.log_likelihood,
            "log p(x | z) at ψ*": terms.refined.log_likelihood,
        }
        tensor = next(
            (n for n, t in (suspects | per_row).items() if not bool(torch.isfinite(t).all())),
            "the loss",
        )
        bad = torch.zeros(len(batch), dtype=torch.bool)
        for value in per_row.values():
            bad |= ~torch.isfinite(value.detach().reshape(len(batch), -1)).all(1).cpu()
        rows = [self.train.row_id(int(batch.rows[i])) for i in bad.nonzero().flatten()[:5]]
        raise NonFiniteError(
            f"Training met NaN or infinity in epoch {self.state.epoch + 1}, batch {number + 1}, "
            f"update {self.state.update + 1}: in {tensor}; {int(bad.sum())} of {len(batch)} rows, "
            f"first row ids {rows}." + _REMEDY
        )


@torch.no_grad()
def flush_subnormal(optimizer: torch.optim.Optimizer) -> None:
    """Set moments that have all but vanished to 0.

    The moments of a rare feature that no batch brings up fade towards 0, and processors compute
    with numbers below 1e-38 many times more slowly than with others.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name].masked_fill_(state[name].abs() < _VANISHED, 0)


_REMEDY = (
    " Try a lower learning_rate, and look at these rows for extreme"
    " counts. The last checkpoint, if there is one, is from before this."
)


def optimizer_of(
    model: HybridModel, learning_rate: float, weight_decay: float, output_epsilon: float
) -> torch.optim.Optimizer:
    """AdamW in one fused kernel, whose decay spares the biases.

    Adam divides each gradient by its usual size, so that the weights of a rare feature, whose few
    occurrences say little, move as far as those of a frequent one. An ε of the order of their
    gradients keeps the rare ones' steps small, and leaves them to the decay.
    """
    output = model.generative.decoder.weight
    matrices = [p for p in model.parameters() if p.ndim > 1 and p is not output]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": [output], "weight_decay": weight_decay, "eps": output_epsilon},
        {"params": biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
