"""Parquet data sets that need not fit in memory, read block by block."""

from __future__ import annotations

from longtail.data.stream.dataset import BlockInfo, ParquetDataset

__all__ = ["BlockInfo", "ParquetDataset"]
