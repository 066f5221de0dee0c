"""The matrix of fits: what identifies a run, and what is left to do after one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import longtail as lt
from benchmarks import _experiments, _fits, fit_matrix
from benchmarks._experiments import QUESTIONS, Experiment, all_experiments


def test_every_scheme_of_a_corpus_names_one_fit() -> None:
    by_name: dict[str, str] = {}
    for question in QUESTIONS:
        for experiment in QUESTIONS[question]():
            assert by_name.setdefault(experiment.name, experiment.digest) == experiment.digest


def test_a_fit_that_two_questions_share_is_run_once() -> None:
    experiments = all_experiments(["two-by-two", "inputs"])
    digests = [e.digest for e in experiments]
    assert len(set(digests)) == len(digests)
    shared = Experiment("20news", "hybrid-tfidf", {**_experiments.BASE, "features": "tfidf"})
    assert digests.count(shared.digest) == 1
    assert shared.name not in [e.name for e in experiments]  # it stands as one of the 2×2


def test_a_parameter_spelt_out_at_its_default_is_the_same_fit() -> None:
    given = lt.NonlinearFactorAnalysis().weight_decay
    assert (
        Experiment("20news", "a", {"weight_decay": given}).digest
        == Experiment("20news", "b", {}).digest
        != Experiment("20news", "a", {"weight_decay": given * 2}).digest
    )


def test_a_parameter_that_came_later_leaves_earlier_fits_as_they_are() -> None:
    neutral = Experiment("20news", "a", {**_experiments.BASE, **_fits.ADDED})
    assert not set(_fits.ADDED) & set(_fits.identity_of(neutral.parameters))
    moved = {**_experiments.BASE, "importance_samples": 8}
    assert Experiment("20news", "a", moved).digest != neutral.digest


def test_another_seed_corpus_or_default_is_another_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Experiment("20news", "a", {})
    before = one.digest
    assert before != dataclasses.replace(one, seed=1).digest
    assert before != dataclasses.replace(one, corpus="imdb-1k").digest

    class OtherDefaults(lt.NonlinearFactorAnalysis):
        def __init__(self, n_components: int = 7) -> None:
            super().__init__(n_components)

    monkeypatch.setattr(_fits.lt, "NonlinearFactorAnalysis", OtherDefaults)
    assert one.digest != before


def test_a_run_writes_one_row_and_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = lt.CountMatrix.from_any(np.random.default_rng(0).poisson(0.5, (60, 12)))
    parts = lt.split_rows(counts, [15, 15], seed=0)
    small = {"n_components": 3, "n_hidden": 8, "epochs": 2, "refine_steps": 2}
    monkeypatch.setitem(_experiments.CORPORA, "small", lambda: parts)
    monkeypatch.setitem(QUESTIONS, "small", lambda: iter([Experiment("small", "tiny", small, 3)]))
    monkeypatch.setattr(fit_matrix, "TABLE", tmp_path / "fit_matrix.csv")
    monkeypatch.setattr(_fits, "MODELS", tmp_path)
    arguments = ["--question", "small", "--steps", "4", "--samples", "2"]

    fit_matrix.main([*arguments, "--list"])
    assert "0 of 1" in capsys.readouterr().out
    assert not fit_matrix.TABLE.exists()

    fit_matrix.main(arguments)
    ((key, row),) = fit_matrix.read_table().items()
    assert key[1:] == ("valid", "4", "2", "diagonal")
    assert (row["corpus"], row["scheme"], row["seed"]) == ("small", "tiny", "3")
    assert json.loads(row["settings"])["n_hidden"] == 8
    assert float(row["floor_per_doc"]) > 1
    assert float(row["iw_nats"]) > float(row["elbo_nats"]) - 0.5
    assert int(row["rows"]) == parts[1].drop_empty()[0].n_rows

    capsys.readouterr()
    fit_matrix.main(arguments)
    assert "1 of 1" in capsys.readouterr().out
    fit_matrix.main([*arguments[:-1], "3", "--split", "test", "--list"])
    assert "0 of 1" in capsys.readouterr().out
    fit_matrix.main([*arguments, "--seed", "4", "--list"])
    assert "0 of 0" in capsys.readouterr().out
    fit_matrix.main([*arguments, "--full-covariance"])
    full = [r for k, r in fit_matrix.read_table().items() if k[-1] == "full"]
    assert float(full[0]["elbo_full_nats"]) > float(row["elbo_nats"]) - 1
    assert full[0]["elbo_nats"] == row["elbo_nats"]
