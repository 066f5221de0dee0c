"""The estimator with exposures that are given with the rows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.sparse import csr_array

import longtail as lt
from longtail.archive import FORMAT_VERSION
from longtail.data import CountMatrix, split_items
from longtail.errors import ArchiveError, CheckpointError, DataError, DataWarning, ParameterError
from longtail.estimator.exposures import at_typical_exposure
from longtail.estimator.saved import from_archive, to_archive
from tests.builders import topic_counts
from tests.estimator.models import names, same_network, small

GIVING = ("poisson", "negative_binomial")
OPTIONS = {
    "decoder_layers": 0,
    "encoder_layers": 1,
    "n_hidden": 16,
    "epochs": 30,
    "batch_size": 60,
    "learning_rate": 0.02,
    "weight_decay": 0.1,
    "validation_fraction": 0.1,
}


def exposed(n=300, seed=0, spread=1.0, scale=1.0):
    """Rows of two kinds, observed for very different times: counts and exposures."""
    rng = np.random.default_rng(seed)
    kinds = np.array([[6, 3, 1, 1, 0.5, 0.5], [0.5, 0.5, 1, 1, 3, 9]])
    kind = np.arange(n) % 2
    exposure = scale * np.exp(spread * rng.standard_normal(n)).clip(0.05, 20)
    counts = rng.poisson(exposure[:, None] * kinds[kind])
    counts[counts.sum(1) == 0, 2] = 1
    return CountMatrix.from_any(counts, vocabulary=names(6), exposure=exposure), kind


def given(likelihood="poisson", **changes):
    return small(**({"likelihood": likelihood, "exposure": "given"} | OPTIONS | changes))


@pytest.fixture(scope="module", params=GIVING)
def fitted(request):
    return given(request.param).fit(exposed()[0])


# --- the same as totals, where they are the totals -----------------------------------------------


@pytest.mark.parametrize("likelihood", GIVING)
def test_given_the_totals_it_is_bitwise_the_model_of_totals(likelihood):
    X = CountMatrix.from_any(topic_counts(120, 15, tokens=21, seed=1), vocabulary=names(15))
    with_totals = X.with_exposure(X.totals)
    total = small(likelihood=likelihood, exposure="total").fit(X)
    same = given(likelihood, **{name: small().get_params()[name] for name in OPTIONS})
    same.fit(with_totals)
    a, b = total.network_.state_dict(), same.network_.state_dict()
    for name, value in a.items():
        np.testing.assert_array_equal(value.numpy(), b[name].numpy())
    np.testing.assert_array_equal(total.transform(X), same.transform(with_totals))
    # Rows with an odd number of tokens, too, are halved alike.
    odd = with_totals[np.flatnonzero(X.totals % 2 == 1)]
    assert odd.n_rows > 5
    for rows in (with_totals, odd):
        plain = rows.with_exposure(None)
        first = total.evaluate(plain, full_covariance=True).to_dict()
        assert first == same.evaluate(rows, full_covariance=True).to_dict()
    grown = X[:60].with_exposure(X[:60].totals)
    total.partial_fit(grown.with_exposure(None), epochs=2)
    same.partial_fit(grown, epochs=2)
    np.testing.assert_array_equal(total.transform(X), same.transform(with_totals))


@pytest.mark.parametrize("likelihood", GIVING)
def test_the_unit_of_exposure_does_not_matter(likelihood):
    """Exposures times c at rates divided by c: the same bounds, but for rounding."""
    X, _ = exposed(150)
    c = 64.0  # a power of 2, so that the exposures round alike
    first = given(likelihood, epochs=3).fit(X)
    other = given(likelihood, epochs=3).fit(X.with_exposure(c * X.exposure))
    a, b = first.evaluate(X), other.evaluate(X.with_exposure(c * X.exposure))
    for rung in ("floor", "elbo_amortized", "elbo_refined", "iw"):
        x, y = (getattr(e, rung).nats_per_row for e in (a, b))
        assert x == pytest.approx(y, abs=2e-3), rung
    z = first.transform(X[:5])
    np.testing.assert_allclose(
        other.inverse_transform(z, totals=c), first.inverse_transform(z, totals=1), rtol=0.02
    )


# --- what exposures are for --------------------------------------------------------------------


def test_rows_of_equal_rates_are_alike_however_long_they_are_observed():
    X, _ = exposed(600, spread=1.2, scale=10)
    rng = np.random.default_rng(5)
    rates = np.array([6, 3, 1, 1, 0.5, 0.5])
    times = np.repeat([5.0, 100.0], 40)
    rows = CountMatrix.from_any(
        rng.poisson(times[:, None] * rates), vocabulary=names(6), exposure=times
    )
    gaps = {}
    for exposure in ("given", "unit"):
        model = given(exposure=exposure, epochs=60)
        fit, new = (X, rows) if exposure == "given" else (x.with_exposure(None) for x in (X, rows))
        model.fit(fit)
        z = model.transform(new)
        spread = model.transform(fit).std(0).max()
        gaps[exposure] = np.abs(z[:40].mean(0) - z[40:].mean(0)).max() / spread
    assert gaps["given"] < 0.15
    assert gaps["unit"] > 0.5


def test_it_learns_the_rates(fitted):
    X, kind = exposed(200, seed=3)
    scores = fitted.evaluate(X, samples=10, seed=0)
    assert scores.elbo_refined.nats_per_row > scores.floor.nats_per_row + 0.3
    expected = fitted.inverse_transform(fitted.transform(X), totals=X.exposure)
    assert expected.sum() == pytest.approx(X.totals.sum(), rel=0.1)
    per_unit = fitted.inverse_transform(fitted.transform(X))
    np.testing.assert_allclose(expected, per_unit * X.exposure[:, None], rtol=1e-4)
    z = fitted.transform(X)
    centre = np.array([z[kind == k].mean(0) for k in (0, 1)])
    nearest = np.linalg.norm(z[:, None] - centre, axis=2).argmin(1)
    assert (nearest == kind).mean() > 0.85


def test_the_floor_is_of_rates_per_unit_of_exposure():
    X, _ = exposed(200)
    model = given(validation_fraction=0.0, epochs=1).fit(X)
    assert model.running_.rate == pytest.approx(X.totals.sum() / X.exposure.sum())
    per_unit = model.unigram_ * X.totals.sum() / X.exposure.sum()
    mean = X.exposure[:, None] * per_unit
    from scipy.stats import poisson

    expected = poisson.logpmf(X.csr.toarray(), mean).sum(1)
    found = model.evaluate(X, samples=1, completion=False)
    np.testing.assert_allclose(found.per_row["floor"].to_numpy(), expected, rtol=1e-6)


def test_rows_without_counts_are_informative(fitted):
    empty = CountMatrix.from_any(csr_array((2, 6)), vocabulary=names(6), exposure=[0.1, 50.0])
    short, long = np.linalg.norm(fitted.posterior(empty).scale - 1, axis=1)
    assert long > short
    assert (fitted.score_samples(empty) < 0).all()


# --- everything that takes rows ----------------------------------------------------------------


def test_rows_without_exposures_are_refused(fitted, tmp_path):
    X, _ = exposed(40)
    plain = X.with_exposure(None)
    message = r"needs an exposure for each row, but these 40 rows have none.*with_exposure"
    for use in (
        lambda: given().fit(plain),
        lambda: given().fit(X.csr),
        lambda: fitted.transform(plain),
        lambda: fitted.score_samples(plain),
        lambda: fitted.evaluate(plain),
        lambda: fitted.recommend(plain, 2),
        lambda: fitted.partial_fit(plain),
        lambda: lt.spectrum(fitted, plain, samples=3),
        lambda: fitted.rank(plain, plain, cutoffs=[2]),
    ):
        with pytest.raises(DataError, match=message):
            use()
    with pytest.raises(DataError, match="40 validation rows have none"):
        given().fit(X, valid=plain)
    with pytest.raises(DataError, match="40 retained rows have none"):
        fitted.partial_fit(X, retain=plain)


@pytest.mark.parametrize(
    ("likelihood", "exposure"),
    [("multinomial", "auto"), ("poisson", "unit"), ("negative_binomial", "total")],
)
def test_exposures_that_are_not_used_are_told(likelihood, exposure):
    X, _ = exposed(60)
    plain = X.with_exposure(None)
    model = small(likelihood=likelihood, exposure=exposure)
    told = r"exposures of the rows are not used.*exposure='given'"
    with pytest.warns(DataWarning, match=told) as caught:
        model.fit(X)
    assert [w.filename for w in caught] == [__file__]
    same = small(likelihood=likelihood, exposure=exposure).fit(plain)
    assert same_network(model, same)
    assert model.running_.exposure is None
    with pytest.warns(DataWarning, match=told):
        z = model.transform(X)
    np.testing.assert_array_equal(z, same.transform(plain))
    with pytest.warns(DataWarning, match=told):
        model.partial_fit(X, epochs=1)
    same.partial_fit(plain, epochs=1)
    np.testing.assert_array_equal(model.transform(plain), same.transform(plain))


def test_likelihoods_without_the_choice():
    for likelihood in ("multinomial", "bernoulli"):
        with pytest.raises(ParameterError, match="does not apply"):
            given(likelihood).fit(exposed(40)[0])


def test_recommending(fitted):
    X, kind = exposed(60, seed=2)
    observed, held_out = split_items(X, 0.4, seed=0)
    # What is looked for needs no exposures; with some it is judged alike.
    first = fitted.rank(observed, held_out, cutoffs=[2])
    second = fitted.rank(observed, held_out.with_exposure(None), cutoffs=[2])
    assert first.to_dict() == second.to_dict()
    found = fitted.recommend(observed, 3, exclude_seen=False)
    assert found.indices[kind == 1, 0].tolist().count(5) > 20
    why = lt.explain_recommendation(fitted, observed[[0]], "w05")
    assert np.isfinite(why.own_items["influence"].to_numpy()).all()


def test_saved_and_opened(fitted, tmp_path):
    X, _ = exposed(30, seed=4)
    fitted.save(tmp_path / "model")
    opened = lt.load(tmp_path / "model")
    np.testing.assert_array_equal(opened.transform(X), fitted.transform(X))
    a, b = (m.evaluate(X, samples=3).to_dict() for m in (fitted, opened))
    assert a == b
    assert opened.running_.exposure == fitted.running_.exposure
    np.testing.assert_array_equal(
        opened.sample(5, random_state=0).toarray(), fitted.sample(5, random_state=0).toarray()
    )
    assert "per unit of exposure" in (tmp_path / "model" / "README.md").read_text()
    archive = to_archive(fitted)
    archive.config["format_version"] = FORMAT_VERSION
    archive.config["running"] = {**archive.config["running"], "exposure": None}
    with pytest.raises(ArchiveError, match="nothing is saved of the rows' exposures"):
        from_archive(archive, tmp_path)
    archive.config["running"] = {**archive.config["running"], "exposure": -1.0}
    with pytest.raises(ArchiveError, match="sum of exposures above 0"):
        from_archive(archive, tmp_path)


def test_draws(fitted):
    X, _ = exposed()
    typical = float(np.median(X.exposure))
    assert fitted.fit_info_["median_exposure"] == pytest.approx(typical, rel=0.1)
    rate = X.totals.sum() / X.exposure.sum()
    drawn = fitted.sample(400, random_state=0).sum(1).mean()
    assert drawn == pytest.approx(rate * typical, rel=0.35)
    many = fitted.sample(400, totals=2.5 * typical, random_state=0).sum(1).mean()
    assert many == pytest.approx(2.5 * drawn, rel=0.2)


def test_what_is_said_of_a_typical_row(fitted):
    text = str(lt.spectrum(fitted, exposed(40)[0], samples=20, seed=0))
    size = fitted.fit_info_["median_exposure"]
    if fitted.likelihood == "poisson":
        assert f"of {size:,.4g} units of exposure" in text
    else:
        assert f"of {size * float(fitted.network_.generative.likelihood.rate):,.0f} tokens" in text
    assert lt.directions(fitted, exposed(40)[0], samples=20, seed=0)


def test_rows_made_up_for_a_question_have_a_typical_exposure(fitted):
    assert lt.embeddings(fitted, context=["w01", "w02"], samples=20) is not None
    others = [("w01", ["w02"]), ("w03", ["w02"]), ("w05", ["w04"])]
    pairs = [(("w00", ["w01"]), other, float(i)) for i, other in enumerate(others)]
    assert lt.contextual_similarity(fitted, pairs) is not None
    bag = CountMatrix.from_any(csr_array(np.eye(6)[:1]), vocabulary=names(6))
    assert at_typical_exposure(fitted, bag).exposure == fitted.fit_info_["median_exposure"]
    own = bag.with_exposure([3.0])
    assert at_typical_exposure(fitted, own) is own
    other = small(epochs=1).fit(np.ones((2, 6))).set_params(exposure="given")
    assert at_typical_exposure(other, bag) is bag


# --- going on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", GIVING)
def test_an_update(likelihood):
    X, _ = exposed(200)
    model = given(likelihood, validation_fraction=0.0).fit(X)
    before = model.fit_info_["median_exposure"]
    more, _ = exposed(100, seed=7)
    rng = np.random.default_rng(0)
    new = rng.poisson(more.exposure * 2.0)
    wide = CountMatrix.from_any(
        np.column_stack([more.csr.toarray(), new]),
        vocabulary=[*names(6), "fresh"],
        exposure=more.exposure,
    )
    model.partial_fit(wide, retain=X, epochs=0)
    running = model.running_
    assert running.exposure == pytest.approx(X.exposure.sum() + more.exposure.sum())
    assert running.rate == pytest.approx((X.totals.sum() + wide.totals.sum()) / running.exposure)
    assert model.update_report_.added[0].name == "fresh"
    after = model.fit_info_["median_exposure"]
    assert after == pytest.approx((2 * before + np.median(more.exposure)) / 3)
    # The new feature starts at the rate that it has in the new rows.
    expected = model.inverse_transform(model.transform(wide), totals=wide.exposure)[:, -1].sum()
    assert expected == pytest.approx(new.sum(), rel=0.3)
    model.partial_fit(wide, retain=X, epochs=2)
    assert np.isfinite(model.score(wide))


def test_a_checkpoint_of_other_exposures_is_not_gone_on_with(tmp_path):
    X, _ = exposed(80)
    given(epochs=2).fit(X, checkpoint=tmp_path / "c")
    other = X.with_exposure(2 * X.exposure)
    with pytest.raises(CheckpointError):
        given(epochs=2).fit(other, checkpoint=tmp_path / "c", resume=True)


def test_a_stream_is_refused(tmp_path):
    import polars as pl

    frame = pl.DataFrame({"codes": [["a", "b"], ["a"]] * 20, "years": [1.0, 2.0] * 20})
    frame.write_parquet(tmp_path / "rows.parquet")
    plain = lt.open_stream(tmp_path / "rows.parquet", feature_column="codes")
    timed = lt.open_stream(
        tmp_path / "rows.parquet", feature_column="codes", exposure_column="years"
    )
    message = re.escape("Training does not take exposures from a stream")
    for model, stream in ((given(), plain), (given(), timed), (small(), timed)):
        with pytest.raises(DataError, match=message):
            model.fit(stream)
    model = given(epochs=1).fit(timed.load())
    with pytest.raises(DataError, match=message):
        model.partial_fit(timed)


def test_thinning():
    """Halves of the tokens in halves of the exposure: the rates stay, and so do the posteriors."""
    from longtail.evaluation import observed_share, split_tokens

    X, _ = exposed(400, seed=9)
    X = X.with_exposure(X.exposure)
    observed, held_out = split_tokens(X.csr, X.row_keys(), 0)
    share = observed_share(X.csr, observed)
    even = X.totals % 2 == 0
    assert (share[even] == 0.5).all()
    np.testing.assert_allclose(share * X.totals, np.asarray(observed.sum(1)))
    np.testing.assert_allclose((1 - share) * X.totals, np.asarray(held_out.sum(1)), atol=1e-9)
    by_feature, _ = split_tokens(X.csr, X.row_keys(), 0, by_feature=True)
    assert (observed_share(X.csr, by_feature, by_feature=True) == 1).all()
    model = given().fit(exposed()[0])
    half = CountMatrix.from_any(observed, vocabulary=names(6), exposure=X.exposure * share)
    many = np.flatnonzero(X.totals > 60)
    assert len(many) > 20
    whole, part = model.transform(X[many]), model.transform(half[many])
    assert np.abs((whole - part).mean(0)).max() < 0.15 * whole.std(0).max()
