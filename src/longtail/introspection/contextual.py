"""Vectors of single occurrences: one feature in one row, for many rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from longtail.data import CountMatrix
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.exposures import at_typical_exposure
from longtail.estimator.inputs import MOST, whole
from longtail.introspection.closed_form import JacobianKind, feature_rows
from longtail.introspection.feature_vectors import Embeddings, embeddings
from longtail.introspection.judging import ContextualCorrelation, compare_correlations
from longtail.introspection.neighbors import unit
from longtail.ops.ambient import neutral_torch

__all__ = ["Occurrence", "contextual_similarity", "contextual_vectors"]

Array = npt.NDArray[np.float32]
Occurrence = tuple[str, Sequence[str]]  # a word, and the words around it
_OF: JacobianKind = "log_probabilities"


@neutral_torch()
def contextual_vectors(
    model: NonlinearFactorAnalysis,
    features: Sequence[str],
    contexts: Any,
    *,
    local: float = 0.5,
    place: float = 0.5,
    samples: int = 20,
    seed: int = 0,
    overall: Embeddings | None = None,
) -> Array:
    """The vector of each feature in the context of its own row.

    A vector has two parts. The first is the feature's row of the Jacobian of log-probabilities at
    the row's posterior, of length 1, drawn towards the feature's global vector; the second is the
    row's posterior mean, of length `place`: where in latent space the feature was met.

    Parameters
    ----------
    features
        n features.
    contexts
        n rows of counts.
    local
        Weight of the Jacobian at the row's posterior; the rest is the global vector's.
    place
        Length of the second part; 0 leaves it out.
    samples
        Draws of z a row.
    overall
        Global embeddings of the log-probabilities with power 1, if the caller holds them.

    Returns
    -------
    ndarray of shape (n, 2K)
        Compare them by cosine.

    Raises
    ------
    NotFittedError, ParameterError, DataError
    """
    if not 0 <= local <= 1 or place < 0:
        raise ParameterError(
            f"local must be in [0, 1] and place ≥ 0; got local={local!r}, place={place!r}."
        )
    samples = whole("samples", samples, 1, MOST)
    rows, _ = model.align(contexts)
    if rows.n_rows != len(features):
        raise DataError(f"{len(features)} features need as many contexts; got {rows.n_rows}.")
    columns = np.array([model.vocabulary_.index(name) for name in features], dtype=np.int64)
    if overall is None:
        overall = embeddings(model, of=_OF, power=1, seed=seed)
    posterior = model.posterior(rows)
    generative = model.network_.generative
    decoder = generative.decoder
    device = decoder.weight.device
    rng = np.random.default_rng(seed)
    total = np.zeros_like(posterior.mean)
    for _ in range(samples):
        noise = rng.standard_normal(posterior.mean.shape, dtype=np.float32)
        z = torch.from_numpy(posterior.mean + posterior.scale * noise).to(device)
        chosen = torch.from_numpy(columns).to(device)
        total += feature_rows(decoder, z, chosen, _OF, generative.likelihood).cpu().numpy()
    answer = local * unit(total) + (1 - local) * unit(overall.vectors[columns])
    return np.hstack([unit(answer), place * unit(posterior.mean)])


@neutral_torch()
def contextual_similarity(
    model: NonlinearFactorAnalysis,
    pairs: Iterable[tuple[Occurrence, Occurrence, float]],
    *,
    overall: Embeddings | None = None,
    seed: int = 0,
    **settings: Any,
) -> ContextualCorrelation:
    """Correlation with judged similarities of words in sentences, beside that of global vectors.

    Parameters
    ----------
    pairs
        ((word, words around it), (word, words around it), judged similarity), as in SCWS (Huang et
        al. 2012). Pairs with an unknown word are left out and counted; so are unknown words
        around one.
    overall
        As in `contextual_vectors`; its cosines are the baseline.
    settings
        Further arguments of `contextual_vectors`.

    Raises
    ------
    NotFittedError
    DataError
        If fewer than 3 pairs are covered.
    """
    model.check_fitted()
    vocabulary = model.vocabulary_
    pairs = list(pairs)
    covered = [p for p in pairs if p[0][0] in vocabulary and p[1][0] in vocabulary]
    if len(covered) < 3:
        raise DataError(f"Only {len(covered)} of {len(pairs)} pairs are in the vocabulary.")
    if overall is None:
        overall = embeddings(model, of=_OF, power=1, seed=seed)
    first = [occurrence for occurrence, _, _ in covered]
    second = [occurrence for _, occurrence, _ in covered]
    sides = [
        contextual_vectors(
            model,
            [word for word, _ in occurrences],
            _bags(model, occurrences),
            overall=overall,
            seed=seed,
            **settings,
        )
        for occurrences in (first, second)
    ]
    return compare_correlations(
        [overall.similarity(a[0], b[0], "cosine") for a, b, _ in covered],
        (unit(sides[0]) * unit(sides[1])).sum(1).tolist(),
        [judged for *_, judged in covered],
        len(pairs),
        seed,
    )


def _bags(model: NonlinearFactorAnalysis, occurrences: Sequence[Occurrence]) -> CountMatrix:
    """Each word together with the words around it, as a row of counts."""
    index: list[int] = []
    pointers = [0]
    for word, around in occurrences:
        codes = model.vocabulary_.codes([word, *around])
        index.extend(codes[codes >= 0].tolist())
        pointers.append(len(index))
    shape = (len(occurrences), len(model.vocabulary_))
    csr = csr_array((np.ones(len(index), np.float32), index, pointers), shape=shape)
    csr.sum_duplicates()
    return at_typical_exposure(model, CountMatrix.from_any(csr, vocabulary=model.vocabulary_))
