"""Anything that looks like a table of numbers → CSR, with its row and column names if it has any.

Nothing here knows about counts; `longtail.data.counts` checks the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array, issparse

from longtail.data.cells import counts_of, is_anndata, unique_names
from longtail.data.pandas_frames import column_names, frame_values, index_names, is_whole
from longtail.data.surrogates import check_names
from longtail.errors import DataError

__all__ = ["Table", "as_row_ids", "numbers_of", "obs_column", "refuse_masked", "to_table"]

_SHOWN = 5
_INT32_MAX = np.iinfo(np.int32).max


class _NotNumericError(DataError, TypeError):
    """Values of a type that is no number; a TypeError too, as scikit-learn's contract asks."""


@dataclass(frozen=True, eq=False)
class Table:
    """A canonical CSR matrix of real numbers with whatever names came along.

    Parameters
    ----------
    csr
        Shape (n, V): sorted indices, no duplicate entries, no explicit zeros; its arrays are
        shared with nobody.
    row_ids
        What the input called its rows, or None.
    names
        What the input called its columns, or None.
    """

    csr: csr_array
    row_ids: Any | None = None
    names: tuple[str, ...] | None = None


def to_table(X: Any, *, layer: str | None = None) -> Table:
    """Convert any supported two-dimensional input.

    Parameters
    ----------
    X
        scipy sparse matrix or array, numpy array, nested lists, tensor, polars or pandas
        DataFrame or pyarrow table (columns are features), or AnnData.
    layer
        Of AnnData, which layer; None: X. See `longtail.data.cells.choose_layer`.

    Raises
    ------
    DataError
        If X is not two-dimensional, has no rows or no columns, or holds other than real numbers or
        masked values; if a column has a name that is neither text nor a whole number.
    """
    if isinstance(X, str | bytes | Path):
        raise DataError(
            f"Expected a table of counts, but got the {type(X).__name__} {X!r}. "
            "To read a file or a folder use longtail.data.read_counts(path)."
        )
    if layer is not None and not is_anndata(X):
        raise DataError(
            f"layer={layer!r} is for AnnData, but got a {type(X).__name__}. Leave it out."
        )
    if X is None:
        raise DataError("Expected a table of counts, but got None.")
    refuse_masked(X, "the table")
    if issparse(X):
        return Table(_canonical(X))
    if is_anndata(X):
        matrix, genes = counts_of(X, layer)
        genes = unique_names(genes, "genes", "this AnnData")
        cells = unique_names(list(map(str, X.obs_names)), "cells", "this AnnData")
        return Table(to_table(matrix).csr, cells, tuple(genes))
    if isinstance(X, pl.LazyFrame):
        raise DataError("Expected data, but got a polars LazyFrame (a query); call .collect().")
    if isinstance(X, pl.DataFrame):
        return _from_polars(X)
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        return _from_pandas(X)
    if hasattr(X, "__arrow_c_stream__") and hasattr(X, "column_names"):  # pyarrow's tables
        return _from_polars(pl.DataFrame(X))
    return Table(_from_dense(numbers_of(X)))


def obs_column(X: Any, name: str) -> Any:
    """A column of ``obs`` of AnnData.

    Raises
    ------
    DataError
        If X is no AnnData, or has no such column.
    """
    if not is_anndata(X):
        raise DataError(
            f"exposure={name!r}: a name is for a column of AnnData's obs, but got a "
            f"{type(X).__name__}. Give the exposures themselves, a number for each row."
        )
    if name not in X.obs.columns:
        raise DataError(
            f"obs has no column {name!r} for the exposures. Its columns: "
            f"{', '.join(map(repr, X.obs.columns)) or 'none'}."
        )
    return X.obs[name]


def refuse_masked(X: Any, called: str) -> None:
    """Raise a DataError if a value is masked: NumPy's conversions would bring it to light."""
    parts = X if isinstance(X, list | tuple) else [X]
    n_masked = sum(int(np.ma.getmaskarray(p).sum()) for p in parts if np.ma.isMaskedArray(p))
    if n_masked:
        raise DataError(
            f"{n_masked:,} value(s) of {called} are masked, and a masked value is no number. Fill "
            "them first, with X.filled(0) if they mean that nothing was counted, or leave their "
            "rows out."
        )


def numbers_of(X: Any) -> npt.NDArray[Any]:
    """Return an array-like or a tensor as an array of NumPy's.

    Raises
    ------
    DataError
        If it forms none.
    """
    if hasattr(X, "detach") and hasattr(X, "layout"):
        X = _tensor_values(X)
    try:
        return np.asarray(X)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"Expected a rectangular table of numbers, but got a {type(X).__name__} that does "
            f"not form one ({error}). If its rows have different lengths, give a scipy sparse "
            "matrix, or a long table (row, feature, count) through longtail.data.read_counts."
        ) from error


def _tensor_values(tensor: Any) -> Any:
    """Return a PyTorch tensor in a form that NumPy takes."""
    if str(tensor.layout) != "torch.strided":
        raise DataError(
            f"Expected a dense tensor, but its layout is {tensor.layout}. Give a scipy sparse "
            "matrix of its entries."
        )
    values = tensor.detach().cpu()
    return values.float() if str(values.dtype) == "torch.bfloat16" else values


def _check_dimensions(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise DataError(
            f"Expected 2D array, got {len(shape)}D array instead (shape={shape}): rows are "
            "observations, columns are features. Reshape your data: array.reshape(1, -1) if it "
            "is a single row, array.reshape(-1, 1) if it is a single feature."
        )
    if shape[0] == 0:
        raise DataError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required. "
            "Check how the rows were selected."
        )
    if shape[1] == 0:
        raise DataError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required. "
            "Check how the columns were selected."
        )


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind == "c":
        raise DataError(
            f"Complex data not supported: expected real counts, but got {dtype}. "
            "Take the part that you mean, for instance X.real."
        )
    if dtype.kind not in "biuf":
        raise _NotNumericError(
            f"Expected real numbers, but got values of type {dtype}. Select the numeric columns, "
            "or convert with X.astype(float); for raw text use longtail.data.read_counts."
        )


def _numbers_from_objects(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert an object array whose elements are all numbers."""
    text = next((value for value in array.flat if isinstance(value, str | bytes)), None)
    if text is not None:
        raise _NotNumericError(
            f"Expected real numbers, but got an object array that holds the text {text!r}. "
            "Select the numeric columns; for raw text use longtail.data.read_counts."
        )
    if any(isinstance(value, complex | np.complexfloating) for value in array.flat):
        raise DataError("Complex data not supported: expected real counts, not complex numbers.")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise _NotNumericError(
            f"Expected real numbers, but got an object array that cannot be converted: {error}. "
            "Every cell must hold one number."
        ) from error


def _from_dense(array: npt.NDArray[Any]) -> csr_array:
    _check_dimensions(array.shape)
    if array.dtype.kind == "O":
        array = _numbers_from_objects(array)
    if array.dtype == np.float16 or array.dtype.name == "bfloat16":
        array = array.astype(np.float32)  # scipy.sparse has no half precision
    _check_dtype(array.dtype)
    return _canonical(csr_array(np.ascontiguousarray(array)))


def _canonical(X: Any) -> csr_array:
    """Return a canonical CSR copy of any scipy sparse object, in at least its own precision."""
    _check_dimensions(X.shape)
    _check_dtype(X.dtype)
    if X.dtype.kind in "biu" or X.dtype.itemsize > 8:
        # Converting can sum duplicate entries, which must not overflow a narrow integer type.
        X = X.astype(np.float64)
    try:
        if hasattr(X, "check_format"):
            # An index out of range would make compiled code read and write outside its arrays.
            X.check_format(full_check=True)
        source = X.tocsr()
        fits = max(X.shape[1], len(source.data)) <= _INT32_MAX
        index = np.dtype(np.int32 if fits else np.int64)
        indices, indptr = source.indices.astype(index), source.indptr.astype(index)
        csr = csr_array((source.data.copy(), indices, indptr), shape=X.shape)
    except ValueError as error:
        raise DataError(
            f"The sparse matrix of shape {X.shape} is damaged: {error}. Build it anew from its "
            "(row, column, value) triples."
        ) from error
    if not csr.has_canonical_format:
        csr.data = csr.data.astype(np.float64)
        csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def _from_polars(frame: pl.DataFrame) -> Table:
    _check_dimensions(frame.shape)
    wrong = [n for n, t in frame.schema.items() if not (t.is_numeric() or t == pl.Boolean)]
    if wrong:
        raise _NotNumericError(_wrong_columns_message(wrong, str(frame.schema[wrong[0]])))
    if len(set(frame.dtypes)) > 1 or any(t.is_decimal() or t == pl.Boolean for t in frame.dtypes):
        frame = frame.cast(pl.Float64)
    return Table(_from_dense(frame.to_numpy()), None, tuple(frame.columns))


def _from_pandas(frame: Any) -> Table:
    _check_dimensions(frame.shape)
    columns = list(frame.columns)
    kinds = [getattr(dtype, "kind", "O") for dtype in frame.dtypes]
    wrong = [str(name) for name, kind in zip(columns, kinds, strict=True) if kind not in "biufc"]
    if wrong:
        dtype = next(d for d, kind in zip(frame.dtypes, kinds, strict=True) if kind not in "biufc")
        raise _NotNumericError(_wrong_columns_message(wrong, str(dtype)))
    names = column_names(frame.columns)
    values = frame_values(frame)
    csr = _canonical(values) if issparse(values) else _from_dense(values)
    return Table(csr, index_names(frame.index), names)


def _wrong_columns_message(wrong: list[str], dtype: str) -> str:
    shown = ", ".join(map(repr, wrong[:_SHOWN]))
    more = f" and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
    return (
        f"Every column must be a numeric feature, but {shown}{more} cannot be counts "
        f"(column {wrong[0]!r} is of type {dtype}). Drop such columns; pass identifiers as "
        "row_ids=, and raw text or long tables through longtail.data.read_counts."
    )


def as_row_ids(row_ids: Any | None, n_rows: int) -> pl.Series:
    """Return the row identifiers as a polars Series of Int64 or String called ``row_id``.

    Parameters
    ----------
    row_ids
        Distinct strings or whole numbers, one a row, or None for 0, 1, ….
    n_rows
        How many rows there are.

    Raises
    ------
    DataError
        If the length is wrong, an identifier is missing, empty or occurs twice, or the type is
        neither.
    """
    if row_ids is None:
        return pl.Series("row_id", np.arange(n_rows, dtype=np.int64))
    series = _id_series(row_ids)
    if len(series) != n_rows:
        raise DataError(f"Expected one row id for each of {n_rows} rows, but got {len(series)}.")
    if series.null_count():
        where = int(series.is_null().arg_max() or 0)
        raise DataError(
            f"{series.null_count()} row id(s) are missing, the first at position {where}; "
            "give every row an id, or none."
        )
    if series.dtype == pl.String and (series == "").any():
        where = int((series == "").arg_max() or 0)
        raise DataError(
            f"{int((series == '').sum()):,} row id(s) are empty, the first at position {where}; "
            "give every row a name, or none."
        )
    if series.n_unique() != n_rows:
        repeated = series.filter(series.is_duplicated()).unique(maintain_order=True)
        raise DataError(
            f"Row ids must be unique, but {len(repeated):,} occur more than once, for instance "
            f"{', '.join(map(repr, repeated[:_SHOWN].to_list()))}; merge those rows or number them."
        )
    return series


def _id_series(row_ids: Any) -> pl.Series:
    if isinstance(row_ids, pl.Series):
        series = row_ids
    else:
        values = row_ids.tolist() if hasattr(row_ids, "tolist") else list(row_ids)
        kinds = {
            str if isinstance(v, str) else int if is_whole(v) else type(v)
            for v in values
            if v is not None
        }
        if len(kinds) > 1 or not kinds <= {str, int}:
            raise _id_type_error(" and ".join(sorted(kind.__name__ for kind in kinds)))
        check_names(values, "Row id")
        try:
            series = pl.Series(values, dtype=pl.String if kinds == {str} else pl.Int64)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise _id_type_error(f"numbers outside 64 bits ({error})") from error
    if series.dtype.is_integer():
        try:
            return series.cast(pl.Int64).rename("row_id")
        except pl.exceptions.PolarsError as error:
            raise _id_type_error(f"numbers outside 64 bits ({error})") from error
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return series.cast(pl.String).rename("row_id")
    raise _id_type_error(str(series.dtype))


def _id_type_error(found: str) -> DataError:
    return DataError(
        f"Row ids must be all strings or all whole numbers, but got {found}; "
        "convert them with str()."
    )
