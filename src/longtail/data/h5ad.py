"""AnnData files. Only the counts and the names of cells and genes are read, by h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from longtail.data.cells import check_raw, choose_layer, no_matrix, unique_names
from longtail.data.counts import CountMatrix
from longtail.data.entries import count_matrix
from longtail.data.files import cannot_read
from longtail.data.settings import ReadSettings
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError, MissingExtraError

__all__ = ["read_h5ad"]

_SPARSE = {"csr_matrix": csr_array, "csc_matrix": csc_array}


def read_h5ad(path: Path, settings: ReadSettings) -> CountMatrix:
    """Read X, or the layer that `settings` names, of an AnnData file.

    The names of cells are the row ids, those of genes the vocabulary; where they repeat, they
    are numbered as by scanpy. HDF5 files hold arrays and
    text; nothing in them is executed.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    DataError
        If the file is no AnnData file, there is no such layer or column of exposures, or the
        matrix is normalised: it has values that are not whole numbers, or ``uns["log1p"]``
        records a transformation of X.

    Notes
    -----
    The layout is AnnData's on-disk format, as written since version 0.7:
    https://anndata.readthedocs.io/en/stable/fileformat-prose.html
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            "AnnData files (.h5ad) are read by h5py, which is not installed. Run: "
            "pip install 'longtail[cells]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            layers, has_raw = list(file.get("layers", {})), "raw/X" in file
            part = choose_layer(settings.layer, layers, f"'{path}'", has_raw=has_raw)
            others = {name: f"layers/{name}" for name in layers}
            if has_raw:
                others.setdefault("raw", "raw/X")
            if part == "X" and "X" not in file and others:
                raise no_matrix(f"'{path}'", others)
            matrix = _matrix(file["raw/X" if part == "raw" else part])
            values = matrix.data if hasattr(matrix, "tocsr") else matrix
            log1p = "log1p" in file.get("uns", {})
            tested = ((name, _stored(file[where])) for name, where in others.items())
            check_raw(values, log1p=log1p, part=part, others=tested, source=f"'{path}'")
            cells = _names(file["obs"])
            genes = _names(file["raw/var" if part == "raw" else "var"])
            exposure = None
            if settings.exposure_column is not None:
                exposure = _column(file["obs"], settings.exposure_column, path)
    except DataError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise cannot_read(path, error, "a file that AnnData 0.7 or newer has written") from error
    cells = unique_names(cells, "cells", f"'{path}'")
    genes = unique_names(genes, "genes", f"'{path}'")
    counts = count_matrix(matrix, settings, row_ids=cells, vocabulary=Vocabulary(genes))
    return counts.with_exposure(exposure)


def _matrix(element: Any) -> Any:
    """Read an array, or a group of the three arrays of a sparse matrix."""
    if not hasattr(element, "keys"):
        return element[()]
    container = _SPARSE[element.attrs["encoding-type"]]
    parts = tuple(element[name][()] for name in ("data", "indices", "indptr"))
    return container(parts, shape=tuple(int(n) for n in element.attrs["shape"]))


def _stored(element: Any) -> Any:
    """The stored values of a matrix, not yet read."""
    return element["data"] if hasattr(element, "keys") else element


def _names(frame: Any) -> list[str]:
    """Read the index of a data frame as strings."""
    index = frame[frame.attrs["_index"]]
    if hasattr(index, "keys"):  # strings that may be missing: values and a mask
        index = index["values"]
    is_text = index.dtype.kind in "OS"
    return [str(name) for name in (index.asstr() if is_text else index)[()]]


def _column(frame: Any, name: str, path: Path) -> Any:
    """Read a numeric column of a data frame; NaN where a value is missing."""
    columns = [str(column) for column in frame.attrs["column-order"]]
    if name not in columns:
        raise DataError(
            f"obs of '{path}' has no column {name!r} (from exposure_column). Its columns: "
            f"{', '.join(map(repr, columns)) or 'none'}."
        )
    column = frame[name]
    if hasattr(column, "keys") and "values" in column and "mask" in column:  # nullable numbers
        return np.where(column["mask"][()], np.nan, column["values"][()])
    if hasattr(column, "keys") or column.dtype.kind not in "iuf":
        raise DataError(
            f"The column {name!r} of obs of '{path}' holds no numbers, but exposures are numbers "
            "above 0."
        )
    return column[()]
