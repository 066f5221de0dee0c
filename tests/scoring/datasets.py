"""A small fitted model, and Parquet data sets of several blocks."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from longtail.data import CountMatrix
from longtail.data.stream import ParquetDataset
from tests.builders import topic_counts
from tests.estimator.models import names, small

WORDS = names(20)


@cache
def fitted(**changes):
    counts = CountMatrix.from_any(topic_counts(60, 20, seed=1), vocabulary=WORDS)
    return small(eval_refine_steps=5, batch_size=16, **changes).fit(counts)


def texts(n, *, empty=(), seed=5):
    """Rows of counts, as texts of words, two of which the model does not know."""
    rows = topic_counts(n, 20, seed=seed, empty=empty)
    lines = [" ".join(np.repeat(WORDS, row)) for row in rows]
    for row in range(0, n, 7):
        lines[row] += " zebra zebra okapi"
    return lines


def write(folder, sizes=((20, 13), (30,)), *, empty=(3, 25, 40), copies=True):
    """A folder of files, each with row groups of these sizes; the last rows repeat the first."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    folder.mkdir(parents=True, exist_ok=True)
    n = sum(map(sum, sizes))
    lines = texts(n, empty=empty)
    if copies:
        lines[-6:] = lines[:6]
    table = pa.table({"id": [f"r{i}" for i in range(n)], "text": lines})
    first = 0
    for number, groups in enumerate(sizes):
        with ParquetWriter(folder / f"{number}.parquet", table.schema) as writer:
            for size in groups:
                writer.write_table(table.slice(first, size), row_group_size=max(1, size))
                first += size
    return folder


def opened(folder, **fields):
    return ParquetDataset.open(folder, text_column="text", id_column="id", **fields)


def in_memory(folder):
    """The same rows at once."""
    dataset = opened(folder)
    blocks = [dataset.read_block(b, fitted().vocabulary_)[0] for b in range(dataset.n_blocks)]
    from scipy.sparse import vstack

    ids = pl.concat([b.row_ids for b in blocks])
    return CountMatrix(vstack([b.csr for b in blocks], format="csr"), ids, fitted().vocabulary_)
