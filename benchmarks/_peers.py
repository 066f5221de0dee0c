"""Embeddings by other methods, on the same rows as ours."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import svds

import longtail as lt
from benchmarks.rows import threads


def ppmi_svd(rows: lt.CountMatrix, dimensions: int = 100) -> lt.Embeddings:
    """Positive pointwise mutual information of co-occurring in a row, truncated by SVD.

    Context distribution smoothing 0.75 and singular values to the power 0.5 (Levy, Goldberg and
    Dagan 2015).
    """
    present = (rows.csr > 0).astype(np.float64)
    together = (present.T @ present).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    together = together.tocoo()
    marginal = np.asarray(together.sum(1)).ravel()
    smoothed = marginal**0.75
    smoothed /= smoothed.sum()
    expected = marginal[together.row] * smoothed[together.col]
    together.data = np.maximum(np.log(together.data / expected), 0)
    matrix = together.tocsr()
    matrix.eliminate_zeros()
    u, s, _ = svds(matrix, dimensions, random_state=0)
    return lt.Embeddings(rows.vocabulary, np.ascontiguousarray(u * np.sqrt(s), dtype=np.float32))


def word2vec(
    rows: lt.CountMatrix,
    sentences: list[list[str]],
    *,
    skip_gram: bool,
    window: int,
    epochs: int,
    ordered: bool = True,
    seed: int = 0,
) -> lt.Embeddings:
    """gensim's word2vec: 100 dimensions, 10 negative samples; words never met have zeros.

    Sentences that are not `ordered` have whole windows: gensim draws each anew, up to `window`,
    which favours neighbours. In records sorted by code those tend to be of the same class.
    """
    from gensim.models import Word2Vec

    model = Word2Vec(
        sentences,
        vector_size=100,
        window=window,
        min_count=1,
        sg=int(skip_gram),
        negative=10,
        epochs=epochs,
        shrink_windows=ordered,
        seed=seed,
        workers=threads(),
    )
    empty = np.zeros(100, dtype=np.float32)
    vectors = [
        model.wv.get_vector(name) if model.wv.has_index_for(name) else empty
        for name in rows.vocabulary
    ]
    return lt.Embeddings(rows.vocabulary, np.stack(vectors))


def sentences_of(rows: lt.CountMatrix) -> list[list[str]]:
    """Each row as a list of its features (their order says nothing)."""
    names = np.array(rows.vocabulary.names, dtype=object)
    c = rows.csr
    return [
        names[c.indices[a:b]].tolist() for a, b in zip(c.indptr[:-1], c.indptr[1:], strict=True)
    ]


def repeated_tokens(rows: lt.CountMatrix) -> list[list[str]]:
    """Each row as a list of its features, each as often as it counts."""
    names = np.array(rows.vocabulary.names, dtype=object)
    c = rows.csr
    return [
        np.repeat(names[c.indices[a:b]], c.data[a:b].astype(int)).tolist()
        for a, b in zip(c.indptr[:-1], c.indptr[1:], strict=True)
    ]
