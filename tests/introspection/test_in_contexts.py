from __future__ import annotations

import pytest

from longtail import embeddings, neighborhoods
from longtail.errors import DataError, NotFittedError, ParameterError
from tests.estimator.models import small
from tests.introspection.handmade import learned


def test_lists_are_those_of_the_embeddings():
    found = neighborhoods(learned(), "w00", [["w14", "w07"], ["w02"]], k=5, seed=3)
    frame = found.frame()
    assert frame["context"].unique(maintain_order=True).to_list() == [
        "no context", "w14, w07", "w02",
    ]  # fmt: skip
    for label, context in (("no context", None), ("w14, w07", ["w14", "w07"]), ("w02", ["w02"])):
        expected = embeddings(learned(), context, seed=3).neighbors("w00", 5)
        assert frame.filter(context=label).drop("context").equals(expected)
    assert 0 <= found.overlap() <= 1


def test_without_the_overall_list():
    found = neighborhoods(learned(), "w00", [["w14"]], k=5, overall=False)
    assert found.frame()["context"].unique().to_list() == ["w14"]


def test_settings_reach_the_contexts_only():
    found = neighborhoods(learned(), "w00", [["w14"]], k=5, count=2, samples=40)
    frame = found.frame()
    for label, expected in (
        ("w14", embeddings(learned(), ["w14"], count=2, samples=40)),
        ("no context", embeddings(learned())),
    ):
        assert frame.filter(context=label).drop("context").equals(expected.neighbors("w00", 5))


def test_progress_names_the_context():
    calls = []
    neighborhoods(learned(), "w00", [["w14"]], progress=lambda *c: calls.append(c))
    assert {c[0] for c in calls} == {"no context", "w14"}
    assert calls[-1] == ("w14", 100, 100)


def test_unknown_features_end_it_before_the_work_begins():
    calls = []
    for feature, contexts in (("w0O", [["w14"]]), ("w00", [["w14"], ["w0O"]])):
        with pytest.raises(DataError, match="Did you mean 'w"):
            neighborhoods(learned(), feature, contexts, progress=lambda *c: calls.append(c))
    assert not calls


def test_bad_use():
    with pytest.raises(NotFittedError):
        neighborhoods(small(), "w00", [["w14"]])
    with pytest.raises(ParameterError, match="k must be"):
        neighborhoods(learned(), "w00", [["w14"]], k=0)
