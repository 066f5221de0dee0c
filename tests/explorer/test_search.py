from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.data import Vocabulary
from longtail.explorer.search import FeatureSearch
from tests.profiles import examples


def search(names, descriptions=None, frequencies=None):
    vocabulary = Vocabulary(names, descriptions=descriptions or {})
    if frequencies is None:
        frequencies = np.ones(len(names))
    return FeatureSearch(vocabulary, np.asarray(frequencies, dtype=float))


def test_frequent_ones_first_and_the_exact_one_before_all():
    s = search(["tree", "trees", "treat", "Tree"], frequencies=[1, 5, 9, 2])
    assert s.find("tre", 10) == ([2, 1, 3, 0], False)
    assert s.find("tree", 10) == ([0, 1, 3], False)
    assert s.find("tree", 2) == ([0, 1], True)
    assert s.find("", 2) == ([2, 1], True)


def test_descriptions_are_searched_after_names():
    s = search(["I10", "E11", "high"], {"I10": "High blood pressure", "E11": "Diabetes"})
    assert s.find("high", 5) == ([2, 0], False)
    assert s.find("diabetes", 5) == ([1], False)


def test_similar():
    s = search(["boat", "Boats", "wave"])
    assert s.similar("BOAT") == ["boat", "Boats"]
    assert s.similar("boating") == ["boat", "Boats"]
    assert s.similar("zz") == []


@settings(max_examples=examples(30))
@given(
    st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True),
    st.text(max_size=3),
    st.integers(1, 30),
)
def test_finds_all_that_begin_so(names, typed, limit):
    found, more = search(names).find(typed, limit)
    asked = typed.strip().casefold()
    alike = {i for i, n in enumerate(names) if n.casefold().startswith(asked) or n == typed}
    assert len(found) == len(set(found)) == min(limit, len(alike))
    assert set(found) <= alike
    assert more == (len(alike) > limit)
