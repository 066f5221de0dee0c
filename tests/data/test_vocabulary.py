from __future__ import annotations

import copy
import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import Vocabulary
from longtail.errors import DataError

name_lists = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30)


@given(name_lists)
def test_names_and_columns_are_inverse(names):
    vocabulary = Vocabulary(names)
    assert vocabulary.names == tuple(names) == tuple(vocabulary)
    assert len(vocabulary) == len(names)
    assert [vocabulary[vocabulary.index(name)] for name in names] == names
    assert vocabulary.codes(names).tolist() == list(range(len(names)))
    assert all(name in vocabulary for name in names)


@given(name_lists, st.lists(st.text(max_size=8), max_size=30))
def test_codes_mark_unknown_names(names, asked):
    codes = Vocabulary(names).codes(asked)
    assert codes.dtype == np.int64
    assert codes.tolist() == [names.index(name) if name in names else -1 for name in asked]


@given(name_lists)
def test_equal_by_content_hashable_and_copied_whole(names):
    one, other = Vocabulary(names), Vocabulary(iter(names))
    assert one == other
    assert hash(one) == hash(other)
    for copied in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert copied == one
        assert hash(copied) == hash(one)
    if len(names) > 1:
        assert one != Vocabulary(reversed(names))


@pytest.mark.parametrize("names", [[""], ["a", "", "b"], ["a", np.str_("")]])
def test_empty_names_are_refused(names):
    with pytest.raises(DataError, match=rf"must not be empty, but name {names.index('')} is"):
        Vocabulary(names)


def test_a_saved_model_may_hold_an_empty_name():
    saved = Vocabulary.saved(["a", ""], {"a": "first"})
    assert saved.codes(["", "a"]).tolist() == [1, 0]
    assert saved.select([1]).names == ("",)
    assert saved.described({"a": "second"}).label("a") == "a second"
    assert pickle.loads(pickle.dumps(saved)) == saved
    with pytest.raises(DataError, match="must be unique"):
        Vocabulary.saved(["a", "a"])


def test_positional_has_no_names():
    vocabulary = Vocabulary.positional(3)
    assert not vocabulary.named
    assert vocabulary.names == ("0", "1", "2")
    assert vocabulary != Vocabulary(["0", "1", "2"])
    assert vocabulary == Vocabulary.positional(3)
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert vocabulary.index("2") == 2
    assert repr(vocabulary) == "Vocabulary.positional(3)"
    with pytest.raises(DataError, match="columns have no names"):
        vocabulary.index("kernel")
    with pytest.raises(DataError, match="0 or more"):
        Vocabulary.positional(-1)


def test_cannot_be_changed():
    vocabulary = Vocabulary(["a"])
    with pytest.raises(AttributeError, match="cannot be changed"):
        vocabulary._names = ("b",)
    with pytest.raises(AttributeError, match="cannot be changed"):
        del vocabulary._names


def test_duplicates_are_named_with_their_places():
    with pytest.raises(DataError, match=r"'b' at positions 1 and 3"):
        Vocabulary(["a", "b", "c", "b"])
    with pytest.raises(DataError, match=r"and 5 more"):
        Vocabulary([str(i % 10) for i in range(20)])


def test_names_must_be_strings():
    with pytest.raises(DataError, match=r"name 1 is 7 \(int\)"):
        Vocabulary(["a", 7])
    with pytest.raises(DataError, match="single string 'kernel'"):
        Vocabulary("kernel")
    assert type(Vocabulary(np.array(["a"]))[0]) is str


def test_unknown_names_get_suggestions():
    vocabulary = Vocabulary(["kernel", "Kernels", "tree", "thread"])
    with pytest.raises(DataError, match=r"Unknown feature 'kernle'.*Did you mean 'kernel'"):
        vocabulary.index("kernle")
    with pytest.raises(DataError, match="nothing is spelled like it"):
        vocabulary.index("zzzzzzzzzz")
    assert vocabulary.suggest("KERNEL")[0] == "kernel"
    assert vocabulary.suggest("kernels", n=1) == ["Kernels"]
    assert vocabulary.suggest("kernel", n=0) == []


def test_large_vocabularies_are_quick():
    names = [f"feature_{i}" for i in range(200_000)]
    vocabulary = Vocabulary(names)
    start = time.process_time()
    assert vocabulary.codes(names)[-1] == len(names) - 1
    assert vocabulary.suggest("feature_1999999", n=1)[0].startswith("feature_1999")
    assert time.process_time() - start < 10


def test_from_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\ufeffkernel\r\nbaum grün\n".encode())
    assert Vocabulary.from_file(path).names == ("kernel", "baum grün")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\nb\n", "Line 2 .* is blank"),
        (b"a\nb\na\n", "Line 3 .* repeats 'a' from line 1"),
        (b"a\nb\xff\n", r"not UTF-8: line 2 \(byte 3\)"),
        (b"", "is empty"),
        (b"\n", "is empty"),
    ],
)
def test_from_file_refuses(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        Vocabulary.from_file(path)


def test_from_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"Cannot read the vocabulary file .*No such file"):
        Vocabulary.from_file(tmp_path / "nowhere.txt")


# --- descriptions -------------------------------------------------------------------------------

TEXTS = {"401.9": "Essential  hypertension\n", "V30": "Single liveborn", "x": "of nobody", "b": " "}


def test_descriptions_are_for_reading_and_not_for_comparing():
    codes = Vocabulary(["V30", "401.9", "b"], TEXTS)
    assert codes.descriptions == {"V30": "Single liveborn", "401.9": "Essential hypertension"}
    assert codes == Vocabulary(["V30", "401.9", "b"])
    assert hash(codes) == hash(Vocabulary(["V30", "401.9", "b"]))
    assert codes.label("401.9") == "401.9 Essential hypertension"
    assert codes.label("b") == "b"
    assert codes.label("401.9", 12) == "401.9 Essen…"
    assert codes.label("401.9", 3) == "401.9…"
    assert codes.listed(["b", "V30"]) == "b; V30 Single liveborn"
    assert Vocabulary(["a", "b"]).listed("ab") == "a, b"
    for copied in (pickle.loads(pickle.dumps(codes)), copy.deepcopy(codes)):
        assert copied.descriptions == codes.descriptions
    with pytest.raises(TypeError):
        codes.descriptions["b"] = "changed"


@given(name_lists, st.data())
def test_selected_features_keep_their_descriptions(names, data):
    texts = {name: f"<{name}>" for name in data.draw(st.sets(st.sampled_from(names or ["a"])))}
    vocabulary = Vocabulary(names, texts)
    chosen = data.draw(st.permutations(range(len(names))))[: len(names) // 2]
    part = vocabulary.select(chosen)
    assert part.names == tuple(names[i] for i in chosen)
    assert part.descriptions == {
        name: vocabulary.descriptions[name]
        for name in part.names
        if name in vocabulary.descriptions
    }


def test_columns_of_tables():
    plain, codes = Vocabulary(["a", "b"]), Vocabulary(["a", "b"], {"a": "first"})
    assert plain.columns(["b", None]) == {"feature": ["b", None]}
    assert codes.columns(["b", "a", None], "item") == {
        "item": ["b", "a", None],
        "description": [None, "first", None],
    }


def test_descriptions_are_added_to():
    codes = Vocabulary(["a", "b"], {"a": "first"}).described({"b": "second", "a": "1st"})
    assert codes.descriptions == {"a": "1st", "b": "second"}
    assert codes.described_like(Vocabulary(["a"], {"a": "other"})) is codes
    assert Vocabulary(["b"]).described_like(codes).descriptions == {"b": "second"}
    assert Vocabulary.positional(1).select([0]) == Vocabulary.positional(1)
    with pytest.raises(DataError, match="these columns have none"):
        Vocabulary.positional(2).described({"0": "zero"})
    with pytest.raises(DataError, match=r"that of 'a' is 3 \(int\)"):
        Vocabulary(["a"], {"a": 3})


def test_who_asks_by_the_description_hears_the_name():
    codes = Vocabulary(["401.9", "V30"], TEXTS)
    with pytest.raises(DataError, match=r"described so are: 401\.9 Essential hypertension"):
        codes.index("Hypertension")
