from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import longtail as lt
from longtail.errors import ParameterError
from longtail.presets import PRESETS

DEFAULTS = {
    name: p.default for name, p in inspect.signature(lt.NonlinearFactorAnalysis).parameters.items()
}


@pytest.mark.parametrize("task", PRESETS)
def test_every_preset_makes_a_model_and_says_why(task):
    parameters = lt.preset(task)
    lt.NonlinearFactorAnalysis(**parameters).check_parameters()
    assert PRESETS[task].data.endswith(".")
    for name, setting in PRESETS[task].settings.items():
        assert parameters[name] == setting.value != DEFAULTS[name]
        assert 10 < len(setting.why) < 80
        assert "\n" not in setting.why


def test_the_presets_are_what_the_page_says():
    page = Path(__file__).parents[1].joinpath("docs", "tuning.md").read_text()
    for task, preset in PRESETS.items():
        (line,) = re.findall(rf"^\| `{task}` \| .* \| (.*) \|$", page, re.MULTILINE)
        told = dict(re.findall(r"`(\w+)=([^`]+)`", line))
        assert told == {name: repr(s.value) for name, s in preset.settings.items()}


def test_a_preset_is_a_copy():
    lt.preset("cells")["likelihood"] = "poisson"
    assert lt.preset("cells")["likelihood"] == "negative_binomial"
    with pytest.raises(TypeError):
        PRESETS["cells"].settings["epochs"] = 1


def test_an_unknown_task():
    with pytest.raises(ParameterError, match=r"one of documents, recommendation, .*; got 'films'"):
        lt.preset("films")
