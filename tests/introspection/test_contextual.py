from __future__ import annotations

import json

import numpy as np
import pytest

from longtail import CountMatrix, contextual_similarity, contextual_vectors, embeddings
from longtail.errors import DataError, NotFittedError, ParameterError
from longtail.introspection import judging
from tests.estimator.models import small
from tests.introspection.handmade import learned, named_words

NAMES = [f"w{i:02d}" for i in range(20)]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(judging, "_RESAMPLES", 100)


def pairs(n=12):
    rng = np.random.default_rng(0)

    def occurrence(i):
        return NAMES[i % 20], [NAMES[j] for j in rng.integers(20, size=6)]

    return [(occurrence(i), occurrence(3 * i + 1), float(rng.random())) for i in range(n)]


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# --- vectors --------------------------------------------------------------------------------------


def test_two_parts_of_known_length():
    rows = named_words(8)
    found = contextual_vectors(learned(), NAMES[:8], rows, place=0.7)
    assert found.shape == (8, 6)
    np.testing.assert_allclose(np.linalg.norm(found[:, :3], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found[:, 3:], axis=1), 0.7, rtol=1e-5)
    means = learned().posterior(rows).mean
    np.testing.assert_allclose(cosines(found[:, 3:], means), 1, rtol=1e-5)


def test_without_the_rows_it_is_the_global_vector():
    overall = embeddings(learned(), power=1)
    found = contextual_vectors(learned(), NAMES[:8], named_words(8), local=0, place=0)
    np.testing.assert_allclose(cosines(found[:, :3], overall.vectors[:8]), 1, rtol=1e-5)
    assert (found[:, 3:] == 0).all()
    other = embeddings(learned(), samples=60, seed=5)
    found = contextual_vectors(
        learned(), NAMES[:8], named_words(8), local=0, place=0, overall=other
    )
    np.testing.assert_allclose(cosines(found[:, :3], other.vectors[:8]), 1, rtol=1e-5)


def test_with_the_rows_only_it_is_the_embedding_in_that_context():
    rows = named_words(6)
    found = contextual_vectors(learned(), NAMES[:6], rows, local=1, place=0, samples=3000)
    for i in range(6):
        there = embeddings(
            learned(), rows[i : i + 1], of="log_probabilities", power=1, samples=2000
        )
        assert cosines(found[i : i + 1, :3], there.vectors[i : i + 1])[0] > 0.98


def test_a_row_s_vector_does_not_hang_on_its_neighbours():
    """Alone or with others: only the draws of z differ."""
    rows = named_words(4)
    together = contextual_vectors(learned(), NAMES[:4], rows, samples=300)
    alone = contextual_vectors(learned(), NAMES[:1], rows[:1], samples=300)
    assert cosines(together[:1], alone)[0] > 0.99


def test_the_seed_decides():
    first, again, other = (
        contextual_vectors(learned(), NAMES[:3], named_words(3), seed=s) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "settings", [{"local": -0.1}, {"local": 1.1}, {"local": float("nan")}, {"place": -1}]
)
def test_bad_settings(settings):
    with pytest.raises(ParameterError, match="local must be"):
        contextual_vectors(learned(), NAMES[:3], named_words(3), **settings)


@pytest.mark.parametrize("samples", [0, -1])
def test_no_samples(samples):
    with pytest.raises(ParameterError, match="samples"):
        contextual_vectors(learned(), NAMES[:3], named_words(3), samples=samples)


def test_bad_input():
    with pytest.raises(DataError, match="4 features need as many contexts; got 3"):
        contextual_vectors(learned(), NAMES[:4], named_words(3))
    with pytest.raises(DataError, match="Did you mean"):
        contextual_vectors(learned(), ["w0O"], named_words(1))
    with pytest.raises(NotFittedError):
        contextual_vectors(small(), NAMES[:1], named_words(1))


# --- judged pairs ---------------------------------------------------------------------------------


def test_it_is_deterministic_and_counts_its_pairs():
    first, again = (contextual_similarity(learned(), pairs(), seed=3) for _ in range(2))
    assert first == again
    assert (first.overall.pairs, first.overall.covered) == (12, 12)
    assert first.low <= first.difference <= first.high
    json.dumps(first.to_dict(), allow_nan=False)


def test_without_a_context_nothing_changes():
    found = contextual_similarity(learned(), pairs(), local=0, place=0)
    assert found.contextual.spearman == pytest.approx(found.overall.spearman)
    assert found.difference == pytest.approx(0)


def test_the_baseline_is_the_cosine_of_global_vectors():
    overall = embeddings(learned(), samples=100)
    scored = [(a, b, overall.similarity(a[0], b[0])) for a, b, _ in pairs()]
    found = contextual_similarity(learned(), scored, overall=overall)
    assert found.overall.spearman == pytest.approx(1)


def test_the_score_is_the_cosine_of_contextual_vectors():
    bags = np.zeros((2, 12, 20))
    for i, (*sides, _) in enumerate(pairs()):
        for side, (word, around) in enumerate(sides):
            for name in (word, *around):  # the word itself is in its bag
                bags[side, i, NAMES.index(name)] += 1
    settings = {"local": 0.3, "place": 0.8, "samples": 5, "overall": embeddings(learned())}
    first, second = (
        contextual_vectors(
            learned(),
            [p[side][0] for p in pairs()],
            CountMatrix.from_any(bags[side], vocabulary=learned().vocabulary_),
            **settings,
        )
        for side in (0, 1)
    )
    scores = cosines(first, second)
    scored = [(a, b, float(s)) for (a, b, _), s in zip(pairs(), scores, strict=True)]
    found = contextual_similarity(learned(), scored, **settings)
    assert found.contextual.spearman == pytest.approx(1)
    assert found.overall.spearman < 0.999


def test_unknown_words():
    unknown = [(("zebra", ["w01"]), ("w02", ["w01"]), 0.5)] * 2
    around = [((a[0], [*a[1], "zebra"]), b, s) for a, b, s in pairs()]
    found = contextual_similarity(learned(), around + unknown)
    assert (found.overall.pairs, found.overall.covered) == (14, 12)
    plain = contextual_similarity(learned(), pairs())
    assert found.contextual.spearman == plain.contextual.spearman
    with pytest.raises(DataError, match="Only 2 of 4 pairs"):
        contextual_similarity(learned(), pairs()[:2] + unknown)
    with pytest.raises(NotFittedError):
        contextual_similarity(small(), pairs())
