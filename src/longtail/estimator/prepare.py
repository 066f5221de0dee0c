"""From what the user gives to training and validation rows."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from longtail.data import CountMatrix, Vocabulary, split_rows
from longtail.data.counts import Unseen
from longtail.errors import DataError, DataWarning
from longtail.estimator.parameters import refine_schedule
from longtail.model.likelihoods import LIKELIHOODS

__all__ = [
    "MOST_VALID_ROWS",
    "NO_VALID_ROWS",
    "TrainingRows",
    "aligned_valid",
    "n_held_out",
    "prepare",
    "require_features",
    "require_values",
    "run_digest",
    "unseen_notice",
    "what_is_taken",
]

_FEWEST_VALID_ROWS = 10
MOST_VALID_ROWS = 2000
"""Validation rows of a share, at most: more would cost time and tell little."""

# These change what is shown or how a fitted model is used, not what is fitted.
_NOT_OF_THE_FIT = ("verbose", "device", "eval_samples", "random_state")


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows to fit and to validate on.

    Attributes
    ----------
    train, valid
        Without empty rows; `valid` is None if there is no validation.
    dropped
        Empty rows left out.
    """

    train: CountMatrix
    valid: CountMatrix | None
    dropped: int

    def fingerprint(self, parameters: Mapping[str, Any], seed: int) -> str:
        """Identify the run: rows in order, vocabulary, parameters and seed."""
        digest = run_digest(parameters, seed, self.train.vocabulary)
        for counts in (self.train, self.valid):
            if counts is not None:
                digest.update(f"{counts.shape}".encode() + counts.row_keys().tobytes())
                if counts.exposure is not None:
                    digest.update(counts.exposure.tobytes())
        return str(digest.hexdigest())


def run_digest(parameters: Mapping[str, Any], seed: int, vocabulary: Vocabulary) -> Any:
    """A SHA-256 of what identifies a run, but for its rows, which are to be added."""
    kept = {k: v for k, v in parameters.items() if k not in _NOT_OF_THE_FIT}
    kept["seed"] = seed
    if kept["refine_steps"] != "auto":
        kept["refine_steps"] = refine_schedule(kept["refine_steps"])
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
    digest.update(json.dumps(vocabulary.names).encode())
    return digest


def n_held_out(n_rows: int, validation_fraction: float) -> int:
    """How many rows are held out, at most, of so many with a count."""
    n_valid = min(int(n_rows * validation_fraction), MOST_VALID_ROWS)
    return n_valid if n_valid >= _FEWEST_VALID_ROWS else 0


def prepare(
    counts: CountMatrix,
    valid: CountMatrix | None,
    *,
    validation_fraction: float,
    seed: int,
    stacklevel: int = 4,
) -> TrainingRows:
    """Leave out empty rows, with a notice, and hold out validation rows if none are given.

    Parameters
    ----------
    stacklevel
        Of the notices: 4 points at the line that called the caller of this function's caller.

    Raises
    ------
    DataError
        If there are fewer than two features, or no row with a count.
    """
    require_features(counts.n_features)
    kept, dropped = counts.drop_empty()
    for said in what_is_taken(
        n_rows=counts.n_rows,
        n_empty=dropped,
        n_values=counts.nnz,
        n_fractional=counts.n_fractional,
    ):
        _notice(said, stacklevel)
    if valid is not None:
        held_out, said = aligned_valid(valid, kept.vocabulary)
        if said:
            _notice(said, stacklevel)
        return TrainingRows(kept, held_out, dropped)
    n_valid = n_held_out(kept.n_rows, validation_fraction)
    if n_valid == 0:
        return TrainingRows(kept, None, dropped)
    try:
        train, held_out = split_rows(kept, [n_valid], seed=seed)
    except DataError as error:
        # Every distinct row has more copies than fit: fit all the same, and say so.
        _notice(f"{NO_VALID_ROWS} {error}", stacklevel)
        return TrainingRows(kept, None, dropped)
    return TrainingRows(train, held_out, dropped)


NO_VALID_ROWS = "No validation rows are held out, and training will not stop early."
"""Where every row has more copies than fit."""


def require_features(n_features: int) -> None:
    """Check that there are features to tell apart.

    Raises
    ------
    DataError
        If there are fewer than two.
    """
    if n_features < 2:
        raise DataError(
            f"A model needs at least 2 features to tell apart; got {n_features} feature(s)."
        )


def what_is_taken(*, n_rows: int, n_empty: int, n_values: int, n_fractional: int) -> list[str]:
    """What must be said of the rows of a fit.

    Raises
    ------
    DataError
        If all are empty.
    """
    said = []
    if n_fractional:
        said.append(
            f"{n_fractional} of {n_values} values are not whole numbers; they are used as "
            "fractional weights. counts='strict' would refuse them."
        )
    if n_empty == n_rows:
        raise DataError(
            f"All {n_rows} rows are empty: there is nothing to learn. Check how they were "
            "read (columns, min_df, vocabulary)."
        )
    if n_empty:
        said.append(f"{n_empty} of {n_rows} rows are empty and are left out of the fit.")
    return said


def aligned_valid(valid: CountMatrix, vocabulary: Vocabulary) -> tuple[CountMatrix, str]:
    """Validation rows over the training vocabulary, without empty ones, and what to say of them.

    Raises
    ------
    DataError
        If none is left.
    """
    held_out, unseen = valid.align(vocabulary)
    said = "Validation rows: " + unseen_notice(unseen) if unseen.n_features else ""
    held_out, _ = held_out.drop_empty()
    if held_out.n_rows == 0:
        raise DataError("None of the validation rows has a count in the training vocabulary.")
    return held_out, said


def require_values(likelihood: str, counts: CountMatrix) -> None:
    """Check that the likelihood is one of such values.

    Raises
    ------
    DataError
        If it needs whole numbers, or 0 and 1, and there are others; says where and what to do.
    """
    kind = LIKELIHOODS[likelihood]
    values = counts.csr.data
    wrong = values != np.rint(values) if kind.whole_counts else np.zeros(len(values), dtype=bool)
    wanted, remedy = "whole numbers", "give raw counts, or use likelihood='multinomial'"
    if kind.most is not None:
        wrong |= values > kind.most
        wanted = "0 and 1 only"
        remedy = "take presence instead of counts with counts.binarized() or binarize=True"
    if not wrong.any():
        return
    first = int(np.argmax(wrong))
    row = int(np.searchsorted(counts.csr.indptr, first, side="right")) - 1
    name = counts.vocabulary.names[int(counts.csr.indices[first])]
    raise DataError(
        f"likelihood={likelihood!r} is for {wanted}, but {int(wrong.sum()):,} of {len(values):,} "
        f"values are not: the first is {values[first]:g}, feature {name!r} of row "
        f"{counts.row_ids[row]!r}. To use these data, {remedy}."
    )


def unseen_notice(unseen: Unseen) -> str:
    """What alignment left out, in words."""
    return (
        f"{unseen.n_features} features are not in the model's vocabulary and are left out: "
        f"{unseen.mass:.1%} of the mass, in {unseen.rows:.1%} of the rows "
        f"(most frequent: {', '.join(unseen.examples)}).{unseen.hint}"
    )


def _notice(message: str, stacklevel: int) -> None:
    # Past this function, `prepare` and `fit`: the warning points at the caller's line.
    warnings.warn(message, DataWarning, stacklevel=stacklevel)
