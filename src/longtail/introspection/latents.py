"""Where a Jacobian is taken: the prior, the posterior of rows, or given points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longtail.data import CountMatrix
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis, Posterior

__all__ = ["N_BATCHES", "Latents", "draw_latents"]

# Enough batches for an error bar, few enough that each is worth its V×K.
N_BATCHES = 20


@dataclass(frozen=True)
class Latents:
    """Points z to average over, in batches of equal weight.

    Attributes
    ----------
    points
        (S, K) float32; batches are cut from it when gone through.
    where
        In words, for titles.
    exact
        Whether the points were given, so that their average has no Monte Carlo error.
    """

    points: npt.NDArray[np.float32]
    where: str
    exact: bool

    def batches(self, device: torch.device, dtype: torch.dtype) -> Iterator[Tensor]:
        """The points in batches; one batch if they are exact or too few to tell an error."""
        n = 1 if self.exact or len(self.points) < 2 * N_BATCHES else N_BATCHES
        for part in np.array_split(self.points, n):
            yield torch.as_tensor(part, device=device, dtype=dtype)


def draw_latents(
    model: NonlinearFactorAnalysis,
    at: Any,
    *,
    samples: int,
    seed: int,
) -> Latents:
    """Draw points from where `at` says; see `jacobian` for what it may be.

    Raises
    ------
    NotFittedError, ParameterError, DataError
    """
    model.check_fitted()
    k = model.network_.generative.decoder.n_components
    rng = np.random.default_rng(seed)
    if isinstance(at, str):
        if at != "prior":
            raise ParameterError(
                f"at must be 'prior', rows of counts, a Posterior or latent vectors; got {at!r}."
            )
        return Latents(_normal(rng, _rounded(samples), k), "the prior", exact=False)
    if isinstance(at, np.ndarray | Tensor) or (isinstance(at, list | tuple) and len(at) > 0):
        points = _points(at, k)
        what = "a point" if len(points) == 1 else f"{len(points):,} points"
        return Latents(points, what, exact=True)
    if isinstance(at, Posterior):
        mean, scale = _points(at.mean, k), _points(at.scale, k)
        if mean.shape != scale.shape:
            raise DataError(
                f"A posterior's mean and scale must be alike; got shapes {mean.shape} and "
                f"{scale.shape}."
            )
        chosen = _deal(rng, len(mean), _rounded(samples))
        what = "the posterior of a row" if len(mean) == 1 else f"posteriors of {len(mean):,} rows"
    else:
        rows = _rows(model, at)
        dealt = _deal(rng, rows.n_rows, _rounded(samples))
        used, chosen = np.unique(dealt, return_inverse=True)
        posterior = model.posterior(rows[used])
        mean, scale = posterior.mean, posterior.scale
        what = f"the posterior of {rows.n_rows:,} rows"
    z = mean[chosen] + scale[chosen] * _normal(rng, len(chosen), k)
    return Latents(z.astype(np.float32), what, exact=False)


def _rows(model: NonlinearFactorAnalysis, at: Any) -> CountMatrix:
    rows, _ = model.align(at)
    kept, _ = rows.drop_empty()
    if kept.n_rows == 0:
        raise DataError(
            "None of the rows has a feature of the model's vocabulary: there is no posterior to "
            "average over. at='prior' needs no rows."
        )
    return kept


def _points(z: Any, k: int) -> npt.NDArray[np.float32]:
    array = np.asarray(z)
    numeric = array.dtype.kind in "iufb"
    points = np.atleast_2d(array).astype(np.float32) if numeric else np.empty((0, 0), np.float32)
    right = points.ndim == 2 and points.shape[1] == k and len(points) > 0
    if not right or not np.isfinite(points).all():
        got = f"shape {array.shape}" if numeric else repr(z)[:60]
        raise DataError(
            f"Latent vectors must be finite, of shape ({k},) or (n, {k}); got {got}. "
            "Rows of counts are given as a CountMatrix, a sparse matrix or a data frame."
        )
    return points


def _rounded(samples: int) -> int:
    """To a multiple of the number of batches, so that all weigh the same."""
    return samples if samples < 2 * N_BATCHES else N_BATCHES * round(samples / N_BATCHES)


def _deal(rng: np.random.Generator, n_rows: int, samples: int) -> npt.NDArray[np.int64]:
    """Rows in random order, each as often as any other (give or take one)."""
    rounds = -(-samples // n_rows)
    return np.concatenate([rng.permutation(n_rows) for _ in range(rounds)])[:samples]


def _normal(rng: np.random.Generator, n: int, k: int) -> npt.NDArray[np.float32]:
    return rng.standard_normal((n, k), dtype=np.float32)
