"""A fitted model's view of single cells, written into their AnnData, where scanpy finds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from longtail.data import CountMatrix
from longtail.data.cells import is_anndata, numbered
from longtail.data.counts import Unseen
from longtail.data.unseen import NOTHING_UNSEEN
from longtail.errors import DataError, DataWarning, MissingExtraError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.saved import saved_parameters
from longtail.introspection import embeddings
from longtail.output_files import replacing

__all__ = ["Annotation", "annotate", "annotate_rows", "read_anndata", "write_h5ad"]


@dataclass(frozen=True)
class Annotation:
    """What `annotate` wrote, and what did not match.

    Attributes
    ----------
    cells, components
        n and K of the latent vectors.
    genes
        How many of the object's genes the model knows.
    missing_genes
        How many of the model's genes the object lacks: they count as 0 in every cell.
    empty_cells
        Cells without a count of a known gene, whose posterior is the prior.
    unseen
        Counts of genes that the model does not know, which are left out.
    """

    cells: int
    components: int
    genes: int
    missing_genes: int
    empty_cells: int
    unseen: Unseen

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON and for ``uns``."""
        return {
            "cells": self.cells,
            "components": self.components,
            "genes": self.genes,
            "missing_genes": self.missing_genes,
            "empty_cells": self.empty_cells,
            "unseen": {
                "genes": self.unseen.n_features,
                "rows": self.unseen.rows,
                "mass": self.unseen.mass,
            },
        }


def annotate(
    model: NonlinearFactorAnalysis,
    adata: Any,
    *,
    layer: str | None = None,
    exposure: Any | None = None,
    key: str = "X_longtail",
    refine_steps: int | None = None,
    seed: int | None = None,
    samples: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> Annotation:
    """Write the latent vectors of cells, and those of genes, into an AnnData object.

    ``obsm[key]`` and ``obsm[key + "_scale"]`` get the posterior means and standard deviations of
    the cells, (n, K). ``varm`` and ``uns`` get an entry each that is named like `key` without
    ``X_``: the genes' embeddings, (V, K), NaN for genes that the model does not know; and the
    model's parameters, its bound on the rows that were held out from its fit, and the result of
    this function. Entries of these names are replaced. X and the layers stay as they are, and a
    sparse matrix stays sparse.

    Parameters
    ----------
    model
        Fitted.
    adata
        AnnData; its genes are matched by ``var_names``, in any order.
    layer
        Where its counts are: the name of a layer, or ``"raw"``; None: X.
    exposure
        Where the model takes exposures that are given: the name of a column of ``obs``, or a number
        for each cell.
    key
        Name in ``obsm``.
    refine_steps
        M, local steps for each cell; the model's `eval_refine_steps` if not given.
    seed
        Of the refinement's noise and of the Jacobian's draws; that of the fit if not given.
    samples
        Draws of z from the prior behind the genes' embeddings: see `embeddings`.
    progress
        Called with the number of cells done.

    Returns
    -------
    Annotation

    Raises
    ------
    NotFittedError
    DataError
        If `adata` is no AnnData, has no such layer, holds no counts, or shares no gene
        with the model.
    """
    if not is_anndata(adata):
        raise DataError(
            f"Expected AnnData, but got a {type(adata).__name__}. Other tables are transformed by "
            "model.posterior(X)."
        )
    _checked_name(key)
    model.check_fitted()
    counts = CountMatrix.from_any(adata, counts=model.counts, layer=layer, exposure=exposure)
    rows, unseen = model.align(counts)
    unseen = unseen or NOTHING_UNSEEN
    if unseen.n_features:
        warnings.warn(
            f"{unseen.n_features:,} genes are not in the model's vocabulary and are left out: "
            f"{unseen.mass:.1%} of the counts, in {unseen.rows:.1%} of the cells (most frequent: "
            f"{', '.join(unseen.examples)}).{unseen.hint}",
            DataWarning,
            stacklevel=2,
        )
    return annotate_rows(
        model,
        adata,
        rows,
        unseen,
        layer=layer,
        key=key,
        refine_steps=refine_steps,
        seed=seed,
        samples=samples,
        progress=progress,
    )


def annotate_rows(
    model: NonlinearFactorAnalysis,
    adata: Any,
    rows: CountMatrix,
    unseen: Unseen,
    *,
    layer: str | None,
    key: str = "X_longtail",
    refine_steps: int | None = None,
    seed: int | None = None,
    samples: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> Annotation:
    """Do as `annotate` does, with the cells' counts over the model's genes read already.

    Parameters
    ----------
    rows, unseen
        Counts of the object's cells, in its order, and what their alignment left out.
    layer
        Where they came from, for the record.
    """
    name = _checked_name(key)
    posterior = model.posterior(rows, refine_steps=refine_steps, seed=seed, progress=progress)
    vectors = embeddings(model, samples=samples, seed=model.seed_ if seed is None else seed).vectors
    # Where the model's genes have no names, the columns were matched by position.
    codes = (
        model.vocabulary_.codes(numbered([str(gene) for gene in adata.var_names]))
        if model.vocabulary_.named
        else np.arange(len(model.vocabulary_))
    )
    if len(codes) != len(adata.var_names):
        raise DataError(
            f"The model has {len(codes):,} genes without names, but var has "
            f"{len(adata.var_names):,}: their vectors have no place in varm."
        )
    known = codes >= 0
    genes = np.full((len(codes), vectors.shape[1]), np.nan, dtype=np.float32)
    genes[known] = vectors[codes[known]]
    annotation = Annotation(
        cells=rows.n_rows,
        components=posterior.mean.shape[1],
        genes=int(known.sum()),
        missing_genes=len(model.vocabulary_) - int(known.sum()),
        empty_cells=int((rows.totals == 0).sum()),
        unseen=unseen,
    )
    adata.obsm[key] = posterior.mean
    adata.obsm[f"{key}_scale"] = posterior.scale
    adata.varm[name] = genes
    steps = model.eval_refine_steps if refine_steps is None else refine_steps
    adata.uns[name] = _plain(
        {
            "version": version("longtail"),
            "layer": layer,
            "refine_steps": steps,
            "seed": model.seed_ if seed is None else seed,
            "annotation": annotation.to_dict(),
            "parameters": saved_parameters(model),
            "fit": model.fit_info_,
            "validation": _validation(model),
        }
    )
    return annotation


def read_anndata(path: Path) -> Any:
    """Read a whole AnnData file.

    Raises
    ------
    MissingExtraError
        If anndata is not installed.
    DataError
        If it is no AnnData file.
    """
    try:
        import anndata
    except ImportError as error:
        raise MissingExtraError(
            "AnnData files (.h5ad) are annotated with anndata, which is not installed. Run: "
            "pip install 'longtail[cells]'"
        ) from error
    if path.suffix != ".h5ad":
        raise DataError(
            f"Annotations are written to a copy of an AnnData file (.h5ad), but the data are "
            f"'{path}'. Write a table (.parquet, .csv)."
        )
    return anndata.read_h5ad(path)


def write_h5ad(adata: Any, path: Path) -> None:
    """Write AnnData in the place of a file, as a whole: whatever happens, one of the two is there.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    with replacing(path) as partial:
        adata.write_h5ad(partial)


def _checked_name(key: str) -> str:
    """The name in ``varm`` and ``uns`` that goes with a key of ``obsm``."""
    name = key.removeprefix("X_") if isinstance(key, str) else ""
    if not name or "/" in name:
        raise ParameterError(
            f"key must be a name such as 'X_longtail', without a slash; got {key!r}."
        )
    return name


def _validation(model: NonlinearFactorAnalysis) -> dict[str, Any]:
    """Bounds on the rows held out from the fit, at the epoch whose parameters were kept."""
    record = model.history_[model.fit_info_["best_epoch"] - 1]
    return {
        "rows": model.fit_info_["valid_rows"],
        "elbo_refined.nats_per_row": record.valid_nats_per_row,
        "elbo_refined.per_doc": record.valid_per_doc_refined,
        "elbo_amortized.per_doc": record.valid_per_doc_amortized,
    }


def _plain(value: Any) -> Any:
    """Numbers, texts and mappings of them, which AnnData can write; None is left out."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool | int | float | str):
        return value
    return repr(value)
