"""How good embeddings are, by human judgement or by known classes.

The vectors may come from anywhere: `Embeddings(vocabulary, vectors)` takes those of other programs,
so that all are judged in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

from longtail.data import Vocabulary
from longtail.errors import DataError
from longtail.estimator.inputs import whole
from longtail.introspection.feature_vectors import Embeddings
from longtail.introspection.neighbors import Metric

__all__ = [
    "ClassPrecision",
    "ContextualCorrelation",
    "RankCorrelation",
    "class_precision",
    "compare_correlations",
    "word_similarity",
]

_RESAMPLES = 2000


@dataclass(frozen=True)
class RankCorrelation:
    """Agreement of similarities with human judgement.

    Attributes
    ----------
    spearman
        Rank correlation over the pairs whose words are all in the vocabulary.
    low, high
        95 % confidence interval, by the bootstrap over pairs.
    pairs, covered
        Pairs in all, and pairs scored.
    """

    spearman: float
    low: float
    high: float
    pairs: int
    covered: int

    @classmethod
    def from_scores(
        cls, scores: Sequence[float], judged: Sequence[float], pairs: int, seed: int = 0
    ) -> RankCorrelation:
        """Correlate scores with judgements of the same covered pairs.

        Raises
        ------
        DataError
            If fewer than 3 pairs are covered.
        """
        if len(scores) < 3:
            raise DataError(
                f"Only {len(scores)} of {pairs} pairs are in the vocabulary: a rank correlation "
                "needs at least 3."
            )
        a, b = np.asarray(scores, float), np.asarray(judged, float)
        for what, values in (("scores", a), ("judgements", b)):
            if not np.isfinite(values).all() or np.ptp(values) == 0:
                raise DataError(
                    f"The {what} of the pairs must be finite and not all the same to be ranked."
                )
        resampled = bootstrap_spearman(a, b, seed)
        low, high = np.nanquantile(resampled, [0.025, 0.975])
        value = float(spearmanr(a, b).statistic)
        return cls(value, float(low), float(high), pairs, len(a))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def bootstrap_spearman(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], seed: int
) -> npt.NDArray[np.float64]:
    """Rank correlations of pairs drawn again with replacement: (2000,)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(a), size=(_RESAMPLES, len(a)))
    left, right = (rankdata(x[draws], axis=1) for x in (a, b))
    left -= left.mean(1, keepdims=True)
    right -= right.mean(1, keepdims=True)
    lengths = np.sqrt(np.square(left).sum(1) * np.square(right).sum(1))
    # A draw of one value over and over has no ranks.
    out: npt.NDArray[np.float64] = np.full(_RESAMPLES, np.nan)
    np.divide((left * right).sum(1), lengths, out=out, where=lengths > 0)
    return out


def word_similarity(
    embeddings: Embeddings,
    pairs: Iterable[tuple[str, str, float]],
    *,
    metric: Metric | None = None,
    seed: int = 0,
) -> RankCorrelation:
    """Spearman correlation of similarities with judged ones (WordSim-353 and its like).

    Parameters
    ----------
    pairs
        (word, word, judged similarity). Pairs with an unknown word are left out and counted.

    Raises
    ------
    DataError
        If fewer than 3 pairs are covered.
    """
    pairs = list(pairs)
    covered = [(a, b, s) for a, b, s in pairs if a in embeddings and b in embeddings]
    scores = [embeddings.similarity(a, b, metric) for a, b, _ in covered]
    return RankCorrelation.from_scores(scores, [s for *_, s in covered], len(pairs), seed)


@dataclass(frozen=True)
class ClassPrecision:
    """Share of features' nearest neighbours that are in their class.

    Attributes
    ----------
    precision
        Mean over features of the share of their k nearest with the same class.
    se
        Standard error of it over features.
    k
        Neighbours a feature.
    chance
        What random neighbours would reach.
    features, scored
        Features in all, and those asked for. Features without a class are neither asked for nor
        found.
    """

    precision: float
    se: float
    k: int
    chance: float
    features: int
    scored: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def class_precision(
    embeddings: Embeddings,
    classes: Mapping[str, str],
    *,
    k: int = 10,
    metric: Metric | None = None,
    queries: Sequence[str] | None = None,
) -> ClassPrecision:
    """Precision at k of neighbours against known classes.

    Parameters
    ----------
    classes
        Class of each feature. Features without one are left out altogether.
    queries
        Ask for these features only; all with a class if not given.

    Raises
    ------
    DataError
        If fewer than k + 1 features have a class, or no query has.
    """
    k = whole("k", k, 1)
    names = [name for name in embeddings.vocabulary if name in classes]
    if len(names) <= k:
        raise DataError(f"{len(names)} features have a class; precision at {k} needs {k + 1}.")
    rows = embeddings.vocabulary.codes(names)
    known = Embeddings(
        Vocabulary(names),
        embeddings.vectors[rows],
        metric or embeddings.metric,
    )
    _, labels = np.unique([classes[name] for name in names], return_inverse=True)
    asked = np.arange(len(names))
    if queries is not None:
        wanted = set(queries)
        asked = np.flatnonzero([name in wanted for name in names])
    if len(asked) == 0:
        raise DataError("None of the queries has a class and a vector.")
    found, _ = known.nearest(known.vectors[asked], k + 1)
    hits = []
    for own, near in zip(asked, found, strict=True):
        others = near[near != own][:k]
        hits.append(float((labels[others] == labels[own]).mean()))
    sizes = np.bincount(labels)[labels[asked]]
    return ClassPrecision(
        precision=float(np.mean(hits)),
        se=float(np.std(hits, ddof=1) / np.sqrt(len(hits))) if len(hits) > 1 else float("nan"),
        k=k,
        chance=float(((sizes - 1) / (len(names) - 1)).mean()),
        features=len(embeddings.vocabulary),
        scored=len(asked),
    )


@dataclass(frozen=True)
class ContextualCorrelation:
    """Contextual against global vectors of one model, on the same pairs (SCWS).

    Attributes
    ----------
    overall, contextual
        With one vector a word, and with vectors in the two sentences.
    difference, low, high
        Of the two correlations, with its 95 % confidence interval by a paired bootstrap.
    """

    overall: RankCorrelation
    contextual: RankCorrelation
    difference: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare_correlations(
    overall: Sequence[float],
    contextual: Sequence[float],
    judged: Sequence[float],
    pairs: int,
    seed: int = 0,
) -> ContextualCorrelation:
    """Correlate two scores of the same covered pairs with judgements, and with each other."""
    first = RankCorrelation.from_scores(overall, judged, pairs, seed)
    second = RankCorrelation.from_scores(contextual, judged, pairs, seed)
    b = np.asarray(judged, float)
    change = bootstrap_spearman(np.asarray(contextual, float), b, seed) - bootstrap_spearman(
        np.asarray(overall, float), b, seed
    )
    low, high = np.nanquantile(change, [0.025, 0.975])
    return ContextualCorrelation(
        first, second, second.spearman - first.spearman, float(low), float(high)
    )
