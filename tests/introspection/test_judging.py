from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from longtail import Embeddings, class_precision, word_similarity
from longtail.data import Vocabulary
from longtail.errors import DataError, ParameterError
from longtail.introspection import RankCorrelation, judging
from longtail.introspection.judging import bootstrap_spearman, compare_correlations
from tests.introspection.handmade import letters
from tests.introspection.test_neighbors import by_definition, vectors
from tests.profiles import examples


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(judging, "_RESAMPLES", 400)


def circle(n=12):
    """Features on a quarter circle: the cosine of two falls with the distance of their places."""
    angles = np.linspace(0, np.pi / 2, n)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return Embeddings(Vocabulary(letters(n)), points)


def pairs(n=12):
    """Similarity to the first feature, judged 10 for the nearest and less and less."""
    return [("a", name, 10.0 - i) for i, name in enumerate(letters(n)[1:])]


# --- judged pairs ---------------------------------------------------------------------------------


def test_perfect_agreement_and_its_opposite():
    found = word_similarity(circle(), pairs())
    assert found.spearman == pytest.approx(1)
    assert (found.low, found.high) == (pytest.approx(1), pytest.approx(1))
    opposite = word_similarity(circle(), [(a, b, -s) for a, b, s in pairs()])
    assert opposite.spearman == pytest.approx(-1)


def test_pairs_with_an_unknown_word_are_counted_and_left_out():
    unknown = [("a", "zebra", 0.0), ("zebra", "a", 9.0), ("lion", "zebra", 9.0)]
    found = word_similarity(circle(), pairs() + unknown)
    assert (found.pairs, found.covered) == (14, 11)
    assert found.spearman == pytest.approx(1)
    with pytest.raises(DataError, match="Only 2 of 5 pairs"):
        word_similarity(circle(), pairs()[:2] + unknown)
    with pytest.raises(DataError, match="Only 0 of 0 pairs"):
        word_similarity(circle(), [])


def test_pairs_may_come_once():
    assert word_similarity(circle(), iter(pairs())).covered == 11


def test_the_metric_can_be_chosen():
    e = Embeddings(Vocabulary(letters(4)), np.array([[1], [2], [30], [4]], dtype=np.float32))
    judged = [("a", "b", 1.0), ("a", "d", 2.0), ("a", "c", 3.0)]
    assert word_similarity(e, judged, metric="dot").spearman == pytest.approx(1)
    assert word_similarity(e, judged, metric="euclidean").spearman == pytest.approx(-1)


def test_ties_have_the_mean_of_their_ranks():
    rng = np.random.default_rng(0)
    scores, judged = rng.integers(4, size=30), rng.integers(4, size=30)
    found = RankCorrelation.from_scores(scores.tolist(), judged.tolist(), 30)
    expected = np.corrcoef(rankdata(scores), rankdata(judged))[0, 1]
    assert found.spearman == pytest.approx(expected)
    assert found.low <= found.spearman <= found.high


def test_the_interval_is_the_bootstrap_s_and_narrows_with_more_pairs():
    rng = np.random.default_rng(0)
    a = rng.normal(size=160)
    b = a + rng.normal(size=160)
    few = RankCorrelation.from_scores(a[:20], b[:20], 20)
    many = RankCorrelation.from_scores(a, b, 160)
    assert many.high - many.low < 0.6 * (few.high - few.low)
    expected = np.quantile(bootstrap_spearman(a, b, 0), [0.025, 0.975])
    np.testing.assert_allclose([many.low, many.high], expected)
    # Fisher's z: the standard error of arctanh ρ is about 1/√(n − 3).
    z = np.arctanh([many.low, many.spearman, many.high])
    assert (z[2] - z[0]) / 2 == pytest.approx(1.96 * 1.06 / np.sqrt(157), rel=0.25)


def test_the_seed_decides_the_interval():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 15))
    first, again, other = (RankCorrelation.from_scores(a, b, 15, s) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.spearman == other.spearman
    json.dumps(first.to_dict(), allow_nan=False)


def test_two_scores_of_the_same_pairs():
    rng = np.random.default_rng(0)
    judged = rng.normal(size=40)
    poor, good = judged + 3 * rng.normal(size=40), judged + 0.3 * rng.normal(size=40)
    found = compare_correlations(poor, good, judged, 50)
    assert found.difference == found.contextual.spearman - found.overall.spearman
    assert 0 < found.low < found.difference < found.high
    assert (found.overall.pairs, found.overall.covered) == (50, 40)
    same = compare_correlations(poor, poor, judged, 40)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert found.to_dict()["overall"]["covered"] == 40


# --- known classes --------------------------------------------------------------------------------


def precision_by_definition(e, classes, k, asked=None):
    names = [name for name in e.vocabulary if name in classes]
    shares = []
    for name in names if asked is None else asked:
        others = [o for o in names if o != name]
        similarity = by_definition(np.array([e[o] for o in others]), e[name], e.metric)
        near = [others[i] for i in np.argsort(-similarity)[:k]]
        shares.append(np.mean([classes[o] == classes[name] for o in near]))
    return np.array(shares)


@settings(max_examples=examples(25))
@given(
    labels=st.lists(st.sampled_from([None, "x", "y", "z"]), min_size=5, max_size=12),
    k=st.integers(1, 4),
    seed=st.integers(0, 1000),
    metric=st.sampled_from(["cosine", "euclidean", "dot"]),
)
def test_precision_by_definition(labels, k, seed, metric):
    names = letters(len(labels))
    classes = {name: c for name, c in zip(names, labels, strict=True) if c is not None}
    e = Embeddings(Vocabulary(names), vectors(len(labels), 3, seed), metric)
    if len(classes) <= k:
        with pytest.raises(DataError, match=f"precision at {k} needs {k + 1}"):
            class_precision(e, classes, k=k)
        return
    found = class_precision(e, classes, k=k)
    shares = precision_by_definition(e, classes, k)
    assert found.precision == pytest.approx(shares.mean())
    assert found.se == pytest.approx(shares.std(ddof=1) / np.sqrt(len(shares)))
    assert (found.k, found.features, found.scored) == (k, len(labels), len(classes))
    same = [sum(c == own for c in classes.values()) - 1 for own in classes.values()]
    assert found.chance == pytest.approx(np.mean(same) / (len(classes) - 1))


def test_random_vectors_are_at_chance_and_good_ones_at_1():
    names = letters(60)
    classes = {name: str(i % 3) for i, name in enumerate(names)}
    rng = np.random.default_rng(0)
    noise = Embeddings(Vocabulary(names), vectors(60, 5))
    at_chance = class_precision(noise, classes, k=5)
    assert abs(at_chance.precision - at_chance.chance) < 5 * at_chance.se
    assert at_chance.chance == pytest.approx(19 / 59)
    clear = np.eye(3)[np.arange(60) % 3] + 0.05 * rng.normal(size=(60, 3))
    assert class_precision(Embeddings(Vocabulary(names), clear), classes, k=5).precision == 1


def test_asking_for_some_features_only():
    e = Embeddings(Vocabulary(letters(12)), vectors(12, 3))
    classes = {name: str(i % 2) for i, name in enumerate(letters(12))}
    found = class_precision(e, classes, k=3, queries=["b", "c", "zebra"])
    shares = precision_by_definition(e, classes, 3, ["b", "c"])
    assert found.precision == pytest.approx(shares.mean())
    one = class_precision(e, classes, k=3, queries=["b"])
    assert one.precision == pytest.approx(shares[0])
    assert np.isnan(one.se)
    with pytest.raises(DataError, match="None of the queries"):
        class_precision(e, classes, k=3, queries=["zebra"])


def test_the_metric_of_the_call_goes_first():
    e = Embeddings(Vocabulary(letters(12)), vectors(12, 3), "dot")
    classes = {name: str(i % 2) for i, name in enumerate(letters(12))}
    as_cosine = Embeddings(e.vocabulary, e.vectors, "cosine")
    assert class_precision(e, classes, k=3, metric="cosine") == class_precision(
        as_cosine, classes, k=3
    )


@pytest.mark.parametrize("k", [0, -1])
def test_no_neighbours_have_no_precision(k):
    e = Embeddings(Vocabulary(letters(4)), vectors(4, 3))
    with pytest.raises(ParameterError, match="k must be"):
        class_precision(e, dict.fromkeys(letters(4), "x"), k=k)
