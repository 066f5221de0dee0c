"""Small streams for tests, and the same rows in memory."""

from __future__ import annotations

import numpy as np
import polars as pl

from longtail.data import read_counts
from longtail.data.stream import StreamBatches, open_stream


def write_texts(path, texts, rows_a_group):
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    frame.write_parquet(path, row_group_size=rows_a_group)
    return path


def random_texts(n, n_words=40, seed=0, longest=12):
    rng = np.random.default_rng(seed)
    words = np.array([f"w{i:03d}" for i in range(n_words)])
    share = 1 / np.arange(1, n_words + 1)
    lengths = rng.integers(0, longest, n)
    return [" ".join(rng.choice(words, k, p=share / share.sum())) for k in lengths]


def stream_of(path, texts, rows_a_group, **fields):
    return open_stream(write_texts(path, texts, rows_a_group), **fields)


def statistics_of(stream, *, n_valid=0, seed=0, **rest):
    return stream.statistics(seed=seed, most_valid=n_valid, n_valid=lambda _: n_valid, **rest)


def batches_of(stream, batch_size, *, n_valid=0, seed=0, transform=lambda csr: csr, **rest):
    stream, statistics = statistics_of(stream, n_valid=n_valid, seed=seed)
    valid = statistics.valid
    keys = np.zeros(0, np.uint64) if valid is None else valid.keys
    return StreamBatches(stream, statistics.block_rows, keys, transform, batch_size, **rest)


__all__ = [
    "batches_of",
    "random_texts",
    "read_counts",
    "statistics_of",
    "stream_of",
    "write_texts",
]
