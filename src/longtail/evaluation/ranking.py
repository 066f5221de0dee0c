"""Ranking: how near held-out items are to the top of each row's list.

With h_r = 1 where the item at rank r is held out, m the number of a row's held-out items, and
c = Σ_{r ≤ k} h_r the hits among the first k:

    recall             c / m                          (tables of LightGCN and its kin)
    recall_truncated   c / min(k, m)                  (Liang et al. 2018, eq. 8)
    precision          c / k
    hit_rate           1 if c > 0, else 0
    mrr                1 / rank of the first hit, 0 if there is none among the first k
    ndcg               Σ_{r ≤ k} h_r / log2(r + 1)  ÷  Σ_{r ≤ min(k, m)} 1 / log2(r + 1)
    novelty            mean of −log(share of training interactions) of the items listed, nats
    coverage           share of all items that stand in somebody's list

The two recalls agree where m ≤ k. Items that the row was inferred from are not listed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.data import CountMatrix
from longtail.errors import DataError, DataWarning, ParameterError
from longtail.evaluation.ranking_results import Ranking, RowMean
from longtail.evaluation.topk import NOTHING, row_chunks, top_k

__all__ = ["CUTOFFS", "rank_lists", "rank_scores"]

Array = npt.NDArray[np.float64]
Lists = npt.NDArray[np.int64]

CUTOFFS = (20, 50, 100)
"""Lengths of the lists that are judged: those of Liang et al. 2018."""

_SHORT_CUTOFFS = (1, 5, 10)


def rank_scores(
    scores: npt.NDArray[np.floating] | Callable[[slice], npt.NDArray[np.floating]],
    held_out: CountMatrix,
    *,
    seen: CountMatrix | None = None,
    cutoffs: Sequence[int] | None = None,
    popularity: npt.ArrayLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> Ranking:
    """Judge scores of all items by the items held out.

    Of items with equal scores, the one in the lower column is listed first.

    Parameters
    ----------
    scores
        (n, V), or a function from a slice of row positions to their scores (B, V), so that those
        of all rows are never held. What the function returns may be overwritten.
    held_out
        n×V: each row's entries are the items to be found. Values do not count.
    seen
        n×V: items that are not listed, usually those that the row was inferred from.
    cutoffs
        Lengths of the lists. None: those of `CUTOFFS` for which there are items enough, or of
        1, 5 and 10 if there are too few for all; a `DataWarning` says so.
    popularity
        (V,): training interactions of each item, for novelty, which is left out without them.
        An item without any counts as the least popular one.
    progress
        Called with the number of rows done.

    Raises
    ------
    DataError
        If shapes differ, an item is both seen and held out, no row has a held-out item, or a
        score is not a number.
    ParameterError
        If a cutoff is not a whole number from 1 to V.
    """
    cutoffs = _checked_cutoffs(cutoffs, held_out.n_features)
    if seen is not None:
        _check_apart(seen, held_out)
    if not callable(scores):
        scores = np.asarray(scores)
        _check_shape(scores.shape, slice(0, held_out.n_rows), held_out.n_features)
    lists = np.empty((held_out.n_rows, max(cutoffs)), dtype=np.int64)
    for rows in row_chunks(*held_out.shape):
        part = scores(rows) if callable(scores) else np.array(scores[rows])
        _check_shape(part.shape, rows, held_out.n_features)
        lists[rows], _ = top_k(part, max(cutoffs), None if seen is None else seen.csr[rows])
        if progress is not None:
            progress(rows.stop)
    return rank_lists(lists, held_out, cutoffs=cutoffs, popularity=popularity)


def rank_lists(
    lists: npt.ArrayLike,
    held_out: CountMatrix,
    *,
    cutoffs: Sequence[int] | None = None,
    popularity: npt.ArrayLike | None = None,
) -> Ranking:
    """Judge lists of items, best first, by the items held out.

    Parameters
    ----------
    lists
        (n, k) column numbers; −1 at the end of a list that is shorter.
    held_out, cutoffs, popularity
        As in `rank_scores`.

    Raises
    ------
    DataError, ParameterError
        As in `rank_scores`, and where a list is too short or names an item twice.
    """
    cutoffs = _checked_cutoffs(cutoffs, held_out.n_features)
    items = _checked_lists(lists, held_out, max(cutoffs))
    relevant = np.diff(held_out.csr.indptr).astype(np.int64)
    scored = np.flatnonzero(relevant)
    if len(scored) == 0:
        raise DataError(
            f"None of the {held_out.n_rows:,} rows has a held-out item: nothing to score. Hold out "
            "a larger share of each row, and check that its items are among the model's."
        )
    items, relevant = items[scored], relevant[scored]
    hits = _hits(items, held_out, scored)
    information = None if popularity is None else _information(popularity, held_out.n_features)
    per_row: dict[str, Array] = {}
    for k in cutoffs:
        columns = _at(k, items[:, :k], hits[:, :k], relevant, information)
        per_row |= {f"{name}@{k}": values for name, values in columns.items()}
    return Ranking(
        rows=len(scored),
        skipped_rows=held_out.n_rows - len(scored),
        held_out=int(relevant.sum()),
        items=held_out.n_features,
        cutoffs=cutoffs,
        metrics={name: RowMean.of(values) for name, values in per_row.items()},
        coverage={f"coverage@{k}": _coverage(items[:, :k], held_out.n_features) for k in cutoffs},
        per_row=pl.DataFrame(
            {"row_id": held_out.row_ids.gather(scored), "held_out": relevant, **per_row}
        ),
    )


def _at(
    k: int,
    items: Lists,
    hits: npt.NDArray[np.bool_],
    relevant: npt.NDArray[np.int64],
    information: Array | None,
) -> dict[str, Array]:
    """Every metric of each row for lists of length k."""
    n_hits = hits.sum(1).astype(np.float64)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(relevant, k) - 1]
    first = 1 / (1.0 + hits.argmax(1))
    values = {
        "recall": n_hits / relevant,
        "recall_truncated": n_hits / np.minimum(relevant, k),
        "precision": n_hits / k,
        "ndcg": hits @ discount / ideal,
        "mrr": np.where(n_hits > 0, first, 0.0),
        "hit_rate": (n_hits > 0).astype(np.float64),
    }
    if information is not None:
        listed = items != NOTHING
        total = np.where(listed, information[items], 0.0).sum(1)
        length = listed.sum(1)
        values["novelty"] = np.where(length > 0, total / np.maximum(length, 1), np.nan)
    return values


def _hits(items: Lists, held_out: CountMatrix, rows: Lists) -> npt.NDArray[np.bool_]:
    """Whether each listed item is held out: (n, k)."""
    width = held_out.n_features + 1
    owner = np.repeat(np.arange(held_out.n_rows), np.diff(held_out.csr.indptr))
    wanted = owner * width + held_out.csr.indices.astype(np.int64)
    # NOTHING becomes the column after the last, which no row holds.
    listed = rows[:, None] * width + np.where(items == NOTHING, width - 1, items)
    place = np.searchsorted(wanted, listed).clip(max=len(wanted) - 1)
    found: npt.NDArray[np.bool_] = wanted[place] == listed
    return found


def _information(popularity: npt.ArrayLike, n_items: int) -> Array:
    """−log of each item's share of the training interactions, nats: (V,)."""
    weights = np.asarray(popularity, dtype=np.float64)
    if weights.shape != (n_items,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError(
            f"popularity must be {n_items:,} numbers ≥ 0, one for each item; got an array of "
            f"shape {weights.shape}."
        )
    if not weights.any():
        raise DataError("popularity is 0 for every item; give the training interactions of each.")
    share = np.maximum(weights, weights[weights > 0].min()) / weights.sum()
    information: Array = -np.log(share)
    return information


def _coverage(items: Lists, n_items: int) -> float:
    return len(np.setdiff1d(items, [NOTHING])) / n_items


def _default_cutoffs(n_items: int) -> tuple[int, ...]:
    """The usual lengths of lists, as far as there are so many items."""
    kept = tuple(k for k in CUTOFFS if k <= n_items)
    kept = kept or tuple(k for k in _SHORT_CUTOFFS if k <= n_items)
    if kept != CUTOFFS:
        warnings.warn(
            f"There are {n_items:,} items, too few for lists of {_listed(CUTOFFS)}: judged are "
            f"lists of {_listed(kept)}. Name others with cutoffs= (--cutoff).",
            DataWarning,
            stacklevel=4,
        )
    return kept


def _listed(cutoffs: Sequence[int]) -> str:
    return ", ".join(map(str, cutoffs))


def _checked_cutoffs(cutoffs: Sequence[int] | None, n_items: int) -> tuple[int, ...]:
    if cutoffs is None:
        return _default_cutoffs(n_items)
    if not isinstance(cutoffs, Iterable):
        raise ParameterError(f"cutoffs must be a list of whole numbers; got {cutoffs!r}.")
    wrong = [
        k
        for k in cutoffs
        if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 1 <= k <= n_items
    ]
    if wrong or not cutoffs:
        raise ParameterError(
            f"cutoffs must be whole numbers from 1 to the {n_items:,} items there are; "
            f"got {list(cutoffs)!r}."
        )
    return tuple(sorted({int(k) for k in cutoffs}))


def _checked_lists(lists: npt.ArrayLike, held_out: CountMatrix, longest: int) -> Lists:
    items = np.asarray(lists)
    n, n_items = held_out.shape
    if items.dtype.kind not in "iu" or items.ndim != 2 or len(items) != n:
        raise DataError(
            f"Expected a list of column numbers for each of {n:,} rows; got an array of "
            f"{items.dtype} and shape {items.shape}."
        )
    if items.shape[1] < longest:
        raise DataError(
            f"The lists have {items.shape[1]} items, too few for a cutoff of {longest}. Make them "
            "longer, or give smaller cutoffs."
        )
    items = items[:, :longest].astype(np.int64)
    if items.min() < NOTHING or items.max() >= n_items:
        raise DataError(
            f"Column numbers must be from 0 to {n_items - 1}, or −1 for none; they range from "
            f"{items.min()} to {items.max()}."
        )
    ordered = np.sort(items, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOTHING)).any(1)
    if twice.any():
        raise DataError(
            f"The list of row {held_out.row_ids[int(twice.argmax())]!r} names an item twice, and "
            "would be paid for it twice."
        )
    return items


def _check_shape(shape: tuple[int, ...], rows: slice, n_items: int) -> None:
    expected = (rows.stop - rows.start, n_items)
    if shape != expected:
        raise DataError(
            f"Rows {rows.start} to {rows.stop - 1} need scores of shape {expected}; got {shape}."
        )


def _check_apart(seen: CountMatrix, held_out: CountMatrix) -> None:
    if seen.shape != held_out.shape:
        raise DataError(
            f"Seen items have shape {seen.shape}, held-out items {held_out.shape}; both need the "
            "same rows and items, in the same order."
        )
    both = (seen.csr != 0).multiply(held_out.csr != 0).tocoo()
    if both.nnz:
        row, column = int(both.row[0]), int(both.col[0])
        raise DataError(
            f"Row {held_out.row_ids[row]!r} has {held_out.vocabulary[column]!r} both among its "
            f"seen and its held-out items ({both.nnz:,} such pairs in all). Seen items are not "
            "listed, so it could never be found: leave it out of one of the two."
        )
