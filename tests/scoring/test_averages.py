from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from longtail.errors import DataError
from longtail.scoring import Evaluate, score_dataset
from longtail.scoring.averages import quantiles
from tests.scoring.datasets import fitted, in_memory, opened, write


def assert_same(found, expected, name="", rel=1e-6):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key], f"{name}.{key}", rel)
    elif expected is None:
        assert found is None, name
    else:
        assert found == pytest.approx(expected, rel=rel), name


@pytest.mark.parametrize("share", [10, 4_000_000])
@pytest.mark.parametrize("options", [{}, {"full_covariance": True, "completion": False}])
def test_the_averages_are_those_of_the_rows_at_once(tmp_path, monkeypatch, share, options):
    monkeypatch.setattr("longtail.scoring.averages._KEYS_AT_ONCE", share)
    data = write(tmp_path / "data")
    rows, unseen = in_memory(data)
    task = Evaluate(samples=4, seed=3, **options)
    found = score_dataset(fitted(), opened(data), tmp_path / "rows", task).evaluation
    expected = fitted().evaluate(rows, samples=4, seed=3, unseen=unseen, **options)
    assert_same(found.to_dict(), expected.to_dict(), rel=1e-5)
    assert len(np.unique(rows.row_keys())) < rows.n_rows  # equal rows, in different blocks
    assert found.per_row.height == 0
    assert found.per_row.columns == expected.per_row.columns
    table = pl.read_parquet(tmp_path / "rows")
    assert table.height == rows.n_rows
    assert (table["floor"].is_null() == pl.Series(rows.totals == 0)).all()
    scored = table.drop_nulls("floor").select(expected.per_row.columns)
    for column in expected.per_row.columns[1:]:
        np.testing.assert_allclose(scored[column], expected.per_row[column], rtol=1e-4, atol=1e-5)
    assert str(found) == str(expected)


def test_one_draw_has_no_error_and_a_count_likelihood_no_perplexity(tmp_path):
    data = write(tmp_path / "data")
    model = fitted(likelihood="poisson")
    rows, unseen = in_memory(data)
    task = Evaluate(samples=1)
    found = score_dataset(model, opened(data), tmp_path / "rows", task).evaluation
    expected = model.evaluate(rows, samples=1, unseen=unseen)
    assert_same(found.to_dict(), expected.to_dict(), rel=1e-5)
    assert found.floor.per_doc is None
    assert found.to_dict()["iw"]["mc_se"] is None


def test_nothing_to_score(tmp_path):
    (tmp_path / "data").mkdir()
    pl.DataFrame({"id": ["a", "b"], "text": ["zebra", ""]}).write_parquet(
        tmp_path / "data" / "0.parquet"
    )
    with pytest.raises(DataError, match="None of the 2 rows has a count"):
        score_dataset(fitted(), opened(tmp_path / "data"), tmp_path / "rows", Evaluate())


SUBNORMAL = [5e-324, -5e-324, 1e-323, 2.5e-320, -1e-310, 2.2250738585072014e-308]


@given(
    hnp.arrays(
        np.float64,
        st.integers(1, 60),
        elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, -0.0, 1.0, *SUBNORMAL]),
    ),
    st.integers(1, 10),
)
@example(np.array([5e-324, 1.5e-323]), 1)
@example(np.array([0.0, 5e-324]), 2)
@example(np.array([-5e-324, 5e-324, 1e-310]), 2)
def test_quantiles_by_counting(values, size):
    def chunks():
        for first in range(0, len(values), size):
            yield values[first : first + size]

    shares = (0.0, 0.25, 0.5, 0.9, 1.0)
    # Not to a relative tolerance: a step between subnormal numbers is as large as they are.
    assert quantiles(chunks, len(values), shares) == np.quantile(values, shares).tolist()
