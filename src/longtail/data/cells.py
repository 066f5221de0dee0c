"""Cell × gene matrices in AnnData's form: which matrix of it is meant, and is it counts."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from longtail.errors import DataError, DataWarning

__all__ = [
    "check_raw",
    "choose_layer",
    "counts_of",
    "is_anndata",
    "no_matrix",
    "numbered",
    "unique_names",
]

_TESTED = 100_000
"""Values of a matrix that are looked at to suggest it in a message."""
_SHOWN = 3


def is_anndata(X: Any) -> bool:
    """Whether an object has the parts of AnnData that are used here."""
    return all(hasattr(X, attribute) for attribute in ("obs_names", "var_names", "X"))


def counts_of(adata: Any, layer: str | None) -> tuple[Any, list[str]]:
    """Return the matrix of an AnnData object in memory that holds its counts, and its genes.

    Parameters
    ----------
    adata
        AnnData, or anything with its ``X``, ``layers`` and ``uns``.
    layer
        The name of a layer, ``"raw"`` or ``"X"``; None: X. See `choose_layer`.

    Raises
    ------
    DataError
        If there is no such layer, or what it holds is normalised.
    """
    layers, raw = getattr(adata, "layers", {}), getattr(adata, "raw", None)
    others: dict[str, Callable[[], Any]] = {n: partial(layers.__getitem__, n) for n in layers}
    if raw is not None:
        others.setdefault("raw", lambda: raw.X)
    part = choose_layer(layer, layers.keys(), "This AnnData", has_raw=raw is not None)
    matrix = adata.X if part == "X" else others[part.removeprefix("layers/")]()
    if matrix is None:
        raise no_matrix("This AnnData", others)
    matrix = _in_memory(matrix)
    log1p = "log1p" in getattr(adata, "uns", {})
    tested = ((name, _stored(_in_memory(read()))) for name, read in others.items())
    check_raw(_stored(matrix), log1p=log1p, part=part, others=tested, source="this AnnData")
    names = raw.var_names if part == "raw" and raw is not None else adata.var_names
    return matrix, [str(name) for name in names]


def _in_memory(matrix: Any) -> Any:
    return matrix.to_memory() if hasattr(matrix, "to_memory") else matrix  # backed by a file


def _stored(matrix: Any) -> Any:
    return matrix.data if hasattr(matrix, "tocsr") else matrix


def choose_layer(layer: str | None, layers: Iterable[str], source: str, *, has_raw: bool) -> str:
    """Return which part of AnnData a layer's name means: "layers/NAME", "X" or "raw".

    ``"X"`` and ``"raw"`` are layers where there are layers of these names.

    Raises
    ------
    DataError
        If there is no such layer.
    """
    names = list(layers)
    if layer in names:
        return f"layers/{layer}"
    if layer in (None, "X"):
        return "X"
    if layer == "raw" and has_raw:
        return "raw"
    there = names + ["raw"] * has_raw
    raise DataError(
        f"{source} has no layer {layer!r}.{_layers_hint(there)} If X holds the counts, pass "
        "layer='X' (--layer X). A model reads new data from the layer of its training data, unless "
        "another is named."
    )


def no_matrix(source: str, layers: Iterable[str]) -> DataError:
    """The error about AnnData without X."""
    return DataError(
        f"{source} has no X.{_layers_hint(layers)} Name the layer with layer= (--layer)."
    )


def check_raw(
    values: Any, *, log1p: bool, part: str, others: Iterable[tuple[str, Any]], source: str
) -> None:
    """Refuse a matrix that was normalised or log-transformed.

    Parameters
    ----------
    values
        Its values, or those stored; an array of any shape.
    log1p
        Whether ``uns`` records a log transformation of X.
    part
        Of what they are the values; see `choose_layer`.
    others
        The name and the values of each layer and of raw, for the message.
    source
        What they are of, for the message.

    Raises
    ------
    DataError
        If a value is not a whole number, or `part` is X and `log1p` true; says which, and where
        counts are.
    """
    where = f"layer {part.removeprefix('layers/')!r}" if part.startswith("layers/") else part
    if part == "X" and log1p:
        raise DataError(
            f"X of {source} is log-transformed, not counts: uns['log1p'] says so."
            f"{_remedy(others)} If X holds counts again, delete uns['log1p']."
        )
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return  # whole numbers, or of a type that is refused elsewhere
    fractional = np.isfinite(array) & (array != np.floor(array))
    if fractional.any():
        first = float(array[fractional].flat[0])
        raise DataError(
            f"{where} of {source} is normalised, not counts: {int(fractional.sum()):,} of its "
            f"{array.size:,} stored values are not whole numbers (the first is {first:g})."
            f"{_remedy(others)} If fractions are meant, as after a correction for ambient RNA, "
            "give the matrix itself."
        )


def _remedy(others: Iterable[tuple[str, Any]]) -> str:
    """Say which other matrices hold counts, and how to read one."""
    names = []
    counts = []
    for name, values in others:
        names.append(name)
        if _look_like_counts(values):
            counts.append(name)
    if counts:
        ways = " or ".join(f"layer={name!r} (--layer {name})" for name in counts)
        return f" Whole numbers are in {', '.join(map(repr, counts))}: pass {ways}."
    return (
        f" Name the layer with the counts, for instance layer='counts'.{_layers_hint(names)}"
        + " None of them holds whole numbers." * bool(names)
    )


def _look_like_counts(values: Any) -> bool:
    tested = np.asarray(values[:_TESTED] if np.ndim(values) == 1 else values[:100]).ravel()
    if tested.dtype.kind not in "biuf" or not tested.any():
        return False
    return bool((tested >= 0).all() and (tested == np.floor(tested)).all())


def _layers_hint(layers: Iterable[str]) -> str:
    names = list(layers)
    return f" Its layers: {', '.join(map(repr, names))}." if names else " It has no layers."


def unique_names(names: list[str], called: str, source: str) -> list[str]:
    """Make names unique as `numbered` does; a `DataWarning` says how many occur again."""
    unique = numbered(names)
    changed = [name for name, old in zip(unique, names, strict=True) if name != old]
    if changed:
        warnings.warn(
            f"{len(changed):,} of {len(names):,} {called} of {source} have the name of an earlier "
            f"one and are numbered, as by scanpy: {', '.join(changed[:_SHOWN])}"
            + (", …" if len(changed) > _SHOWN else "")
            + ". Give them names of their own if other data have them in another order.",
            DataWarning,
            stacklevel=2,
        )
    return unique


def numbered(names: list[str]) -> list[str]:
    """Append "-1", "-2", … to names that occur again: AnnData's ``var_names_make_unique``."""
    taken = set(names)
    if len(taken) == len(names):
        return names
    seen: set[str] = set()
    repeats: Counter[str] = Counter()
    unique = []
    for name in names:
        new = name
        while new in seen or (new != name and new in taken):
            repeats[name] += 1
            new = f"{name}-{repeats[name]}"
        seen.add(new)
        unique.append(new)
    return unique
