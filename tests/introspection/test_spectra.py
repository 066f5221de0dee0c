from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from longtail import CountMatrix, effective_rank, jacobian, spectrum
from longtail.errors import DataError, NotFittedError, ParameterError
from longtail.evaluation.results import KL_THRESHOLD
from longtail.introspection.spectra import from_jacobian, spectrum_of
from tests.estimator.models import small
from tests.introspection.handmade import even_model, learned, model_of, named_words


def rotation(k, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(k, k)))[0]


def with_live(live, k, v=30, strength=1.0, seed=0, **options):
    """A log-linear model in which only the first latent dimensions do anything."""
    weight = np.random.default_rng(seed).normal(size=(v, k)) * strength
    weight[:, live:] = 0
    return model_of(weight, **options)


# --- effective rank -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 7])
def test_equal_values_count_fully(k):
    assert effective_rank(np.full(k, 3.0)) == pytest.approx(k)
    assert effective_rank([5.0] * k + [0.0] * 4) == pytest.approx(k)


def test_effective_rank_of_two_values():
    p = np.array([0.9, 0.1])
    assert effective_rank([9.0, 1.0]) == pytest.approx(np.prod(p**-p))
    assert effective_rank([1.0, 1e-9]) == pytest.approx(1, abs=1e-6)
    assert effective_rank([0.0, 0.0]) == 0
    assert effective_rank([]) == 0


@given(
    values=hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(1e-3, 1e3)),
    factor=st.floats(1e-3, 1e3),
)
def test_effective_rank_is_between_1_and_k_and_has_no_unit(values, factor):
    rank = effective_rank(values)
    assert 1 - 1e-9 <= rank <= len(values) + 1e-9
    assert effective_rank(factor * values) == pytest.approx(rank)
    assert effective_rank(values[::-1]) == pytest.approx(rank)


# --- live directions ------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [0, 1, 3, 6])
@pytest.mark.parametrize("of", ["root_probabilities", "logits", "log_probabilities"])
def test_dead_directions_are_not_counted(live, of):
    s = spectrum(with_live(live, 6), of=of)[""]
    assert s.n_components == 6
    assert s.live == s.live_mean == live
    assert s.live_dimensions == {"column_norm": live}
    assert (s.root_eigenvalues[live:] == 0).all()


def test_the_threshold_is_information_in_a_row_of_median_length():
    """½ log(1 + N λ) = KL_THRESHOLD at λ = threshold²."""
    for tokens in (5.0, 50.0, 500.0):
        s = spectrum(with_live(2, 4, tokens=tokens))[""]
        assert 0.5 * np.log1p(tokens * s.threshold**2) == pytest.approx(KL_THRESHOLD)
        assert s.threshold_rule == f"{KL_THRESHOLD} nats in a row of {tokens:.0f} tokens"
        assert s.tokens == tokens
    faint = with_live(2, 4, strength=0.03, tokens=50.0)
    assert spectrum(faint)[""].live == 0
    long_rows = with_live(2, 4, strength=0.03, tokens=1000.0)
    assert spectrum(long_rows)[""].live == 2


def test_other_kinds_count_from_a_tenth_of_the_strongest():
    weight = np.zeros((8, 4))
    weight[range(4), range(4)] = [1.0, 0.5, 0.11, 0.09]
    s = spectrum(model_of(weight), of="logits")[""]
    np.testing.assert_allclose(s.singular_values, [1.0, 0.5, 0.11, 0.09], rtol=1e-5)
    np.testing.assert_allclose(s.root_eigenvalues, s.singular_values, rtol=1e-5)
    assert s.threshold == pytest.approx(0.1)
    assert s.live == 3


def test_a_rotation_moves_the_axes_and_not_the_directions():
    rng = np.random.default_rng(0)
    first, out = rng.normal(size=(12, 8)), rng.normal(size=(30, 12)) * 0.7
    first[:, 2:] = 0
    turned = first @ rotation(8)
    plain = model_of(out, [(first, np.zeros(12))])
    rotated = model_of(out, [(turned, np.zeros(12))])
    spectra = spectrum({"plain": plain, "rotated": rotated}, samples=1000)
    a, b = spectra["plain"], spectra["rotated"]
    assert a.live == b.live == 2
    np.testing.assert_allclose(a.root_eigenvalues[:2], b.root_eigenvalues[:2], rtol=0.1)
    assert (a.column_norms[2:] == 0).all()
    assert (b.column_norms > b.threshold).all()
    assert a.live_dimensions["column_norm"] == 2
    assert b.live_dimensions["column_norm"] == 8
    assert np.square(a.column_norms).sum() == pytest.approx(np.square(b.column_norms).sum(), 0.1)
    assert "trust the directions" not in spectra.advice["plain"]
    assert "Along the axes up to 8 dimensions look used" in spectra.advice["rotated"]


def test_an_even_effect_lives_in_the_second_moment():
    s = spectrum(even_model(), samples=4000)[""]
    assert s.live == 1
    assert s.live_mean == 0
    assert s.singular_values[0] < 0.2 * s.root_eigenvalues[0]


def test_singular_values_within_the_noise_do_not_count():
    j = jacobian(with_live(3, 5), samples=200)
    first, second, third, *_ = np.linalg.svd(j.matrix, compute_uv=False)
    for noise, live in ((0.0, 3), ((first + second) / 2, 1), (third / 2, 3), (2 * first, 0)):
        s = from_jacobian(replace(j, noise=float(noise)), None, 50.0)
        assert s.live_mean == live
        assert s.live == 3


def test_values_are_those_of_the_jacobian():
    s = spectrum(learned(), samples=100, seed=3)[""]
    j = jacobian(learned(), "root_probabilities", samples=100, seed=3)
    singular = np.linalg.svd(j.matrix, compute_uv=False)
    np.testing.assert_allclose(s.singular_values, singular, rtol=1e-5)
    np.testing.assert_allclose(
        np.square(s.root_eigenvalues).sum(), np.trace(j.second_moment), rtol=1e-6
    )
    np.testing.assert_array_equal(s.column_norms, j.column_norms())
    assert (s.noise, s.at, s.samples, s.seed) == (j.noise, "the prior", 100, 3)
    assert (s.kl, s.variance) == (None, None)


# --- with rows ------------------------------------------------------------------------------------


def test_rows_add_kl_and_variance():
    rows = named_words(30)
    s = spectrum(learned(), rows, samples=100)[""]
    posterior = learned().posterior(rows)
    mean, scale = torch.from_numpy(posterior.mean), torch.from_numpy(posterior.scale)
    q, p = torch.distributions.Normal(mean, scale), torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(q, p).mean(0)
    np.testing.assert_allclose(s.kl, kl, rtol=1e-4)
    np.testing.assert_allclose(s.variance, mean.var(0, unbiased=False), rtol=1e-4)
    assert s.n_rows == 30
    assert s.at == "the prior"
    assert s.live_dimensions.keys() == {"column_norm", "kl", "variance", "dead_in_all"}
    assert s.live_dimensions["kl"] >= 1


def test_dead_dimensions_are_dead_in_every_view():
    # Enough steps to take the inference network's guess back to the prior.
    model = with_live(2, 5, strength=2.0, eval_refine_steps=300)
    drawn = model.sample(20, random_state=0)
    s = spectrum(model, CountMatrix.from_any(drawn, vocabulary=model.vocabulary_))[""]
    assert s.live_dimensions == {"column_norm": 2, "kl": 2, "variance": 2, "dead_in_all": 3}


def test_empty_rows_do_not_count():
    rows = named_words(30)
    padded = np.vstack([rows.csr.toarray(), np.zeros((20, 20))])
    s = spectrum(learned(), CountMatrix.from_any(padded, vocabulary=rows.vocabulary))[""]
    assert s.n_rows == 30
    np.testing.assert_allclose(s.kl, spectrum(learned(), rows)[""].kl, rtol=1e-3)
    empty = CountMatrix.from_any(np.zeros((3, 20)), vocabulary=rows.vocabulary)
    with pytest.raises(DataError, match="None of the rows has a feature"):
        spectrum(learned(), empty)


def test_over_the_rows_instead_of_the_prior():
    rows = named_words(30)
    s = spectrum(learned(), rows, at="rows", samples=100)[""]
    j = jacobian(learned(), "root_probabilities", learned().posterior(rows), samples=100)
    np.testing.assert_allclose(s.column_norms, j.column_norms())
    assert "30 rows" in s.at


# --- more latent dimensions than features ---------------------------------------------------------


def test_more_dimensions_than_features():
    spectra = spectrum(model_of(np.random.default_rng(0).normal(size=(4, 6))), of="logits")
    s = spectra[""]
    assert s.n_components == 6
    assert s.singular_values.shape == s.root_eigenvalues.shape == (6,)
    np.testing.assert_allclose(s.singular_values, s.root_eigenvalues, atol=1e-5)
    assert spectra.frame().height == 6
    assert spectra.dimensions().height == 6


# --- in words, tables and pictures ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "words"),
    [
        (10, ["Nearly every direction lives", "n_components=20"]),
        (9, ["Nearly every direction lives"]),
        (6, ["There is room: 4 directions", "fewer than about 6 would hurt"]),
        (2, ["Most directions are pruned", "about 3 would do as well", "held-out bounds"]),
        (0, ["Most directions are pruned"]),
    ],
)
def test_verdict(live, words):
    advice = spectrum(with_live(live, 10, v=60), samples=40).advice[""]
    for text in words:
        assert text in advice


def test_remedies_are_those_not_yet_taken():
    def advice(**options):
        return spectrum(with_live(1, 10, **options), samples=40).advice[""]

    plain = advice(refine_steps=0, kl_anneal=0.0)
    assert "refine_steps='auto'" in plain
    assert "kl_anneal=0.5" in plain
    for done in (
        {"refine_steps": 10},
        {"refine_steps": "auto"},
        {"refine_steps": [(0, 0), (5, 10)]},
    ):
        assert "refine_steps" not in advice(kl_anneal=0.0, **done)
    assert "kl_anneal" not in advice(kl_anneal=0.5)
    assert "smaller learning rate" in advice(refine_steps=10, kl_anneal=0.5)
    assert "refine_steps='auto'" in advice(refine_steps=[(0, 0), (5, 0)])


def test_the_report():
    text = str(spectrum(with_live(3, 10), samples=40))
    assert text.startswith("3 of 10 latent directions live (0.05 nats in a row of 50 tokens)")
    assert "Jacobian of the root probabilities over the prior, 40 samples" in text
    assert "mean KL" not in text
    both = spectrum({"a": learned(), "b": with_live(3, 10)}, samples=40)
    assert str(both).startswith("a: ")
    assert "\n\nb: 3 of 10" in str(both)
    with_rows = str(spectrum(learned(), named_words(30), samples=40))
    assert "dimensions by mean KL > 0.05 nats" in with_rows
    assert "over 30 rows" in with_rows


@pytest.mark.parametrize("rows", [None, 10])
def test_to_dict_is_ready_for_json(rows):
    spectra = spectrum({"a": learned()}, rows and named_words(rows), samples=40)
    found = json.loads(json.dumps(spectra.to_dict(), allow_nan=False))["a"]
    s = spectra["a"]
    assert found["components"] == 3
    assert found["live"] == s.live
    assert found["advice"] == spectra.advice["a"]
    assert found["effective_rank"]["rms"] == pytest.approx(effective_rank(s.root_eigenvalues))
    np.testing.assert_allclose(found["root_eigenvalues"], s.root_eigenvalues)
    assert found["dimensions"].keys() >= {"column_norm"}


def test_tables():
    spectra = spectrum({"a": learned(), "b": with_live(3, 10)}, samples=40)
    frame = spectra.frame()
    assert frame.columns == ["model", "rank", "mean", "rms", "threshold", "noise", "live"]
    assert frame["model"].to_list() == ["a"] * 3 + ["b"] * 10
    assert frame["rank"].to_list() == [*range(1, 4), *range(1, 11)]
    axes = spectra.dimensions()
    assert axes.columns == ["model", "dimension", "column_norm"]
    assert axes["dimension"].to_list() == [*range(3), *range(10)]
    with_rows = spectrum(learned(), named_words(10), samples=40).dimensions()
    assert with_rows.columns[-2:] == ["kl", "variance"]


def test_the_picture_says_what_it_shows():
    chart = spectrum(learned(), samples=40).plot().to_dict()
    assert "root probabilities over the prior, 40 samples" in chart["title"]["subtitle"]
    assert "0.05 nats" in chart["title"]["subtitle"]


def test_progress_names_the_model():
    calls = []
    spectrum({"a": learned()}, samples=40, progress=lambda *c: calls.append(c))
    spectrum(learned(), samples=40, progress=lambda *c: calls.append(c))
    assert {stage for stage, _, _ in calls} == {"spectrum a", "spectrum"}
    assert calls[-1][1:] == (40, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": {}}, "at least one model"),
        ({"at": "rows"}, "'rows' without rows"),
        ({"at": "posterior"}, "got 'posterior'"),
        ({"of": "odds"}, "of must be one of"),
        ({"samples": 0}, "samples"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ParameterError, match=message):
        spectrum(**({"models": learned()} | arguments))


def test_every_model_must_be_fitted():
    with pytest.raises(NotFittedError):
        spectrum({"a": learned(), "b": small()}, samples=40)


def test_a_jacobian_and_posteriors_at_hand_give_the_same():
    model, rows = learned(), named_words(20)
    averaged = jacobian(model, "root_probabilities", samples=100, seed=3)
    found = spectrum_of(model, averaged, model.posterior(rows))
    expected = spectrum(model, rows, samples=100, seed=3)
    assert found.to_dict() == expected.to_dict()
    assert str(found) == str(expected)
