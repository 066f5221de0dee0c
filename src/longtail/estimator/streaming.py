"""A fit of rows that are not in memory: what it begins with, from sums over a stream."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from longtail.data import CountMatrix
from longtail.data.long_tables import refuse_long_table
from longtail.data.stream import CountStream, StreamBatches, StreamStatistics
from longtail.data.stream.held_out import training_rows
from longtail.errors import DataWarning
from longtail.estimator.exposures import refuse_streamed, take_exposures
from longtail.estimator.network import build_network, check_memory
from longtail.estimator.prepare import (
    NO_VALID_ROWS,
    aligned_valid,
    n_held_out,
    require_features,
    require_values,
    run_digest,
    what_is_taken,
)
from longtail.estimator.running import RunningCounts
from longtail.estimator.start import Start
from longtail.features import FeatureTransform
from longtail.model import DirichletMultinomial, NegativeBinomial
from longtail.model.likelihoods import (
    DISPERSION_GROUPS,
    concentration_curve,
    dispersion_curve,
    likeliest_log_concentration,
    likeliest_log_dispersion,
)

__all__ = ["start_on_stream"]


def start_on_stream(
    parameters: Mapping[str, Any], stream: CountStream, valid: Any, seed: int
) -> Start:
    """Begin with a stream: one pass over its rows, two for a likelihood with dispersion.

    Validation rows are drawn by their content, so that copies stay on one side; they are in
    memory, and no part of the training.

    Parameters
    ----------
    parameters
        Of the estimator, checked.
    stream, valid
        What `fit` is given; validation rows are in memory.
    seed
        Of everything random.

    Raises
    ------
    DataError
        If the rows cannot be read or fitted, or have exposures.
    """
    refuse_streamed(parameters["exposure"], stream)
    require_features(stream.n_features)
    check_memory(parameters, stream.n_features)
    given = None
    if valid is not None:
        given, said = aligned_valid(_checked(valid, parameters), stream.vocabulary)
        if said:
            _notice(said)
    fraction = 0.0 if valid is not None else float(parameters["validation_fraction"])
    started = time.perf_counter()
    stream, found = stream.statistics(
        seed=seed,
        most_valid=n_held_out(stream.n_rows, fraction),
        n_valid=lambda n_rows: n_held_out(n_rows, fraction),
        check=lambda counts: _check(counts, parameters),
    )
    seconds = stream.seconds + time.perf_counter() - started
    for said in _what_to_say(stream, found, fraction):
        _notice(said)
    held_out = given if found.valid is None else found.valid.rows
    running = RunningCounts(float(found.n_rows), found.rows_with.astype(np.float64), found.totals)
    kind = parameters["features"]
    transform = FeatureTransform(kind, running.idf() if kind == "tfidf" else None)
    unigram = running.unigram()
    log_dispersion = None
    if parameters["likelihood"] == NegativeBinomial.name:
        log_dispersion = _log_dispersion(stream, found, unigram)
    log_concentration = 0.0
    if parameters["likelihood"] == DirichletMultinomial.name:
        log_concentration = _log_concentration(stream, found, unigram)
    batches = StreamBatches(
        stream, found.block_rows, found.held_out, transform.apply, int(parameters["batch_size"])
    )
    return Start(
        batches=batches,
        valid=held_out,
        network=build_network(
            parameters,
            unigram,
            input_scale=found.typical_norm(kind),
            mean_total=running.mean_total,
            seed=seed,
            log_dispersion=log_dispersion,
            log_concentration=log_concentration,
        ),
        transform=transform,
        unigram=unigram,
        running=running,
        vocabulary=stream.vocabulary,
        read_settings=stream.settings,
        fingerprint=_fingerprint(parameters, seed, stream, found, given),
        facts=lambda: {
            "train_rows": found.n_rows,
            "valid_rows": 0 if held_out is None else held_out.n_rows,
            "dropped_rows": found.n_empty,
            "train_tokens": found.total,
            "median_total": found.row_totals.median(),
            "stream": _stream_facts(stream, batches, seconds),
        },
    )


def _checked(valid: Any, parameters: Mapping[str, Any]) -> CountMatrix:
    refuse_long_table(valid)
    counts = CountMatrix.from_any(valid, counts=parameters["counts"])
    require_values(parameters["likelihood"], counts)
    return take_exposures(parameters["exposure"], counts, what="validation rows", stacklevel=5)


def _check(counts: CountMatrix, parameters: Mapping[str, Any]) -> None:
    if parameters["counts"] == "strict":
        CountMatrix.from_any(counts, counts="strict")
    require_values(parameters["likelihood"], counts)


def _what_to_say(stream: CountStream, found: StreamStatistics, fraction: float) -> list[str]:
    n_filled = found.n_rows + (0 if found.valid is None else found.valid.rows.n_rows)
    said = what_is_taken(
        n_rows=n_filled + found.n_empty,
        n_empty=found.n_empty,
        n_values=found.n_values,
        n_fractional=found.n_fractional,
    )
    # With limits, features are left out on purpose.
    if stream.given and found.unknown_mass:
        said.append(
            f"Some features are outside the vocabulary given and are left out: "
            f"{found.unknown_mass:.2%} of the total count, in {found.unknown_rows:.2%} of the rows."
        )
    if n_held_out(n_filled, fraction) and found.valid is None:
        said.append(f"{NO_VALID_ROWS} Every row has more copies than could be held out.")
    return said


def _log_dispersion(
    stream: CountStream, found: StreamStatistics, unigram: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """`marginal_log_dispersion` of the training rows, added up over the blocks."""
    curve: npt.NDArray[np.float64] | float = 0.0
    for _, counts in stream.blocks("dispersions"):
        rows = counts[training_rows(counts, counts.row_keys(), found.held_out)]
        curve = curve + dispersion_curve(rows.csr, unigram, rows.totals)
    sizes, typical = found.row_totals.groups(DISPERSION_GROUPS)
    return likeliest_log_dispersion(np.asarray(curve), unigram, sizes, typical)


def _log_concentration(
    stream: CountStream, found: StreamStatistics, unigram: npt.NDArray[np.float64]
) -> float:
    """`marginal_log_concentration` of the training rows, added up over the blocks."""
    curve: npt.NDArray[np.float64] | float = 0.0
    for _, counts in stream.blocks("concentration"):
        rows = counts[training_rows(counts, counts.row_keys(), found.held_out)]
        curve = curve + concentration_curve(rows.csr, unigram)
    return likeliest_log_concentration(np.asarray(curve))


def _fingerprint(
    parameters: Mapping[str, Any],
    seed: int,
    stream: CountStream,
    found: StreamStatistics,
    valid: CountMatrix | None,
) -> str:
    digest = run_digest(parameters, seed, stream.vocabulary)
    read = {
        "data": stream.dataset.fingerprint,
        "settings": stream.settings.to_dict(),
        "lanes": stream.lanes,
        "buffer_rows": stream.buffer_rows,
    }
    digest.update(json.dumps(read, sort_keys=True).encode())
    digest.update(found.block_rows.tobytes() + found.held_out.tobytes())
    digest.update(found.totals.tobytes())
    if valid is not None:
        digest.update(valid.row_keys().tobytes())
    return str(digest.hexdigest())


def _stream_facts(stream: CountStream, batches: StreamBatches, seconds: float) -> dict[str, Any]:
    """How the rows were read, for the record."""
    return {
        "rows": stream.n_rows,
        "blocks": stream.dataset.n_blocks,
        "lanes": stream.lanes,
        "buffer_rows": stream.buffer_rows,
        "skipped_blocks": len(stream.skipped),
        "skipped_rows": stream.skipped_rows,
        "may_miss_df": stream.may_miss,
        "scan_seconds": seconds,
        "reading_seconds": batches.waited,
        "reading_share": batches.waited / batches.elapsed if batches.elapsed else 0.0,
    }


def _notice(message: str) -> None:
    # Past this function, `start_on_stream` and `fit`.
    warnings.warn(message, DataWarning, stacklevel=4)
