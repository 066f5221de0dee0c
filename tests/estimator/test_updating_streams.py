"""A model that goes on with rows which are not in memory."""

from __future__ import annotations

import numpy as np
import pytest

from longtail import load
from longtail.data import read_counts
from longtail.data.stream import open_stream
from longtail.errors import DataError
from tests.data.stream.streams import random_texts, write_texts
from tests.estimator.models import same_network, small, words

TEXT = {"text_column": "text"}

pytestmark = pytest.mark.filterwarnings("ignore:.*rows are empty")


@pytest.fixture
def fitted(tmp_path):
    old = write_texts(tmp_path / "old.parquet", random_texts(120, n_words=20), 50)
    return small(validation_fraction=0.1).fit(read_counts(old, **TEXT))


@pytest.fixture
def later(tmp_path):
    return write_texts(tmp_path / "later.parquet", random_texts(240, n_words=30, seed=1), 50)


@pytest.mark.parametrize("likelihood", ["multinomial", "negative_binomial"])
def test_counts_and_features_are_those_of_rows_in_memory(tmp_path, later, likelihood):
    old = write_texts(tmp_path / "old.parquet", random_texts(120, n_words=20), 50)
    models = [
        small(validation_fraction=0, likelihood=likelihood).fit(read_counts(old, **TEXT))
        for _ in range(2)
    ]
    streamed, whole = models
    streamed.partial_fit(open_stream(later, **TEXT), epochs=0)
    whole.partial_fit(read_counts(later, **TEXT), epochs=0)
    assert streamed.vocabulary_ == whole.vocabulary_
    assert streamed.n_features_in_ > 20
    np.testing.assert_array_equal(streamed.running_.df, whole.running_.df)
    np.testing.assert_array_equal(streamed.running_.totals, whole.running_.totals)
    assert streamed.running_.rows == whole.running_.rows
    pairs = zip(
        streamed.network_.state_dict().items(), whole.network_.state_dict().values(), strict=True
    )
    for (name, tensor), other in pairs:  # the sample is all rows, in another order
        np.testing.assert_allclose(tensor, other, atol=0.05, rtol=0.05, err_msg=name)
    reports = [m.update_report_ for m in models]
    for field in ("rows", "tokens", "dropped_rows", "added", "left_out", "reasons"):
        assert getattr(reports[0], field) == getattr(reports[1], field), field


def test_a_stream_is_learnt_from(fitted, later, tmp_path):
    fitted.save(tmp_path / "model")
    again = load(tmp_path / "model")
    rows = read_counts(tmp_path / "old.parquet", **TEXT)
    for model in (fitted, again):
        model.partial_fit(open_stream(later, **TEXT), epochs=5, retain=rows)
    assert same_network(fitted, again)
    report = fitted.update_report_
    assert report.new_rows.after > report.new_rows.before
    assert (report.held_out_rows, report.retained_rows) == (report.new_rows.rows, 0)
    assert report.old_rows.rows == 10
    assert "not rehearsed" in report.notes[-1]
    assert report.rows + report.held_out_rows + report.dropped_rows == 240


def test_a_stream_of_other_words(fitted, tmp_path):
    path = write_texts(tmp_path / "other.parquet", ["zebra gnu"] * 60, 20)
    with pytest.raises(DataError, match="None of the 60 new rows"):
        fitted.partial_fit(open_stream(path, **TEXT), grow=False)


def test_a_model_without_names_takes_no_stream(later):
    plain = small().fit(words())
    with pytest.raises(DataError, match="no names, so nothing says which column is which"):
        plain.partial_fit(open_stream(later, **TEXT))
