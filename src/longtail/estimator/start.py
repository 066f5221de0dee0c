"""What a fit begins with: rows in batches, an unfitted network, and what is known of the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from longtail.data import BatchSource, CountMatrix, Vocabulary
from longtail.data.long_tables import refuse_long_table
from longtail.data.settings import ReadSettings
from longtail.estimator.exposures import take_exposures
from longtail.estimator.network import network_for, unigram_frequencies
from longtail.estimator.prepare import prepare, require_values
from longtail.estimator.running import RunningCounts
from longtail.evaluation.evaluate import make_batches
from longtail.features import FeatureTransform
from longtail.inference import HybridModel

__all__ = ["Start", "start_on_rows"]


@dataclass(frozen=True, eq=False)
class Start:
    """Where a fit begins, whether the rows are in memory or not.

    Attributes
    ----------
    batches, valid
        Training and validation rows.
    network, transform
        The network to fit, and what its encoder sees.
    unigram, running
        Frequencies and counts of the training rows.
    vocabulary, read_settings
        Names of the features, and how the rows were read.
    fingerprint
        Identifies the run: rows, vocabulary, parameters and seed.
    facts
        What `fit_info_` says of the rows, once training is over.
    """

    batches: BatchSource
    valid: CountMatrix | None
    network: HybridModel
    transform: FeatureTransform
    unigram: npt.NDArray[np.float64]
    running: RunningCounts
    vocabulary: Vocabulary
    read_settings: ReadSettings | None
    fingerprint: str
    facts: Callable[[], dict[str, Any]]


def start_on_rows(parameters: Mapping[str, Any], X: Any, valid: Any, seed: int) -> Start:
    """Begin with rows in memory.

    Parameters
    ----------
    parameters
        Of the estimator, checked.
    X, valid
        What `fit` is given.
    seed
        Of everything random.

    Raises
    ------
    DataError
        If they cannot be fitted.
    """
    refuse_long_table(X)
    refuse_long_table(valid)
    counts = CountMatrix.from_any(X, counts=parameters["counts"])
    given = None if valid is None else CountMatrix.from_any(valid, counts=parameters["counts"])
    for matrix in (counts, given):
        if matrix is not None:
            require_values(parameters["likelihood"], matrix)
    exposure = parameters["exposure"]
    counts = take_exposures(exposure, counts, stacklevel=4)
    if given is not None:
        given = take_exposures(exposure, given, what="validation rows", stacklevel=4)
    rows = prepare(
        counts,
        given,
        validation_fraction=float(parameters["validation_fraction"]),
        seed=seed,
        stacklevel=5,  # at the line that called `fit`
    )
    train = rows.train
    transform = FeatureTransform.fit(parameters["features"], train.csr)
    unigram = unigram_frequencies(train.csr)
    facts = {
        "train_rows": train.n_rows,
        "valid_rows": 0 if rows.valid is None else rows.valid.n_rows,
        "dropped_rows": rows.dropped,
        "train_tokens": float(train.totals.sum()),
        "median_total": float(np.median(train.totals)),
    }
    if train.exposure is not None:
        facts |= {"median_exposure": float(np.median(train.exposure))}
    return Start(
        batches=make_batches(train, transform, int(parameters["batch_size"])),
        valid=rows.valid,
        network=network_for(parameters, train, unigram, transform, seed=seed),
        transform=transform,
        unigram=unigram,
        running=RunningCounts.of(train.csr, train.exposure),
        vocabulary=train.vocabulary,
        read_settings=counts.settings,
        fingerprint=rows.fingerprint(parameters, seed),
        facts=lambda: facts,
    )
