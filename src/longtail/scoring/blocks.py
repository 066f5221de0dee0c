"""One block: read, scored a slice at a time, written. What every engine calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from longtail.data import CountMatrix
from longtail.data.counts import Unseen
from longtail.scoring.facts import Facts
from longtail.scoring.job import Job

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["score_block"]

_ROWS = 8192  # scored and written at a time: what a block takes besides its counts


def score_block(
    job: Job,
    model: NonlinearFactorAnalysis,
    number: int,
    advanced: Callable[[int], None] | None = None,
) -> Facts:
    """Score the rows of a block and write its part.

    Parameters
    ----------
    advanced
        Called with the number of rows that were scored since it was last called.

    Raises
    ------
    CorruptBlockError
        If the block cannot be read.
    DataError
        If it cannot be counted, or not with this model.
    WriteError
        If the part cannot be written.
    """
    counts = job.dataset.count_block(number)
    rows, unseen = counts.align(model.vocabulary_)
    if rows.n_rows:
        rows, _ = model.align(rows)  # checks the values
    facts = _facts(counts, rows, unseen)
    del counts

    def tables() -> Iterator[tuple[pl.DataFrame, Facts]]:
        if rows.n_rows == 0:
            table, _ = job.task.score(model, _one_empty_row(rows))
            yield table.clear(), facts
        step = max(1, _ROWS // int(model.batch_size)) * int(model.batch_size)
        for first in range(0, rows.n_rows, step):
            part = rows[first : first + step]
            table, found = job.task.score(model, part)
            yield table, found if first else facts + found
            if advanced is not None:
                advanced(part.n_rows)

    return job.parts.write(number, tables())


def _facts(counts: CountMatrix, rows: CountMatrix, unseen: Unseen) -> Facts:
    mass = float(counts.totals.sum())
    return Facts(
        rows=rows.n_rows,
        empty_rows=int((rows.totals == 0).sum()),
        mass=mass,
        unseen_rows=unseen.rows * rows.n_rows,
        unseen_mass=unseen.mass * mass,
    )


def _one_empty_row(rows: CountMatrix) -> CountMatrix:
    """A row like these, of which there are none: shows what columns a table has."""
    csr = csr_array((1, rows.n_features), dtype=np.float32)
    ids = pl.Series([None], dtype=rows.row_ids.dtype)
    exposure = None if rows.exposure is None else np.ones(1)
    return replace(rows, csr=csr, row_ids=ids, exposure=exposure)
