"""CountMatrix: validated sparse counts that know what their rows and columns are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from longtail.data.axes import row_positions, rows_of_index, vocabulary_for
from longtail.data.bow import bow_matrix
from longtail.data.checks import check_values
from longtail.data.coerce import as_row_ids, obs_column, to_table
from longtail.data.exposures import as_exposure
from longtail.data.hashing import row_keys
from longtail.data.settings import ReadSettings
from longtail.data.unseen import (
    NOTHING_UNSEEN,
    Unseen,
    differ_by_dots,
    no_names_error,
    none_in_common,
    notice_position,
    width_error,
)
from longtail.data.vocabulary import Vocabulary
from longtail.errors import DataError

__all__ = ["CountMatrix", "CountsPolicy", "Unseen"]

CountsPolicy = Literal["fractional", "strict"]
_EXAMPLES = 5


@dataclass(frozen=True, eq=False, repr=False)
class CountMatrix:
    """An immutable sparse table of counts: n rows by V features.

    Make one with `from_any` or `longtail.data.read_counts`, which check everything; the
    constructor itself trusts its parts.

    Parameters
    ----------
    csr
        float32, shape (n, V), canonical: sorted indices, no duplicate entries, no explicit
        zeros. Its arrays are made read-only.
    row_ids
        Int64 or String, length n. A range from 0 where the data named no rows. Unique in
        every matrix read or checked; repeated only by indexing with repeated positions.
    vocabulary
        The V feature names, or `Vocabulary.positional`.
    settings
        How the rows were read from a file, or None.
    n_repeated
        How many entries of that file repeated the (row, feature) pair of another and were added
        to it. Of the reading alone: selections of rows or features have 0.
    exposure
        s_d, what each row's counts are proportional to, such as person-years or size factors:
        float64 (n,), finite, above 0 and read-only. None: not given. See `with_exposure`.
    """

    csr: csr_array
    row_ids: pl.Series
    vocabulary: Vocabulary
    settings: ReadSettings | None = None
    n_repeated: int = 0
    exposure: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together and freeze the arrays."""
        expected = (len(self.row_ids), len(self.vocabulary))
        if self.csr.shape != expected:
            raise DataError(
                f"A matrix of shape {self.csr.shape} does not fit {expected[0]} row ids and "
                f"{expected[1]} feature names."
            )
        for array in (self.csr.data, self.csr.indices, self.csr.indptr):
            array.flags.writeable = False
        if self.exposure is not None:
            if self.exposure.shape != (self.n_rows,):
                raise DataError(
                    f"{self.exposure.shape} exposures do not fit {self.n_rows} rows of counts."
                )
            self.exposure.flags.writeable = False

    @classmethod
    def from_any(
        cls,
        X: Any,
        *,
        row_ids: Any | None = None,
        vocabulary: Vocabulary | Sequence[str] | None = None,
        counts: CountsPolicy = "fractional",
        layer: str | None = None,
        exposure: Any | None = None,
    ) -> CountMatrix:
        """Check any table of non-negative numbers and make it a CountMatrix.

        Parameters
        ----------
        X
            scipy sparse matrix or array, numpy array or nested lists of shape (n, V), polars or
            pandas DataFrame (columns are features and name them), AnnData, or a CountMatrix.
            It is copied, not changed.
        row_ids
            Distinct strings or whole numbers, one a row.
        vocabulary
            The V feature names, in column order.
        counts
            ``"strict"`` refuses fractional values; ``"fractional"`` takes them as they are.
        layer
            Of AnnData, which layer holds the counts, or ``"raw"`` for ``.raw``; None: X.
        exposure
            s_d of each row, n finite numbers above 0; of AnnData also the name of a column of
            ``obs``. None: those that a CountMatrix has, or none. See `with_exposure`.

        Raises
        ------
        DataError
            If X is not two-dimensional, is empty, or holds other than finite non-negative real
            numbers up to 2^24 (the largest to which float32 is exact); if row ids or feature
            names are of the wrong number or repeat; if AnnData is normalised; if an exposure is no
            finite number above 0.
        """
        if counts not in ("fractional", "strict"):
            raise DataError(f"counts must be 'fractional' or 'strict', but got {counts!r}.")
        if isinstance(X, CountMatrix) and layer is None:
            again = X._checked_again(row_ids, vocabulary, strict=counts == "strict")
            return again if exposure is None else again.with_exposure(exposure)
        if isinstance(exposure, str):
            exposure = obs_column(X, exposure)
        table = to_table(X, layer=layer)
        n_rows, n_features = table.csr.shape
        ids = as_row_ids(table.row_ids if row_ids is None else row_ids, n_rows)
        names = vocabulary_for(vocabulary, table.names, n_features)
        check_values(table.csr, ids, names, strict=counts == "strict")
        given = None if exposure is None else as_exposure(exposure, ids)
        return cls(_as_float32(table.csr), ids, names, exposure=given)

    @classmethod
    def from_bow(
        cls,
        corpus: Iterable[Iterable[Any]],
        *,
        id2word: Mapping[int, str] | Vocabulary | Sequence[str] | None = None,
        row_ids: Any | None = None,
        counts: CountsPolicy = "fractional",
    ) -> CountMatrix:
        """Check a corpus in gensim's form: documents that are lists of (id, count).

        Parameters
        ----------
        corpus
            The documents; gone through once.
        id2word
            The word of each id, such as gensim's Dictionary, or words in the order of their ids.
            All of them become columns, by ascending id. None: unnamed columns, up to the largest
            id that occurs.
        row_ids, counts
            See `from_any`.

        Raises
        ------
        DataError
            If a document is no list of such pairs, an id is unknown, or as `from_any` raises.
        """
        matrix, vocabulary = bow_matrix(corpus, id2word)
        return cls.from_any(matrix, row_ids=row_ids, vocabulary=vocabulary, counts=counts)

    def _checked_again(
        self, row_ids: Any | None, vocabulary: Vocabulary | Sequence[str] | None, *, strict: bool
    ) -> CountMatrix:
        if 0 in self.shape:
            to_table(self.csr)  # words the refusal of an empty table
        if strict and not self.is_integer:
            check_values(self.csr, self.row_ids, self.vocabulary, strict=True)
        result = self
        if row_ids is not None:
            result = replace(result, row_ids=as_row_ids(row_ids, self.n_rows))
        if vocabulary is not None:
            asked = vocabulary_for(vocabulary, None, self.n_features)
            if self.vocabulary.named and asked != self.vocabulary:
                raise DataError(
                    "These counts have feature names already, and they differ from the "
                    "vocabulary given. Use counts.align(vocabulary) to reorder columns by name."
                )
            result = replace(result, vocabulary=asked.described_like(self.vocabulary))
        return result

    def with_exposure(self, values: Any | None) -> CountMatrix:
        """Return the same counts with exposures: s_d > 0, what a row's counts are proportional to.

        A model with ``exposure="given"`` explains counts per unit of exposure. Selections of rows
        keep those of their rows, selections of features keep all.

        Parameters
        ----------
        values
            n numbers, in the order of the rows; None removes those that there are.

        Raises
        ------
        DataError
            If there are not n, or one is not finite and above 0; names the first such row.

        Examples
        --------
        ``counts.with_exposure(person_years)``
        """
        return replace(self, exposure=None if values is None else as_exposure(values, self.row_ids))

    def described(self, descriptions: Mapping[str, str]) -> CountMatrix:
        """Return the same counts with descriptions of features; see `Vocabulary.described`."""
        return replace(self, vocabulary=self.vocabulary.described(descriptions))

    @property
    def shape(self) -> tuple[int, int]:
        """(n, V): rows and features."""
        return (int(self.csr.shape[0]), int(self.csr.shape[1]))

    @property
    def n_rows(self) -> int:
        """n, the number of rows."""
        return self.shape[0]

    @property
    def n_features(self) -> int:
        """V, the number of features."""
        return self.shape[1]

    @property
    def nnz(self) -> int:
        """The number of non-zero entries."""
        return int(self.csr.nnz)

    @property
    def density(self) -> float:
        """Share of entries that are not zero, in [0, 1]."""
        return self.nnz / max(1, self.n_rows * self.n_features)

    @cached_property
    def totals(self) -> npt.NDArray[np.float64]:
        """N_d: the total count of each row, shape (n,)."""
        totals: npt.NDArray[np.float64] = np.bincount(
            self._entry_rows, weights=self.csr.data.astype(np.float64), minlength=self.n_rows
        ).astype(np.float64, copy=False)  # of a matrix without entries, bincount counts in int64
        totals.flags.writeable = False
        return totals

    @cached_property
    def n_fractional(self) -> int:
        """The number of entries that are not whole numbers."""
        return int(np.count_nonzero(self.csr.data != np.floor(self.csr.data)))

    @property
    def is_integer(self) -> bool:
        """Whether every count is a whole number."""
        return self.n_fractional == 0

    @property
    def _entry_rows(self) -> npt.NDArray[np.int64]:
        return np.repeat(np.arange(self.n_rows), np.diff(self.csr.indptr))

    def __len__(self) -> int:
        """Return n, the number of rows."""
        return self.n_rows

    def __repr__(self) -> str:
        """Describe the matrix in one line."""
        names = "named" if self.vocabulary.named else "unnamed"
        return (
            f"CountMatrix({self.n_rows:,} rows × {self.n_features:,} {names} features, "
            f"{self.nnz:,} non-zeros ({self.density:.3%}), total {float(self.totals.sum()):,.6g})"
        )

    def __getitem__(self, rows: Any) -> CountMatrix:
        """Select rows by a slice, an array of positions, or a boolean mask of length n.

        ``counts[rows, ...]`` and ``counts[rows, :]`` are the same, for scikit-learn.

        Raises
        ------
        IndexError
            If a position is out of range.
        DataError
            If a mask has the wrong length, or the index is of another kind.
        """
        if isinstance(rows, tuple):
            rows = rows_of_index(rows)
        positions = row_positions(rows, self.n_rows)
        return CountMatrix(
            self.csr[positions],
            self.row_ids.gather(positions),
            self.vocabulary,
            self.settings,
            exposure=None if self.exposure is None else self.exposure[positions],
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """Refuse to become an array: a dense one may not fit in memory."""
        raise DataError(
            f"These counts are sparse, and are not made dense without being asked: {self.n_rows:,} "
            f"× {self.n_features:,} values. Use counts.csr, which SciPy and scikit-learn take, or "
            "counts.csr.toarray() if they fit in memory."
        )

    def select_features(self, indices: Any) -> CountMatrix:
        """Keep the columns at `indices`, in that order.

        Unnamed columns stay unnamed and are numbered anew.

        Raises
        ------
        DataError
            If an index is out of range or repeated.
        """
        columns = np.asarray(indices)
        if columns.ndim != 1 or columns.dtype.kind not in "iu" or len(columns) == 0:
            raise DataError(
                "Expected a non-empty one-dimensional array of column numbers, but got "
                f"{columns.dtype} of shape {columns.shape}."
            )
        if columns.min() < 0 or columns.max() >= self.n_features:
            raise DataError(
                f"Column numbers must be between 0 and {self.n_features - 1}, but they range "
                f"from {columns.min()} to {columns.max()}."
            )
        if len(np.unique(columns)) != len(columns):
            raise DataError("Column numbers must be distinct, but some are repeated.")
        vocabulary = self.vocabulary.select(columns)
        target = np.full(self.n_features, -1, dtype=np.int64)
        target[columns] = np.arange(len(columns))
        return self._with_columns(target, vocabulary)

    def binarized(self) -> CountMatrix:
        """Return presence instead of counts: every entry is 1."""
        ones = np.ones_like(self.csr.data)
        csr = csr_array((ones, self.csr.indices, self.csr.indptr), shape=self.shape)
        csr.has_canonical_format = True
        return replace(self, csr=csr)

    def drop_empty(self) -> tuple[CountMatrix, int]:
        """Return the rows with at least one count, and how many rows had none.

        The result has no rows at all if every row was empty.
        """
        kept = np.flatnonzero(np.diff(self.csr.indptr))
        dropped = self.n_rows - len(kept)
        return (self[kept] if dropped else self), dropped

    def align(self, vocabulary: Vocabulary) -> tuple[CountMatrix, Unseen]:
        """Put the columns into the order of another vocabulary, by name.

        Features that `vocabulary` does not have are removed and counted; features that are
        missing here become empty columns. If neither side has names, columns are matched by
        position and the widths must agree; if one side alone has, so too, with a `DataWarning`.
        Descriptions are those of `vocabulary`, or of this matrix if it has none.

        Rows that were read from texts, records or long tables bring their own features, so they
        need have none in common with `vocabulary`. A matrix has the columns that it has, whatever
        its rows: without a common name it is another table.

        Raises
        ------
        DataError
            If widths differ where positions must be used, features that rows bring meet columns
            without names, or a matrix has no name in common with `vocabulary`.
        """
        vocabulary = vocabulary.described_like(self.vocabulary)
        if self.vocabulary == vocabulary:
            same = self.vocabulary.descriptions == vocabulary.descriptions
            return (self if same else replace(self, vocabulary=vocabulary)), NOTHING_UNSEEN
        if not (self.vocabulary.named and vocabulary.named):
            self._check_position(vocabulary)
            return replace(self, vocabulary=vocabulary), NOTHING_UNSEEN
        target = vocabulary.codes(self.vocabulary.names)
        if not (self._rows_bring_features or np.any(target >= 0)):
            raise none_in_common(self.vocabulary, vocabulary)
        return self._with_columns(target, vocabulary), self._unseen(target < 0, vocabulary)

    def known(self, vocabulary: Vocabulary) -> CountMatrix:
        """Put the columns into the order of another vocabulary, as `align` does by name.

        Without the account of what is left out, which takes longer than the rest.
        """
        if self.vocabulary == vocabulary:
            return self
        if not vocabulary.named:
            raise no_names_error(self.vocabulary)
        return self._with_columns(vocabulary.codes(self.vocabulary.names), vocabulary)

    @property
    def _rows_bring_features(self) -> bool:
        return self.settings is not None and self.settings.rows_bring_features

    def _check_position(self, vocabulary: Vocabulary) -> None:
        """Check that columns can be matched by position, and say so if one side has names."""
        if self._rows_bring_features and self.vocabulary.named:
            raise no_names_error(self.vocabulary)
        if len(vocabulary) != self.n_features:
            raise width_error(self.vocabulary, vocabulary)
        notice_position(self.vocabulary, vocabulary)

    def _unseen(self, is_unseen: npt.NDArray[np.bool_], known: Vocabulary) -> Unseen:
        """Account for the columns marked in `is_unseen`, shape (V,)."""
        entries = is_unseen[self.csr.indices]
        if not entries.any():
            return NOTHING_UNSEEN
        values = self.csr.data[entries].astype(np.float64)
        per_feature = np.bincount(
            self.csr.indices[entries], weights=values, minlength=self.n_features
        )
        known_entries = np.bincount(self._entry_rows[~entries], minlength=self.n_rows)
        frequent = np.argsort(-per_feature, kind="stable")[:_EXAMPLES]
        occurring = [self.vocabulary[int(f)] for f in np.flatnonzero(per_feature)]
        return Unseen(
            rows=len(np.unique(self._entry_rows[entries])) / self.n_rows,
            mass=float(values.sum() / self.totals.sum()),
            n_features=len(occurring),
            examples=tuple(self.vocabulary[int(f)] for f in frequent if per_feature[f] > 0),
            n_dotted=int(differ_by_dots(occurring, known).sum()),
            n_unknown_rows=int(((np.diff(self.csr.indptr) > 0) & (known_entries == 0)).sum()),
        )

    def _with_columns(self, target: npt.NDArray[np.int64], vocabulary: Vocabulary) -> CountMatrix:
        """Move column v to ``target[v]``, or remove it where that is -1."""
        moved = target[self.csr.indices]
        kept = moved >= 0
        kept_before = np.concatenate([[0], np.cumsum(kept)])
        csr = csr_array(
            (
                self.csr.data[kept],
                moved[kept].astype(self.csr.indices.dtype),
                kept_before[self.csr.indptr].astype(self.csr.indptr.dtype),
            ),
            shape=(self.n_rows, len(vocabulary)),
        )
        csr.sort_indices()
        csr.has_canonical_format = True
        return CountMatrix(csr, self.row_ids, vocabulary, self.settings, exposure=self.exposure)

    def row_keys(self) -> npt.NDArray[np.uint64]:
        """Return a hash of the counts of each row, shape (n,); see `longtail.data.hashing`."""
        return row_keys(self.csr)

    def top_features(self, row: int, n: int = 10) -> list[tuple[str, float]]:
        """Return the `n` features with the largest counts in the row at position `row`.

        Ties are broken by column order.
        """
        position = int(row_positions(int(row), self.n_rows)[0])
        begin, end = self.csr.indptr[position : position + 2]
        values, columns = self.csr.data[begin:end], self.csr.indices[begin:end]
        largest = np.argsort(-values, kind="stable")[:n]
        return [(self.vocabulary[int(columns[i])], float(values[i])) for i in largest]

    def summary(self) -> dict[str, int | float]:
        """Return the facts that a report opens with.

        ``duplicate_rows`` counts rows that repeat the content of an earlier one.
        """
        return {
            "rows": self.n_rows,
            "features": self.n_features,
            "nnz": self.nnz,
            "density": self.density,
            "tokens": float(self.totals.sum()),
            "median_row_total": float(np.median(self.totals)) if self.n_rows else 0.0,
            "empty_rows": int(np.count_nonzero(np.diff(self.csr.indptr) == 0)),
            "duplicate_rows": self.n_rows - len(np.unique(self.row_keys())),
        }


def _as_float32(csr: csr_array) -> csr_array:
    result = csr_array((csr.data.astype(np.float32), csr.indices, csr.indptr), shape=csr.shape)
    result.has_canonical_format = True
    return result
