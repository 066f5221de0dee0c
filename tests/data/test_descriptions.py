from __future__ import annotations

import polars as pl
import pytest

from longtail.data import CountMatrix, Vocabulary, read_counts, read_descriptions, split_rows
from longtail.errors import DataError

TABLE = pl.DataFrame(
    {
        "icd9": ["401.9", "V30.0", "250.0", "999"],
        "description": ["Hypertension, essential", "Liveborn", None, "Nobody has it"],
        "class": ["a", "b", "c", "d"],
    }
)
TEXTS = {"401.9": "Hypertension, essential", "V30.0": "Liveborn", "999": "Nobody has it"}


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.parquet"
    codes = [["401.9", "250.0"], ["V30.0"], ["401.9", "E8", "250.0"], ["250.0", "V30.0"]]
    pl.DataFrame({"who": range(4), "icd9": codes}).write_parquet(path)
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_every_table_format(tmp_path, ending):
    path = tmp_path / f"texts.{ending}"
    match ending:
        case "parquet":
            TABLE.write_parquet(path)
        case "jsonl":
            TABLE.write_ndjson(path)
        case _:
            TABLE.write_csv(path, separator="," if ending == "csv" else "\t")
    assert read_descriptions(path) == TEXTS
    assert "4019" in read_descriptions(path, strip_dots=True)


def test_columns_by_name_before_columns_by_place(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"n": [1], "description": ["one"], "feature": [7]}).write_parquet(path)
    assert read_descriptions(path) == {"7": "one"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("feature\na\n", "one column, 'feature'"),
        ("description,code\nfirst,a\n", "begins with the column 'description'"),
        ("feature,description\na,x\nb,y\na,z\n", "'a' twice: as 'x', and on line 4 as 'z'"),
    ],
)
def test_what_is_no_such_table(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_descriptions(path)


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "texts.npz"
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match="read from a table"):
        read_descriptions(path)


def test_descriptions_stay_through_reading_selecting_and_splitting(records, tmp_path):
    path = tmp_path / "texts.csv"
    TABLE.write_csv(path)
    reading = {"row_column": "who", "feature_column": "icd9", "min_df": 2}
    counts = read_counts(records, descriptions=path, **reading)
    expected = {code: TEXTS[code] for code in ("401.9", "V30.0")}
    assert counts.vocabulary.names == ("250.0", "401.9", "V30.0")
    assert counts.vocabulary.descriptions == expected
    parts = split_rows(counts, [1], seed=0)
    assert all(part.vocabulary.descriptions == expected for part in parts)
    chosen = counts.select_features([1, 0])
    assert chosen.vocabulary.descriptions == {"401.9": TEXTS["401.9"]}
    undotted = read_counts(records, descriptions=path, strip_dots=True, **reading)
    assert undotted.vocabulary.label("4019") == "4019 Hypertension, essential"


def test_aligned_counts_have_the_descriptions_of_the_target():
    mine = CountMatrix.from_any([[1, 2]], vocabulary=["a", "b"]).described({"a": "mine"})
    theirs = Vocabulary(["a", "b"], {"b": "theirs"})
    assert mine.align(theirs)[0].vocabulary.descriptions == {"b": "theirs"}
    assert mine.align(Vocabulary(["b", "a"]))[0].vocabulary.descriptions == {"a": "mine"}
    assert mine.align(Vocabulary(["a", "b"]))[0] is mine
    again = CountMatrix.from_any(mine, vocabulary=["a", "b"])
    assert again.vocabulary.descriptions == {"a": "mine"}


def test_descriptions_of_none_of_the_features(records):
    with pytest.raises(DataError, match=r"describes? none of the 4 features"):
        read_counts(records, row_column="who", feature_column="icd9", descriptions={"z": "last"})
