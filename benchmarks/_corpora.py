"""The rows that several benchmarks share: read once, split and limited in the same way."""

from __future__ import annotations

import gzip
import re
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import longtail as lt
from benchmarks.rows import data_file
from longtail.data.corpora import docstring_counts, load_docstrings

DEBIAN = "debian_descriptions.parquet"
IMDB = "imdb_reviews.parquet"
NEWS = ("20news_miao/train.feat.gz", "20news_miao/test.feat.gz", "20news_miao/vocab.txt")
NHDS = "nhds2010_diagnoses.parquet"
SPLIT_SEED = 0
_WORD = r"(?u)\b[^\W\d_]{2,}\b"

Parts = tuple[lt.CountMatrix, lt.CountMatrix, lt.CountMatrix]


def news(valid_rows: int = 500) -> Parts:
    """20 Newsgroups: training, validation (of the training rows) and test rows."""
    train = lt.read_counts(data_file(NEWS[0]))
    test, _ = lt.read_counts(data_file(NEWS[1])).align(train.vocabulary)
    train, valid = lt.split_rows(train.drop_empty()[0], [valid_rows], seed=SPLIT_SEED)
    return train, valid, test


def news_whole() -> Parts:
    """20 Newsgroups without validation rows: the fit holds out a share of its own, 5 %."""
    train = lt.read_counts(data_file(NEWS[0]))
    test, _ = lt.read_counts(data_file(NEWS[1])).align(train.vocabulary)
    train = train.drop_empty()[0]
    return train, train[:0], test


def news_late(valid_rows: int = 25) -> Parts:
    """20 Newsgroups with the last rows of each group for validation.

    The test messages are later than the training messages, and the file has those of a group in
    roughly the order of their numbers in the raw archive. Validation rows that are later too have
    fewer neighbours among the training rows than random ones. Two of them have a twin there:
    repeats are not removed.
    """
    path = data_file(NEWS[0])
    train = lt.read_counts(path)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        groups = np.array([int(line.split(maxsplit=1)[0]) for line in file])
    late = np.zeros(train.n_rows, dtype=bool)
    for group in np.unique(groups):
        late[np.flatnonzero(groups == group)[-valid_rows:]] = True
    test, _ = lt.read_counts(data_file(NEWS[1])).align(train.vocabulary)
    some = train.totals > 0
    return train[np.flatnonzero(~late & some)], train[np.flatnonzero(late & some)], test


def imdb_reviews(
    max_features: int, split: str | None = None, *, vocabulary: lt.Vocabulary | None = None
) -> lt.CountMatrix:
    """Film reviews without English stop words; all of them, or one split.

    With a `vocabulary` its words are counted, whatever their frequency here.
    """
    texts = pl.read_parquet(data_file(IMDB))
    if split is not None:
        texts = texts.filter(pl.col("split") == split)
    texts = texts.with_columns(pl.col("text").str.replace_all("<br />", " "))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / IMDB
        texts.write_parquet(path)
        if vocabulary is None:
            return _words(path, "doc_id", max_df=0.3, max_features=max_features)
        counts, _ = _words(path, "doc_id").align(vocabulary)
        return counts.drop_empty()[0]


def _words(path: Path, id_column: str | None, **limits: float | int) -> lt.CountMatrix:
    """Texts as words of letters only, without English stop words and repeated rows."""
    counts = lt.read_counts(
        path,
        text_column="text",
        id_column=id_column,
        stop_words="english",
        token_pattern=_WORD,
        **limits,
    )
    return lt.drop_duplicates(counts.drop_empty()[0])[0]


def imdb_subset(n_train: int = 6000, n_test: int = 1000, max_features: int = 10_000) -> Parts:
    """Some of the training reviews: training, validation (300) and test rows."""
    counts = imdb_reviews(max_features, "train")
    rest, test = lt.split_rows(counts, [n_test], seed=SPLIT_SEED)
    rng = np.random.default_rng(SPLIT_SEED)
    rows = np.sort(rng.permutation(rest.n_rows)[: n_train + 300])
    train, valid = lt.split_rows(rest[rows], [300], seed=SPLIT_SEED)
    return train, valid, test


def imdb_texts(n_features: int, n_train: int | None = 6000, n_test: int = 2500) -> Parts:
    """The same film reviews whatever the vocabulary: the most frequent of 20,000 words.

    Training reviews, 500 more for validation, and test reviews that are not among either.
    """
    counts = imdb_reviews(20_000, "train")
    test = imdb_reviews(20_000, "test", vocabulary=counts.vocabulary)
    test = test[np.flatnonzero(~np.isin(test.row_keys(), counts.row_keys()))]
    train, valid = lt.split_rows(counts, [500], seed=SPLIT_SEED)
    rng = np.random.default_rng(SPLIT_SEED)
    parts = [
        train[np.sort(rng.permutation(train.n_rows)[:n_train])],
        valid,
        test[np.sort(rng.permutation(test.n_rows)[:n_test])],
    ]
    totals = np.asarray(counts.csr.sum(0)).ravel()
    frequent = np.sort(np.argsort(-totals, kind="stable")[:n_features])
    vocabulary = lt.Vocabulary([counts.vocabulary.names[i] for i in frequent])
    train, valid, test = (part.align(vocabulary)[0].drop_empty()[0] for part in parts)
    return train, valid, test


def debian(max_features: int, n_test: int = 2500) -> Parts:
    """Descriptions of software packages: training, validation (500) and test rows."""
    # A few packages are there twice, so their names are no ids.
    counts = _words(data_file(DEBIAN), None, max_df=0.3, max_features=max_features)
    train, valid, test = lt.split_rows(counts, [500, n_test], seed=SPLIT_SEED)
    return train, valid, test


def docstrings(max_features: int = 10_000, n_test: int = 5000) -> Parts:
    """All docstrings found here: training, validation (300) and held-out rows."""
    counts = docstring_counts(load_docstrings(), min_df=10, max_features=max_features)
    counts = lt.drop_duplicates(counts.drop_empty()[0])[0]
    train, valid, test = lt.split_rows(counts, [300, n_test], seed=SPLIT_SEED)
    return train, valid, test


def diagnoses(min_records: int = 10, min_codes: int = 2) -> lt.CountMatrix:
    """Discharges with at least two codes, over codes with at least ten records."""
    counts = lt.read_counts(
        data_file(NHDS), row_column="discharge", feature_column="icd9", min_df=min_records
    )
    return counts[np.flatnonzero(np.diff(counts.csr.indptr) >= min_codes)]


def diagnosis_parts() -> Parts:
    """Discharges: training, validation (1,000) and test rows (2,500)."""
    train, valid, test = lt.split_rows(diagnoses(), [1000, 2500], seed=SPLIT_SEED)
    return train, valid, test


def imdb_sentences(rows: lt.CountMatrix) -> list[list[str]]:
    """The reviews of these rows as sequences of the words of their vocabulary, in order."""
    texts = pl.read_parquet(data_file(IMDB)).filter(pl.col("doc_id").is_in(rows.row_ids.to_list()))
    known = set(rows.vocabulary.names)
    words = re.compile(_WORD)
    return [
        [w for w in words.findall(text.replace("<br />", " ").lower()) if w in known]
        for text in texts["text"]
    ]
