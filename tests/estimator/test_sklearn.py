"""scikit-learn's own checks, and the company that its estimators keep."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks

from longtail import NonlinearFactorAnalysis
from longtail.data import CountMatrix
from longtail.errors import DataError, DataWarning
from longtail.introspection import directions, explain_recommendation, spectrum
from longtail.introspection.latents import draw_latents
from tests.estimator.models import names, same_network, small, words

EXEMPT = {
    "check_array_api_input": "needs SCIPY_ARRAY_API set before SciPy is imported, else it skips "
    "itself; arrays of other libraries are converted to NumPy, there is no dispatch to check",
    "check_dataframe_column_names_consistency": "asks that other column names are refused; here "
    "columns are aligned by name and unknown ones counted in a DataWarning: see "
    "test_columns_are_aligned_by_name",
}

# Those that scikit-learn keeps for its own test suite.
MORE = [
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
]


def checks():
    estimator = NonlinearFactorAnalysis(n_components=2, n_hidden=8, epochs=3, eval_refine_steps=30)
    for candidate, check in estimator_checks.estimator_checks_generator(estimator):
        name = check.func.__name__
        if name not in EXEMPT:
            yield pytest.param(candidate, check, id=name)
    for name in MORE:
        yield pytest.param(
            estimator, partial(getattr(estimator_checks, name), "NonlinearFactorAnalysis"), id=name
        )


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore::longtail.errors.DataWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::longtail.errors.DataWarning")
def test_the_exemption_is_needed():
    check = estimator_checks.check_dataframe_column_names_consistency
    with pytest.raises(AssertionError):
        check("NonlinearFactorAnalysis", small())


def test_columns_are_aligned_by_name():
    frame = pd.DataFrame(words(), columns=names(20))
    model = small().fit(frame)
    assert model.feature_names_in_.tolist() == names(20)
    assert model.feature_names_in_.dtype == object
    expected = model.transform(frame)
    np.testing.assert_array_equal(model.transform(frame[names(20)[::-1]]), expected)
    np.testing.assert_array_equal(model.transform(pl.from_pandas(frame)), expected)
    with pytest.warns(DataWarning, match="These rows have no feature names"):
        np.testing.assert_array_equal(model.transform(frame.to_numpy()), expected)
    narrow = model.transform(frame.drop(columns="w03"))
    zeroed = model.transform(frame.assign(w03=0))
    np.testing.assert_array_equal(narrow, zeroed)


def test_whole_numbers_are_names():
    items = [100 + i for i in range(20)]
    frame = pd.DataFrame(words(), columns=items)
    model = small().fit(frame)
    assert model.vocabulary_.names == tuple(map(str, items))
    assert not hasattr(model, "feature_names_in_")  # scikit-learn's are texts
    expected = model.transform(frame)
    np.testing.assert_array_equal(model.transform(frame[items[::-1]]), expected)
    np.testing.assert_array_equal(model.transform(frame.rename(columns=str)), expected)
    assert set(model.recommend(frame, 2).frame()["item"]) <= set(map(str, items))
    others = frame.rename(columns=lambda item: item + 1000)
    with pytest.raises(DataError, match="None of the 20 features here"):
        model.transform(others)


ONE_SIDED = {
    "transform": lambda model, X: model.transform(X),
    "posterior": lambda model, X: model.posterior(X),
    "score_samples": lambda model, X: model.score_samples(X),
    "score": lambda model, X: model.score(X),
    "evaluate": lambda model, X: model.evaluate(X, samples=2, completion=False),
    "recommend": lambda model, X: model.recommend(X, 2),
    "network": lambda model, X: model.recommend(
        people(words(), model.vocabulary_.names, vocabulary=model.vocabulary_),
        2,
        network=people(X, names(20)),
    ),
    "rank": lambda model, X: model.rank(
        CountMatrix.from_any(0 * words(), vocabulary=model.vocabulary_), X, cutoffs=(2,)
    ),
    "partial_fit": lambda model, X: copy.deepcopy(model).partial_fit(X, epochs=0),
    "retain": lambda model, X: copy.deepcopy(model).partial_fit(
        CountMatrix.from_any(words(), vocabulary=model.vocabulary_), retain=X, epochs=0
    ),
    "valid": lambda model, X: small().fit(
        CountMatrix.from_any(words(), vocabulary=model.vocabulary_), valid=X
    ),
    "align": lambda model, X: CountMatrix.from_any(X).align(model.vocabulary_),
    "pipeline": lambda model, X: Pipeline([("model", model)]).transform(X),
    "directions": lambda model, X: directions(model, X, samples=2),
    "spectrum": lambda model, X: spectrum(model, X, samples=2),
    "latents": lambda model, X: draw_latents(model, CountMatrix.from_any(X), samples=2, seed=0),
    "explanation": lambda model, X: explain_recommendation(model, X[:1], 3),
}


def people(X, ids, **named):
    """Rows of a network, one for each feature."""
    return CountMatrix.from_any(CountMatrix.from_any(X, **named)[:20], row_ids=ids)


@pytest.mark.parametrize("named", ["the rows", "the model"])
@pytest.mark.parametrize("use", ONE_SIDED)
def test_names_on_one_side_alone_bring_one_notice(use, named):
    plain, frame = words(), pd.DataFrame(words(), columns=names(20))
    model = small().fit(frame if named == "the model" else plain)
    rows = plain if named == "the model" else frame
    said = "rows have no feature names" if named == "the model" else "rows have feature names"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ONE_SIDED[use](model, rows)
    notices = [w for w in caught if "matched by position" in str(w.message)]
    assert len(notices) == 1
    assert f"These {said}" in str(notices[0].message)
    assert notices[0].category is DataWarning


@pytest.mark.parametrize("method", ["transform", "posterior", "score_samples", "score"])
def test_unknown_columns_are_counted(method):
    frame = pd.DataFrame(words(), columns=names(20))
    model = small().fit(frame)
    wider = frame.assign(zebra=0, gnu=0)
    getattr(model, method)(wider)  # nothing is lost
    wider.loc[:7, "gnu"] = frame.to_numpy()[:8].sum(1)
    share = wider["gnu"].sum() / wider.to_numpy().sum()
    message = rf"1 features .* {share:.1%} of the mass, in 10\.0% of the rows .*gnu"
    with pytest.warns(DataWarning, match=message):
        getattr(model, method)(wider)


def test_refitting_without_names_forgets_them():
    frame = pd.DataFrame(words(), columns=names(20))
    model = small().fit(frame).fit(frame.to_numpy())
    assert not hasattr(model, "feature_names_in_")


def test_names_out():
    model = small().fit(words())
    expected = [f"nonlinearfactoranalysis{i}" for i in range(3)]
    assert model.get_feature_names_out().tolist() == expected
    as_polars = small().set_output(transform="polars").fit_transform(words())
    assert isinstance(as_polars, pl.DataFrame)
    assert as_polars.columns == expected
    frame = pd.DataFrame(words(), columns=names(20), index=[f"r{i}" for i in range(80)])
    as_pandas = small().set_output(transform="pandas").fit_transform(frame)
    assert as_pandas.columns.tolist() == expected
    assert as_pandas.index.tolist() == frame.index.tolist()
    np.testing.assert_array_equal(as_pandas.to_numpy(), model.transform(words()))


def test_parameters_and_clones():
    model = small(refine_steps=[(0, 0), (2, 1)])
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy is not model
    assert copy.set_params(n_components=4).n_components == 4
    assert same_network(model.fit(words()), clone(model).fit(words()))
    assert "n_components" in repr(NonlinearFactorAnalysis(n_components=7))


def test_in_a_pipeline():
    documents = ["kernel memory thread", "tree leaf bark", "thread kernel lock"] * 6
    pipeline = make_pipeline(CountVectorizer(), small())
    z = pipeline.fit_transform(documents)
    assert z.shape == (18, 3)
    np.testing.assert_array_equal(pipeline.transform(documents), z)
    assert np.isfinite(pipeline.score(documents))
    assert pipeline[-1].n_features_in_ == 7


@pytest.mark.parametrize("container", [CountMatrix.from_any, lambda X: X])
def test_in_model_selection(container):
    X, model = container(words()), small(epochs=2, validation_fraction=0.0)
    plain = cross_val_score(model, words(), cv=KFold(2))
    np.testing.assert_allclose(cross_val_score(model, X, cv=KFold(2)), plain)
    train, test = train_test_split(X, test_size=0.25, random_state=0)
    assert (train.shape, test.shape) == ((60, 20), (20, 20))
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.transform(X).shape == (80, search.best_params_["n_components"])


def test_long_tables_are_refused_before_the_fit():
    long = pd.DataFrame({"user": [1, 1, 2] * 9, "item": [7, 8, 7] * 9, "rating": [5, 3, 4] * 9})
    model = small(epochs=1)
    said = "looks like a long table .* row_column='user', feature_column='item', value_column='r"
    uses = [
        lambda: model.fit(long),
        lambda: model.fit(pl.from_pandas(long)),
        lambda: model.fit_transform(long),
        lambda: model.partial_fit(long),
        lambda: model.fit(words()[:, :3] + 1, valid=long),
    ]
    for use in uses:
        with pytest.raises(DataError, match=said):
            use()
    assert not hasattr(model, "network_")
    fitted = small(epochs=1).fit(words()[:, :3] + 1)
    for method in (fitted.transform, fitted.recommend, fitted.score, fitted.partial_fit):
        with pytest.raises(DataError, match=said):
            method(long)
    on_purpose = small(epochs=1).fit(CountMatrix.from_any(long))
    assert on_purpose.vocabulary_.names == ("user", "item", "rating")
    assert on_purpose.transform(long).shape == (27, 3)


def test_in_a_grid_search():
    search = GridSearchCV(small(epochs=2), {"n_components": [1, 2]}, cv=2).fit(words())
    assert set(search.cv_results_["param_n_components"]) == {1, 2}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.transform(words()).shape == (80, search.best_params_["n_components"])


def test_rows_do_not_mind_their_company():
    """scikit-learn's own check has three features and no structure."""
    X = words(empty=[3])
    with pytest.warns(DataWarning, match="1 of 80 rows"):
        model = small(epochs=20, eval_refine_steps=50).fit(X)
    order = np.random.default_rng(0).permutation(80)
    for method in (model.transform, model.score_samples):
        whole = method(X)
        np.testing.assert_allclose(method(X[order]), whole[order], atol=1e-4)
        one_by_one = np.concatenate([method(X[i : i + 1]) for i in range(80)])
        np.testing.assert_allclose(one_by_one, whole, atol=1e-4)
