from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from longtail.data import CountMatrix
from longtail.errors import DataError, ParameterError
from longtail.features import FeatureTransform
from tests.data.strategies import dense_counts

REFERENCES = {
    "tfidf": lambda dense: TfidfTransformer().fit(dense).transform(dense).toarray(),
    "l1": lambda dense: normalize(dense, norm="l1"),
    "log1p": np.log1p,
    "binary": lambda dense: (dense != 0).astype(float),
}


@pytest.mark.parametrize("kind", REFERENCES)
@given(dense=dense_counts)
def test_agrees_with_the_reference(kind, dense):
    csr = CountMatrix.from_any(dense).csr
    features = FeatureTransform.fit(kind, csr).apply(csr)
    assert features.dtype == np.float32
    assert features.format == "csr"
    np.testing.assert_array_equal(features.indices, csr.indices)
    np.testing.assert_array_equal(features.indptr, csr.indptr)
    np.testing.assert_allclose(features.toarray(), REFERENCES[kind](dense), rtol=1e-5)


def test_idf_comes_from_the_training_rows_only():
    train = np.array([[1, 0, 2], [1, 0, 0]])
    test = np.array([[0, 3, 1], [0, 0, 0]])
    fitted = FeatureTransform.fit("tfidf", CountMatrix.from_any(train).csr)
    assert fitted.idf.dtype == np.float32
    expected = TfidfTransformer().fit(train).transform(test).toarray()
    applied = fitted.apply(CountMatrix.from_any(test).csr)
    np.testing.assert_allclose(applied.toarray(), expected, rtol=1e-6)
    again = FeatureTransform("tfidf", fitted.idf.copy())
    np.testing.assert_array_equal(again.apply(CountMatrix.from_any(test).csr).data, applied.data)
    assert applied.data.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        fitted.idf[0] = 1


def test_refused_transforms():
    csr = CountMatrix.from_any(np.eye(3)).csr
    with pytest.raises(ParameterError, match="one of tfidf, l1, log1p, binary, but got 'bm25'"):
        FeatureTransform.fit("bm25", csr)
    with pytest.raises(ParameterError, match="needs inverse document frequencies"):
        FeatureTransform("tfidf")
    with pytest.raises(ParameterError, match="takes no inverse"):
        FeatureTransform("l1", np.ones(3))
    with pytest.raises(ParameterError, match="positive finite"):
        FeatureTransform("tfidf", np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="fitted on 2 features, but these rows have 3"):
        FeatureTransform("tfidf", np.ones(2)).apply(csr)
