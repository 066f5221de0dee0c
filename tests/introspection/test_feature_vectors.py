from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest

from longtail import CountMatrix, Embeddings, embeddings, jacobian
from longtail.data import Vocabulary
from longtail.errors import (
    DataError,
    MissingExtraError,
    NotFittedError,
    ParameterError,
    WriteError,
)
from longtail.introspection.feature_vectors import context_bag, context_posterior
from tests.estimator.models import small
from tests.introspection.handmade import KINDS, learned, letters, model_of, named_words
from tests.introspection.test_neighbors import METRICS, by_definition, vectors
from tests.introspection.test_spectra import rotation


def toy(v=9, k=4, seed=0, **kwargs):
    return Embeddings(Vocabulary(letters(v)), vectors(v, k, seed), **kwargs)


# --- neighbours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_similarity_by_definition(metric):
    e = toy(metric=metric)
    for a, b in [("a", "b"), ("c", "c"), ("d", "a")]:
        expected = by_definition(e[b][None], e[a], metric)[0]
        assert e.similarity(a, b) == pytest.approx(expected)
        assert e.similarity(a, b, "dot") == pytest.approx(float(e[a] @ e[b]), rel=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_against_sorting_everything(metric):
    e = toy()
    every = by_definition(e.vectors, e["c"], metric)
    order = [i for i in np.argsort(-every) if i != 2]
    table = e.neighbors("c", 5, metric=metric)
    assert table.columns == ["rank", "feature", "similarity"]
    assert table["rank"].to_list() == [1, 2, 3, 4, 5]
    assert table["feature"].to_list() == [e.vocabulary[i] for i in order[:5]]
    np.testing.assert_allclose(table["similarity"], every[order[:5]], atol=1e-5)
    assert table["similarity"][0] == pytest.approx(e.similarity("c", table["feature"][0], metric))


def test_the_metric_of_the_embeddings_is_the_default():
    e = toy(metric="euclidean")
    assert e.neighbors("a", 3).equals(e.neighbors("a", 3, metric="euclidean"))
    assert not e.neighbors("a", 3).equals(e.neighbors("a", 3, metric="cosine"))


@pytest.mark.parametrize("approximate", [False, True])
def test_what_is_never_a_neighbour(approximate):
    e = toy(context=("b", "d"))

    def names(*args, **kwargs):
        return set(e.neighbors(*args, k=20, approximate=approximate, **kwargs)["feature"])

    assert names("a") == set(letters(9)) - {"a", "b", "d"}
    assert names("a", exclude=["e", "a"]) == set(letters(9)) - {"a", "b", "d", "e"}
    assert names(["a", "c"]) == set(letters(9)) - {"a", "b", "c", "d"}
    assert names("b") == set(letters(9)) - {"b", "d"}
    table = e.neighbors("a", 4, approximate=approximate)
    assert table.height == 4


def test_no_neighbours_left():
    e = toy(v=2, k=3)
    table = e.neighbors("a", exclude=["b"])
    assert table.height == 0
    assert table.schema == {"rank": pl.Int64, "feature": pl.String, "similarity": pl.Float64}


def test_neighbours_of_several_are_those_of_their_mean_direction():
    e = toy()
    a, b = (e[name] / np.linalg.norm(e[name]) for name in ("a", "b"))
    every = by_definition(e.vectors, a + b, "cosine")
    order = [i for i in np.argsort(-every) if i > 1]
    table = e.neighbors(["a", "b"], 4)
    assert table["feature"].to_list() == [e.vocabulary[i] for i in order[:4]]
    np.testing.assert_allclose(table["similarity"], every[order[:4]], atol=1e-5)
    assert e.neighbors(["a"], 3).equals(e.neighbors("a", 3))


def test_length_does_not_matter_to_cosines():
    e = toy()
    lengths = np.arange(1, 10, dtype=np.float32)[:, None]
    longer = Embeddings(e.vocabulary, e.vectors * lengths)
    for query in ("c", ["a", "b"]):
        names = [x.neighbors(query, 5)["feature"].to_list() for x in (e, longer)]
        assert names[0] == names[1]


@pytest.mark.parametrize("metric", METRICS)
def test_approximate_neighbours(metric):
    e = toy(v=300, k=8, seed=2, metric=metric)
    same = 0
    for name in letters(300)[::30]:
        exact, about = (e.neighbors(name, 10, approximate=a) for a in (False, True))
        same += len(set(exact["feature"]) & set(about["feature"]))
    assert same >= 80


def test_approximate_needs_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    e = toy()
    with pytest.raises(MissingExtraError, match=r"longtail\[ann\]"):
        e.neighbors("a", approximate=True)
    assert e.neighbors("a", 2).height == 2


def test_unknown_features_with_suggestions():
    e = embeddings(learned(), samples=40)
    for call in (
        lambda: e["w0O"],
        lambda: e.similarity("w00", "w0O"),
        lambda: e.neighbors("w0O"),
        lambda: e.neighbors("w00", exclude=["w0O"]),
        lambda: e.neighbors(["w00", "w0O"]),
    ):
        with pytest.raises(DataError, match=r"Unknown feature 'w0O'.*Did you mean 'w"):
            call()
    assert "w0O" not in e
    assert "w00" in e


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature": []}, "at least one feature"),
        ({"k": 0}, "k must be a whole number ≥ 1; got 0"),
        ({"k": 2.0}, r"k .* got 2\.0"),
        ({"k": True}, "k .* got True"),
        ({"metric": "manhattan"}, "metric must be one of"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ParameterError, match=message):
        toy().neighbors(**({"feature": "a"} | arguments))


def test_the_parts_must_fit():
    with pytest.raises(DataError, match=r"9 features .* shape \(8, 4\)"):
        Embeddings(Vocabulary(letters(9)), vectors(8, 4))
    with pytest.raises(DataError, match="shape"):
        Embeddings(Vocabulary(letters(9)), np.zeros(9, dtype=np.float32))
    with pytest.raises(ParameterError, match="manhattan"):
        toy(metric="manhattan")
    with pytest.raises(ParameterError, match="manhattan"):
        toy().similarity("a", "b", "manhattan")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extension", "read"), [("parquet", pl.read_parquet), ("csv", pl.read_csv)]
)
def test_tables_come_back(extension, read, tmp_path):
    e = Embeddings(Vocabulary(['new "york"', "a,b", "ä ö", " x", "1"]), vectors(5, 3))
    path = e.save(tmp_path / f"vectors.{extension}")
    table = read(path)
    assert table.columns == ["feature", "v0", "v1", "v2"]
    assert table["feature"].to_list() == list(e.vocabulary)
    np.testing.assert_allclose(table.drop("feature").to_numpy(), e.vectors, rtol=1e-6)
    assert e.frame()["feature"].to_list() == list(e.vocabulary)
    if extension == "parquet":
        assert table.equals(e.frame())


@pytest.mark.parametrize("extension", ["txt", "vec", "w2v"])
def test_word2vec_text(extension, tmp_path):
    names = ["boat", "new york", "ä\tö", "tab\u2003\n x", "日本"]
    e = Embeddings(Vocabulary(names), vectors(5, 3) * np.float32(1e4))
    path = e.save(str(tmp_path / f"vectors.{extension}"))
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert lines[0] == "5 3"
    assert len(lines) == 6
    parts = [line.split(" ") for line in lines[1:]]
    assert [p[0] for p in parts] == ["boat", "new_york", "ä_ö", "tab_x", "日本"]
    read = np.array([[float(x) for x in p[1:]] for p in parts])
    np.testing.assert_allclose(read, e.vectors, rtol=1e-6)


def test_names_that_would_become_one(tmp_path):
    e = Embeddings(Vocabulary(["new york", "new_york"]), vectors(2, 3))
    with pytest.raises(ParameterError, match=r"Write \.parquet or \.csv"):
        e.save(tmp_path / "vectors.txt")
    assert not list(tmp_path.iterdir())
    assert pl.read_csv(e.save(tmp_path / "vectors.csv"))["feature"].to_list() == list(e.vocabulary)


@pytest.mark.parametrize("name", ["vectors.npz", "vectors", "vectors.csv.gz"])
def test_other_extensions(name, tmp_path):
    with pytest.raises(ParameterError, match=rf"\.parquet, \.csv.*\.w2v; got '{name}'"):
        toy().save(tmp_path / name)


@pytest.mark.parametrize("extension", ["parquet", "csv", "txt"])
def test_missing_folders_are_made_where_they_can_be(extension, tmp_path):
    assert toy().save(tmp_path / "absent" / f"vectors.{extension}").is_file()
    with pytest.raises(WriteError, match="could not be written"):
        toy().save(tmp_path / "absent" / f"vectors.{extension}" / f"vectors.{extension}")


# --- of a model -----------------------------------------------------------------------------------


def test_global_vectors_are_rows_of_the_jacobian():
    for of in KINDS:
        e = embeddings(learned(), of=of, power=1, samples=100, seed=3)
        j = jacobian(learned(), of, samples=100, seed=3)
        np.testing.assert_array_equal(e.vectors, j.matrix)
        assert (e.metric, e.context, len(e)) == ("cosine", (), 20)
        assert e.vocabulary == learned().vocabulary_


@pytest.mark.parametrize("power", [0, 0.3, 0.5, 1])
def test_a_power_evens_out_the_directions(power):
    j = jacobian(learned(), "log_probabilities", samples=100).matrix
    e = embeddings(learned(), of="log_probabilities", power=power, samples=100)
    u, sigma, v = np.linalg.svd(j.astype(np.float64), full_matrices=False)
    expected = u * sigma**power @ v
    np.testing.assert_allclose(e.vectors, expected, atol=1e-4 * np.abs(expected).max())
    assert e.vectors.dtype == np.float32


@pytest.mark.parametrize("power", [0, 0.5])
def test_directions_that_do_nothing_are_not_blown_up(power):
    weight = np.random.default_rng(0).normal(size=(12, 5))
    weight[:, 2:] = 0
    for turn in (np.eye(5), rotation(5)):
        e = embeddings(model_of(weight @ turn), of="logits", power=power, samples=40)
        sigma = np.linalg.svd(e.vectors, compute_uv=False)
        expected = np.linalg.svd(weight, compute_uv=False)[:2] ** power
        np.testing.assert_allclose(sigma[:2], expected, rtol=1e-4)
        assert sigma[2:].max() < 1e-4
    dead = embeddings(model_of(np.zeros((12, 5))), power=power, samples=40)
    assert (dead.vectors == 0).all()


@pytest.mark.parametrize("of", KINDS)
def test_a_context_is_its_posterior(of):
    e = embeddings(learned(), ["w02", "w05"], of=of, power=1, count=4, seed=3)
    bag = np.zeros((1, 20))
    bag[0, [2, 5]] = 4
    bag = CountMatrix.from_any(bag, vocabulary=learned().vocabulary_)
    posterior = learned().posterior(bag)
    j = jacobian(learned(), of, posterior, samples=100, seed=3)
    np.testing.assert_array_equal(e.vectors, j.matrix)
    assert set(e.context) == {"w02", "w05"}
    assert not {"w02", "w05"} & set(e.neighbors("w00", 20)["feature"])
    direct = context_posterior(learned(), ["w02", "w05"], 4)
    np.testing.assert_array_equal(direct.mean, posterior.mean)


def test_defaults():
    overall = embeddings(learned())
    said = embeddings(learned(), of="log_probabilities", power=0.5, metric="cosine", samples=1000)
    np.testing.assert_array_equal(overall.vectors, said.vectors)
    assert overall.metric == "cosine"
    there = embeddings(learned(), ["w02"])
    said = embeddings(learned(), {"w02": 10}, of="probabilities", power=1, samples=100)
    np.testing.assert_array_equal(there.vectors, said.vectors)
    # A likely feature has a long vector in a context: that is to count.
    assert there.metric == "dot"


def test_three_ways_to_give_a_context():
    bag = np.zeros((1, 20))
    bag[0, [2, 5]] = [10, 3]
    row = CountMatrix.from_any(bag, vocabulary=learned().vocabulary_)
    mapped = embeddings(learned(), {"w05": 3, "w02": 10.0}, samples=40)
    given = embeddings(learned(), row, samples=40)
    np.testing.assert_array_equal(mapped.vectors, given.vectors)
    assert mapped.context == given.context == ("w02", "w05")
    listed = embeddings(learned(), ["w02", "w05"], samples=40)
    even = embeddings(learned(), {"w05": 10, "w02": 10}, samples=40)
    np.testing.assert_array_equal(listed.vectors, even.vectors)
    assert not np.array_equal(listed.vectors, mapped.vectors)
    wide = CountMatrix.from_any(
        np.hstack([bag, [[7.0]]]), vocabulary=[*learned().vocabulary_, "zebra"]
    )
    np.testing.assert_array_equal(embeddings(learned(), wide, samples=40).vectors, given.vectors)


def test_contexts_move_vectors():
    first, second = (embeddings(learned(), [w], of="log_probabilities") for w in ("w14", "w02"))
    assert np.abs(first.vectors - second.vectors).max() > 0.1


def test_what_can_be_chosen():
    assert embeddings(learned(), ["w02"], of="logits", samples=40).metric == "cosine"
    assert embeddings(learned(), ["w02"], metric="euclidean", samples=40).metric == "euclidean"
    assert embeddings(learned(), of="root_probabilities", samples=40).metric == "cosine"
    assert embeddings(learned(), metric="dot", samples=40).metric == "dot"
    at = embeddings(learned(), at=np.zeros(3), power=1)
    np.testing.assert_array_equal(
        at.vectors, jacobian(learned(), "log_probabilities", np.zeros(3)).matrix
    )


@pytest.mark.parametrize("context", [None, ["w02"]])
def test_the_seed_decides_bitwise(context):
    first, again, other = (embeddings(learned(), context, seed=s).vectors for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_features_that_come_together_are_neighbours():
    """Topics make blocks of features; the nearest one is mostly of the same block."""
    counts = np.zeros((90, 9))
    rng = np.random.default_rng(0)
    for i, row in enumerate(counts):
        row[:] = rng.multinomial(20, np.repeat(np.eye(3)[i % 3] * 0.88 + 0.04, 3) / 3)
    data = CountMatrix.from_any(counts, vocabulary=letters(9))
    model = small(epochs=40, learning_rate=0.03, validation_fraction=0).fit(data)
    e = embeddings(model)
    for i, name in enumerate(letters(9)):
        near = e.neighbors(name, 2)["feature"]
        assert {e.vocabulary.index(f) // 3 for f in near} == {i // 3}


NOTHING = CountMatrix.from_any(np.zeros((1, 20)), vocabulary=named_words(1).vocabulary)


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        ("w02", ParameterError, "a list of features; got the string 'w02'"),
        ([], ParameterError, "at least one feature"),
        ({}, ParameterError, "at least one feature"),
        ({"w02": 0}, ParameterError, "above 0; got 0"),
        ({"w02": -1.0}, ParameterError, r"got -1\.0"),
        ({"w02": float("nan")}, ParameterError, "got nan"),
        ({"w02": float("inf")}, ParameterError, "got inf"),
        (["w0O"], DataError, "Did you mean 'w"),
        ({"w0O": 1}, DataError, "Did you mean 'w"),
        (named_words(2), DataError, "got 2 rows"),
        (NOTHING, DataError, "0 such features"),
    ],
)
def test_bad_contexts(context, error, message):
    with pytest.raises(error, match=message):
        embeddings(learned(), context)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": ["w02"], "at": np.zeros(3)}, "either a context or `at`"),
        ({"context": ["w02"], "count": 0}, "above 0; got 0"),
        ({"of": "odds"}, "of must be one of"),
        ({"metric": "manhattan"}, "metric must be one of"),
        ({"samples": 0}, "samples must be a whole number ≥ 1; got 0"),
        ({"context": ["w02"], "samples": 0}, "samples must be a whole number ≥ 1; got 0"),
        ({"seed": -1}, "seed"),
        ({"power": -0.1}, r"power must be in \[0, 1\]; got -0\.1"),
        ({"power": 2}, "power .* got 2"),
        ({"power": float("nan")}, "power .* got nan"),
    ],
)
def test_bad_parameters_of_embeddings(arguments, message):
    with pytest.raises(ParameterError, match=message):
        embeddings(learned(), **arguments)


def test_not_fitted():
    for context in (None, ["w02"]):
        with pytest.raises(NotFittedError):
            embeddings(small(), context)


def test_a_bag():
    bag = context_bag(learned(), {"w05": 3, "w02": 0.5}, 10)
    assert bag.shape == (1, 20)
    assert bag.top_features(0) == [("w05", 3.0), ("w02", 0.5)]
    same = named_words(3)[:1]
    assert context_bag(learned(), same, 10).csr.toarray().tolist() == same.csr.toarray().tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_similarities_with_every_feature(metric):
    e = toy()
    found = e.similarities(e["c"], metric)
    np.testing.assert_allclose(found, by_definition(e.vectors, e["c"], metric), atol=1e-5)
