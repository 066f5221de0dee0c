"""Parquet data sets that need not fit in memory, read block by block."""

from __future__ import annotations

from longtail.data.stream.batches import StreamBatches
from longtail.data.stream.counts import CountStream, open_stream
from longtail.data.stream.dataset import BlockInfo, ParquetDataset
from longtail.data.stream.statistics import StreamStatistics

__all__ = [
    "BlockInfo",
    "CountStream",
    "ParquetDataset",
    "StreamBatches",
    "StreamStatistics",
    "open_stream",
]
