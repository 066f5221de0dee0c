"""gensim's corpora in memory: documents as lists of (id, count)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array

from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["bow_matrix"]


def bow_matrix(
    corpus: Iterable[Iterable[Any]],
    id2word: Mapping[int, str] | Vocabulary | Sequence[str] | None,
) -> tuple[coo_array, Vocabulary | None]:
    """Collect the (id, count) pairs of every document.

    Parameters
    ----------
    corpus
        Documents, each an iterable of pairs; gone through once.
    id2word
        The word of each id, as gensim's Dictionary and its token2id have it, or words in the
        order of their ids. Ids may have gaps: every word has a column, in the order of the ids.
        None: ids are column numbers.

    Returns
    -------
    matrix : coo_array
        Shape (n, V); a pair of the same document and id may stand in it repeatedly.
    vocabulary : Vocabulary or None
        The words, in the order of their ids.

    Raises
    ------
    DataError
        If a document is no list of pairs of an id and a number, or an id is unknown; says which
        document.
    """
    words = _words(id2word)
    rows: list[int] = []
    ids: list[int] = []
    values: list[float] = []
    n_rows = 0
    for document in corpus:
        for pair in _pairs(document, n_rows):
            identifier, value = _checked(pair, n_rows)
            rows.append(n_rows)
            ids.append(identifier)
            values.append(value)
        n_rows += 1
    columns = np.array(ids, dtype=np.int64)
    if words is None:
        n_columns, vocabulary = int(columns.max(initial=-1)) + 1, None
    else:
        columns = _positions(columns, words, rows)
        n_columns, vocabulary = len(words), Vocabulary(words.values())
    triples = (np.array(values, dtype=np.float64), (np.array(rows, dtype=np.int64), columns))
    return coo_array(triples, shape=(n_rows, n_columns)), vocabulary


def _words(
    id2word: Mapping[int, str] | Vocabulary | Sequence[str] | None,
) -> dict[int, str] | None:
    """Return the word of each id, by ascending id."""
    if id2word is None:
        return None
    ids: Any = getattr(id2word, "keys", None)
    if ids is None:
        if isinstance(id2word, str | bytes) or not hasattr(id2word, "__iter__"):
            raise DataError(f"id2word must be the word of every id; got {id2word!r:.60}.")
        return dict(enumerate(id2word))  # type: ignore[arg-type]
    pairs: list[tuple[Any, Any]] = [(key, id2word[key]) for key in ids()]
    if pairs and all(isinstance(k, str) and not isinstance(v, str) for k, v in pairs):
        pairs = [(identifier, word) for word, identifier in pairs]  # its token2id
    words = {_identifier(key): word for key, word in pairs}
    if len(words) < len(pairs):
        raise DataError("id2word gives an id to several words; expected one word an id.")
    return dict(sorted(words.items()))


def _identifier(key: Any) -> int:
    """An id; JSON makes text of it."""
    try:
        whole = int(key)
        if (isinstance(key, str) or whole == key) and 0 <= whole <= np.iinfo(np.int32).max:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(f"id2word holds the id {key!r:.60}; expected whole numbers from 0.")


def _pairs(document: Any, row: int) -> Iterable[Any]:
    if isinstance(document, str | bytes) or not hasattr(document, "__iter__"):
        raise DataError(
            f"Document {row} is {document!r:.60}; expected a list of (id, count) pairs, as "
            "gensim's Dictionary.doc2bow makes."
        )
    pairs: Iterable[Any] = document
    return pairs


def _checked(pair: Any, row: int) -> tuple[int, float]:
    try:
        identifier, value = pair
        number = float(value)
        whole = int(identifier)
        is_pair = whole == identifier and 0 <= whole <= np.iinfo(np.int32).max
    except (TypeError, ValueError, OverflowError):
        is_pair = False
    if not is_pair:
        raise DataError(
            f"Document {row} holds {pair!r:.60}; expected (id, count) pairs with ids from 0. "
            "Words become ids with gensim's Dictionary.doc2bow."
        )
    return whole, number


def _positions(ids: Any, words: dict[int, str], rows: list[int]) -> Any:
    known = np.fromiter(words, dtype=np.int64, count=len(words))
    if len(known) == 0:
        raise DataError("id2word is empty; expected the word of every id.")
    positions = np.searchsorted(known, ids).clip(max=len(known) - 1)
    unknown = known[positions] != ids
    if unknown.any():
        first = int(np.argmax(unknown))
        raise DataError(
            f"Document {rows[first]} holds the id {ids[first]}, which id2word does not have "
            f"({int(unknown.sum()):,} such pair(s) in all). Give the dictionary that made this "
            "corpus."
        )
    return positions
