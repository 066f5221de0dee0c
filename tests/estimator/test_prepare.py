from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from longtail.data import CountMatrix
from longtail.errors import DataError, DataWarning
from longtail.estimator.prepare import prepare
from tests.estimator.models import names, small, words


def parts(X, fraction=0.2, valid=None, seed=0):
    counts = CountMatrix.from_any(X)
    valid = None if valid is None else CountMatrix.from_any(valid)
    rows = prepare(counts, valid, validation_fraction=fraction, seed=seed)
    return rows.train, rows.valid, rows.dropped


def ids(counts):
    return set(counts.row_ids.to_list())


def test_a_share_is_held_out():
    train, valid, dropped = parts(words())
    assert (train.n_rows, valid.n_rows, dropped) == (64, 16, 0)
    assert not ids(train) & ids(valid)
    assert ids(parts(words())[1]) == ids(valid)
    assert ids(parts(words(), seed=1)[1]) != ids(valid)


@pytest.mark.parametrize(("n_rows", "fraction"), [(80, 0.0), (49, 0.2), (80, 0.12)])
def test_too_few_rows_to_validate_on(n_rows, fraction):
    train, valid, _ = parts(words(n_rows), fraction)
    assert valid is None
    assert train.n_rows == n_rows


def test_fifty_rows_are_enough():
    assert parts(words(50))[1].n_rows == 10


def test_no_more_than_2000_rows():
    X = np.random.default_rng(0).poisson(1.0, (11_000, 12)) + np.eye(12, dtype=int)[0]
    train, valid, _ = parts(X, 0.5)
    assert valid.n_rows == 2000
    assert train.n_rows == 9000


def test_duplicates_stay_on_one_side():
    X = np.repeat(words(40), 3, axis=0)
    train, valid, _ = parts(X, 0.3)
    assert valid.n_rows > 20
    assert not set(train.row_keys()) & set(valid.row_keys())


def test_rows_that_are_all_copies_are_fitted_without_validation():
    X = CountMatrix.from_any(np.tile([[1, 0], [0, 2]], (100, 1)))
    with pytest.warns(DataWarning, match="No validation rows are held out"):
        rows = prepare(X, None, validation_fraction=0.2, seed=0)
    assert rows.valid is None
    assert rows.train.n_rows == 200


def test_given_validation_rows():
    train, valid, _ = parts(words(), 0.5, valid=words(7))
    assert train.n_rows == 80
    assert (valid.csr != CountMatrix.from_any(words(7)).csr).nnz == 0


def test_given_validation_rows_are_aligned_and_counted():
    frame = pd.DataFrame(words(), columns=names(20))
    other = frame.head(6)[names(20)[::-1]].assign(gnu=1)
    with pytest.warns(DataWarning, match=r"Validation rows: 1 features .*100\.0% of the rows"):
        _, valid, _ = parts(frame, valid=other)
    assert (valid.csr != CountMatrix.from_any(frame.head(6)).csr).nnz == 0


def test_empty_rows_are_left_out_with_a_notice():
    X = words(empty=[0, 5])
    with pytest.warns(DataWarning, match="2 of 80 rows are empty"):
        train, valid, dropped = parts(X)
    assert dropped == 2
    assert ids(train) | ids(valid) == set(range(80)) - {0, 5}
    _, valid, _ = parts(words(), valid=words(6, empty=[1]))
    assert valid.n_rows == 5


def test_validation_rows_without_a_count():
    with pytest.raises(DataError, match="None of the validation rows"):
        parts(words(), valid=np.zeros((2, 20)))


def test_the_notice_points_at_the_callers_line():
    with pytest.warns(DataWarning) as caught:
        small(epochs=1).fit(words(empty=[0]))
    assert caught[0].filename == __file__


def test_without_validation_the_last_epoch_is_kept():
    model = small(validation_fraction=0).fit(words())
    assert model.fit_info_["valid_rows"] == 0
    assert model.fit_info_["best_epoch"] == 4
    assert model.history_[0].valid_nats_per_row is None


def test_validation_rows_choose_the_epoch():
    model = small(validation_fraction=0).fit(words(), valid=words(7))
    assert model.fit_info_["valid_rows"] == 7
    assert model.fit_info_["train_rows"] == 80
    assert model.history_[0].valid_nats_per_row is not None
