from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from longtail import CountMatrix, ambiguous_features, embeddings
from longtail.displays import NeighborhoodDisplay
from longtail.errors import NotFittedError, ParameterError
from longtail.introspection.closed_form import jacobian_at
from longtail.introspection.neighbors import unit
from tests.estimator.models import small
from tests.introspection.handmade import learned, model_of


def deep(v=30, k=4, seed=0, **options):
    rng = np.random.default_rng(seed)
    layer = (rng.normal(0, 1, (8, k)), rng.normal(0, 0.5, 8))
    return model_of(rng.normal(0, 1, (v, 8)), [layer], bias=rng.normal(0, 1, v), **options)


def slowly(model, k, vectors):
    """Every feature between its contexts, with whole Jacobians and one row at a time."""
    names = model.vocabulary_.names
    directions = unit(vectors.vectors).astype(np.float64)
    found = {}
    for v in range(len(names)):
        cosine = directions @ directions[v]
        others = [int(u) for u in np.argsort(-cosine, kind="stable") if u != v][:24]
        centred = directions[others] - directions[others].mean(0)
        first = np.linalg.svd(centred)[2][0]
        sides = ([], [])
        for u, row in zip(others, centred, strict=True):
            sides[0 if row @ first > 0 else 1].append(u)
        pulls, near = [], []
        for bag in (side[:3] for side in sides):
            dense = np.zeros((1, len(names)))
            dense[0, bag] = 10
            row = CountMatrix.from_any(dense, vocabulary=model.vocabulary_)
            z = torch.from_numpy(model.posterior(row, refine_steps=10, seed=0).mean)
            p = model.inverse_transform(z.numpy())[0]
            pulls.append(float(np.log(p[v]) - np.log(model.unigram_[v])))
            j = jacobian_at(model.network_.generative.decoder, z, "probabilities")[0].numpy()
            similarity = j @ j[v]
            similarity[[v, *bag]] = -np.inf
            near.append([names[int(u)] for u in np.argsort(-similarity)[:k]])
        overlap = len(set(near[0]) & set(near[1])) / k
        contexts = tuple(tuple(names[u] for u in side[:3]) for side in sides)
        found[names[v]] = (contexts, pulls, near, (1 - overlap) * min(pulls))
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_as_a_slow_search_finds(seed):
    model = deep(seed=seed)
    vectors = embeddings(model, samples=100)
    expected = slowly(model, 5, vectors)
    found = ambiguous_features(model, top=30, k=5, vectors=vectors)
    assert len(found) > 1
    for item in found.items:
        contexts, pulls, near, score = expected[item.feature]
        assert item.contexts == contexts
        assert item.pulls == pytest.approx(pulls, abs=1e-4)
        assert [list(names) for names in item.neighbors] == near
        assert item.score == pytest.approx(score, abs=1e-4)
    # Nothing that scores more is missing, but for features whose contexts are used up.
    used = {u for item in found.items for bag in item.contexts for u in bag}
    best = max(expected, key=lambda name: expected[name][3])
    assert found[0].feature == best
    for name, (contexts, _, _, score) in expected.items():
        if score > 1e-3 and name not in {item.feature for item in found.items}:
            assert used & {u for bag in contexts for u in bag}


def test_what_it_returns():
    found = ambiguous_features(deep(), top=3, k=4, candidates=20)
    assert 0 < len(found) <= 3
    assert found.candidates == 20
    scores = [item.score for item in found.items]
    assert scores == sorted(scores, reverse=True)
    for item in found.items:
        for context, near in zip(item.contexts, item.neighbors, strict=True):
            assert not {item.feature, *context} & set(near)
        assert not set(item.contexts[0]) & set(item.contexts[1])
    frame = found.frame()
    assert frame.height == 2 * len(found)
    assert frame.schema["context"] == pl.List(pl.String)
    assert found[0].feature in str(found)
    assert found[0].feature in found._repr_html_()


def test_the_display_holds_the_same_lists():
    model = deep()
    vectors = embeddings(model, samples=100)
    found = ambiguous_features(model, top=1, k=4, vectors=vectors)
    display = found.display(0, vectors)
    assert isinstance(display, NeighborhoodDisplay)
    lists = list(display.lists.values())
    assert (
        lists[0]["feature"].to_list() == vectors.neighbors(found[0].feature, 4)["feature"].to_list()
    )
    assert [tuple(t["feature"]) for t in lists[1:]] == list(found[0].neighbors)
    assert len(found.display(0).lists) == 2


def test_deterministic():
    first, second = (ambiguous_features(learned(), seed=3) for _ in range(2))
    assert first.items == second.items


def test_progress_ends_with_all_contexts():
    calls = []
    ambiguous_features(deep(), progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == list(range(1, calls[-1][1] + 1))


@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "poisson", "negative_binomial", "dirichlet_multinomial"]
)
def test_other_likelihoods(likelihood):
    rng = np.random.default_rng(0)
    model = small(likelihood=likelihood, epochs=2).fit((rng.random((60, 15)) < 0.5).astype(float))
    assert ambiguous_features(model).candidates == 15


@pytest.mark.parametrize("v", [2, 3])
def test_hardly_any_features(v):
    rng = np.random.default_rng(0)
    found = ambiguous_features(model_of(rng.normal(size=(v, 2))), k=5)
    assert found.frame().height == 2 * len(found)


def test_features_that_are_all_alike_have_no_two_sides():
    assert len(ambiguous_features(model_of(np.zeros((6, 2))))) == 0


@pytest.mark.parametrize("wrong", [{"top": 0}, {"k": 0}, {"candidates": 1.5}, {"k": True}])
def test_bad_parameters(wrong):
    with pytest.raises(ParameterError, match=f"{next(iter(wrong))} must be a whole number"):
        ambiguous_features(learned(), **wrong)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        ambiguous_features(small())
