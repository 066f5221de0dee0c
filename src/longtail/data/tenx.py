"""Matrices of Cell Ranger and programs like it: genes × cells, with names in files beside."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from longtail.data.cells import unique_names
from longtail.data.counts import CountMatrix
from longtail.data.entries import count_matrix
from longtail.data.files import numbered_lines, read_text
from longtail.data.formats import FORMATS, tenx_files
from longtail.data.matrices import load_mtx
from longtail.data.settings import ReadSettings
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, DataWarning

__all__ = ["read_10x"]

_GENES = "Gene Expression"


def read_10x(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read a 10x folder, or the matrix in it, as cells × genes.

    Barcodes are the row ids. Genes are called by the second column of features.tsv, their symbols,
    as in scanpy and Seurat; by the first, their ids, where there is no second. Names that occur
    again get a number, as `unique_names` does. Of features of several types, those other than
    "Gene Expression" are left out with a `DataWarning`. A matrix that is stored as cells × genes is
    told by its shape.

    Raises
    ------
    DataError
        If a file cannot be read, or the matrix does not fit the numbers of genes and barcodes.
    """
    files = tenx_files(path)
    if files is None:
        raise DataError(f"'{path}' is not {FORMATS['10x'].about}.")
    features = _fields(files.features, settings.encoding)
    barcodes = [fields[0] for fields in _fields(files.barcodes, settings.encoding)]
    matrix = load_mtx(files.matrix)
    if matrix.shape == (len(features), len(barcodes)):
        matrix = matrix.T
    elif matrix.shape != (len(barcodes), len(features)):
        raise DataError(
            f"'{files.matrix}' is {matrix.shape[0]:,} × {matrix.shape[1]:,}, but "
            f"'{files.features.name}' beside it names {len(features):,} features and "
            f"'{files.barcodes.name}' {len(barcodes):,} cells. Check that the three files belong "
            "together; with format='mtx' the matrix is read without names."
        )
    kept = _genes([fields[2] if len(fields) > 2 else _GENES for fields in features], path)
    names = [fields[1] if len(fields) > 1 and fields[1] else fields[0] for fields in features]
    genes = unique_names([names[i] for i in np.flatnonzero(kept)], "genes", f"'{path}'")
    entries = kept[matrix.col]
    columns = (np.cumsum(kept) - 1)[matrix.col[entries]]
    matrix = coo_array(
        (matrix.data[entries], (matrix.row[entries], columns)), shape=(len(barcodes), len(genes))
    )
    cells = unique_names(barcodes, "cells", f"'{path}'")
    return count_matrix(matrix, settings, row_ids=cells, vocabulary=Vocabulary(genes))


def _fields(path: Path, encoding: str) -> list[list[str]]:
    """The fields of each line of a file without a header."""
    return [line.split("\t") for _, line in numbered_lines(read_text(path, encoding))]


def _genes(types: list[str], path: Path) -> npt.NDArray[np.bool_]:
    """Mark the features that are genes; all of them where none is."""
    kept = np.array([kind == _GENES for kind in types])
    if not kept.any():
        return np.ones(len(types), dtype=bool)
    if not kept.all():
        others = ", ".join(sorted({kind for kind in types if kind != _GENES}))
        warnings.warn(
            f"{int((~kept).sum()):,} of {len(types):,} features of '{path}' are no genes "
            f"({others}) and are left out.",
            DataWarning,
            stacklevel=2,
        )
    return kept
