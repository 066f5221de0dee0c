"""The Jacobian of a fitted model: what its deep decoder does, in one matrix.

In a linear model such as a factor analysis of log-probabilities, ∂E[x | z]/∂z *is* the parameter
matrix that people read. A deep decoder has one such matrix at every z; this is its average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data import Vocabulary
from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.inputs import MOST, whole
from longtail.introspection.closed_form import JacobianKind, average_jacobian
from longtail.introspection.latents import draw_latents
from longtail.ops.ambient import neutral_torch

__all__ = ["Jacobian", "jacobian"]


@dataclass(frozen=True, eq=False)
class Jacobian:
    """E[J(z)], J = ∂g/∂z, over some distribution of z.

    Attributes
    ----------
    matrix
        (V, K) float32: how feature v answers to latent dimension k, per unit of z, which is one
        standard deviation of the prior. Logits and log-probabilities are in nats.
    standard_error
        (V, K): Monte Carlo standard error of each entry, from batch means; None where there is
        none (given points) or it cannot be told (fewer than 40 samples).
    second_moment
        E[JᵀJ], (K, K) float64. Effects that are even in z cancel in `matrix`, not here.
    noise
        Size (spectral norm) of the Monte Carlo error of `matrix`: singular values up to about
        this say nothing.
    of, at, samples, seed
        What was averaged, over what, with how many points.
    vocabulary
        Names of the rows.
    """

    matrix: npt.NDArray[np.float32]
    standard_error: npt.NDArray[np.float32] | None
    second_moment: npt.NDArray[np.float64]
    noise: float
    of: JacobianKind
    at: str
    samples: int
    seed: int
    vocabulary: Vocabulary

    def column_norms(self) -> npt.NDArray[np.float64]:
        """√diag E[JᵀJ]: root mean square effect of each latent dimension, (K,)."""
        norms: npt.NDArray[np.float64] = np.sqrt(np.diag(self.second_moment).clip(min=0))
        return norms

    def frame(self) -> pl.DataFrame:
        """One line a feature: its name and a column for each latent dimension."""
        columns: dict[str, Any] = {"feature": self.vocabulary.names}
        return pl.DataFrame(columns | {f"z{k}": c for k, c in enumerate(self.matrix.T)})


@neutral_torch()
def jacobian(
    model: NonlinearFactorAnalysis,
    of: JacobianKind = "probabilities",
    at: Any = "prior",
    *,
    samples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Jacobian:
    """The Jacobian of the decoder with respect to z, averaged.

    Parameters
    ----------
    model
        Fitted.
    of
        What is differentiated: ``"probabilities"``, E[x/N | z], or the mean E[x | z] normalised
        over the features; ``"mean"``, E[x | z] itself, at exposure 1; ``"log_probabilities"``, the
        probabilities' logarithm; ``"logits"``, the output layer before normalisation;
        ``"root_probabilities"``, 2√p, in whose units no feature weighs more for being frequent or
        rare: `second_moment` is then the Fisher information about z in one token, nats (under a
        Bernoulli or Poisson likelihood: in one row of exposure 1).
    at
        Over what z: ``"prior"``; rows of counts (CountMatrix, sparse matrix or data frame), for
        the aggregate of their refined posteriors; a `Posterior`; or latent vectors as an array
        of shape (K,) or (n, K), whose average is exact.
    samples
        Draws of z, where z is drawn. From 40 on rounded to a multiple of 20, the number of
        batches behind the standard error.
    seed
        Of the draws.
    progress
        Called with (points done, points in all).

    Returns
    -------
    Jacobian

    Raises
    ------
    NotFittedError, ParameterError, DataError

    Notes
    -----
    At one point, the rows for probabilities are those for log-probabilities times p_v: their
    cosine neighbours are the same. Without hidden layers the Jacobian of the logits is the same
    everywhere, and no context moves it.

    Examples
    --------
    >>> import numpy as np, longtail as lt
    >>> X = np.random.default_rng(0).poisson(0.5, (200, 30))
    >>> model = lt.NonlinearFactorAnalysis(n_components=5, epochs=5, random_state=0).fit(X)
    >>> lt.jacobian(model, of="logits", samples=100).matrix.shape
    (30, 5)
    """
    if of not in get_args(JacobianKind):
        raise ParameterError(f"of must be one of {', '.join(get_args(JacobianKind))}; got {of!r}.")
    samples, seed = whole("samples", samples, 1, MOST), whole("seed", seed, 0)
    latents = draw_latents(model, at, samples=samples, seed=seed)
    total = len(latents.points)
    generative = model.network_.generative
    decoder = generative.decoder
    moments = average_jacobian(
        decoder,
        latents.batches(decoder.weight.device, decoder.weight.dtype),
        of,
        progress=None if progress is None else lambda done: progress(done, total),
        likelihood=generative.likelihood,
    )
    error = moments.standard_error
    return Jacobian(
        matrix=moments.mean.cpu().numpy(),
        standard_error=None if error is None else error.cpu().numpy(),
        second_moment=moments.second.cpu().numpy(),
        noise=moments.noise,
        of=of,
        at=latents.where,
        samples=total,
        seed=int(seed),
        vocabulary=model.vocabulary_,
    )
