"""Recommending: items ranked by the posterior predictive of each row, rows in chunks.

A row that the model was not fitted on needs no training: its history is folded in by inferring
its posterior, as for any row. Items are scored at the posterior mean: averages over draws of z
ranked held-out items worse, with an encoder alone clearly so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from longtail.data import CountMatrix, Vocabulary
from longtail.data.counts import Unseen
from longtail.data.long_tables import refuse_long_table
from longtail.data.unseen import notice_numbers
from longtail.errors import DataError, DataWarning, ParameterError
from longtail.estimator.exposures import at_typical_exposure
from longtail.estimator.inputs import MOST_ROWS, whole
from longtail.estimator.links import LinkScores, items_of
from longtail.estimator.prepare import unseen_notice
from longtail.estimator.recommendations import Recommendations
from longtail.estimator.scores import PredictiveScores
from longtail.evaluation import Ranking, rank_scores
from longtail.evaluation.topk import NOTHING, row_chunks, top_k

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["allowed_items", "match_rows", "rank_rows", "recommend_rows"]


def recommend_rows(
    model: NonlinearFactorAnalysis,
    X: Any,
    k: int,
    *,
    exclude_seen: bool,
    filter_items: Any,
    refine_steps: int | None,
    seed: int | None,
    network: Any = None,
    unseen: Unseen | None = None,
    progress: Callable[[int], None] | None = None,
) -> Recommendations:
    """The k best items of each row; see `NonlinearFactorAnalysis.recommend`."""
    counts, found = model.align(X)
    asked = whole("k", k, 1, MOST_ROWS)
    k = min(asked, counts.n_features)
    allowed = allowed_items(model.vocabulary_, filter_items)
    scores = _scores(model, (X, counts), network, refine_steps, seed, progress)
    indices = np.empty((counts.n_rows, k), dtype=np.int64)
    values = np.empty((counts.n_rows, k), dtype=np.float32)
    for rows in row_chunks(*counts.shape):
        part = scores(rows)
        if allowed is not None:
            part[:, ~allowed] = -np.inf
        masked = counts.csr[rows] if exclude_seen else None
        indices[rows], values[rows] = top_k(part, k, masked)
    return Recommendations(
        row_ids=counts.row_ids,
        indices=indices,
        scores=np.exp(values),
        no_history=scores.empty,
        short=(indices == NOTHING).any(1) | (k < asked),
        unseen=unseen or found,
        vocabulary=model.vocabulary_,
    )


def rank_rows(
    model: NonlinearFactorAnalysis,
    observed: Any,
    held_out: Any,
    *,
    cutoffs: Sequence[int] | None = None,
    refine_steps: int | None,
    seed: int | None,
    network: Any = None,
    progress: Callable[[int], None] | None = None,
) -> Ranking:
    """Judge recommendations by held-out items; see `NonlinearFactorAnalysis.rank`."""
    refuse_long_table(held_out, model.vocabulary_)
    # What is looked for is not inferred from, so it needs no exposures of its own.
    wanted = CountMatrix.from_any(held_out, counts=model.counts).with_exposure(None)
    (seen, unseen), (wanted, unseen_wanted) = (
        model.align(observed),
        model.align(at_typical_exposure(model, wanted)),
    )
    for what in (unseen, unseen_wanted):
        if what is not None and what.n_features:
            warnings.warn(unseen_notice(what), DataWarning, stacklevel=3)
    wanted = match_rows(seen, wanted)
    scores = _scores(model, (observed, seen), network, refine_steps, seed, progress)
    return rank_scores(scores, wanted, seen=seen, cutoffs=cutoffs, popularity=model.unigram_)


def _scores(
    model: NonlinearFactorAnalysis,
    rows: tuple[Any, CountMatrix],
    network: Any,
    refine_steps: int | None,
    seed: int | None,
    progress: Callable[[int], None] | None,
) -> PredictiveScores | LinkScores:
    """What ranks the items of rows, given as they came and aligned."""
    given, counts = rows
    scores = PredictiveScores(model, counts, refine_steps, seed, progress)
    if network is None:
        return scores
    items = counts if network is given else model.align(network)[0]
    own, others = items_of(given, counts), items_of(network, items)
    return LinkScores(scores, model, counts, own, items, others, refine_steps, seed)


def match_rows(observed: CountMatrix, held_out: CountMatrix) -> CountMatrix:
    """The held-out rows in the order of the observed ones, by id; empty where there is none.

    Raises
    ------
    DataError
        If a held-out row is not among the observed ones.
    """
    if observed.row_ids.equals(held_out.row_ids):
        return held_out
    place = {row_id: d for d, row_id in enumerate(observed.row_ids)}
    rows = [place.get(row_id, NOTHING) for row_id in held_out.row_ids]
    if NOTHING in rows:
        at = rows.index(NOTHING)
        raise DataError(
            f"{rows.count(NOTHING):,} of {len(rows):,} held-out rows are not among the observed "
            f"ones, for instance {held_out.row_ids[at]!r}. Both need the same row ids; a row "
            "without history is given as an empty one."
        )
    source = np.full(observed.n_rows, held_out.n_rows)
    source[rows] = np.arange(held_out.n_rows)
    # One more row, empty, stands for those that have nothing held out.
    indptr = np.append(held_out.csr.indptr, held_out.csr.indptr[-1])
    padded = csr_array(
        (held_out.csr.data, held_out.csr.indices, indptr),
        shape=(held_out.n_rows + 1, held_out.n_features),
    )
    return CountMatrix(padded[source], observed.row_ids, held_out.vocabulary)


def allowed_items(vocabulary: Vocabulary, items: Any) -> npt.NDArray[np.bool_] | None:
    """Which items may be listed: (V,), or None for all.

    Parameters
    ----------
    items
        Names, column numbers, or a mask of length V; None for all.

    Raises
    ------
    DataError
        If a name is unknown (the message suggests similar ones), a number is out of range or a
        mask is of another length.
    ParameterError
        If it is none of these, or allows nothing.
    """
    if items is None:
        return None
    n = len(vocabulary)
    if not isinstance(items, Iterable):
        raise ParameterError(
            f"filter_items must be a list of names, column numbers or a mask; got {items!r}."
        )
    listed: list[Any] = [items] if isinstance(items, str) else list(items)
    mask = np.zeros(n, dtype=bool)
    notice_numbers(vocabulary, listed, "filter_items")
    if listed and all(isinstance(item, bool | np.bool_) for item in listed):
        if len(listed) != n:
            raise DataError(f"A mask of items needs {n:,} entries, one an item; got {len(listed)}.")
        mask[:] = listed
    elif all(isinstance(item, str) for item in listed):
        mask[[vocabulary.index(item) for item in listed]] = True
    elif all(isinstance(item, int | np.integer) for item in listed):
        wrong = [int(item) for item in listed if not 0 <= item < n]
        if wrong:
            raise DataError(
                f"Column numbers of items must be from 0 to {n - 1}; got {wrong[:5]}"
                f" ({len(wrong):,} out of range)."
            )
        mask[listed] = True
    else:
        raise ParameterError(
            "filter_items must be names, column numbers or a mask; got "
            f"{', '.join(sorted({type(item).__name__ for item in listed}))}."
        )
    if not mask.any():
        raise ParameterError("filter_items allows no item at all; name at least one.")
    return mask
