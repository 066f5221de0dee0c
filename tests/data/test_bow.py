from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import CountMatrix, Vocabulary, read_counts
from longtail.errors import DataError
from tests.data.strategies import dense_counts

CORPUS = [[(0, 2), (5, 1)], [], [(3, 1.5), (3, 1)]]
WORDS = {5: "tree", 0: "kernel", 3: "leaf"}


class Dictionary:
    """As much of gensim's as is used: it is no dict."""

    def keys(self):
        return list(WORDS)

    def __getitem__(self, key):
        return WORDS[key]


@pytest.mark.parametrize("id2word", [WORDS, Dictionary()])
def test_words_by_id(id2word):
    counts = CountMatrix.from_bow((iter(d) for d in CORPUS), id2word=id2word, row_ids=list("abc"))
    assert counts.vocabulary.names == ("kernel", "leaf", "tree")
    assert counts.csr.toarray().tolist() == [[2, 0, 1], [0, 0, 0], [0, 2.5, 0]]
    assert counts.row_ids.to_list() == ["a", "b", "c"]


def test_words_in_order_and_none():
    names = list("klmnop")
    for id2word in (names, tuple(names), Vocabulary(names)):
        counts = CountMatrix.from_bow(CORPUS, id2word=id2word)
        assert counts.vocabulary.names == tuple(names)
    unnamed = CountMatrix.from_bow(CORPUS)
    assert unnamed.shape == (3, 6)
    assert not unnamed.vocabulary.named
    with pytest.raises(DataError, match="Fractional values"):
        CountMatrix.from_bow(CORPUS, counts="strict")


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (["kernel"], "Document 0 is 'kernel'; expected a list of"),
        ([[], 7], "Document 1 is 7"),
        ([[("kernel", 1)]], r"Document 0 holds \('kernel', 1\); expected .*doc2bow"),
        ([[(0, "x")]], r"Document 0 holds \(0, 'x'\)"),
        ([[(-1, 1)]], r"Document 0 holds \(-1, 1\)"),
        ([[(0.5, 1)]], r"Document 0 holds \(0.5, 1\)"),
        ([[(0, 1, 2)]], "Document 0 holds"),
        ([[], [(0, 1), (4, 1)]], "Document 1 holds the id 4, which id2word does not have"),
        ([[(0, -1)]], "Negative values .* feature 'kernel'"),
        ([], "0 sample"),
    ],
)
def test_refused_corpora(corpus, message):
    with pytest.raises(DataError, match=message):
        CountMatrix.from_bow(corpus, id2word=WORDS)


TOKEN2ID = {"tree": 5, "kernel": 0, "leaf": 3}


@pytest.mark.parametrize("id2word", [TOKEN2ID, {str(i): w for i, w in WORDS.items()}])
def test_words_go_with_their_ids_however_these_are_given(id2word):
    counts = CountMatrix.from_bow(CORPUS, id2word=id2word)
    assert counts.vocabulary.names == ("kernel", "leaf", "tree")
    assert counts.csr.toarray().tolist() == [[2, 0, 1], [0, 0, 0], [0, 2.5, 0]]


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, unique=True), st.data())
def test_ids_with_gaps(ids, data):
    token2id = {f"w{i}": i for i in data.draw(st.permutations(ids))}
    id2word = {i: word for word, i in token2id.items()}
    for given_as in (token2id, id2word, {str(i): word for i, word in id2word.items()}):
        counts = CountMatrix.from_bow([[(i, 1 + n)] for n, i in enumerate(ids)], id2word=given_as)
        assert counts.vocabulary.names == tuple(f"w{i}" for i in sorted(ids))
        for n, i in enumerate(ids):
            assert counts.top_features(n, 1) == [(f"w{i}", 1 + n)]


@pytest.mark.parametrize(
    ("id2word", "message"),
    [
        ({"a": 0, "b": 0}, "an id to several words"),
        ({"a": 0, "b": -1}, "holds the id -1; expected whole numbers from 0"),
        ({"a": 0, "b": 1.5}, "holds the id 1.5"),
        ({"a": 0, "b": 10**30}, "holds the id 1000"),
        ({"a": "x"}, "holds the id 'a'"),
        ({None: "x"}, "holds the id None"),
        ("kernel", "must be the word of every id; got 'kernel'"),
        (3, "must be the word of every id; got 3"),
    ],
)
def test_refused_words(id2word, message):
    with pytest.raises(DataError, match=message):
        CountMatrix.from_bow([[(0, 1)]], id2word=id2word)


def test_an_empty_dictionary():
    with pytest.raises(DataError, match="id2word is empty"):
        CountMatrix.from_bow(CORPUS, id2word={})


@given(dense_counts)
def test_round_trip(dense):
    corpus = [[(i, row[i]) for i in np.flatnonzero(row)] for row in dense]
    counts = CountMatrix.from_bow(corpus, id2word=[f"w{i}" for i in range(dense.shape[1])])
    np.testing.assert_array_equal(counts.csr.toarray(), dense)


@pytest.mark.parametrize("name", ["corpus.mm", "corpus.mtx"])
def test_matrix_market_as_gensim_writes_it(tmp_path, name):
    # gensim pads the line of sizes, which it writes last.
    lines = ["%%MatrixMarket matrix coordinate real general", "3 6 3".ljust(50), "1 1 2"]
    (tmp_path / name).write_text("\n".join([*lines, "1 6 1.0", "3 4 2.5", ""]))
    counts = read_counts(tmp_path / name)
    assert counts.csr.toarray().tolist() == CountMatrix.from_bow(CORPUS).csr.toarray().tolist()
