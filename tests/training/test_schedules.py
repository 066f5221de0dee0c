from __future__ import annotations

import pytest

from longtail.training import kl_weight, learning_rate, steps_at


def test_kl_weight_rises_linearly_to_1():
    assert [kl_weight(u, 4) for u in (0, 1, 2, 4, 5, 100)] == [0, 0.25, 0.5, 1, 1, 1]
    assert kl_weight(1, 2.5) == pytest.approx(0.4)


def test_kl_weight_rises_to_another_end():
    assert [kl_weight(u, 4, 0.2) for u in (0, 2, 4, 9)] == pytest.approx([0, 0.1, 0.2, 0.2])
    assert kl_weight(0, 0, 0.2) == 0.2


def test_without_annealing_it_is_1():
    assert kl_weight(0, 0) == 1


def test_learning_rate():
    assert [learning_rate(u, 10, 0.3, "constant") for u in (0, 9)] == [0.3, 0.3]
    cosine = [learning_rate(u, 10, 0.3, "cosine") for u in range(12)]
    assert cosine[0] == pytest.approx(0.3)
    assert cosine[5] == pytest.approx(0.15)
    assert cosine == sorted(cosine, reverse=True)
    assert cosine[10] == cosine[11] == 0


def test_a_rate_that_warms_up():
    rates = [learning_rate(u, 40, 0.3, "warmup") for u in range(42)]
    assert rates[:5] == pytest.approx([0.06, 0.12, 0.18, 0.24, 0.3])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[22] == pytest.approx(0.15)
    assert rates[40] == rates[41] == 0
    assert learning_rate(0, 1, 0.3, "warmup") == pytest.approx(0.15)


def test_refinement_steps():
    assert [steps_at(e, [(0, 10)]) for e in (0, 99)] == [10, 10]
    schedule = [(0, 0), (20, 10), (30, 5)]
    assert [steps_at(e, schedule) for e in (0, 19, 20, 29, 30, 31)] == [0, 0, 10, 10, 5, 5]
    assert steps_at(3, [(5, 10)]) == 0
