"""The plan command, called in this process."""

from __future__ import annotations

import inspect
import json

import pytest

import longtail
from longtail.cli.plan import plan

SIZES = ["--rows", "1e6", "--features", "20_000", "--non-zeros", "50"]


def test_for_people(run):
    code, out, err = run("plan", *SIZES, "--workers", "1,4", "--refine-steps", "0:4,3:2")
    assert code == 0, err
    for piece in ("1,000,000 rows × 20,000 features", "4 workers:", "bottleneck:", "memory:"):
        assert piece in out
    assert "gradient exchange" in out


def test_for_programs(run, tmp_path):
    code, out, _ = run(
        "plan", *SIZES, "--json", "--machine", "server", "--save", tmp_path / "m.json",
        "--memory-gb", "2", "--network-gb", "1", "--choose", "--streamed", "--workers", "2",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert found["machine"]["memory"] == 2e9
    assert found["estimates"][0]["workers"] == 2
    assert found["choices"][0]["batch_size"] == found["load"]["batch_size"]
    code, out, _ = run("plan", *SIZES, "--machine", tmp_path / "m.json")
    assert code == 0


def test_a_table_that_does_not_fit(run):
    options = ["--memory-gb", "4", "--workers", "1,8"]
    code, out, _ = run(
        "plan", "--rows", "1e6", "--features", "1e6", "--non-zeros", "50", *options
    )  # fmt: skip
    assert code == 0
    assert "does not fit into 4 GB" in out
    assert "a design, not in the library" in out
    assert "more workers would be needed" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "many"], "1e8"),
        (["--features", "10.5"], "whole number"),
        (["--workers", "some"], "1,4,16"),
        (["--machine", "abacus"], "laptop"),
        (["--n-hidden", "0"], "n_hidden"),
        (["--non-zeros", "30000"], "non_zeros"),
    ],
)
def test_bad_usage_exits_with_2(run, options, message):
    code, out, err = run("plan", *SIZES, *options)
    assert code == 2
    assert out == ""
    assert message in err


def test_options_default_to_the_parameters_defaults():
    options = inspect.signature(plan).parameters
    parameters = inspect.signature(longtail.NonlinearFactorAnalysis).parameters
    shared = (options.keys() & parameters.keys()) - {"features"}  # V here, a transform there
    assert len(shared) == 11
    for name in shared:
        assert options[name].default == parameters[name].default, name
