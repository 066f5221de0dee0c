from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from longtail import CountMatrix, load, read_counts
from longtail.errors import CheckpointError, DataError, DataWarning, NotFittedError, ParameterError
from longtail.estimator.prepare import prepare
from longtail.features import FeatureTransform
from longtail.training.progress import ProgressBar
from tests.builders import as_rows
from tests.estimator.models import names, same_network, small, words
from tests.training.runs import Stop, StopAfterEpoch, StopAtUpdate


@pytest.fixture(scope="module")
def model():
    return small(epochs=10).fit(words())


@pytest.fixture(scope="module")
def named():
    return small().fit(pd.DataFrame(words(), columns=names(20)))


# --- fitting --------------------------------------------------------------------------------------


def test_what_fit_leaves(model):
    assert model.n_features_in_ == 20
    assert model.n_iter_ == len(model.history_) == 10
    assert not model.vocabulary_.named
    assert model.read_settings_ is None
    assert model.unigram_.sum() == pytest.approx(1)
    assert (model.unigram_ > 0).all()
    info = model.fit_info_
    assert (info["train_rows"], info["valid_rows"], info["dropped_rows"]) == (64, 16, 0)
    assert info["best_epoch"] >= 1
    assert info["stopped"] == "all 10 epochs done"
    assert info["train_tokens"] < words().sum()
    assert not any(p.requires_grad for p in model.network_.parameters())


def test_it_learns():
    X = words(200)
    fitted = small(epochs=30, learning_rate=0.03, eval_refine_steps=30).fit(X)
    result = fitted.evaluate(words(300)[200:], completion=False)
    assert result.elbo_refined.nats_per_row > result.floor.nats_per_row + 1
    assert result.active_dims.kl >= 1


def test_the_same_seed_makes_the_same_model_bitwise(model):
    again = small(epochs=10).fit(words())
    assert same_network(model, again)
    np.testing.assert_array_equal(again.transform(words()), model.transform(words()))
    assert not same_network(model, small(epochs=10, random_state=1).fit(words()))


@pytest.mark.parametrize("kind", ["int", "RandomState", "None"])
def test_kinds_of_random_state(kind):
    def fit():
        state = {"int": 5, "RandomState": np.random.RandomState(5), "None": None}[kind]
        return small(epochs=1, random_state=state).fit(words())

    np.random.seed(3)
    first, second = fit(), fit()
    assert same_network(first, second) == (kind != "None")
    state = np.random.RandomState(5)
    successive = [small(epochs=1, random_state=state).fit(words()) for _ in range(2)]
    assert not same_network(*successive)


def test_containers_of_the_same_counts_make_the_same_model():
    X = words()
    reference = small(epochs=2).fit(X)
    for same in (
        X.tolist(),
        X.astype(np.float32),
        csr_array(X),
        CountMatrix.from_any(X),
        pd.DataFrame(X),
    ):
        assert same_network(reference, small(epochs=2).fit(same))


def test_the_data_are_not_changed():
    X = csr_array(words())
    before = X.copy()
    small(epochs=1, feature_dropout=0.5).fit(X).transform(X)
    assert (before != X).nnz == 0


@pytest.mark.parametrize("kind", ["tfidf", "l1", "log1p", "binary"])
def test_every_transform(kind):
    fitted = small(features=kind, epochs=2).fit(words())
    assert fitted.transform_.kind == kind
    assert np.isfinite(fitted.transform(words())).all()


@pytest.mark.parametrize("shape", [{"decoder_layers": 0}, {"skip": True}, {"encoder_layers": 3}])
def test_every_shape(shape):
    fitted = small(epochs=2, **shape).fit(words())
    assert fitted.transform(words()).shape == (80, 3)


def test_idf_and_frequencies_come_from_the_training_rows_only():
    X = words()
    X[:, 19] = 0
    valid = words()[:10].copy()
    valid[:, 19] = 7
    fitted = small(epochs=1).fit(X, valid=valid)
    np.testing.assert_array_equal(
        fitted.transform_.idf, FeatureTransform.fit("tfidf", csr_array(X)).idf
    )
    expected = X.sum(0) + 0.5
    np.testing.assert_allclose(fitted.unigram_, expected / expected.sum())
    # Of rows that the fit holds out itself, too.
    train = prepare(CountMatrix.from_any(X), None, validation_fraction=0.2, seed=0).train
    fitted = small(epochs=1).fit(X)
    np.testing.assert_array_equal(
        fitted.transform_.idf, FeatureTransform.fit("tfidf", train.csr).idf
    )
    expected = train.csr.sum(0) + 0.5
    np.testing.assert_allclose(fitted.unigram_, expected / expected.sum())


def test_verbose_shows_progress_and_closes_it(capsys, monkeypatch):
    closed = []
    monkeypatch.setattr(ProgressBar, "close", lambda self: closed.append(self))
    small(verbose=1).fit(words())
    assert "epoch 4/4" in capsys.readouterr().err
    with pytest.raises(Stop):
        small(verbose=1).fit(words(), callbacks=[StopAtUpdate(1)])
    assert len({id(bar) for bar in closed}) == 2
    small().fit(words())
    assert capsys.readouterr().err == ""


# --- checkpoints ----------------------------------------------------------------------------------


def test_resuming(model, tmp_path):
    options = {"checkpoint": tmp_path / "run", "resume": True}
    with pytest.raises(Stop):
        small(epochs=10).fit(words(), callbacks=[StopAfterEpoch(4)], **options)
    resumed = small(epochs=10).fit(words(), **options)
    assert same_network(model, resumed)
    assert resumed.n_iter_ == 10
    # What only changes how the fitted model is used is not another run.
    assert same_network(model, small(epochs=10, eval_samples=3).fit(words(), **options))


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"learning_rate": 0.02}, words()),
        ({"random_state": 1}, words()),
        ({"refine_steps": [(0, 2), (3, 1)]}, words()),
        ({}, words()[::-1]),
        ({}, words() + 1),
        ({}, pd.DataFrame(words(), columns=names(20))),
    ],
)
def test_another_runs_checkpoint_is_refused(tmp_path, changes, data):
    options = {"checkpoint": tmp_path / "run", "resume": True}
    small(epochs=2).fit(words(), **options)
    with pytest.raises(CheckpointError, match="other data or settings"):
        small(epochs=2, **changes).fit(data, **options)


def test_another_division_into_training_and_validation_is_another_run(tmp_path):
    options = {"checkpoint": tmp_path / "run", "resume": True}
    X = words()
    small(epochs=1).fit(X[:60], valid=X[60:], **options)
    with pytest.raises(CheckpointError, match="other data or settings"):
        small(epochs=1).fit(X[:50], valid=X[50:], **options)


def test_the_same_run_said_differently_is_the_same(tmp_path):
    options = {"checkpoint": tmp_path / "run", "resume": True}
    first = small(epochs=2, refine_steps=2).fit(words(), **options)
    for steps, X in ((np.int64(2), csr_array(words())), ([(0, 2)], words())):
        again = small(epochs=2, refine_steps=steps).fit(X, **options)
        assert same_network(first, again)
        # Nothing was left to train: the records are those of the first run, times included.
        assert again.history_.to_list() == first.history_.to_list()


# --- posteriors -----------------------------------------------------------------------------------


def test_without_refinement_it_is_the_encoder(model):
    rows = as_rows(words(), model.transform_)
    psi = model.network_.amortized(rows.features)
    posterior = model.posterior(words(), refine_steps=0)
    np.testing.assert_allclose(posterior.mean, psi.mean.numpy(), atol=1e-6)
    np.testing.assert_allclose(posterior.scale, psi.scale.numpy(), atol=1e-6)
    assert posterior.mean.dtype == posterior.scale.dtype == np.float32


def test_transform_is_the_refined_mean(model):
    posterior = model.posterior(words())
    np.testing.assert_array_equal(model.transform(words()), posterior.mean)
    assert (posterior.scale > 0).all()
    np.testing.assert_array_equal(model.posterior(words(), refine_steps=10).mean, posterior.mean)
    assert not np.array_equal(model.posterior(words(), refine_steps=3).mean, posterior.mean)


@pytest.mark.parametrize("steps", [0, 5])
def test_empty_rows_have_the_prior(model, steps):
    X = words()[:5].copy()
    X[2] = 0
    posterior = model.posterior(X, refine_steps=steps)
    assert (posterior.mean[2] == 0).all()
    assert (posterior.scale[2] == 1).all()
    assert model.score_samples(X)[2] == 0


def test_the_seed_of_the_noise(model):
    X = words(6)
    usual = model.posterior(X).mean
    assert np.array_equal(model.posterior(X, seed=model.seed_).mean, usual)
    other = model.posterior(X, seed=model.seed_ + 1).mean
    assert not np.array_equal(other, usual)
    with pytest.raises(ParameterError, match="seed"):
        model.posterior(X, seed=-1)


def test_progress(model):
    seen = []
    model.posterior(words(), progress=seen.append)
    assert seen == [32, 64, 80]


# --- scores ---------------------------------------------------------------------------------------


def test_scores(model):
    scores = model.score_samples(words())
    assert scores.shape == (80,)
    assert scores.dtype == np.float64
    assert model.score(words()) == pytest.approx(scores.mean())
    result = model.evaluate(words())
    np.testing.assert_allclose(result.per_row["elbo_refined"], scores)


def test_evaluate(model):
    result = model.evaluate(words())
    assert (result.iw.samples, result.iw.steps, result.seed) == (5, 10, 0)
    other = model.evaluate(words(), samples=3, refine_steps=2, seed=9, completion=False)
    assert (other.iw.samples, other.iw.steps, other.seed) == (3, 2, 9)
    assert other.completion is None
    stages = set()
    model.evaluate(words(), progress=lambda stage, done, total: stages.add(stage))
    assert stages == {"bounds", "completion"}


def test_an_evaluation_counts_unseen_features(named):
    frame = pd.DataFrame(words(), columns=names(20))
    frame["gnu"] = 0
    frame.loc[:7, "gnu"] = 2
    result = named.evaluate(frame)
    assert result.unseen["rows"] == pytest.approx(0.1)
    assert result.unseen["mass"] == pytest.approx(16 / frame.to_numpy().sum())
    assert result.tokens == words().sum()


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"samples": 1.5}, {"refine_steps": -1}, {"seed": -1}]
)
def test_wrong_options(model, wrong):
    with pytest.raises(ParameterError, match=f"{next(iter(wrong))} must be a whole number ≥"):
        model.evaluate(words(), **wrong)


# --- from latent vectors to rows ------------------------------------------------------------------


def test_inverse_transform(model):
    z = np.random.default_rng(0).normal(size=(4, 3))
    p = model.inverse_transform(z)
    with torch.no_grad():
        logits = model.network_.generative.decoder(torch.tensor(z, dtype=torch.float32))
    np.testing.assert_allclose(p, torch.softmax(logits, 1).numpy(), rtol=1e-5)
    np.testing.assert_allclose(model.inverse_transform(z, totals=10), 10 * p, rtol=1e-5)
    scaled = model.inverse_transform(z, totals=[0, 1, 2.5, 3])
    np.testing.assert_allclose(scaled, p * np.array([[0], [1], [2.5], [3]]), rtol=1e-5)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros((2, 4)), "rows of 3 numbers; got an array of shape"),
        (np.zeros(3), "rows of 3 numbers"),
        (np.full((1, 3), np.nan), "must be finite"),
    ],
)
def test_latent_vectors_that_do_not_fit(model, z, message):
    with pytest.raises(DataError, match=message):
        model.inverse_transform(z)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_latent_vectors_of_any_precision(model, dtype):
    z = torch.tensor([[0.5, -1.0, 0.25]], dtype=dtype, requires_grad=True)
    expected = model.inverse_transform(np.array([[0.5, -1.0, 0.25]]))
    np.testing.assert_array_equal(model.inverse_transform(z), expected)
    totals = torch.tensor([3.0], dtype=dtype)
    np.testing.assert_allclose(model.inverse_transform(z, totals=totals), 3 * expected, rtol=1e-6)


def test_masked_latent_vectors_and_totals(model):
    masked = np.ma.masked_array([[0.5, -1.0, 0.25]], mask=[[0, 1, 0]])
    with pytest.raises(DataError, match=r"1 value.* of the latent vectors are masked"):
        model.inverse_transform(masked)
    with pytest.raises(DataError, match="of the totals are masked"):
        model.sample(2, totals=np.ma.masked_array([3, 4], mask=[0, 1]))


def test_sample(model):
    rows = model.sample(70, random_state=0)
    assert isinstance(rows, csr_array)
    assert rows.shape == (70, 20)
    median = round(model.fit_info_["median_total"])
    assert (rows.sum(1) == median).all()
    assert (rows != model.sample(70, random_state=0)).nnz == 0
    assert (rows != model.sample(70, random_state=1)).nnz > 0
    totals = np.arange(70)
    np.testing.assert_array_equal(model.sample(70, totals=totals).sum(1), totals)
    # More than one batch, and not the same batch again.
    assert (rows[:6] != rows[32:38]).nnz > 0


@pytest.mark.parametrize("totals", [2**24, 2**24 + 1, 10**12, 1e30])
def test_samples_of_more_than_float32_holds(model, totals):
    with pytest.raises(ParameterError, match="counts below 16,777,216, up to which float32 holds"):
        model.sample(2, totals=totals)


@pytest.mark.parametrize("totals", [1e300, np.inf, np.nan, -1, 10**400, "x", [[1], [1, 2]], b"1"])
def test_what_is_no_total(model, totals):
    with pytest.raises(ParameterError, match="totals must be a number ≥ 0, or 2, one a row"):
        model.sample(2, totals=totals)
    with pytest.raises(ParameterError, match="totals must be a number ≥ 0, or 2, one a row"):
        model.inverse_transform(np.zeros((2, 3)), totals=totals)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_samples_of_exposures_that_make_large_counts(likelihood):
    X = words()
    given = CountMatrix.from_any(X).with_exposure(np.full(len(X), 0.01))
    fitted = small(epochs=1, likelihood=likelihood, exposure="given").fit(given)
    assert fitted.sample(3, totals=[0.5, 1, 2], random_state=0).shape == (3, 20)
    with pytest.raises(ParameterError, match="an expected count above that"):
        fitted.sample(2, totals=1e12)


def test_samples_follow_the_model(model):
    rows = model.sample(3000, totals=20, random_state=0)
    z = np.random.default_rng(0).normal(size=(3000, 3))
    expected = model.inverse_transform(z).mean(0)
    observed = rows.mean(0) / 20
    np.testing.assert_allclose(observed, expected, atol=0.01)


def test_rows_that_hold_less_than_one_count_in_the_median():
    X = np.round(words() * 0.01, 2)
    with pytest.warns(DataWarning, match="not whole numbers"):
        fitted = small(epochs=1).fit(X)
    assert (fitted.sample(3).sum(1) == 1).all()


@pytest.mark.parametrize("totals", [-1, [1, 2], np.nan, "many", [[1, 1, 1]], 2.5])
def test_totals_that_make_no_sense(model, totals):
    with pytest.raises(ParameterError, match="totals must be"):
        model.sample(3, totals=totals)


@pytest.mark.parametrize("n", [0, -1, 2.0, True])
def test_number_of_samples(model, n):
    with pytest.raises(ParameterError, match="n_samples must be a whole number ≥ 1"):
        model.sample(n)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda m: m.transform(words()),
        lambda m: m.posterior(words()),
        lambda m: m.score(words()),
        lambda m: m.evaluate(words()),
        lambda m: m.inverse_transform(np.zeros((1, 3))),
        lambda m: m.sample(),
        lambda m: m.save("nowhere"),
        lambda m: m.get_feature_names_out(),
    ],
)
def test_before_fitting(use):
    with pytest.raises(SklearnNotFittedError):
        use(small())
    with pytest.raises(NotFittedError, match=r"call fit\(X\) first"):
        small().align(words())


def test_a_parameter_set_after_fitting_waits_for_the_next_fit(model):
    changed = small(epochs=10).fit(words()).set_params(n_components=7)
    np.testing.assert_array_equal(changed.transform(words()), model.transform(words()))
    assert len(changed.get_feature_names_out()) == 3
    assert changed.inverse_transform(np.zeros((1, 3))).shape == (1, 20)
    assert changed.sample(2).shape == (2, 20)


def test_a_width_that_does_not_match(model):
    with pytest.raises(DataError, match=r"X has 19 features, but .* expecting 20"):
        model.transform(words(n_features=19))


def test_names_without_anything_in_common(named):
    with pytest.raises(DataError, match="None of the 20 features"):
        named.transform(pd.DataFrame(words(), columns=[f"x{i}" for i in range(20)]))


@pytest.fixture
def baskets(tmp_path):
    path = tmp_path / "train.basket"
    path.write_text("bread,milk\nbread,tea\nmilk,tea\nbread,jam\n" * 5)
    return small().fit(read_counts(path))


def test_rows_without_a_known_feature_are_alone_as_among_others(baskets, tmp_path):
    def read(*lines):
        (tmp_path / "new.basket").write_text("".join(f"{line}\n" for line in lines))
        return read_counts(tmp_path / "new.basket")

    alone, among = read("anchor,sail"), read("bread,milk", "anchor,sail", "bread,sail")
    with pytest.warns(DataWarning, match="Rows without any known feature: 1;"):
        z = baskets.transform(alone)
    assert z.tolist() == [[0.0] * 3]
    with pytest.warns(DataWarning, match="Rows without any known feature: 1;"):
        together = baskets.transform(among)
    np.testing.assert_array_equal(together[1], z[0])
    np.testing.assert_allclose(together[:1], baskets.transform(read("bread,milk")), atol=1e-6)
    with pytest.warns(DataWarning, match="without any known feature"):
        assert baskets.score_samples(alone).tolist() == [0.0]
    found = baskets.recommend(alone, 2)
    assert found.no_history.tolist() == [True]
    assert found.frame()["item"][0] == "bread"
    assert found.indices.tolist() == baskets.recommend(among, 2).indices[1:2].tolist()
    with pytest.raises(DataError, match="None of the 1 rows has a count"):
        baskets.evaluate(alone)
    assert baskets.evaluate(among, samples=2).dropped_rows == 1


def test_a_code_that_differs_by_dots_is_named_where_nothing_can_be_scored(tmp_path):
    (tmp_path / "train.basket").write_text("25000,4019\n25000,V586\n4019,V586\n" * 5)
    model = small().fit(read_counts(tmp_path / "train.basket"))
    (tmp_path / "new.basket").write_text("250.00\n")
    with pytest.raises(DataError, match=r"nothing to score.*strip_dots=True"):
        model.evaluate(read_counts(tmp_path / "new.basket"))


def test_one_feature():
    with pytest.raises(DataError, match=r"at least 2 features.* 1 feature"):
        small().fit(words()[:, :1])


def test_nothing_but_empty_rows():
    with pytest.raises(DataError, match="All 30 rows are empty"):
        small().fit(np.zeros((30, 5)))


def test_fractional_counts():
    X = words() * 0.5
    with pytest.warns(DataWarning, match=rf"{np.count_nonzero(X % 1)} of .* not whole numbers"):
        small(epochs=1).fit(X)
    strict = small(epochs=1, counts="strict")
    with pytest.raises(DataError, match="strict"):
        strict.fit(X)
    with pytest.raises(DataError, match="strict"):
        strict.fit(words(), valid=X)
    strict.fit(words())
    with pytest.raises(DataError, match="strict"):
        strict.transform(X)


def test_a_device_that_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="device 'cuda:99' is not available here"):
        small(device="cuda:99").fit(words())
    with pytest.raises(ParameterError, match="device 'abacus' is not available here"):
        small(device="abacus").fit(words())
    assert small(device="auto", epochs=1).fit(words())


def test_fitting_on_samples_of_the_features(tmp_path):
    settings = {"refine_features": 6, "theta_features": 6, "refine_steps": 4}
    model = small(epochs=30, learning_rate=0.03, eval_refine_steps=20, **settings).fit(words())
    again = small(epochs=30, learning_rate=0.03, eval_refine_steps=20, **settings).fit(words())
    np.testing.assert_array_equal(model.transform(words()), again.transform(words()))
    model.save(tmp_path / "model")
    opened = load(tmp_path / "model")
    np.testing.assert_array_equal(model.transform(words()), opened.transform(words()))
    full = small(epochs=30, learning_rate=0.03, eval_refine_steps=20).fit(words())
    # Nearly as good, though it looked at a part of the features at a time.
    scores = [m.evaluate(words(), seed=0).elbo_refined.nats_per_row for m in (model, full)]
    floor = full.evaluate(words(), seed=0).floor.nats_per_row
    assert scores[0] > scores[1] - 0.25 * (scores[1] - floor)


def test_auto_refines_while_the_kl_weight_rises():
    def steps(**options):
        return [r.refine_steps for r in small(epochs=6, **options).fit(words()).history_]

    assert steps(kl_anneal=0.5, refine_steps="auto") == [6, 6, 6, 2, 2, 2]
    assert steps(kl_anneal=0.0, refine_steps="auto") == [6] * 6


def test_posteriors_follow_the_kl_weight_and_bounds_do_not():
    model = small(epochs=10, learning_rate=0.02).fit(words())
    score = model.score(words())
    wide = model.posterior(words())
    model.parameters_["kl_weight"] = 0.1
    narrow = model.posterior(words())
    assert (narrow.scale < wide.scale).mean() > 0.9
    assert np.abs(narrow.mean).sum() > np.abs(wide.mean).sum()
    assert model.score(words()) == score
