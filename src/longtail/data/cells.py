"""Cell × gene matrices in AnnData's form: which matrix of it is meant, and is it counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from longtail.errors import DataError

__all__ = ["check_raw", "choose_layer", "counts_of", "is_anndata"]


def is_anndata(X: Any) -> bool:
    """Whether an object has the parts of AnnData that are used here."""
    return all(hasattr(X, attribute) for attribute in ("obs_names", "var_names", "X"))


def counts_of(adata: Any, layer: str | None) -> Any:
    """Return the matrix of an AnnData object in memory that holds its counts.

    Parameters
    ----------
    adata
        AnnData, or anything with its ``X``, ``layers`` and ``uns``.
    layer
        The name of a layer; None: X.

    Raises
    ------
    DataError
        If there is no such layer, or what it holds is normalised.
    """
    layers = getattr(adata, "layers", {})
    choose_layer(layer, layers.keys(), "This AnnData")
    matrix = adata.X if layer is None else layers[layer]
    if matrix is None:
        raise DataError(
            f"This AnnData has no X.{_layers_hint(layers.keys())} Name the layer with layer=."
        )
    if hasattr(matrix, "to_memory"):  # backed by a file
        matrix = matrix.to_memory()
    values = matrix.data if hasattr(matrix, "tocsr") else matrix
    log1p = "log1p" in getattr(adata, "uns", {})
    check_raw(values, log1p=log1p, layer=layer, layers=layers.keys(), source="this AnnData")
    return matrix


def choose_layer(layer: str | None, layers: Iterable[str], source: str) -> None:
    """Raise a DataError if `layer` is the name of no layer."""
    if layer is not None and layer not in layers:
        raise DataError(f"{source} has no layer {layer!r}.{_layers_hint(layers)}")


def check_raw(
    values: Any, *, log1p: bool, layer: str | None, layers: Iterable[str], source: str
) -> None:
    """Refuse a matrix that was normalised or log-transformed.

    Parameters
    ----------
    values
        Its values, or those stored; an array of any shape.
    log1p
        Whether ``uns`` records a log transformation of X.
    layer
        Which layer they are of; None: X.
    layers
        The names of all layers, for the message.
    source
        What they are of, for the message.

    Raises
    ------
    DataError
        If a value is not a whole number, or `layer` is None and `log1p` true; says which.
    """
    where = "X" if layer is None else f"layer {layer!r}"
    if layer is None and log1p:
        raise DataError(
            f"X of {source} is log-transformed, not counts: uns['log1p'] says so. Name the layer "
            f"with the counts, for instance layer='counts'.{_layers_hint(layers)} If X holds "
            "counts again, delete uns['log1p']."
        )
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return  # whole numbers, or of a type that is refused elsewhere
    fractional = np.isfinite(array) & (array != np.floor(array))
    if fractional.any():
        first = float(array[fractional].flat[0])
        raise DataError(
            f"{where} of {source} is normalised, not counts: {int(fractional.sum()):,} of its "
            f"{array.size:,} stored values are not whole numbers (the first is {first:g}). Name "
            f"the layer with the counts, for instance layer='counts'.{_layers_hint(layers)} If "
            "fractions are meant, as after a correction for ambient RNA, give the matrix itself."
        )


def _layers_hint(layers: Iterable[str]) -> str:
    names = list(layers)
    return f" Its layers: {', '.join(map(repr, names))}." if names else " It has no layers."
