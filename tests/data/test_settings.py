from __future__ import annotations

import json

import pytest

from longtail.data import ReadSettings
from longtail.data.formats import FORMATS, resolve_format
from longtail.data.read import READERS
from longtail.errors import DataError


@pytest.mark.parametrize(
    "settings",
    [
        ReadSettings(),
        ReadSettings(
            format="csv",
            text_column="body",
            id_column="key",
            lowercase=False,
            stop_words=("a", "b"),
            ngram_range=(1, 2),
            token_pattern=r"\S+",
            min_df=5,
            max_df=0.5,
            max_features=100,
            encoding="latin-1",
            counts="strict",
        ),
        ReadSettings(row_column="user", feature_column="item", value_column="n", min_df=0.1),
        ReadSettings(stop_words="english", index_base=0, max_df=1.0),
        ReadSettings(feature_column="codes", feature_separator="|", strip_dots=True),
        ReadSettings(
            row_column="a", feature_column="b", value_column="n", symmetric=True, min_value=0.5
        ),
        ReadSettings(format="mtx", layer="counts", binarize=True, min_value=-1),
    ],
)
def test_json_round_trip(settings):
    again = ReadSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert type(again.max_df) is type(settings.max_df)
    assert hash(again) == hash(settings)


def test_unknown_keys():
    with pytest.raises(
        DataError, match=r"'text_colum'. Did you mean 'text_column'\? Valid.*min_df"
    ):
        ReadSettings.from_dict({"text_colum": "x"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "xlsx"}, "format must be one of auto, directory, .*but is 'xlsx'"),
        ({"text_column": ""}, "text_column must be a column name or None"),
        ({"id_column": 3}, "id_column must be a column name"),
        ({"text_column": "a", "feature_column": "b"}, "exclude each other"),
        ({"row_column": "a"}, "needs feature_column"),
        ({"value_column": "a"}, "needs feature_column"),
        ({"row_column": "a", "feature_column": "a"}, "must be different columns"),
        ({"lowercase": "yes"}, "lowercase must be True or False"),
        ({"stop_words": "german"}, "stop_words must be None, 'english' or a list"),
        ({"stop_words": [1]}, "stop_words"),
        ({"ngram_range": (2, 1)}, "ngram_range must be"),
        ({"ngram_range": 2}, "ngram_range must be"),
        ({"token_pattern": "("}, "not a regular expression"),
        ({"token_pattern": "(a)(b)"}, "2 groups"),
        ({"token_pattern": None}, "token_pattern must be"),
        ({"min_df": 0}, "min_df must be"),
        ({"min_df": 1.5}, "min_df must be"),
        ({"max_df": -1}, "max_df must be"),
        ({"max_features": 0}, "max_features must be"),
        ({"feature_separator": ""}, "feature_separator must be a string or None, but is ''"),
        ({"layer": 1}, "layer must be the name of a layer or None, but is 1"),
        ({"min_value": "4"}, "min_value must be a number or None, but is '4'"),
        ({"min_value": float("nan")}, "min_value must be a number"),
        ({"min_value": True}, "min_value must be a number"),
        ({"row_column": "a", "feature_column": "b", "min_value": 4}, "min_value needs value_col"),
        ({"strip_dots": 1}, "strip_dots must be True or False, but is 1"),
        ({"binarize": None}, "binarize must be True or False"),
        ({"symmetric": "no"}, "symmetric must be True or False"),
        ({"feature_column": "b", "symmetric": True}, "symmetric needs row_column and"),
        (
            {
                "row_column": "a",
                "feature_column": "b",
                "symmetric": True,
                "feature_separator": ";",
            },
            "symmetric and feature_separator exclude each other",
        ),
        ({"index_base": 2}, "index_base must be"),
        ({"encoding": "utf-9"}, "encoding must be"),
        ({"encoding": None}, "encoding must be"),
        ({"counts": "loose"}, "counts must be"),
        ({"min_df": 0, "counts": "loose"}, "min_df must be .*; counts must be"),
    ],
)
def test_refused_fields(fields, message):
    with pytest.raises(DataError, match=message):
        ReadSettings(**fields)


def test_every_format_has_a_reader_and_its_own_endings():
    assert set(READERS) == set(FORMATS)
    endings = [(known.prefix, end) for known in FORMATS.values() for end in known.extensions]
    assert len(endings) == len(set(endings))


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"),
        ("a.CSV.GZ", "csv"),
        ("a.b.parquet", "parquet"),
        ("a.svm", "svmlight"),
        ("train.feat.gz", "bow"),
        ("docword.kos.txt.gz", "docword"),
        ("kos.docword.txt", "txt"),
        ("a.baskets", "basket"),
        ("a.edgelist.gz", "edges"),
        ("corpus.mm", "mtx"),
        ("a.gz", None),
        ("csv", None),
    ],
)
def test_formats_by_ending(tmp_path, name, format):
    (tmp_path / name).write_bytes(b"x")
    assert resolve_format(tmp_path / name) == format
    assert resolve_format(tmp_path) == "directory"
