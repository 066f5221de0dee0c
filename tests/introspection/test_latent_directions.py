from __future__ import annotations

import json

import numpy as np
import pytest

from longtail import CountMatrix, directions, jacobian, topic_coherence, topic_diversity
from longtail.errors import NotFittedError, ParameterError
from longtail.introspection.latent_directions import varimax
from tests.estimator.models import small
from tests.introspection.handmade import learned, model_of, named_words
from tests.introspection.test_spectra import rotation

#            a    b    c     d    e     f    g    h
STRONG = [3.0, 2.0, -3.5, -2.0, 0.0, 0.0, 0.0, 0.0]
WEAK = [0.0, 0.0, 0.0, 0.0, 1.5, -1.0, 0.0, 0.0]


def two_directions(turn=None):
    """The second latent dimension is the strong one, and its strongest feature is negative."""
    weight = np.array([WEAK, STRONG, np.zeros(8)]).T
    return model_of(weight if turn is None else weight @ turn)


def features(end):
    """Without those whose weight is only rounding."""
    return [
        (name, pytest.approx(weight, abs=1e-5)) for name, weight in end.features if weight > 1e-5
    ]


@pytest.mark.parametrize("by", ["varimax", "singular"])
@pytest.mark.parametrize("turn", [None, rotation(3)])
def test_known_ends(turn, by):
    found = directions(two_directions(turn), of="logits", top=2, by=by)
    assert (len(found), found.live, found.components) == (2, 2, 3)
    first, second = found
    assert (first.rank, first.name, second.rank) == (1, "direction 1", 2)
    # The sign is the strongest feature's.
    assert features(first.positive) == [("c", 3.5), ("d", 2.0)]
    assert features(first.negative) == [("a", 3.0), ("b", 2.0)]
    assert features(second.positive) == [("e", 1.5)]
    assert features(second.negative) == [("f", 1.0)]
    total = np.square(STRONG).sum() + np.square(WEAK).sum()
    assert first.strength == pytest.approx(np.linalg.norm(STRONG))
    assert first.share == pytest.approx(np.square(STRONG).sum() / total)
    assert np.linalg.norm(first.vector) == pytest.approx(1)
    expected = np.array([0, -1, 0]) if turn is None else -turn[1]
    np.testing.assert_allclose(first.vector, expected, atol=1e-5)


def test_latent_dimensions_keep_their_sign():
    found = directions(two_directions(), of="logits", by="dimension", top=3)
    assert [d.name for d in found] == ["z1", "z0", "z2"]
    assert found[0].vector == (0.0, 1.0, 0.0)
    assert found[0].positive.names == ["a", "b"]
    assert found[0].negative.names == ["c", "d"]
    assert found[2].positive.features == found[2].negative.features == ()
    assert found[2].strength == 0


@pytest.mark.parametrize("by", ["singular", "dimension"])
def test_shares_sum_to_1_over_all_directions(by):
    every = directions(learned(), by=by, top=3)
    assert sum(d.share for d in every) == pytest.approx(1)
    assert [d.strength for d in every] == sorted((d.strength for d in every), reverse=True)
    vectors = np.array([d.vector for d in every])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-6)
    some = directions(learned(), by=by, top=2)
    assert sum(d.share for d in some) <= 1
    assert [d.share for d in some] == [d.share for d in every][:2]
    assert len(directions(learned(), by=by, top=50)) == 3


def alike():
    """Three directions of the same strength, each with words of its own."""
    weight = np.zeros((12, 5))
    for i in range(3):
        weight[3 * i : 3 * i + 3, i] = [2.0, 2.0, -1.0]
    return weight


def test_varimax_tells_directions_of_the_same_strength_apart():
    model = model_of(alike() @ rotation(5))
    found = directions(model, of="logits")
    assert (len(found), found.live) == (3, 3)
    ends = {tuple(sorted(f for f, w in d.positive.features if w > 1e-4)) for d in found}
    assert ends == {("a", "b"), ("d", "e"), ("g", "h")}
    vectors = np.array([d.vector for d in found])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-6)
    assert sum(d.share for d in found) == pytest.approx(1)


def test_varimax_turns_the_live_directions_within_their_span():
    for live in (1, 2):
        weight = np.random.default_rng(0).normal(size=(9, 4))
        weight[:, live:] = 0
        model = model_of(weight @ rotation(4))
        turned, plain = (directions(model, of="logits", by=b) for b in ("varimax", "singular"))
        assert len(turned) == len(plain) == live
        a, b = (np.array([d.vector for d in x]) for x in (turned, plain))
        np.testing.assert_allclose(a.T @ a, b.T @ b, atol=1e-5)
        assert sum(d.share for d in turned) == pytest.approx(sum(d.share for d in plain))
        # Only live directions are rotated, so there are no more than those.
        assert len(directions(model, of="logits", by="varimax", top=4)) == live


def test_varimax_finds_the_simplest_rotation():
    def simplicity(loadings):
        return np.square(loadings).var(0).sum()

    simple = np.abs(np.random.default_rng(0).normal(size=(30, 3))) * np.eye(3).repeat(10, 0)
    simple += 0.05 * np.random.default_rng(1).normal(size=(30, 3))
    mixed = simple @ rotation(3)
    turn = varimax(mixed)
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-10)
    best = simplicity(mixed @ turn)
    assert best >= simplicity(simple) - 1e-6
    assert best > max(simplicity(mixed @ rotation(3, seed)) for seed in range(200))
    for angle in (0.02, -0.02):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            step = np.eye(3)
            step[[i, j], [i, j]] = np.cos(angle)
            step[i, j], step[j, i] = np.sin(angle), -np.sin(angle)
            assert simplicity(mixed @ turn @ step) < best
    assert np.abs(varimax(np.random.default_rng(0).normal(size=(5, 1)))).item() == 1


def test_the_first_singular_direction_is_at_least_as_strong_as_any_dimension():
    singular = directions(learned(), top=1, by="singular")[0]
    dimension = directions(learned(), by="dimension", top=1)[0]
    assert singular.share >= dimension.share - 1e-9


def test_all_live_directions_if_not_told_how_many():
    found = directions(two_directions(), of="root_probabilities")
    assert len(found) == found.live == 2
    dead = directions(model_of(np.zeros((8, 3))))
    assert (len(dead), dead.live) == (1, 0)


def test_as_many_words_as_asked():
    ends = [e for d in directions(learned(), words=4, top=2) for e in (d.positive, d.negative)]
    assert all(1 <= len(e.features) <= 4 for e in ends)
    assert any(len(e.features) == 4 for e in ends)
    for end in ends:
        weights = [w for _, w in end.features]
        assert weights == sorted(weights, reverse=True)
        assert all(w > 0 for w in weights)


def test_with_rows():
    rows = named_words(40)
    found = directions(learned(), rows, top=2, words=5)
    means = learned().posterior(rows).mean.astype(np.float64)
    lists = []
    for d in found:
        along = means @ np.array(d.vector)
        assert d.variance == pytest.approx(along.var(), rel=1e-4)
        for sign, end in ((1, d.positive), (-1, d.negative)):
            far = np.argsort(-sign * along)[:3]
            assert [r for r, _ in end.rows] == far.tolist()
            assert [x for _, x in end.rows] == pytest.approx(along[far], abs=1e-5)
            assert end.coherence == pytest.approx(topic_coherence([end.names], rows)[0])
            lists.append(end.names)
    known = [e.coherence for d in found for e in (d.positive, d.negative)]
    assert found.coherence == pytest.approx(np.mean(known))
    assert found.diversity == pytest.approx(topic_diversity(lists))
    without = directions(learned(), top=2, words=5)
    assert without.coherence is None
    assert without[0].variance is None
    assert without[0].positive.rows == ()
    assert without[0].positive.features == found[0].positive.features


def test_rows_are_called_by_their_ids():
    ids = [f"doc-{i}" for i in range(20)]
    rows = CountMatrix.from_any(named_words(20), row_ids=ids)
    found = directions(learned(), rows, top=1)
    assert {r for r, _ in found[0].positive.rows} <= set(ids)
    assert "doc-" in str(found)


def test_a_list_of_one_word_has_no_coherence():
    found = directions(learned(), named_words(20), words=1, top=1)
    assert found[0].positive.coherence is None
    assert found.coherence is None


def test_the_seed_decides():
    first, again, other = (directions(learned(), samples=60, seed=s) for s in (0, 0, 1))
    assert first.to_dict() == again.to_dict()
    assert first.to_dict() != other.to_dict()


def test_tables():
    found = directions(two_directions(), of="logits", top=2)
    frame = found.frame()
    assert frame.columns == ["rank", "name", "share", "end", "place", "feature", "weight"]
    assert frame["feature"].to_list() == ["c", "d", "a", "b", "e", "f"]
    assert frame["end"].to_list() == ["+", "+", "-", "-", "+", "-"]
    assert frame["place"].to_list() == [1, 2, 1, 2, 1, 1]


def test_in_words():
    text = str(directions(two_directions(), of="logits", top=2))
    assert text.startswith("2 of 3 latent directions live")
    assert "direction 1:" in text
    assert "+ c 3.5  d 2" in text
    assert "− a 3  b 2" in text


@pytest.mark.parametrize("rows", [None, 20])
def test_to_dict_is_ready_for_json(rows):
    found = directions(learned(), rows and named_words(rows), top=2)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [d["rank"] for d in plain["directions"]] == [1, 2]
    assert plain["directions"][0]["positive"]["features"][0].keys() == {"feature", "weight"}


def test_to_dict_of_a_decoder_that_does_nothing():
    dead = directions(model_of(np.zeros((8, 3))))
    plain = json.loads(json.dumps(dead.to_dict(), allow_nan=False))
    assert (plain["live"], plain["components"]) == (0, 3)
    assert plain["diversity"] is None
    assert plain["directions"][0]["positive"]["features"] == []


def test_more_dimensions_than_features():
    model = model_of(np.random.default_rng(0).normal(size=(4, 6)))
    for by in ("singular", "dimension"):
        found = directions(model, by=by, top=6)
        assert found.components == 6
        assert sum(d.share for d in found) == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "top must be a whole number ≥ 1; got 0"),
        ({"top": 2.5}, "top"),
        ({"words": 0}, "words must be a whole number ≥ 1; got 0"),
        ({"by": "axis"}, "by must be 'varimax', 'singular' or 'dimension'; got 'axis'"),
        ({"of": "odds"}, "of must be one of"),
        ({"at": "rows"}, "at must be 'prior'"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ParameterError, match=message):
        directions(learned(), **arguments)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        directions(small())


def test_a_jacobian_at_hand_gives_the_same():
    model = learned()
    averaged = jacobian(model, "root_probabilities", samples=100, seed=3)
    expected = directions(model, samples=100, seed=3)
    assert directions(model, averaged=averaged).to_dict() == expected.to_dict()
