"""The evaluation of rows whose figures are in parts, of which a few million are in memory.

All figures are those of the rows at once, to rounding: sums add up, quantiles are found exactly by
counting, and rows that are equal, wherever they are, are found by their keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.evaluation import (
    ActiveDims,
    Bound,
    Completion,
    Evaluation,
    EvaluationSettings,
    Floor,
    Gap,
)
from longtail.evaluation.evaluate import nothing_to_score
from longtail.evaluation.sums import LogProbSums, Moments
from longtail.scoring.facts import Facts
from longtail.scoring.tasks import Evaluate, bounds_of, rung

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["evaluation_of_parts", "quantiles"]

Array = npt.NDArray[np.float64]

_KEYS_AT_ONCE = 4_000_000  # 32 bytes each and more with their variances
_DIGIT = 16  # bits of a number that a pass over all of them settles


def evaluation_of_parts(
    model: NonlinearFactorAnalysis, task: Evaluate, parts: Sequence[Path], facts: Facts
) -> Evaluation:
    """What `model.evaluate` says of the same rows at once.

    Parameters
    ----------
    parts
        Files that `Evaluate` made.
    facts
        Of all of them.

    Raises
    ------
    DataError
        If every row is empty.
    """
    settings = task.of(model)
    n = facts.rows - facts.empty_rows
    if n == 0 or facts.kl is None or facts.mean is None:
        raise nothing_to_score(facts.rows)
    names = bounds_of(settings)
    per_token = model.network_.generative.likelihood.per_token
    sums, tokens, gap = _sums(parts, ("floor", *map(rung, names)), per_token)
    variances = _variances(parts, names, n)
    median, p90 = quantiles(lambda: _column(parts, "gap"), n, (0.5, 0.9))

    def bound(name: str, steps: int) -> Bound:
        return Bound.from_sums(
            sums[rung(name)], variances[name], samples=settings.samples, steps=steps
        )

    first = pl.read_parquet(parts[0], n_rows=0)
    public = [c for c in first.columns if c != "key" and not c.startswith(("var_", "completion"))]
    return Evaluation(
        rows=n,
        dropped_rows=facts.empty_rows,
        tokens=tokens,
        unseen=facts.unseen,
        floor=Floor.from_sums(sums["floor"]),
        elbo_amortized=bound("amortized", 0),
        elbo_refined=bound("refined", settings.refine.steps),
        elbo_full=bound("full", settings.last_step) if "full" in names else None,
        iw=bound("iw", settings.last_step),
        completion=_completion(parts, settings, n),
        gap=Gap.from_sums(gap, median=median, p90=p90),
        active_dims=ActiveDims.from_sums(facts.kl, facts.mean),
        seed=settings.seed,
        per_row=first.select(public),
    )


def _sums(
    parts: Sequence[Path], columns: Sequence[str], per_token: bool
) -> tuple[dict[str, LogProbSums], float, Moments]:
    """Sums of log-probabilities by column, the total of tokens, and moments of the gap."""
    found: dict[str, LogProbSums] = {}
    tokens, gap = 0.0, Moments.of(np.empty(0))
    for table in _tables(parts, ["tokens", *columns, "gap"]):
        counted = table["tokens"].to_numpy()
        tokens += float(counted.sum())
        gap += Moments.of(table["gap"].to_numpy())
        for name in columns:
            here = LogProbSums.of(table[name].to_numpy(), counted if per_token else None)
            found[name] = found[name] + here if name in found else here
    return found, tokens, gap


def _completion(
    parts: Sequence[Path], settings: EvaluationSettings, n_rows: int
) -> Completion | None:
    if not settings.completion:
        return None
    sums: LogProbSums | None = None
    for table in _tables(parts, ["completion", "completion_tokens"]):
        here = LogProbSums.of(table["completion"].to_numpy(), table["completion_tokens"].to_numpy())
        sums = here if sums is None else sums + here
    if sums is None:
        return None
    return Completion.from_sums(
        sums,
        skipped_rows=n_rows - sums.rows.n,
        samples=settings.samples,
        steps=settings.refine.steps,
    )


def _variances(parts: Sequence[Path], names: Sequence[str], n: int) -> dict[str, float]:
    """The Monte Carlo variance of each bound's sum over rows.

    Noise is keyed by content: m equal rows share one error, of variance m² in their sum. Equal
    rows may be in any part, so each pass takes a share of the keys from all of them.
    """
    total = dict.fromkeys(names, 0.0)
    shares = math.ceil(n / _KEYS_AT_ONCE)
    columns = [f"var_{name}" for name in names]
    for share in range(shares):
        tables = [
            table.filter(pl.col("key") % shares == share)
            for table in _tables(parts, ["key", *columns])
        ]
        # In order: sums of the same numbers in another order differ in their last digits.
        groups = pl.concat(tables).group_by("key", maintain_order=True)
        sums = groups.agg(pl.col(columns).sum(), pl.len())
        for name, column in zip(names, columns, strict=True):
            total[name] += float((sums[column] * sums["len"]).sum())
    return total


def quantiles(
    chunks: Callable[[], Iterator[Array]], n: int, shares: Sequence[float]
) -> list[float]:
    """Quantiles of n numbers, as `numpy.quantile` has them, that are never held at once.

    Each pass over the numbers settles the next 16 bits of every order statistic that is needed,
    by counting; four passes settle all 64.

    Parameters
    ----------
    chunks
        Called for each pass; yields the numbers, all of them finite.
    """
    places = [share * (n - 1) for share in shares]
    ranks = sorted({r for place in places for r in (math.floor(place), math.ceil(place))})
    found = {rank: (0, rank) for rank in ranks}  # leading bits, and the rank among those
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        counts = {leading: np.zeros(1 << _DIGIT, dtype=np.int64) for leading, _ in found.values()}
        for chunk in chunks():
            bits = _ordered_bits(chunk)
            # A shift by all 64 bits is not defined: before the first digit nothing is settled.
            above = (
                bits >> np.uint64(shift + _DIGIT) if shift + _DIGIT < 64 else np.zeros_like(bits)
            )
            digit = (bits >> np.uint64(shift)) & np.uint64((1 << _DIGIT) - 1)
            for leading, tally in counts.items():
                inside = digit[above == np.uint64(leading)].astype(np.int64)
                tally += np.bincount(inside, minlength=1 << _DIGIT)
        for rank, (leading, left) in found.items():
            before = np.cumsum(counts[leading])
            at = int(np.searchsorted(before, left, side="right"))
            smaller = int(before[at - 1]) if at else 0
            found[rank] = ((leading << _DIGIT) | at, left - smaller)
    value = {rank: _number(bits) for rank, (bits, _) in found.items()}
    return [_between(value[math.floor(p)], value[math.ceil(p)], p - math.floor(p)) for p in places]


def _between(low: float, high: float, share: float) -> float:
    """The point at this share of the way, from the nearer end, as NumPy does: equal to the bit."""
    gap = high - low
    return low + gap * share if share < 0.5 else high - gap * (1 - share)


def _ordered_bits(values: Array) -> npt.NDArray[np.uint64]:
    """Whole numbers in the order of the floating-point numbers they stand for."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    sign = np.uint64(1 << 63)
    ordered: npt.NDArray[np.uint64] = np.where(bits & sign, ~bits, bits | sign)
    return ordered


def _number(ordered: int) -> float:
    sign = 1 << 63
    bits = ordered ^ sign if ordered & sign else ~ordered & (2**64 - 1)
    return float(np.array(bits, dtype=np.uint64).view(np.float64))


def _column(parts: Sequence[Path], name: str) -> Iterator[Array]:
    for table in _tables(parts, [name]):
        yield table[name].to_numpy()


def _tables(parts: Sequence[Path], columns: list[str]) -> Iterator[pl.DataFrame]:
    """Columns of each part, without the rows that have no score."""
    from pyarrow.parquet import ParquetFile

    for path in parts:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns):
                table = pl.DataFrame(pl.from_arrow(batch)).drop_nulls()
                if table.height:
                    yield table
