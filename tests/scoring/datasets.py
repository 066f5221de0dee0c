"""A small fitted model, and Parquet data sets of several blocks."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetWriter
from scipy.sparse import vstack

from longtail.data import CountMatrix
from longtail.data.stream import ParquetDataset
from tests.builders import topic_counts
from tests.estimator.models import names, small

WORDS = names(20)
EMPTY = (3, 25, 40)


@cache
def fitted(**changes):
    """A small model of texts; do not change it."""
    counts = CountMatrix.from_any(topic_counts(60, 20, seed=1), vocabulary=WORDS)
    return small(eval_refine_steps=5, batch_size=16, **changes).fit(counts)


def texts(n):
    """Rows as texts; some have words that the model does not know, and the last repeat others."""
    rows = topic_counts(n, 20, seed=5, empty=[row for row in EMPTY if row < n])
    lines = [" ".join(np.repeat(WORDS, row)) for row in rows]
    for row in range(0, n, 7):
        lines[row] += " zebra zebra okapi"
    lines[-6:] = lines[:6]
    return lines


def write(folder, files=((20, 13), (30,))):
    """A folder of files, each with row groups of these sizes."""
    folder.mkdir(parents=True)
    n = sum(map(sum, files))
    table = pa.table({"id": [f"r{i}" for i in range(n)], "text": texts(n)})
    first = 0
    for number, groups in enumerate(files):
        with ParquetWriter(folder / f"{number}.parquet", table.schema) as writer:
            for size in groups:
                writer.write_table(table.slice(first, size))
                first += size
    return folder


def corrupt(folder, number):
    """Damage the pages of a block, and leave the rest as it is."""
    from pyarrow.parquet import read_metadata

    block = opened(folder).blocks[number]
    column = read_metadata(block.file).row_group(block.row_group).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    with open(block.file, "r+b") as file:
        file.seek(start)
        file.write(b"\xff" * min(64, column.total_compressed_size))


def opened(folder):
    return ParquetDataset.open(folder, text_column="text", id_column="id")


def in_memory(folder):
    """The same rows at once, and what is unseen of them."""
    dataset = opened(folder)
    counted = [dataset.count_block(number) for number in range(dataset.n_blocks)]
    words = sorted({name for block in counted for name in block.vocabulary.names})
    whole = [block.align(type(block.vocabulary)(words))[0] for block in counted]
    ids = pl.concat([block.row_ids for block in whole])
    rows = CountMatrix(
        vstack([block.csr for block in whole], format="csr"), ids, whole[0].vocabulary
    )
    return rows.align(fitted().vocabulary_)


def parts(folder):
    """The bytes of all parts, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
