from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtail.data import Vocabulary, read_counts
from longtail.data.stream import open_stream
from longtail.data.stream.tally import FeatureTally
from longtail.errors import CorruptBlockError, DataError, DataWarning, ParameterError
from tests.data.stream.streams import random_texts, stream_of, write_texts
from tests.profiles import examples

repeated = settings(
    max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
limits = st.fixed_dictionaries(
    {
        "min_df": st.sampled_from([1, 2, 4, 0.1, 0.3]),
        "max_df": st.sampled_from([1.0, 0.5, 6]),
        "max_features": st.sampled_from([None, 1, 3, 8]),
    }
)


@repeated
@given(
    fields=limits,
    seed=st.integers(0, 5),
    rows_a_group=st.integers(1, 9),
    most=st.sampled_from([5, 12, 1000]),
)
@pytest.mark.filterwarnings("ignore:There are more than max_candidates")
def test_the_limits_keep_the_same_features(tmp_path, fields, seed, rows_a_group, most):
    path = write_texts(tmp_path / "t.parquet", random_texts(25, 15, seed), rows_a_group)
    expected = names_or_fault(read_counts, path, **fields)
    assert names_or_fault(open_stream, path, **fields) == expected
    assert names_or_fault(exact_names, path, max_candidates=most, **fields) in (expected, None)


def names_or_fault(read, path, **fields):
    try:
        found = read(path, **fields)
    except DataError as error:
        return str(error)
    return found and found.vocabulary.names


def exact_names(path, **fields):
    """A stream, or None where its vocabulary is approximate, or had nothing left to choose from."""
    try:
        stream = open_stream(path, **fields)
    except DataError:
        return None
    assert stream.settings.text_column == "text"
    return None if stream.may_miss else stream


def test_a_common_feature_is_found_among_more_than_memory_holds(tmp_path):
    texts = [f"rare{i} rarer{i} common {'fair' if i % 4 == 0 else ''}" for i in range(400)]
    path = write_texts(tmp_path / "t.parquet", texts, 25)
    stream = open_stream(path, max_candidates=100, min_df=50)
    assert stream.vocabulary.names == ("common", "fair")
    assert stream.may_miss == 0
    assert stream.vocabulary == read_counts(path, min_df=50).vocabulary
    with pytest.warns(DataWarning, match=r"more than max_candidates=100 .* in at most \d+ of 400"):
        stream = open_stream(path, max_candidates=100)
    assert 1 <= stream.may_miss < 25
    assert {"common", "fair"} <= set(stream.vocabulary)


@given(
    rows=st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1, max_size=60),
    most=st.integers(1, 12),
)
def test_the_bounds_of_a_tally_hold(rows, most):
    tally, truth = FeatureTally(most), dict.fromkeys(range(31), 0)
    for row in rows:
        names = sorted({f"f{i}" for i in row})
        ones = np.ones(len(names), dtype=np.int64)
        tally.add(names, ones, ones.astype(float))
        for i in set(row):
            truth[i] += 1
        assert len(tally) <= most
    names, rows_with, missed, _ = tally.sorted()
    held = dict(zip(names, zip(rows_with, missed, strict=True), strict=True))
    for i, exact in truth.items():
        if f"f{i}" in held:
            found, late = held[f"f{i}"]
            assert found <= exact <= found + late
            assert late <= tally.lost_rows
        else:
            assert exact <= tally.lost_rows


def test_a_vocabulary_that_is_given(tmp_path):
    path = write_texts(tmp_path / "t.parquet", ["red fox", "hen"], 1)
    stream = open_stream(path, vocabulary=["fox", "red", "cow"])
    assert stream.vocabulary == Vocabulary(["fox", "red", "cow"])
    assert "2 rows in 2 blocks × 3 features" in repr(stream)


def test_descriptions(tmp_path):
    path = write_texts(tmp_path / "t.parquet", ["red fox", "hen"], 1)
    stream = open_stream(path, descriptions={"fox": "a canine"})
    assert stream.vocabulary.label("fox") == "fox a canine"
    with pytest.raises(DataError, match="describes none of the 3 features"):
        open_stream(path, descriptions={"401.9": "Hypertension"})


def test_progress(tmp_path):
    told = []
    path = write_texts(tmp_path / "t.parquet", ["red fox", "hen", "cow"], 2)
    open_stream(path, progress=lambda *seen: told.append(seen))
    assert told == [("features", 2, 3), ("features", 3, 3)]


def test_corrupt_row_groups(tmp_path):
    path = write_texts(tmp_path / "t.parquet", random_texts(3000, 400), 1000)
    spoil(path)
    with pytest.raises(CorruptBlockError, match="row group 1 of"):
        open_stream(path)
    with pytest.warns(
        DataWarning, match=r"1 of 3 row groups .* with 1,000 of 3,000 rows.* group 1"
    ):
        stream = open_stream(path, on_corrupt="skip")
    assert stream.skipped == (1,)
    assert [number for number, _ in stream.blocks("")] == [0, 2]


def spoil(path):
    """Overwrite the middle of a file, in the second of three row groups."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path.write_bytes(content)


def test_ratings_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "items": [["a", "b", "c", "d", "e"]] * 10,
            "stars": [rng.permutation([1, 2, 3, 5, 4]).tolist() for _ in range(10)],
        }
    ).with_columns(stars=pl.concat_list(pl.lit([5, 4, 4]), pl.col("stars")).list.head(5))
    frame.write_parquet(tmp_path / "t.parquet")
    fields = {"feature_column": "items", "value_column": "stars"}
    with pytest.warns(DataWarning, match="'stars' .* looks like ratings"):
        open_stream(tmp_path / "t.parquet", **fields)
    open_stream(tmp_path / "t.parquet", binarize=True, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lanes": 0}, "lanes must be a whole number ≥ 1"),
        ({"buffer_rows": 1.5}, "buffer_rows must be"),
        ({"on_corrupt": "ignore"}, "'error' or 'skip', but got 'ignore'"),
        ({"max_candidates": 0}, "max_candidates must be 1 or more"),
    ],
)
def test_faults(tmp_path, fields, message):
    with pytest.raises(ParameterError, match=message):
        stream_of(tmp_path / "t.parquet", ["red fox"], 1, **fields)


def test_nothing_to_count(tmp_path):
    with pytest.raises(DataError, match="holds anything to count"):
        stream_of(tmp_path / "t.parquet", ["", None], 1)
