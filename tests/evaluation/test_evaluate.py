from __future__ import annotations

import json

import numpy as np
import pytest

from longtail.data import CountMatrix
from longtail.data.counts import Unseen
from longtail.errors import DataError
from longtail.evaluation import EvaluationSettings, evaluate_rows
from longtail.inference import RefineSettings
from tests.evaluation.fitted import fitted, fresh_rows


def evaluated(dense, *, steps=10, samples=5, **kwargs):
    network, transform, unigram = fitted()
    names = ("completion", "seed", "batch_size", "covariance_steps")
    named = {k: kwargs.pop(k) for k in names if k in kwargs}
    settings = EvaluationSettings(RefineSettings(steps), samples=samples, **named)
    counts = dense if isinstance(dense, CountMatrix) else CountMatrix.from_any(dense)
    return evaluate_rows(network, counts, transform, unigram, 12.0, settings, **kwargs)


@pytest.fixture(scope="module")
def result():
    return evaluated(fresh_rows(empty=[2, 9]), unseen=Unseen(0.25, 0.125, 3, ("a",)))


def test_the_promised_numbers(result):
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    promised = {
        "rows",
        "dropped_rows",
        "tokens",
        "unseen",
        "floor",
        "elbo_amortized",
        "elbo_refined",
        "elbo_full",
        "iw",
        "completion",
        "active_dims",
    }
    assert plain["elbo_full"] is None
    assert set(plain) == promised | {"gap", "seed"}
    assert plain["unseen"] == {"rows": 0.25, "mass": 0.125}
    assert {"kl", "variance"} <= set(plain["active_dims"])
    figures = {"per_doc", "per_word", "nats_per_row", "se"}
    assert figures <= set(plain["floor"])
    for name, steps in [
        ("elbo_amortized", 0),
        ("elbo_refined", 10),
        ("iw", 10),
        ("completion", 10),
    ]:
        assert figures <= set(plain[name])
        assert plain[name]["samples"] == 5
        assert plain[name]["steps"] == steps


def test_empty_rows_are_dropped_and_counted(result):
    dense = fresh_rows(empty=[2, 9])
    assert (result.rows, result.dropped_rows) == (58, 2)
    assert result.tokens == dense.sum()
    without = evaluated(np.delete(dense, [2, 9], axis=0))
    assert without.dropped_rows == 0
    assert without.iw == result.iw
    assert without.completion == result.completion


def test_the_floor_is_the_training_unigram(result):
    dense = fresh_rows(empty=[2, 9])
    dense = dense[dense.sum(1) > 0]
    unigram = fitted()[2]
    log_p = dense @ np.log(unigram)
    assert result.floor.nats_per_row == pytest.approx(log_p.mean())
    assert result.floor.per_doc == pytest.approx(np.exp(np.mean(-log_p / dense.sum(1))))
    assert result.floor.per_word == pytest.approx(np.exp(-log_p.sum() / dense.sum()))


def test_per_row(result):
    table = result.per_row
    assert table.columns == [
        "row_id",
        "tokens",
        "floor",
        "elbo_amortized",
        "elbo_refined",
        "iw",
        "gap",
    ]
    assert table["row_id"].to_list() == [i for i in range(60) if i not in (2, 9)]
    for name in ("floor", "elbo_amortized", "elbo_refined", "iw"):
        assert table[name].mean() == pytest.approx(getattr(result, name).nats_per_row)
    assert table["gap"].mean() == pytest.approx(result.gap.nats_per_row)
    assert table["gap"].mean() == pytest.approx(
        result.elbo_refined.nats_per_row - result.elbo_amortized.nats_per_row
    )


def test_rows_too_short_to_complete_are_skipped_and_counted():
    dense = fresh_rows()
    dense[:3] = 0
    dense[0, 4] = 1  # one token
    dense[1, 4] = 2  # two of the same
    dense[2, [4, 5]] = 1
    result = evaluated(dense)
    assert result.completion.rows == 59
    assert result.completion.skipped_rows == 1
    assert result.completion.tokens == (dense.sum(1) // 2).sum()
    short = evaluated(np.eye(20))
    assert short.completion is None
    assert short.to_dict()["completion"] is None
    assert short.frame().height == 4


def test_fractional_rows_are_completed_by_feature():
    dense = fresh_rows() * 0.5
    dense[0] = 0
    dense[0, 3] = 0.5  # one feature cannot be split
    result = evaluated(dense)
    assert result.completion.skipped_rows == 1 + ((dense[1:] > 0).sum(1) < 2).sum()


def test_completion_can_be_left_out():
    assert evaluated(fresh_rows(), completion=False).completion is None


def test_batch_size_changes_nothing():
    whole, parts = (evaluated(fresh_rows(), batch_size=b) for b in (500, 7))
    for name in ("elbo_amortized", "elbo_refined", "iw", "completion"):
        assert getattr(whole, name).per_doc == pytest.approx(getattr(parts, name).per_doc, rel=1e-4)


def test_the_seed_moves_the_figures_by_the_monte_carlo_error():
    first, second = (evaluated(fresh_rows(), seed=s, samples=50) for s in (0, 1))
    assert first.elbo_refined != second.elbo_refined
    for name in ("elbo_amortized", "elbo_refined"):
        a, b = getattr(first, name), getattr(second, name)
        assert abs(a.nats_per_row - b.nats_per_row) < 4 * np.hypot(a.mc_se, b.mc_se)


def test_equal_rows_share_their_monte_carlo_error():
    once = evaluated(fresh_rows())
    twice = evaluated(np.repeat(fresh_rows(), 2, axis=0))
    for name in ("elbo_amortized", "elbo_refined", "iw"):
        a, b = getattr(once, name), getattr(twice, name)
        assert a.nats_per_row == pytest.approx(b.nats_per_row, rel=1e-5)
        assert a.mc_se == pytest.approx(b.mc_se, rel=1e-3)


def test_nothing_to_score():
    with pytest.raises(DataError, match="None of the 3 rows has a count"):
        evaluated(np.zeros((3, 20)))


def test_progress_names_its_stage():
    seen = []
    evaluated(fresh_rows(), batch_size=40, progress=lambda *told: seen.append(told))
    assert seen == [
        ("bounds", 40, 60),
        ("bounds", 60, 60),
        ("completion", 40, 60),
        ("completion", 60, 60),
    ]


def test_what_is_printed_names_every_estimator(result):
    text = str(result)
    for words in [
        "58 rows",
        "2 empty rows dropped",
        "12.5% of the mass",
        "unigram floor",
        "ELBO at ψ(x)",
        "ELBO at ψ*",
        "importance-weighted at ψ*",
        "completion of held-out halves",
        f"{result.iw.per_doc:.1f}",
        f"{result.iw.per_word:.1f}",
    ]:
        assert words in text
    assert repr(result) == text


def test_one_row():
    result = evaluated(fresh_rows(1))
    plain = result.to_dict()
    assert plain["iw"]["se"] is None
    assert plain["gap"]["se"] is None
    json.dumps(plain, allow_nan=False)
    assert "unigram floor" in str(result)


def test_the_table(result):
    table = result.frame()
    assert table["figure"].to_list() == [
        "floor",
        "elbo_amortized",
        "elbo_refined",
        "iw",
        "completion",
    ]
    assert table["steps"].to_list() == [None, 0, 10, 10, 10]
    assert table["per_doc"][3] == result.iw.per_doc


def test_a_full_covariance_is_another_rung():
    dense = fresh_rows(empty=[1])
    plain = evaluated(dense, steps=20, samples=100)
    full = evaluated(dense, steps=20, samples=100, covariance_steps=12)
    assert full.elbo_refined == plain.elbo_refined
    assert full.elbo_full.steps == full.iw.steps == 44
    figures = full.frame()["figure"].to_list()
    assert figures[2:5] == ["elbo_refined", "elbo_full", "iw"]
    assert "full covariance" in str(full)
    assert "full covariance" not in str(plain)
    gained = full.per_row["elbo_full"] - full.per_row["elbo_refined"]
    assert gained.mean() > 2 * gained.std() / len(gained) ** 0.5
    assert "elbo_full" not in plain.per_row.columns
    # Both estimate log p(x) from below.
    error = 4 * (full.iw.mc_se + plain.iw.mc_se)
    assert abs(full.iw.nats_per_row - plain.iw.nats_per_row) < error
    assert full.iw.mc_se < plain.iw.mc_se


def test_numbers_of_any_size_stand_apart():
    large = evaluated(fresh_rows() * 200_000, steps=0, completion=False)
    floor = next(line for line in str(large).splitlines() if line.startswith("unigram floor"))
    numbers = [float(text) for text in floor.removeprefix("unigram floor").split()]
    assert numbers[3:] == [round(large.floor.nats_per_row, 2), round(large.floor.se, 2)]
