"""From what a request gives to rows of counts over the model's vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from longtail.data import CountMatrix, ReadSettings
from longtail.data.formats import FORMATS
from longtail.data.text import tokenizer
from longtail.errors import DataError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.exposures import at_typical_exposure
from longtail.explorer.errors import NothingKnownError
from longtail.explorer.requests import CountsRow, ItemsRow, TextRow
from longtail.explorer.responses import Unknown
from longtail.explorer.search import FeatureSearch
from longtail.model.likelihoods import LIKELIHOODS

__all__ = ["GivenRows", "RowReader", "takes_text"]

_NAMED = 20  # unknown features that an answer names
_SPELLED = 60  # the longest name that is compared with others


@dataclass(frozen=True, eq=False)
class GivenRows:
    """Rows as the model sees them.

    Attributes
    ----------
    counts
        Over the model's vocabulary.
    unknown
        For each row, the most frequent features that the model does not know.
    unknown_share
        For each row, how much of its total count those and the others are.
    """

    counts: CountMatrix
    unknown: list[list[Unknown]]
    unknown_share: list[float]


def takes_text(settings: ReadSettings | None) -> bool:
    """Whether the model's features are the tokens of texts, as far as is known."""
    if settings is None:
        return True
    if settings.format == "auto":
        return not settings.is_long_table
    holds = FORMATS[settings.format].holds
    return holds == "texts" or (holds == "table" and not settings.is_long_table)


class RowReader:
    """Reads rows as the model's training data were read."""

    def __init__(self, model: NonlinearFactorAnalysis, search: FeatureSearch) -> None:
        self.model = model
        self.search = search
        self.vocabulary = model.vocabulary_
        self.settings = model.read_settings_ or ReadSettings()
        self.takes_text = self.vocabulary.named and takes_text(model.read_settings_)
        # As the data were read; or because the likelihood knows nothing else.
        self._presence = (
            self.settings.binarize or LIKELIHOODS[model.parameters_["likelihood"]].most == 1
        )
        self._tokens: Callable[[str], list[str]] = tokenizer(self.settings)

    def read(self, rows: Sequence[TextRow | CountsRow | ItemsRow]) -> GivenRows:
        """Count what the rows hold.

        Raises
        ------
        NothingKnownError
            If no row has a feature of the model.
        DataError
            If the values are none that the model's likelihood can score.
        """
        bags = [self._bag(row) for row in rows]
        counts = self.counts(bags)
        unknown = [self.unknown(bag) for bag in bags]
        if counts.nnz == 0:
            raise NothingKnownError(self._nothing_known(unknown))
        outside = [sum(n for name, n in bag.items() if name not in self.vocabulary) for bag in bags]
        shares = [n / sum(bag.values()) if n else 0.0 for n, bag in zip(outside, bags, strict=True)]
        return GivenRows(counts, unknown, shares)

    def counts(self, bags: Sequence[Mapping[str, float]]) -> CountMatrix:
        """Rows of counts; features that the model does not know are left out."""
        entries = []
        for d, bag in enumerate(bags):
            codes = self.vocabulary.codes(list(bag))
            entries += [(d, int(c), n) for c, n in zip(codes, bag.values(), strict=True) if c >= 0]
        at, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
        csr = csr_array(
            (np.array(values, np.float64), (np.array(at, int), np.array(columns, int))),
            shape=(len(bags), len(self.vocabulary)),
        )
        counts = CountMatrix.from_any(
            csr, row_ids=pl.Series(range(len(bags))), vocabulary=self.vocabulary
        )
        if self._presence:
            counts = counts.binarized()
        # A request says nothing of exposures: its rows are taken to have a typical one.
        return self.model.align(at_typical_exposure(self.model, counts))[0]

    def unknown(self, bag: Mapping[str, float]) -> list[Unknown]:
        """The features of a bag that the model does not know, the most frequent first."""
        left_out = sorted(
            ((name, n) for name, n in bag.items() if name not in self.vocabulary),
            key=lambda entry: -entry[1],
        )
        return [
            Unknown(feature=name, count=n, suggestions=self._similar(name))
            for name, n in left_out[:_NAMED]
        ]

    def _similar(self, name: str) -> list[str]:
        if not self.vocabulary.named or len(name) > _SPELLED:
            return []
        return self.search.similar(name)

    def _bag(self, row: TextRow | CountsRow | ItemsRow) -> Mapping[str, float]:
        if isinstance(row, TextRow):
            if not self.takes_text:
                raise DataError(
                    "The features of this model are not words of texts. Give counts: "
                    '{"counts": {"feature": 1}}.'
                )
            return Counter(self._tokens(row.text))
        named = Counter(row.items) if isinstance(row, ItemsRow) else row.counts
        if not self.settings.strip_dots:
            return named
        bare: Counter[str] = Counter()
        for name, n in named.items():
            bare[name.replace(".", "")] += n  # type: ignore[assignment]  # counts may be fractions
        return bare

    def _nothing_known(self, unknown: Sequence[Sequence[Unknown]]) -> str:
        first = next((features[0] for features in unknown if features), None)
        if first is None:
            return "There is no token in these rows. Give texts with words, or counts."
        return f"The model knows none of the features in these rows. {self.unknown_words(first)}"

    def unknown_words(self, unknown: Unknown) -> str:
        """What to say of a feature that is needed and not known."""
        name, close = unknown.feature, unknown.suggestions
        if not close and self.vocabulary.named and len(name) <= _SPELLED:
            close = self.vocabulary.suggest(name, 3)  # some tenths of a second, so only here
        meant = f"Did you mean {', '.join(repr(n[:_SPELLED]) for n in close)}? " if close else ""
        return f"Unknown: {name[:_SPELLED]!r}. {meant}GET /api/features?prefix= finds features."
