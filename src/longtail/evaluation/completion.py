"""Document completion: a held-out score that compares any two models, without bounds.

Each row's tokens are split in two at random. The posterior is inferred from the observed half
alone (refining on all tokens would leak), and the held-out half is scored under the posterior
predictive E_q[p(v | z)].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from longtail.data.batches import Batch
from longtail.inference import (
    HybridModel,
    RefineSettings,
    Rows,
    Stream,
    normal_noise,
)
from longtail.ops import SparseRows
from longtail.ops.ambient import neutral_torch

__all__ = ["CompletionRows", "completion_rows", "observed_share", "split_tokens"]

_LARGEST_TOTAL = 10**9  # of NumPy's multivariate hypergeometric sampler


@dataclass(frozen=True, eq=False)
class CompletionRows:
    """Per-row completion scores of the rows that have at least two tokens.

    Attributes
    ----------
    log_prob
        Σ over held-out tokens of log E_q[p(v)]: (n,), nats.
    totals
        Held-out tokens: (n,).
    """

    log_prob: npt.NDArray[np.float64]
    totals: npt.NDArray[np.float64]


def split_tokens(
    counts: csr_array, keys: npt.NDArray[np.uint64], seed: int, *, by_feature: bool = False
) -> tuple[csr_array, csr_array]:
    """Split the tokens of each row at random into an observed and a held-out half.

    With an odd number of tokens the observed half has one more. Rows whose values are not all
    whole numbers are split by feature, each keeping its whole value. The split of a row depends
    on its content and the seed only.

    Parameters
    ----------
    counts
        n×V.
    keys
        Content key of each row: (n,).
    by_feature
        Split features, not tokens, in every row: for presence data.

    Returns
    -------
    observed, held_out
        Both n×V; they add up to `counts`.
    """
    held = np.zeros(counts.nnz, dtype=np.float64)
    for d in range(counts.shape[0]):
        start, stop = counts.indptr[d], counts.indptr[d + 1]
        rng = np.random.default_rng([seed, int(keys[d])])
        held[start:stop] = _held_out(counts.data[start:stop].astype(np.float64), rng, by_feature)
    return _part(counts, counts.data - held), _part(counts, held)


def _held_out(
    values: npt.NDArray[np.float64], rng: np.random.Generator, by_feature: bool
) -> npt.NDArray[np.float64]:
    if _splits_tokens(values, by_feature):
        whole = values.astype(np.int64)
        half = int(values.sum()) // 2
        drawn = rng.multivariate_hypergeometric(whole, half, method="marginals")
        return drawn.astype(np.float64)
    chosen = rng.permutation(len(values))[: len(values) // 2]
    held = np.zeros_like(values)
    held[chosen] = values[chosen]
    return held


def _splits_tokens(values: npt.NDArray[np.float64], by_feature: bool) -> bool:
    whole = bool(np.all(values == np.rint(values)))
    return not by_feature and whole and float(values.sum()) < _LARGEST_TOTAL


def observed_share(
    counts: csr_array, observed: csr_array, *, by_feature: bool = False
) -> npt.NDArray[np.float64]:
    """Which share of each row's exposure its observed half has: (n,).

    To split tokens at random is to thin: a half of the tokens comes of a half of the exposure (of
    an odd number, the share that is observed). A row that is split by feature, or is empty, has
    been looked at for all of its exposure.

    Parameters
    ----------
    counts, observed, by_feature
        What `split_tokens` was given and made.
    """
    share = np.ones(counts.shape[0])
    for d in range(counts.shape[0]):
        values = counts.data[counts.indptr[d] : counts.indptr[d + 1]].astype(np.float64)
        if len(values) and _splits_tokens(values, by_feature):
            half = observed.data[observed.indptr[d] : observed.indptr[d + 1]]
            share[d] = half.sum(dtype=np.float64) / values.sum()
    return share


def _part(counts: csr_array, values: npt.NDArray[np.float64]) -> csr_array:
    part = csr_array(
        (values.astype(np.float32), counts.indices.copy(), counts.indptr.copy()),
        shape=counts.shape,
    )
    part.eliminate_zeros()
    return part


@neutral_torch()
@torch.no_grad()
def completion_rows(
    model: HybridModel,
    batches: Iterable[Batch],
    held_out: csr_array,
    *,
    refine: RefineSettings,
    samples: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> CompletionRows:
    """Score the held-out half of every row.

    Parameters
    ----------
    batches
        The observed halves.
    held_out
        The other halves, n×V, in the order of the batches' `rows`.
    samples
        S, draws of z for the posterior predictive.
    """
    scores, done = [], 0
    for batch in batches:
        target = SparseRows.from_scipy(held_out[batch.rows], device)
        rows = Rows.from_batch(batch, device)
        scores.append(_score(model, rows, target, refine, samples, seed))
        done += len(batch)
        if progress is not None:
            progress(done)
    return CompletionRows(np.concatenate(scores), np.asarray(held_out.sum(1), dtype=np.float64))


def _score(
    model: HybridModel,
    rows: Rows,
    target: SparseRows,
    refine: RefineSettings,
    samples: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    generative = model.generative
    key = rows.noise_key(seed)
    psi = model.refined(rows.counts, model.amortized(rows.features), key, refine)
    row_of_entry = target.row_of_entry()
    # In logarithms: a feature far below the others must not become impossible in float32.
    log_p = torch.full_like(target.values, -math.inf, dtype=torch.float64)
    for s in range(samples):
        z = psi.sample(normal_noise(key, psi.mean.shape[1], Stream.COMPLETION, s))
        drawn = generative.likelihood.log_probabilities(generative.decoder(z))
        log_p = torch.logaddexp(log_p, drawn[row_of_entry, target.indices].double())
    log_p = target.values * (log_p - math.log(samples))
    scores = log_p.new_zeros(target.shape[0]).index_add_(0, row_of_entry, log_p)
    result: npt.NDArray[np.float64] = scores.cpu().numpy()
    return result
