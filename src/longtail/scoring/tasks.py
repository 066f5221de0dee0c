"""What can be done to rows: a table with one line a row, and facts about them.

A task is small, frozen and made of plain values, so that it can be written down, compared and
sent to another machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import polars as pl

from longtail.data import CountMatrix
from longtail.estimator.inputs import MOST, MOST_ROWS, whole
from longtail.estimator.recommending import allowed_items
from longtail.evaluation import EvaluationSettings
from longtail.evaluation.row_scores import RowScores
from longtail.evaluation.sums import Moments
from longtail.scoring.facts import Facts

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["Evaluate", "Recommend", "Task", "Transform"]


class Task(Protocol):
    """What is done to rows."""

    name: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on, besides model and data; ready for JSON."""
        ...

    def check(self, model: NonlinearFactorAnalysis) -> None:
        """Raise a ParameterError or DataError if it cannot be done with this model."""
        ...

    def score(
        self, model: NonlinearFactorAnalysis, rows: CountMatrix
    ) -> tuple[pl.DataFrame, Facts]:
        """A table with one line for each of the rows, in their order, and what it adds up to.

        `rows` are aligned with the model's vocabulary; there is at least one.
        """
        ...


@dataclass(frozen=True)
class Transform:
    """Latent vectors (posterior means): row_id, z0, z1 and so on.

    Parameters
    ----------
    refine_steps, seed
        As for the model's `posterior`.
    scale
        Posterior standard deviations too: scale0, scale1 and so on.
    """

    name: ClassVar[str] = "transform"

    refine_steps: int | None = None
    seed: int | None = None
    scale: bool = False

    def settings(self) -> dict[str, Any]:
        """See `Task`."""
        return asdict(self)

    def check(self, model: NonlinearFactorAnalysis) -> None:
        """See `Task`."""
        _check_numbers(self)

    def score(
        self, model: NonlinearFactorAnalysis, rows: CountMatrix
    ) -> tuple[pl.DataFrame, Facts]:
        """See `Task`."""
        posterior = model.posterior(rows, refine_steps=self.refine_steps, seed=self.seed)
        columns: dict[str, Any] = {"row_id": rows.row_ids}
        columns |= {f"z{k}": z for k, z in enumerate(posterior.mean.T)}
        if self.scale:
            columns |= {f"scale{k}": s for k, s in enumerate(posterior.scale.T)}
        return pl.DataFrame(columns), Facts()


@dataclass(frozen=True)
class Recommend:
    """The k best items of each row as lists, best first: row_id, item, score, no_history.

    With ``table.explode("item", "score")`` the table is that of `Recommendations.frame`, but for
    ranks and for places for which there was no item.

    Parameters
    ----------
    k, exclude_seen, filter_items, refine_steps, seed
        As for the model's `recommend`.
    """

    name: ClassVar[str] = "recommend"

    k: int = 10
    exclude_seen: bool = True
    filter_items: Sequence[str] | None = None
    refine_steps: int | None = None
    seed: int | None = None

    def settings(self) -> dict[str, Any]:
        """See `Task`; of many items to choose from, a digest."""
        plain = asdict(self)
        if self.filter_items is not None:
            names = "\n".join(sorted(self.filter_items))
            plain["filter_items"] = "sha256:" + hashlib.sha256(names.encode()).hexdigest()
        return plain

    def check(self, model: NonlinearFactorAnalysis) -> None:
        """See `Task`."""
        _check_numbers(self)
        whole("k", self.k, 1, MOST_ROWS)
        allowed_items(model.vocabulary_, self.filter_items)

    def score(
        self, model: NonlinearFactorAnalysis, rows: CountMatrix
    ) -> tuple[pl.DataFrame, Facts]:
        """See `Task`."""
        found = model.recommend(
            rows,
            self.k,
            exclude_seen=self.exclude_seen,
            filter_items=self.filter_items,
            refine_steps=self.refine_steps,
            seed=self.seed,
        )
        place = pl.Series("place", np.repeat(np.arange(len(found)), found.indices.shape[1]))
        listed = [c for c in ("item", "description", "score") if c in found.frame().columns]
        table = (
            found.frame()
            .with_columns(place)
            .group_by("place", maintain_order=True)
            .agg(
                pl.col("row_id").first(),
                pl.col(listed).filter(pl.col("item").is_not_null()),
                pl.col("no_history").first(),
            )
            .drop("place")
        )
        return table, Facts(short_rows=int(found.short.sum()))


@dataclass(frozen=True)
class Evaluate:
    """Every figure of every row; averages are taken of the parts when all are there.

    The columns of `Evaluation.per_row`; completion and completion_tokens, if asked for; var_…,
    the Monte Carlo variance of each bound; and key, by which equal rows are known. An empty row,
    which cannot be scored, has nulls.

    Parameters
    ----------
    samples, refine_steps, completion, full_covariance, seed
        As for the model's `evaluate`.
    """

    name: ClassVar[str] = "evaluate"

    samples: int | None = None
    refine_steps: int | None = None
    completion: bool = True
    full_covariance: bool = False
    seed: int | None = None

    def settings(self) -> dict[str, Any]:
        """See `Task`."""
        return asdict(self)

    def check(self, model: NonlinearFactorAnalysis) -> None:
        """See `Task`."""
        self.of(model)

    def of(self, model: NonlinearFactorAnalysis) -> EvaluationSettings:
        """The settings with the model's own where none were given."""
        return model.evaluation_settings(**self.settings())

    def score(
        self, model: NonlinearFactorAnalysis, rows: CountMatrix
    ) -> tuple[pl.DataFrame, Facts]:
        """See `Task`."""
        settings = self.of(model)
        kept = np.flatnonzero(rows.totals > 0)
        names = bounds_of(settings)
        schema = _schema(names, settings)
        facts = Facts()
        table = pl.DataFrame(schema=schema)
        if len(kept):
            scores = model.score_rows(rows[kept], settings)
            table = pl.DataFrame(_columns(scores, names, settings), schema=schema)
            facts = Facts(kl=Moments.of(scores.bounds.kl), mean=Moments.of(scores.bounds.mean))
        place = np.full(rows.n_rows, -1)
        place[kept] = np.arange(len(kept))
        index = pl.Series(place).replace(-1, None)
        columns = [rows.row_ids.alias("row_id"), pl.Series("tokens", rows.totals)]
        return pl.DataFrame([*columns, *(c.gather(index) for c in table)]), facts


def bounds_of(settings: EvaluationSettings) -> tuple[str, ...]:
    """The rungs that are scored, without their prefix ``elbo_``."""
    full = ("full",) if settings.covariance_steps else ()
    return ("amortized", "refined", *full, "iw")


def rung(name: str) -> str:
    """The column of a bound."""
    return name if name == "iw" else f"elbo_{name}"


def _schema(names: Sequence[str], settings: EvaluationSettings) -> dict[str, Any]:
    figures = ["floor", *map(rung, names), "gap"]
    figures += ["completion", "completion_tokens"] if settings.completion else []
    figures += [f"var_{name}" for name in names]
    return dict.fromkeys(figures, pl.Float64) | {"key": pl.UInt64}


def _columns(
    scores: RowScores, names: Sequence[str], settings: EvaluationSettings
) -> dict[str, Any]:
    columns: dict[str, Any] = {"floor": scores.floor, "gap": scores.gap, "key": scores.keys}
    for name in names:
        columns[rung(name)] = getattr(scores.bounds, rung(name))
        columns[f"var_{name}"] = getattr(scores.bounds, f"var_{name}")
    if settings.completion:
        n = len(scores.tokens)
        log_prob, totals = np.full(n, np.nan), np.full(n, np.nan)
        if scores.completion is not None:
            log_prob[scores.completed] = scores.completion.log_prob
            totals[scores.completed] = scores.completion.totals
        columns["completion"] = pl.Series(log_prob).fill_nan(None)
        columns["completion_tokens"] = pl.Series(totals).fill_nan(None)
    return columns


def _check_numbers(task: Transform | Recommend) -> None:
    if task.refine_steps is not None:
        whole("refine_steps", task.refine_steps, 0, MOST)
    if task.seed is not None:
        whole("seed", task.seed, 0)
