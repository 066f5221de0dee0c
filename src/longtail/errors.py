"""Everything that can go wrong, by name.

Each message says what was expected, what came, where, and what to do about it.
"""

from __future__ import annotations

from sklearn.exceptions import NotFittedError as _SklearnNotFittedError

__all__ = [
    "ArchiveError",
    "ArchiveWriteError",
    "CheckpointError",
    "CheckpointWriteError",
    "CorruptBlockError",
    "DataError",
    "DataWarning",
    "LongtailError",
    "MissingExtraError",
    "NonFiniteError",
    "NotFittedError",
    "ParameterError",
    "ProcessError",
    "ScoringError",
    "WriteError",
]


class LongtailError(Exception):
    """Base class of every error this library raises on purpose."""


class DataError(LongtailError, ValueError):
    """The data given cannot be read as counts, or not with these settings."""


class CorruptBlockError(DataError):
    """A part of a data set is damaged; names file and row group."""


class ParameterError(LongtailError, ValueError):
    """One or more parameters are out of range; the message lists all of them."""


class NotFittedError(LongtailError, _SklearnNotFittedError):
    """A fitted model is needed, and this one has not been fitted."""


class WriteError(LongtailError):
    """Something cannot be written: no space, no permission. The input was not at fault."""


class ArchiveError(LongtailError):
    """A saved model cannot be written, or cannot be opened safely."""


class ArchiveWriteError(ArchiveError, WriteError):
    """A saved model cannot be written."""


class CheckpointError(LongtailError):
    """A training checkpoint is missing, damaged, or belongs to another run."""


class CheckpointWriteError(CheckpointError, WriteError):
    """A training checkpoint cannot be written."""


class NonFiniteError(LongtailError, ArithmeticError):
    """Training met a NaN or an infinity; names epoch, batch, row and tensor."""


class ProcessError(LongtailError):
    """Processes that train together cannot find each other, or have lost one of them."""


class ScoringError(LongtailError):
    """Rows could not be scored where that was tried: workers ended, hung or see other files."""


class MissingExtraError(LongtailError, ImportError):
    """An optional dependency is not installed; names the extra that brings it."""


class DataWarning(UserWarning):
    """Data were accepted with a stated, counted treatment."""
