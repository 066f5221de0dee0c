"""The matrix of experiments: what is fitted, to which rows, and the questions it answers.

An experiment is a data set, the parameters that differ from the library's defaults, and a seed.
Its name says all three, and its row of results is found by it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks._corpora import (
    Parts,
    debian,
    diagnosis_parts,
    imdb_texts,
    news,
    news_late,
    news_whole,
)
from benchmarks._fits import FIRST, identity_of, settings_of

__all__ = ["CORPORA", "QUESTIONS", "Experiment", "all_experiments", "read_corpus"]

SEEDS = (0, 1, 2)


CORPORA: dict[str, Callable[[], Parts]] = {
    "20news": news,
    "20news-late": news_late,
    "20news-whole": news_whole,
    **{f"imdb-{v}k": functools.partial(imdb_texts, v * 1000) for v in (1, 5, 10, 20)},
    **{f"imdb-full-{v}k": functools.partial(imdb_texts, v * 1000, None) for v in (1, 5, 10, 20)},
    "debian-10k": functools.partial(debian, 10_000),
    "nhds2010": diagnosis_parts,
}


def read_corpus(name: str) -> Parts:
    """Training, validation and test rows (at most 2,500 of these, except 20 Newsgroups' 7,505)."""
    return CORPORA[name]()


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """One fit.

    Attributes
    ----------
    corpus
        A name of `CORPORA`.
    scheme
        What to call the settings.
    parameters
        Those that differ from the defaults.
    seed
        Of the fit.
    """

    corpus: str
    scheme: str
    parameters: Mapping[str, Any]
    seed: int = 0

    @property
    def name(self) -> str:
        """Corpus, scheme and seed: ``20news/hybrid-anneal/0``."""
        return f"{self.corpus}/{self.scheme}/{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter of the fit, those at their defaults too."""
        return settings_of(self.parameters)

    @property
    def digest(self) -> str:
        """Identifies what is fitted, whatever it is called; other defaults are another fit."""
        key = [self.corpus, identity_of(self.parameters), self.seed]
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


PLAIN: dict[str, Any] = {"refine_steps": 0}
SCHEMES: dict[str, dict[str, Any]] = {"plain": PLAIN, "hybrid": {}}
# Written out, so that the questions stay the same fits when the library's defaults move.
BASE: dict[str, Any] = {**FIRST, "epochs": 50, "n_hidden": 400}


def _depths() -> Iterator[Experiment]:
    # Of three times the rows, fewer epochs: 10 are as many updates as 31 on the film reviews.
    for corpus, epochs in (("20news", 50), ("imdb-full-10k", 50), ("debian-10k", 10)):
        for depth in (0, 1, 2, 3):
            for scheme, more in SCHEMES.items():
                settings = {**BASE, "epochs": epochs, "decoder_layers": depth, **more}
                yield Experiment(corpus, f"{scheme}-L{depth}", settings)


def _inputs() -> Iterator[Experiment]:
    for kind in ("tfidf", "l1", "log1p"):
        for scheme, more in SCHEMES.items():
            for seed in SEEDS:
                settings = {**BASE, "features": kind, **more}
                yield Experiment("20news", f"{scheme}-{kind}", settings, seed)


def _two_by_two() -> Iterator[Experiment]:
    for rate in (5e-4, 1e-3, 2e-3, 4e-3):
        for scheme, more in SCHEMES.items():
            for annealing, anneal in (("anneal", 0.5), ("none", 0.0)):
                settings = {**BASE, "kl_anneal": anneal, "learning_rate": rate, **more}
                for corpus in ("20news", "imdb-full-10k"):
                    yield Experiment(corpus, f"{scheme}-{annealing}-lr{rate:g}", settings)


def _sparsity() -> Iterator[Experiment]:
    for size in ("", "full-"):
        for v in (1, 5, 10, 20):
            for scheme, more in SCHEMES.items():
                yield Experiment(f"imdb-{size}{v}k", scheme, {**BASE, **more})


def _search() -> Iterator[Experiment]:
    whole: dict[str, Any] = {**BASE, "epochs": 100}
    trials: dict[str, dict[str, Any]] = {
        "default": whole,
        "decay2": {**whole, "weight_decay": 2.0},
        "decay4": {**whole, "weight_decay": 4.0},
        "skip": {**whole, "skip": True},
        "H800": {**whole, "n_hidden": 800},
        "H800-lr0.002": {**whole, "n_hidden": 800, "learning_rate": 2e-3},
        "H800-lr0.002-50": {**BASE, "n_hidden": 800, "learning_rate": 2e-3},
        "H800-lr0.004-50": {**BASE, "n_hidden": 800, "learning_rate": 4e-3},
        "H800-lr0.002-50-decay2": {
            **BASE, "n_hidden": 800, "learning_rate": 2e-3, "weight_decay": 2.0
        },
        "H1600-lr0.002-50": {**BASE, "n_hidden": 1600, "learning_rate": 2e-3},
        "hide20": {**whole, "feature_dropout": 0.2},
    }  # fmt: skip
    for scheme, settings in trials.items():
        yield Experiment("20news", f"search-{scheme}", settings)


def _decay() -> Iterator[Experiment]:
    for decay in (2.0, 4.0, 8.0):
        for scheme, more in SCHEMES.items():
            settings = {**BASE, "weight_decay": decay, **more}
            yield Experiment("imdb-full-10k", f"{scheme}-anneal-decay{decay:g}", settings)


def _draws() -> Iterator[Experiment]:
    """Importance-weighted updates of the decoder, with and without refinement."""
    bases = {
        "20news-late": {**BASE, "learning_rate": 2e-3},
        "imdb-full-10k": {**BASE, "learning_rate": 2e-3, "epochs": 30, "weight_decay": 4.0},
    }
    for corpus, base in bases.items():
        for scheme, more in SCHEMES.items():
            for samples in (1, 8):
                settings = {**base, "importance_samples": samples, **more}
                yield Experiment(corpus, f"{scheme}-draws{samples}", settings)


def _rare() -> Iterator[Experiment]:
    """Adam's ε for the output layer, which holds rare features back."""
    draws: dict[str, Any] = {**BASE, "learning_rate": 2e-3, "importance_samples": 8}
    imdb = {**draws, "epochs": 30}
    trials: dict[tuple[str, str], dict[str, Any]] = {
        ("20news-late", "epsilon1e-8"): draws,
        ("20news-late", "epsilon0.01"): {**draws, "output_epsilon": 1e-2},
        ("imdb-full-10k", "decay4-epsilon1e-8"): {**imdb, "weight_decay": 4.0},
        ("imdb-full-10k", "decay2-epsilon1e-8"): {**imdb, "weight_decay": 2.0},
        ("imdb-full-10k", "decay2-epsilon0.01"): {
            **imdb, "weight_decay": 2.0, "output_epsilon": 1e-2
        },
    }  # fmt: skip
    for (corpus, scheme), settings in trials.items():
        yield Experiment(corpus, scheme, settings)


def _late() -> Iterator[Experiment]:
    """Settings judged by validation rows that are later than the training rows."""
    base = {**BASE, "learning_rate": 2e-3}
    trials: dict[str, dict[str, Any]] = {
        "base": base,
        "decay2": {**base, "weight_decay": 2.0},
        "H800": {**base, "n_hidden": 800},
        "draws8": {**base, "importance_samples": 8},
        "draws8-lr0.004": {**base, "importance_samples": 8, "learning_rate": 4e-3},
    }
    for scheme, settings in trials.items():
        yield Experiment("20news-late", scheme, settings)


def _before() -> Iterator[Experiment]:
    """The best of a first search, before the decoder was taught by importance weight."""
    wide = {**BASE, "epochs": 100, "n_hidden": 800, "learning_rate": 2e-3}
    yield Experiment("20news", "first-best", wide)
    yield Experiment("imdb-full-20k", "first-best", {**BASE, "weight_decay": 4.0})


def _best() -> Iterator[Experiment]:
    """What the search found best on validation rows; these are scored on test rows."""
    base = {**BASE, "learning_rate": 2e-3, "importance_samples": 8}
    for seed in SEEDS:
        yield Experiment("20news", "best", {**base, "epochs": 60, "n_hidden": 800}, seed)
    rare = {"weight_decay": 2.0, "output_epsilon": 1e-2}
    yield Experiment("imdb-full-20k", "best", {**base, **rare, "epochs": 40})


def _longer() -> Iterator[Experiment]:
    """The wide network for longer; the last one, without our validation rows, for test rows."""
    base = {**BASE, "learning_rate": 2e-3, "importance_samples": 8, "n_hidden": 800}
    yield Experiment("20news-late", "wide-100", {**base, "epochs": 100})
    yield Experiment("20news-whole", "wide-100", {**base, "epochs": 100})


def _codes() -> Iterator[Experiment]:
    """Diagnosis codes: short rows, of which there are many; a quarter of the codes an update."""
    base = {**BASE, "learning_rate": 2e-3, "epochs": 15, "weight_decay": 0.5}
    base |= {"refine_features": 1000, "theta_features": 1000}
    for scheme, more in SCHEMES.items():
        yield Experiment("nhds2010", f"{scheme}-multinomial", {**base, **more})


def _defaults() -> Iterator[Experiment]:
    """The library's defaults, whatever they are."""
    for corpus in ("20news", "imdb-full-10k", "imdb-full-20k"):
        yield Experiment(corpus, "default", {})


QUESTIONS: dict[str, Callable[[], Iterator[Experiment]]] = {
    "search": _search,
    "best": _best,
    "before": _before,
    "late": _late,
    "draws": _draws,
    "rare": _rare,
    "longer": _longer,
    "codes": _codes,
    "defaults": _defaults,
    "two-by-two": _two_by_two,
    "decay": _decay,
    "inputs": _inputs,
    "depth": _depths,
    "sparsity": _sparsity,
}


def all_experiments(questions: list[str] | None = None) -> list[Experiment]:
    """Every experiment of these questions, once each, in order."""
    found: dict[str, Experiment] = {}
    for question in questions or QUESTIONS:
        for experiment in QUESTIONS[question]():
            found.setdefault(experiment.digest, experiment)
    return list(found.values())
