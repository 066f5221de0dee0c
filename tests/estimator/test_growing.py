"""New features: which are taken in, and that their start changes nothing but the normaliser."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.data import CountMatrix, ReadSettings, Vocabulary
from longtail.estimator.running import RunningCounts
from longtail.estimator.updating.growing import choose_features
from tests.estimator.models import names, small, words
from tests.profiles import examples

LIKELIHOODS = ["multinomial", "bernoulli", "poisson", "negative_binomial", "dirichlet_multinomial"]


def counts_of(dense, called):
    return CountMatrix.from_any(np.asarray(dense), vocabulary=called)


NEW = counts_of(
    [[1, 0, 2, 1, 0], [1, 1, 2, 0, 0], [1, 0, 0, 0, 0], [1, 9, 0, 0, 0]],
    ["the", "rare", "b", "a", "never"],
)


@pytest.mark.parametrize(
    ("options", "read", "added", "reasons"),
    [
        ({}, None, ["the", "rare", "b"], {"in fewer than 2 new rows": 1}),
        ({"min_df": 3}, None, ["the"], {"in fewer than 3 new rows": 3}),
        ({"grow": False}, None, [], {"in fewer than 2": 1, "kept as it is": 3}),
        ({"grow": 2}, None, ["rare", "the"], {"in fewer than 2": 1, "the 2 most frequent": 1}),
        ({}, ReadSettings(max_df=0.75), ["rare", "b"], {"max_df=0.75": 1, "in fewer": 1}),
        ({}, ReadSettings(max_features=7), [], {"max_features=7": 3, "in fewer": 1}),
        ({"grow": 9}, ReadSettings(max_features=7), ["the", "rare", "b"], {"in fewer": 1}),
    ],
)
def test_which_features_are_taken_in(options, read, added, reasons):
    known = Vocabulary(["z", "y"], {"z": "last"})
    found = choose_features(
        NEW.vocabulary,
        RunningCounts.of(NEW.csr),
        known,
        **({"grow": True, "min_df": 2} | options),
        settings=read,
    )
    assert sorted(f.name for f in found.added) == sorted(added)
    assert found.vocabulary.names[:2] == ("z", "y")
    assert found.vocabulary.names[2:] == tuple(f.name for f in found.added)
    assert found.vocabulary.descriptions == {"z": "last"}
    assert {f.name for f in (*found.added, *found.left_out)} == {"the", "rare", "b", "a"}
    said = dict(found.reasons)
    assert len(said) == len(reasons)
    for part, number in reasons.items():
        assert [n for text, n in said.items() if part in text] == [number]
    by_name = {f.name: f for f in (*found.added, *found.left_out)}
    assert (by_name["rare"].rows, by_name["rare"].count) == (2, 10)


def test_columns_without_names_do_not_grow():
    positional = CountMatrix.from_any(np.eye(3))
    seen = RunningCounts.of(positional.csr)
    known = Vocabulary.positional(3)
    found = choose_features(positional.vocabulary, seen, known, grow=True, min_df=1)
    assert found.added == ()
    assert found.vocabulary == Vocabulary.positional(3)


def frames(likelihood, n_old=16):
    """Old rows of `n_old` features, and new rows of 24."""
    dense = words(160, 24)
    if likelihood == "bernoulli":
        dense = np.minimum(dense, 1)
    called = names(24)
    return (
        pd.DataFrame(dense[:80, :n_old], columns=called[:n_old]),
        pd.DataFrame(dense[80:], columns=called),
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("skip", [False, True])
def test_before_any_update_only_the_normaliser_changes(likelihood, skip):
    old, new = frames(likelihood)
    model = small(likelihood=likelihood, skip=skip, refine_steps=0).fit(old)
    known, before = old[old.sum(axis=1) > 0], model.network_
    psi = model.posterior(known, refine_steps=0)
    refined, Z = model.transform(known), np.random.default_rng(0).normal(size=(5, 3))
    model.partial_fit(new, epochs=0, min_df=1)
    after = model.posterior(known, refine_steps=0)
    np.testing.assert_array_equal(after.mean, psi.mean)
    np.testing.assert_array_equal(after.scale, psi.scale)
    z = torch.from_numpy(Z).float()
    n_old = old.shape[1]
    np.testing.assert_allclose(
        model.network_.generative.decoder(z)[:, :n_old], before.generative.decoder(z), rtol=1e-5
    )
    # After refinement the new features' share of the normaliser pulls a little.
    assert np.abs(model.transform(known) - refined).mean() < 0.15
    report = model.update_report_
    assert report.epochs == 0
    assert len(report.added) == model.n_features_in_ - n_old > 0


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_new_feature_starts_as_frequent_as_it_was(likelihood):
    old, new = frames(likelihood)
    model = small(likelihood=likelihood, validation_fraction=0).fit(old)
    model.partial_fit(new, epochs=0, min_df=1)
    rows = CountMatrix.from_any(new).align(model.vocabulary_)[0].drop_empty()[0]
    mean = model.posterior(rows, refine_steps=0).mean
    unit = likelihood in ("bernoulli", "poisson")
    expected = model.inverse_transform(mean, totals=1.0 if unit else rows.totals)
    added = slice(old.shape[1], None)
    found, was = expected[:, added].mean(0), rows.csr[:, added].mean(0)
    np.testing.assert_allclose(found, was, rtol=0.02, atol=2e-3)


def test_a_new_feature_starts_in_its_company():
    """Its weights are between those of the features it came with."""
    dense = np.zeros((60, 6))
    dense[:30, [0, 1]], dense[30:, [2, 3]] = 3, 3
    old = pd.DataFrame(dense[:, :4], columns=list("abcd"))
    model = small(n_components=1, epochs=30, validation_fraction=0).fit(old)
    dense[:30, 4], dense[30:, 5] = 1, 1
    model.partial_fit(pd.DataFrame(dense, columns=list("abcdef")), epochs=0)
    weight = model.network_.generative.decoder.weight
    np.testing.assert_allclose(weight[4], (weight[0] + weight[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(weight[5], (weight[2] + weight[3]) / 2, atol=1e-5)
    assert model.network_.encoder.input_weight[4:].abs().max() == 0


def test_a_feature_that_stands_alone_starts_without_weights():
    old = pd.DataFrame(words(60, 5), columns=list("abcde"))
    alone = pd.DataFrame({"a": [1] * 5 + [0] * 5, "new": [0] * 5 + [2] * 5})
    model = small(validation_fraction=0).fit(old).partial_fit(alone, epochs=0)
    assert model.vocabulary_.names[-1] == "new"
    assert model.network_.generative.decoder.weight[5].abs().max() == 0
    assert model.network_.generative.decoder.bias[5].isfinite()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_feature_of_held_out_rows_alone_has_a_start(likelihood):
    old, new = frames(likelihood)
    lone = new.assign(**{f"only{i}": np.arange(len(new)) == i for i in range(len(new))})
    model = small(likelihood=likelihood, epochs=1).fit(old)
    model.partial_fit(lone, epochs=1, min_df=1)
    assert (model.running_.df[-len(new) :] == 0).sum() == model.update_report_.held_out_rows > 0
    assert all(tensor.isfinite().all() for tensor in model.network_.state_dict().values())


@settings(max_examples=examples(15))
@given(order=st.permutations(range(8)), likelihood=st.sampled_from(LIKELIHOODS))
def test_new_features_in_another_order_get_the_same_start(order, likelihood):
    old, new = frames(likelihood)
    first, second = (small(likelihood=likelihood, epochs=1).fit(old) for _ in range(2))
    moved = new[[*new.columns[:16], *new.columns[16:][list(order)]]]
    first.partial_fit(new, epochs=0, min_df=1)
    second.partial_fit(moved, epochs=0, min_df=1)
    assert set(first.vocabulary_.names) == set(second.vocabulary_.names)
    place = second.vocabulary_.codes(first.vocabulary_.names)
    parts, others = first.network_.state_dict(), second.network_.state_dict()
    for name, tensor in parts.items():
        other = others[name]
        if len(tensor) == len(place):
            other = other[place]
        np.testing.assert_allclose(tensor, other, atol=1e-5, rtol=1e-5, err_msg=name)
    # Which rows are held out for validation depends on the order of columns no more than that.
    np.testing.assert_allclose(first.unigram_, second.unigram_[place])
    np.testing.assert_allclose(first.transform_.idf, second.transform_.idf[place])
