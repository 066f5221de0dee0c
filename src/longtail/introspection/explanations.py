"""Why an item is recommended: the own items and latent dimensions that speak for it.

At the row's posterior mean μ the gradient of log p(x | z) and of the prior balance. Without the
row's count of item u they do not: with

    g_u = ∇_z [log p(x | z) − log p(x without u | z)],    Λ_u = I − ∇²_z log p(x without u | z)

at μ (Gauss–Newton: the kinks of ReLUs are left out), one Newton step brings the mean back to

    μ_u ≈ μ − Λ_u⁻¹ g_u,

so that log p_i, of the item i that is recommended, falls to first order by

    influence of u on i = J_iᵀ Λ_u⁻¹ g_u,    J_i = ∂ log p_i / ∂z.

For the multinomial g_u = x_u J_u, and this is the influence function of Koh and Liang (2017) in
latent space. Nothing is fitted again.

What a latent dimension contributes is its share of log p_i(μ) − log p_i(0) along the straight line
from the prior's mean to μ (integrated gradients, Sundararajan et al. 2017): the shares sum to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csr_array
from torch import Tensor

from longtail.data import CountMatrix, Vocabulary
from longtail.data.unseen import notice_numbers
from longtail.errors import DataError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.inputs import MOST_ROWS, whole
from longtail.introspection.closed_form import jacobian_at
from longtail.model import GenerativeModel
from longtail.ops import SparseRows
from longtail.ops.ambient import neutral_torch

__all__ = [
    "Explanation",
    "explain_recommendation",
    "explain_recommendations",
    "supporting_items",
]

Array = npt.NDArray[np.float64]

_CHUNK = 2**23  # numbers in a temporary array of rows × V
_POINTS = 32  # on the line from 0 to μ; the midpoint rule
_NAMED = 3  # features that name a direction


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for one item in one row.

    Attributes
    ----------
    row_id, item
        Whose, and which.
    probability
        Posterior predictive probability of the item, at the posterior mean.
    lift
        log p_i(μ) − log p_i(0), nats: how much more probable the row's history makes the item.
    own_items
        The row's own items with the largest influence: item, description (if there are any),
        count, influence (nats by which the item's log-probability would fall without it; below 0,
        rise).
    directions
        The latent dimensions that contribute most: dimension, mean (of the posterior), contribution
        (nats), features (that a move further out on this side makes more probable).
    vocabulary
        The model's items, with their descriptions if there are any.
    """

    row_id: int | str
    item: str
    probability: float
    lift: float
    own_items: pl.DataFrame
    directions: pl.DataFrame
    vocabulary: Vocabulary

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "row_id": self.row_id,
            "item": self.item,
            "probability": self.probability,
            "lift": self.lift,
            "own_items": self.own_items.to_dicts(),
            "directions": self.directions.to_dicts(),
        }

    def __str__(self) -> str:
        label = self.vocabulary.label
        chance = f"probability {self.probability:.2g}, {self.lift:+.2f} nats"
        lines = [f"{label(self.item)}: {chance}, because"]
        width = max(len(label(item)) for item in self.own_items["item"])
        lines += [
            f"  {influence:+.3f}  {label(item):<{width}}  (count {count:g})"
            for item, count, influence in self.own_items.select(
                "item", "count", "influence"
            ).iter_rows()
        ]
        lines += [
            f"  {share:+.3f}  z{k} at {mean:+.2f}: {self.vocabulary.listed(features)}"
            for k, mean, share, features in self.directions.iter_rows()
        ]
        return "\n".join(lines)

    __repr__ = __str__


@neutral_torch()
def explain_recommendation(
    model: NonlinearFactorAnalysis,
    row: Any,
    item: str | int,
    k: int = 5,
    *,
    refine_steps: int | None = None,
    seed: int | None = None,
) -> Explanation:
    """Tell which of a row's own items, and which latent dimensions, speak for an item.

    Parameters
    ----------
    model
        Fitted.
    row
        One row of counts: the history from which the item is recommended.
    item
        Name or column number.
    k
        Own items, and dimensions, to list.
    refine_steps, seed
        As for the model's `posterior`.

    Raises
    ------
    NotFittedError, DataError, ParameterError

    Examples
    --------
    >>> import numpy as np, longtail as lt
    >>> X = lt.CountMatrix.from_any(np.random.default_rng(0).poisson(0.5, (200, 30)))
    >>> model = lt.NonlinearFactorAnalysis(n_components=5, epochs=5, random_state=0).fit(X)
    >>> lt.explain_recommendation(model, X[[0]], 7, k=2).own_items.columns
    ['item', 'count', 'influence']
    """
    return explain_recommendations(model, row, [item], k, refine_steps=refine_steps, seed=seed)[0]


@neutral_torch()
def explain_recommendations(
    model: NonlinearFactorAnalysis,
    row: Any,
    items: Sequence[str | int],
    k: int = 5,
    *,
    refine_steps: int | None = None,
    seed: int | None = None,
) -> list[Explanation]:
    """As `explain_recommendation`, for several items of one row; cheaper than one by one."""
    model.check_fitted()
    columns = [_column(model, item) for item in items]
    notice_numbers(model.vocabulary_, [i for i in items if not isinstance(i, str)], "item")
    at = _Point.of(model, row, k, refine_steps, seed)
    contribution = at.contributions(columns)
    mean = at.z[0].cpu().numpy()
    return [
        Explanation(
            row_id=at.row_id,
            item=model.vocabulary_[column],
            probability=float(at.log_p[column].exp()),
            lift=float(at.log_p[column] - at.log_p_prior[column]),
            own_items=own,
            directions=at.named(_directions(mean, contribution[t], k)),
            vocabulary=model.vocabulary_,
        )
        for t, (column, own) in enumerate(zip(columns, at.own_items(columns, k), strict=True))
    ]


@neutral_torch()
def supporting_items(
    model: NonlinearFactorAnalysis,
    row: Any,
    items: Sequence[str | int],
    k: int = 5,
    *,
    refine_steps: int | None = None,
    seed: int | None = None,
    mean: npt.NDArray[np.float32] | None = None,
) -> list[pl.DataFrame]:
    """Only the `own_items` of each explanation, at a fraction of its cost.

    `mean` is the row's posterior mean, (1, K), if the caller has inferred it.
    """
    model.check_fitted()
    columns = [_column(model, item) for item in items]
    return _Point.of(model, row, k, refine_steps, seed, mean).own_items(columns, k)


class _Point:
    """A row at its posterior mean, and what can be said there."""

    @torch.no_grad()
    def __init__(
        self, model: NonlinearFactorAnalysis, counts: CountMatrix, mean: npt.NDArray[np.float32]
    ) -> None:
        self.generative: GenerativeModel = model.network_.generative
        self.vocabulary = model.vocabulary_
        self.csr, self.exposure = counts.csr, counts.exposure
        self.row_id = counts.row_ids[0]
        weight: Tensor = self.generative.decoder.weight
        self.z = torch.from_numpy(mean).to(weight)
        both = torch.cat([self.z, torch.zeros_like(self.z)])
        self.logits = self.generative.decoder(both)
        self.log_p, self.log_p_prior = self.generative.likelihood.log_probabilities(self.logits)
        self.jacobian = jacobian_at(self.generative.decoder, self.z, "logits")[0]

    @classmethod
    def of(
        cls,
        model: NonlinearFactorAnalysis,
        row: Any,
        k: int,
        refine_steps: int | None,
        seed: int | None,
        mean: npt.NDArray[np.float32] | None = None,
    ) -> _Point:
        """Check what was given, and infer the row's posterior if its mean is not given."""
        whole("k", k, 1, MOST_ROWS)
        counts, _ = model.align(row)
        if counts.n_rows != 1:
            raise DataError(f"Expected one row of counts; got {counts.n_rows:,}. Pick one: X[[0]].")
        if counts.nnz == 0:
            raise DataError(
                f"Row {counts.row_ids[0]!r} has no item that the model knows: its recommendations "
                "are what is frequent in training, and nothing of its own speaks for them."
            )
        if mean is None:
            mean = model.posterior(counts, refine_steps=refine_steps, seed=seed).mean
        return cls(model, counts, mean)

    def own_items(self, columns: Sequence[int], k: int) -> list[pl.DataFrame]:
        """The row's own items with the largest influence on each of some items."""
        own = [self.vocabulary[int(v)] for v in self.csr.indices]
        names: dict[str, Any] = self.vocabulary.columns(own, "item")
        return [
            _largest(
                pl.DataFrame(names | {"count": self.csr.data, "influence": of_item}),
                "influence",
                k,
            )
            for of_item in self.influence(columns).T
        ]

    def influence(self, columns: Sequence[int]) -> Array:
        """J_iᵀ Λ_u⁻¹ g_u of each own item u on each item i: (m, t), nats."""
        target = self._log_p_gradient(self.z.expand(len(columns), -1), columns)
        gradient = self._lost_gradient()
        fixed, per_count = self._precision()
        total = float(self.csr.data.sum(dtype=np.float64))
        out = np.empty((len(gradient), len(columns)))
        for u, (lost, x_u) in enumerate(zip(gradient, self.csr.data.tolist(), strict=True)):
            precision = fixed + (total - x_u) * per_count
            out[u] = (target @ torch.cholesky_solve(lost[:, None], _root(precision)))[:, 0].cpu()
        return out

    def contributions(self, columns: Sequence[int]) -> Array:
        """∫ ∂ log p_i / ∂z_k dz_k from 0 to μ, of each item i and dimension k: (t, K), nats."""
        steps = (torch.arange(_POINTS, dtype=self.z.dtype, device=self.z.device) + 0.5) / _POINTS
        line = steps[:, None] * self.z
        rows = [
            self._log_p_gradient(line, [column] * _POINTS).mean(0) * self.z[0] for column in columns
        ]
        shares: Array = torch.stack(rows).double().cpu().numpy()
        return shares

    def named(self, directions: pl.DataFrame) -> pl.DataFrame:
        """Say which features each dimension raises, on the side where the row lies."""
        p = self.log_p.exp()
        centred = self.jacobian - p @ self.jacobian
        names = []
        for k, mean, _ in directions.iter_rows():
            # In units of √p no feature counts for more for being frequent or rare.
            raised = p.sqrt() * centred[:, k] * (1 if mean >= 0 else -1)
            names.append([self.vocabulary[int(v)] for v in raised.topk(min(_NAMED, len(p)))[1]])
        return directions.with_columns(features=pl.Series(names, dtype=pl.List(pl.String)))

    def _log_p_gradient(self, z: Tensor, columns: Sequence[int]) -> Tensor:
        """∂ log p_i / ∂z at each point, of its own item: (t, K), (t) → (t, K), float64."""
        likelihood, decoder = self.generative.likelihood, self.generative.decoder
        found = []
        chunk = max(1, _CHUNK // self.csr.shape[1])
        for start in range(0, len(columns), chunk):
            some = z[start : start + chunk].clone().requires_grad_()
            chosen = torch.tensor(columns[start : start + chunk], device=z.device)
            log_p = likelihood.log_probabilities(decoder(some)).gather(1, chosen[:, None])
            found.append(torch.autograd.grad(log_p.sum(), some)[0])
        return torch.cat(found).double()

    def _lost_gradient(self) -> Tensor:
        """g_u of each own item: (m, K), float64."""
        m, v = self.csr.nnz, self.csr.shape[1]
        whole = self._gradient(self.csr)
        found = []
        chunk = max(1, _CHUNK // v)
        for start in range(0, m, chunk):
            left_out = range(start, min(start + chunk, m))
            kept = [np.delete(np.arange(m), u) for u in left_out]
            entries = np.concatenate(kept)
            indptr = np.arange(len(kept) + 1) * (m - 1)
            rows = csr_array(
                (self.csr.data[entries], self.csr.indices[entries], indptr), shape=(len(kept), v)
            )
            found.append(whole - self._gradient(rows))
        return torch.cat(found).double()

    def _gradient(self, rows: csr_array) -> Tensor:
        """∇_z log p(x | z) of some rows, all at μ: (B, K)."""
        exposure = None if self.exposure is None else np.repeat(self.exposure, rows.shape[0])
        x = SparseRows.from_scipy(rows, self.z.device, exposure=exposure)
        z = self.z.repeat(rows.shape[0], 1).requires_grad_()
        log_p = self.generative.log_likelihood(z, x, frozen=True)
        return torch.autograd.grad(log_p.sum(), z)[0]

    def _precision(self) -> tuple[Tensor, Tensor]:
        """I + C as a straight line in the row's total: what is fixed, and what a count adds.

        Exact where the curvature grows with the total, or does not depend on it.
        """
        total = float(self.csr.data.sum(dtype=np.float64))
        full, half = self._curvature(total), self._curvature(total / 2)
        identity = torch.eye(len(full), dtype=full.dtype, device=full.device)
        return identity + 2 * half - full, (full - half) / (total / 2)

    def _curvature(self, total: float) -> Tensor:
        """C of a row with this total, on which it does not depend where s is 1 or given."""
        likelihood = self.generative.likelihood
        size = total if self.exposure is None else float(self.exposure[0])
        typical = likelihood.typical_exposure(size)
        exposure = torch.tensor(typical, dtype=torch.float32, device=self.z.device)
        return likelihood.curvature(self.jacobian, self.logits[0], exposure).double()


def _root(precision: Tensor) -> Tensor:
    root: Tensor = torch.linalg.cholesky(precision)
    return root


def _directions(mean: npt.NDArray[np.float32], contribution: Array, k: int) -> pl.DataFrame:
    table = {"dimension": np.arange(len(mean)), "mean": mean, "contribution": contribution}
    return _largest(pl.DataFrame(table), "contribution", k)


def _largest(table: pl.DataFrame, by: str, k: int) -> pl.DataFrame:
    return table.sort(by, descending=True, maintain_order=True).head(k)


def _column(model: NonlinearFactorAnalysis, item: str | int) -> int:
    if isinstance(item, str):
        return model.vocabulary_.index(item)
    n = len(model.vocabulary_)
    if not isinstance(item, int | np.integer) or isinstance(item, bool) or not 0 <= item < n:
        raise DataError(f"An item is a name or a column number from 0 to {n - 1}; got {item!r}.")
    return int(item)
