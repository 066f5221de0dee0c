"""Parquet data sets that need not fit in memory, read block by block."""

from __future__ import annotations

from longtail.data.stream.batches import StreamBatches, lanes_of
from longtail.data.stream.counts import LANES, CountStream, open_stream
from longtail.data.stream.dataset import BlockInfo, ParquetDataset
from longtail.data.stream.statistics import StreamStatistics

__all__ = [
    "LANES",
    "BlockInfo",
    "CountStream",
    "ParquetDataset",
    "StreamBatches",
    "StreamStatistics",
    "lanes_of",
    "open_stream",
]
