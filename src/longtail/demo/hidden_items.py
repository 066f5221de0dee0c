"""What the demos of baskets share: hiding items of held-out rows, and who finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from longtail.data import CountMatrix, Vocabulary, split_items, split_rows
from longtail.estimator import NonlinearFactorAnalysis
from longtail.evaluation import Ranking, rank_scores

__all__ = ["baskets", "compared", "find_hidden", "held_out_rows"]

_K = 10
_HELD_OUT = 500


def held_out_rows(
    rows: CountMatrix, seed: int
) -> tuple[CountMatrix, CountMatrix, CountMatrix, CountMatrix]:
    """Rows to fit to and to validate with, and of test rows what is observed and what is hidden.

    Validation and test have 500 rows each, or a fifth of few; a fifth of a test row is hidden.
    """
    n = min(_HELD_OUT, rows.n_rows // 5)
    train, valid, test = split_rows(rows, [n, n], seed=seed)
    return train.drop_empty()[0], valid.drop_empty()[0], *split_items(test, 0.2, seed=seed)


def baskets(items: Sequence[Sequence[str]], vocabulary: Vocabulary) -> CountMatrix:
    """Rows that hold these items once each; what the vocabulary lacks is left out."""
    codes = [vocabulary.codes(basket) for basket in items]
    known = [np.unique(c[c >= 0]) for c in codes]
    indptr = np.cumsum([0, *map(len, known)])
    indices = np.concatenate(known)
    shape = (len(items), len(vocabulary))
    csr = csr_array((np.ones(len(indices), dtype=np.float32), indices, indptr), shape=shape)
    names = [", ".join(basket) for basket in items]
    return CountMatrix.from_any(csr, row_ids=names, vocabulary=vocabulary)


def find_hidden(
    model: NonlinearFactorAnalysis,
    train: CountMatrix,
    observed: CountMatrix,
    hidden: CountMatrix,
    seed: int,
) -> dict[str, Ranking]:
    """How well the hidden items are found: by popularity, by item cosine, by the model."""
    frequency = np.asarray(train.csr.sum(axis=0)).ravel()
    popular = np.broadcast_to(frequency, observed.shape)
    cosine = _item_cosine(train.csr)

    def near(rows: slice) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = (observed.csr[rows] @ cosine).astype(np.float32)
        return scores

    shared: dict[str, Any] = {"seen": observed, "cutoffs": (_K,), "popularity": frequency}
    return {
        "popularity": rank_scores(popular, hidden, **shared),
        "item cosine": rank_scores(near, hidden, **shared),
        "the model": model.rank(observed, hidden, cutoffs=(_K,), seed=seed),
    }


def _item_cosine(X: csr_array) -> npt.NDArray[np.float32]:
    """Cosine of every two columns, (V, V); of a column with itself 0."""
    together = (X.T @ X).toarray()
    lengths = np.sqrt(np.diag(together)).clip(min=1e-9)
    cosine: npt.NDArray[np.float32] = together / lengths / lengths[:, None]
    np.fill_diagonal(cosine, 0)
    return cosine


def compared(found: dict[str, Ranking], say: Callable[[str], None]) -> None:
    """Say who finds how much, with standard errors."""
    one = found["the model"]
    say(
        f"  {one.held_out:,} hidden items of {one.rows:,} rows, each looked for among {one.items:,}"
    )
    say(f"  {'':<14}{f'recall@{_K}':>18}{f'ndcg@{_K}':>18}{f'coverage@{_K}':>14}")
    for name, ranking in found.items():
        cells = [ranking.metrics[f"{metric}@{_K}"] for metric in ("recall", "ndcg")]
        numbers = "".join(f"{f'{c.mean:.3f} ± {c.se:.3f}':>18}" for c in cells)
        say(f"  {name:<14}{numbers}{ranking.coverage[f'coverage@{_K}']:>14.1%}")
