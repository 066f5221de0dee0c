from __future__ import annotations

import gc
import threading

import numpy as np
import polars as pl
import pytest

import longtail as lt
from longtail.data.stream import StreamBatches
from longtail.errors import CheckpointError, DataError, DataWarning, ParameterError
from longtail.estimator.start import start_on_rows
from longtail.estimator.streaming import start_on_stream
from tests.data.stream.streams import random_texts, write_texts

pytestmark = pytest.mark.filterwarnings("ignore:.* rows are empty and are left out")
SMALL = {
    "n_components": 4,
    "n_hidden": 16,
    "epochs": 3,
    "batch_size": 40,
    "refine_steps": 0,
    "eval_refine_steps": 5,
    "random_state": 0,
}


def model_with(**parameters):
    return lt.NonlinearFactorAnalysis(**{**SMALL, **parameters})


def topics(n, seed=0):
    """Texts about one of four things, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, n)
    common = rng.integers(0, 5, (n, 2))
    own = rng.integers(0, 12, (n, 8))
    return [
        " ".join([f"common{c}" for c in common[i]] + [f"kind{kinds[i]}word{w}" for w in own[i]])
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def texts_path(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("stream") / "t.parquet", topics(1500), 130)


@pytest.mark.parametrize(
    ("features", "likelihood"),
    [
        ("tfidf", "negative_binomial"),
        ("l1", "dirichlet_multinomial"),
        ("log1p", "negative_binomial"),
        ("binary", "dirichlet_multinomial"),
    ],
)
def test_it_begins_where_a_fit_in_memory_begins(tmp_path, features, likelihood):
    texts = random_texts(300, 30, longest=9)
    path = write_texts(tmp_path / "t.parquet", texts, 70)
    valid = lt.read_counts(write_texts(tmp_path / "v.parquet", random_texts(30, 30, 5), 30))
    model = model_with(features=features, likelihood=likelihood, validation_fraction=0.0)
    parameters = model.get_params(deep=False)
    ours = start_on_stream(parameters, lt.open_stream(path, min_df=2), valid, 0)
    theirs = start_on_rows(parameters, lt.read_counts(path, min_df=2), valid, 0)
    assert ours.vocabulary == theirs.vocabulary
    np.testing.assert_array_equal(ours.unigram, theirs.unigram)
    np.testing.assert_array_equal(ours.running.df, theirs.running.df)
    if features == "tfidf":
        np.testing.assert_array_equal(ours.transform.idf, theirs.transform.idf)
    other = dict(theirs.network.state_dict())
    for name, value in ours.network.state_dict().items():
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert (ours.valid.csr != theirs.valid.csr).nnz == 0
    facts = ours.facts()
    stream = facts.pop("stream")
    assert facts == theirs.facts()
    assert stream["rows"] == 300
    assert stream["blocks"] == 5
    assert stream["skipped_rows"] == 0
    assert ours.read_settings == theirs.read_settings


def test_the_model_is_as_good_as_one_fitted_in_memory(tmp_path, texts_path):
    held_out = lt.read_counts(write_texts(tmp_path / "v.parquet", topics(400, seed=1), 400))
    stream = lt.open_stream(texts_path, buffer_rows=200)
    common = {"epochs": 8, "kl_anneal": 0.3, "learning_rate": 5e-3}
    scores = [
        model_with(**common, random_state=seed).fit(X).score(held_out)
        for X in (stream, lt.read_counts(texts_path))
        for seed in range(2)
    ]
    start = model_with(epochs=1).fit(stream).score(held_out)
    streamed, in_memory = np.reshape(scores, (2, 2)).mean(axis=1)
    assert min(streamed, in_memory) > start + 2  # nats a row: there was something to learn
    assert abs(streamed - in_memory) < 0.3


def test_the_fitted_model(tmp_path, texts_path):
    stream = lt.open_stream(texts_path, min_df=2)
    model = model_with().fit(stream)
    counts = lt.read_counts(texts_path, min_df=2)
    assert model.fit_info_["valid_rows"] == 75
    assert model.fit_info_["train_rows"] == 1425
    assert model.vocabulary_ == counts.vocabulary
    assert model.read_settings_ == counts.settings
    in_memory = model_with().fit(counts).fit_info_
    assert model.fit_info_.keys() == in_memory.keys() | {"stream"}
    facts = model.fit_info_["stream"]
    assert facts["lanes"] == 2
    assert 0 < facts["reading_share"] < 1
    assert facts["scan_seconds"] > 0
    model.save(tmp_path / "model")
    again = lt.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(counts[:20]), model.transform(counts[:20]))
    assert again.fit_info_ == model.fit_info_


def test_the_same_stream_gives_the_same_model(texts_path):
    first, second = (model_with().fit(lt.open_stream(texts_path)) for _ in range(2))
    counts = lt.read_counts(texts_path)
    np.testing.assert_array_equal(first.transform(counts[:50]), second.transform(counts[:50]))


class _Stop(lt.Callback):
    def on_epoch_end(self, record):
        if record.epoch == 2:
            raise KeyboardInterrupt


def test_it_goes_on_from_a_checkpoint(tmp_path, texts_path):
    stream = lt.open_stream(texts_path)
    whole = model_with().fit(stream)
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        model_with().fit(stream, checkpoint=checkpoint, callbacks=[_Stop()])
    resumed = model_with().fit(lt.open_stream(texts_path), checkpoint=checkpoint, resume=True)
    for name, value in whole.network_.state_dict().items():
        np.testing.assert_array_equal(value, resumed.network_.state_dict()[name])
    for other in (
        lt.open_stream(texts_path, lanes=4),
        lt.open_stream(texts_path, min_df=2, max_features=40),
        lt.open_stream(texts_path, buffer_rows=10),
    ):
        with pytest.raises(CheckpointError, match="other data or settings"):
            model_with().fit(other, checkpoint=checkpoint, resume=True)
    assert not [t for t in threading.enumerate() if t.name == "longtail-reading"]


def test_only_a_few_windows_are_in_memory(tmp_path, monkeypatch):
    path = write_texts(tmp_path / "t.parquet", topics(2000), 50)
    alive, most = [0], [0]

    class Held:
        def __init__(self, n):
            self.n = n
            alive[0] += n
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= self.n

    read = lt.CountStream.read

    def counted(self, number):
        counts = read(self, number)
        # Lives as long as the block's counts do.
        object.__setattr__(counts, "held", Held(counts.n_rows))
        return counts

    load = StreamBatches._load

    def loaded(self, window, seed, epoch):
        found = load(self, window, seed, epoch)
        object.__setattr__(found[1], "held", Held(len(window)))
        return found

    monkeypatch.setattr(lt.CountStream, "read", counted)
    monkeypatch.setattr(StreamBatches, "_load", loaded)
    model_with(epochs=2, batch_size=20).fit(lt.open_stream(path, buffer_rows=100))
    gc.collect()
    # Of 2,000 rows: two lanes, each with a window in use and one read ahead, and the blocks of
    # which one more is being made.
    assert 200 <= most[0] <= 2 * 2 * (100 + 50) + 2 * 50
    assert alive[0] == 0


def test_rows_outside_the_vocabulary_are_told(texts_path):
    words = [f"kind{k}word{w}" for k in range(4) for w in range(12)]
    stream = lt.open_stream(texts_path, vocabulary=words)
    with pytest.warns(DataWarning, match=r"outside the vocabulary given .* 20\.00% of the total"):
        model = model_with(epochs=1).fit(stream)
    assert model.vocabulary_.names == tuple(words)


def test_what_a_likelihood_needs_is_checked(tmp_path):
    frame = pl.DataFrame({"codes": [["a", "b"], ["a", "c"]], "n": [[1.0, 1.0], [1.5, 2.0]]})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=1)
    stream = lt.open_stream(tmp_path / "t.parquet", feature_column="codes", value_column="n")
    with pytest.raises(DataError, match=r"is for whole numbers.* feature 'a' of row 1"):
        model_with(likelihood="poisson").fit(stream)
    with pytest.raises(DataError, match="counts='strict'"):
        model_with(counts="strict").fit(stream)
    with pytest.warns(DataWarning, match="1 of 4 values are not whole numbers"):
        model_with(epochs=1).fit(stream)


@pytest.mark.parametrize(
    ("texts", "fields", "message"),
    [
        (["fox fox"], {}, "at least 2 features"),
        (["fox hen", "cow"], {"vocabulary": ["pig", "dog"]}, "All 2 rows are empty"),
    ],
)
def test_nothing_to_learn(tmp_path, texts, fields, message):
    with pytest.raises(DataError, match=message):
        model_with().fit(lt.open_stream(write_texts(tmp_path / "t.parquet", texts, 1), **fields))


def test_too_few_rows_for_the_lanes(tmp_path):
    path = write_texts(tmp_path / "t.parquet", ["fox hen"], 1)
    with pytest.raises(ParameterError, match="Use fewer lanes"):
        model_with().fit(lt.open_stream(path))
    model_with(epochs=1).fit(lt.open_stream(path, lanes=1))


def test_copies_that_cannot_be_held_out(tmp_path):
    path = write_texts(tmp_path / "t.parquet", ["fox hen"] * 400, 100)
    with pytest.warns(DataWarning, match="No validation rows are held out"):
        model = model_with(epochs=1).fit(lt.open_stream(path))
    assert model.fit_info_["valid_rows"] == 0


def test_a_stream_is_for_fitting_only(texts_path):
    stream = lt.open_stream(texts_path)
    model = model_with(epochs=1).fit(stream)
    with pytest.raises(DataError, match="a stream is fitted without being in memory"):
        model.transform(stream)


def test_progress_of_the_passes(texts_path):
    told = []
    stream = lt.open_stream(texts_path, progress=lambda *seen: told.append(seen))
    model_with(epochs=1, likelihood="negative_binomial").fit(stream)
    assert [seen for seen in told if seen[1] == seen[2]] == [
        (stage, 1500, 1500) for stage in ("features", "rows", "dispersions")
    ]
