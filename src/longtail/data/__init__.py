"""Anything → CountMatrix: sparse counts with row ids and a vocabulary."""

from __future__ import annotations

from longtail.data.batches import Batch, Batches, BatchSource, Part
from longtail.data.corpora import docstring_counts, load_docstrings
from longtail.data.counts import CountMatrix, Unseen
from longtail.data.descriptions import read_descriptions
from longtail.data.graphs import with_self_links
from longtail.data.holdout import split_edges, split_fold_in, split_items
from longtail.data.imports import import_counts, load_imports
from longtail.data.phenotypes import load_phenotypes, phenotype_counts
from longtail.data.read import read_counts, read_like, read_new
from longtail.data.settings import ReadSettings
from longtail.data.splits import drop_duplicates, duplicate_groups, split_rows
from longtail.data.stream import CountStream, open_stream
from longtail.data.time_split import split_by_time
from longtail.data.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "BatchSource",
    "Batches",
    "CountMatrix",
    "CountStream",
    "Part",
    "ReadSettings",
    "Unseen",
    "Vocabulary",
    "docstring_counts",
    "drop_duplicates",
    "duplicate_groups",
    "import_counts",
    "load_docstrings",
    "load_imports",
    "load_phenotypes",
    "open_stream",
    "phenotype_counts",
    "read_counts",
    "read_descriptions",
    "read_like",
    "read_new",
    "split_by_time",
    "split_edges",
    "split_fold_in",
    "split_items",
    "split_rows",
    "with_self_links",
]
