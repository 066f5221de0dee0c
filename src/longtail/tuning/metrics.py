"""What trials are judged by, on validation rows: after each epoch, and at the end.

``elbo`` is the mean ELBO at ψ* of a row with KL weight 1, nats; ``completion`` the perplexity per
document of held-out halves; ``ndcg@100`` and its like come from `longtail.evaluation.ranking`,
where a fifth of each row's items are hidden.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from longtail.data import CountMatrix, split_items
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.parameters import training_config
from longtail.estimator.prepare import TrainingRows
from longtail.estimator.running import RunningCounts
from longtail.features import FeatureTransform
from longtail.inference import HybridModel
from longtail.training import EpochRecord, History, OneProcess
from longtail.training.validate import Validation

__all__ = ["Completion", "Elbo", "Metric", "Ranked", "fitted_copy", "get_metric"]

Direction = Literal["maximize", "minimize"]

HELD_OUT = 0.2
"""Share of each validation row's items that are hidden to judge rankings."""

_RANKINGS = ("ndcg", "recall", "recall_truncated", "precision", "hit_rate", "mrr")

# Less than for the final figure: this is repeated after every epoch.
_EPOCH_STEPS, _EPOCH_SAMPLES = 20, 5


@dataclass(frozen=True, eq=False)
class Elbo:
    """The ELBO at ψ* of validation rows, which training measures anyway."""

    valid: CountMatrix
    name: str = "elbo"
    label: str = "validation ELBO at ψ*, nats a row"
    direction: Direction = "maximize"

    def of_record(self, record: EpochRecord) -> float:
        """After an epoch."""
        assert record.valid_nats_per_row is not None
        return record.valid_nats_per_row

    def of_epoch(self, model: NonlinearFactorAnalysis) -> float:
        """After an epoch whose record is not at hand: bitwise what training measures."""
        validation = Validation(
            self.valid,
            model.transform_,
            training_config(model.get_params(deep=False), model.seed_),
            OneProcess(),
            next(model.network_.parameters()).device,
        )
        return validation(model.network_).nats

    def of_fit(self, model: NonlinearFactorAnalysis) -> float:
        """With the parameters of the best epoch."""
        return self.of_record(model.history_[model.fit_info_["best_epoch"] - 1])


@dataclass(frozen=True, eq=False)
class Completion:
    """Document completion of validation rows."""

    valid: CountMatrix
    name: str = "completion"
    label: str = "completion of validation rows, perplexity per document"
    direction: Direction = "minimize"

    def of_epoch(self, model: NonlinearFactorAnalysis) -> float:
        """After an epoch."""
        steps = min(_EPOCH_STEPS, model.eval_refine_steps)
        samples = min(_EPOCH_SAMPLES, model.eval_samples)
        return self._score(model, steps, samples)

    def of_fit(self, model: NonlinearFactorAnalysis) -> float:
        """With the parameters of the best epoch."""
        return self._score(model)

    def _score(
        self, model: NonlinearFactorAnalysis, steps: int | None = None, samples: int | None = None
    ) -> float:
        found = model.evaluate(self.valid, refine_steps=steps, samples=samples).completion
        if found is None:
            raise DataError(
                "No validation row has two tokens, one to observe and one to complete. Choose "
                "another metric, such as elbo."
            )
        return found.per_doc


@dataclass(frozen=True, eq=False)
class Ranked:
    """How near the hidden items of validation rows are to the top of their lists.

    Attributes
    ----------
    observed, held_out
        The validation rows in two parts.
    cutoff
        Length of the lists.
    """

    name: str
    cutoff: int
    observed: CountMatrix
    held_out: CountMatrix
    direction: Direction = "maximize"

    @property
    def label(self) -> str:
        """For tables and figures."""
        return f"{self.name} of validation rows"

    def of_epoch(self, model: NonlinearFactorAnalysis) -> float:
        """After an epoch."""
        return self._score(model, min(_EPOCH_STEPS, model.eval_refine_steps))

    def of_fit(self, model: NonlinearFactorAnalysis) -> float:
        """With the parameters of the best epoch."""
        return self._score(model, None)

    def _score(self, model: NonlinearFactorAnalysis, steps: int | None) -> float:
        ranking = model.rank(
            self.observed, self.held_out, cutoffs=[self.cutoff], refine_steps=steps
        )
        return ranking[self.name]


Metric = Elbo | Completion | Ranked


def get_metric(name: str, valid: CountMatrix, *, seed: int) -> Metric:
    """The metric of this name on these validation rows.

    Parameters
    ----------
    name
        ``"elbo"``, ``"completion"``, or a ranking and a cutoff such as ``"recall@20"``.
    seed
        Of which items are hidden.

    Raises
    ------
    ParameterError
        If there is no such metric.
    DataError
        If no row has enough items to hide some.
    """
    if name == "elbo":
        return Elbo(valid)
    if name == "completion":
        return Completion(valid)
    ranking, _, cutoff = name.partition("@")
    if ranking not in _RANKINGS or not cutoff.isdecimal() or int(cutoff) < 1:
        raise ParameterError(
            "metric must be elbo, completion, or one of "
            f"{', '.join(_RANKINGS)} with a cutoff, such as ndcg@100; got {name!r}."
        )
    if int(cutoff) > valid.n_features:
        raise ParameterError(
            f"{name} needs lists of {int(cutoff):,} items, but there are {valid.n_features:,}. "
            "Choose a smaller cutoff."
        )
    observed, held_out = split_items(valid, HELD_OUT, seed=seed)
    if held_out.nnz == 0:
        raise DataError(
            f"{name} hides {HELD_OUT:.0%} of each validation row's items, but none of the "
            f"{valid.n_rows:,} rows has {round(1 / HELD_OUT)} of them. Choose another metric, such "
            "as elbo."
        )
    return Ranked(f"{ranking}@{int(cutoff)}", int(cutoff), observed, held_out)


def fitted_copy(
    parameters: Mapping[str, Any], network: HybridModel, rows: TrainingRows, seed: int
) -> NonlinearFactorAnalysis:
    """A fitted estimator with a network as it is now, which goes on training."""
    model = NonlinearFactorAnalysis(**parameters)
    train = rows.train
    running = RunningCounts.of(train.csr, train.exposure)
    info = {"train_rows": train.n_rows, "train_tokens": float(train.totals.sum())}
    if train.exposure is not None:
        info |= {"median_exposure": float(np.median(train.exposure))}
    model.set_fitted(
        network=copy.deepcopy(network),
        vocabulary=train.vocabulary,
        transform=FeatureTransform.fit(model.features, train.csr),
        unigram=running.unigram(),
        history=History(),
        read_settings=None,
        seed=seed,
        fit_info=info,
        running=running,
    )
    return model
