"""The file formats that can be read: their names, what they hold, and how a path tells.

`longtail.data.read` has the reader of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from longtail.errors import DataError

__all__ = [
    "FORMATS",
    "Format",
    "Holds",
    "TenXFiles",
    "known_formats",
    "named_format",
    "resolve_format",
    "tenx_files",
]

Holds = Literal["texts", "table", "records", "graph", "matrix"]


@dataclass(frozen=True)
class Format:
    """One file format.

    Parameters
    ----------
    holds
        ``"texts"``: raw documents; ``"table"``: a table with named columns, either of texts or
        of (row, feature, count) entries; ``"records"``: lists of items; ``"graph"``: edges;
        ``"matrix"``: counts already.
    extensions
        The file name endings that stand for it, lower case; empty for folders.
    about
        For messages and the documentation.
    prefix
        How the file name must begin besides, lower case.
    """

    holds: Holds
    extensions: tuple[str, ...]
    about: str
    prefix: str = ""

    def fits(self, file_name: str) -> bool:
        """Whether a file of this name, in lower case, is taken to have this format."""
        return file_name.startswith(self.prefix) and file_name.endswith(self.extensions)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "directory": Format("texts", (), "a folder of text files, one document each"),
        "docword": Format(
            "matrix",
            (".txt", ".txt.gz"),
            "docword.NAME.txt of UCI's bags of words, names in vocab.NAME.txt beside the file",
            prefix="docword.",
        ),
        "txt": Format("texts", (".txt", ".txt.gz"), "one document a line"),
        "csv": Format("table", (".csv", ".csv.gz"), "comma-separated, with a header"),
        "tsv": Format("table", (".tsv", ".tsv.gz", ".tab"), "tab-separated, with a header"),
        "jsonl": Format(
            "table", (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"), "one JSON object a line"
        ),
        "parquet": Format("table", (".parquet", ".pq"), "Apache Parquet"),
        "basket": Format(
            "records",
            (".basket", ".baskets", ".basket.gz", ".baskets.gz"),
            "one record a line, items separated by commas",
        ),
        "edges": Format(
            "graph",
            (".edges", ".edgelist", ".edges.gz", ".edgelist.gz"),
            "one undirected edge a line: two nodes, perhaps a weight",
        ),
        "npz": Format("matrix", (".npz",), "scipy.sparse.save_npz"),
        "mtx": Format("matrix", (".mtx", ".mtx.gz", ".mm", ".mm.gz"), "MatrixMarket"),
        "10x": Format(
            "matrix",
            (),
            "a folder of Cell Ranger, or the matrix.mtx in it, beside features.tsv or genes.tsv, "
            "and barcodes.tsv",
        ),
        "h5ad": Format("matrix", (".h5ad",), "AnnData: cells × genes"),
        "svmlight": Format(
            "matrix",
            tuple(end + gz for end in (".svm", ".svmlight", ".libsvm") for gz in ("", ".gz")),
            "lines of: label id:count …",
        ),
        "bow": Format(
            "matrix",
            (".feat", ".feat.gz"),
            "lines of: label id:count …, ids from 1, names in vocab.txt beside the file",
        ),
    }
)


def known_formats() -> str:
    """List the formats with their extensions, for messages."""
    return "; ".join(
        f"{name} ({', '.join(known.prefix + end for end in known.extensions) or known.about})"
        for name, known in FORMATS.items()
    )


def resolve_format(path: Path) -> str | None:
    """Return the name of the format that the path stands for, or None if its ending is unknown.

    Raises
    ------
    DataError
        If there is nothing at `path`.
    """
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error
    if not exists:
        raise DataError(
            f"There is no file or folder '{path}'. Check the spelling; relative paths start at "
            f"the working directory '{Path.cwd()}'."
        )
    if tenx_files(path) is not None:
        return "10x"
    return "directory" if path.is_dir() else named_format(path.name)


def named_format(file_name: str) -> str | None:
    """Return the name of the format that a file's name stands for, if any."""
    lower = file_name.lower()
    for name, known in FORMATS.items():
        if known.extensions and known.fits(lower):
            return name
    return None


@dataclass(frozen=True)
class TenXFiles:
    """The three files of a 10x folder."""

    matrix: Path
    features: Path
    barcodes: Path


def tenx_files(path: Path) -> TenXFiles | None:
    """Find the matrix, its features and its barcodes: in a folder, or beside a matrix file.

    Raises
    ------
    DataError
        If a folder holds several such matrices.
    """
    if not path.is_dir():
        return _beside(path)
    matrices = (file for file in path.glob("*matrix.mtx*") if not file.name.startswith("."))
    sets = {file.name: _beside(file) for file in sorted(matrices)}
    known = {name.removesuffix(".gz"): files for name, files in sets.items() if files is not None}
    if len(known) > 1:
        raise DataError(
            f"The folder '{path}' holds several matrices with features and barcodes: "
            f"{', '.join(known)}. Give one of these files instead of the folder."
        )
    return next(iter(known.values()), None)


def _beside(matrix: Path) -> TenXFiles | None:
    prefix = matrix.name.removesuffix(".gz").removesuffix("matrix.mtx")
    if matrix.name not in (f"{prefix}matrix.mtx", f"{prefix}matrix.mtx.gz"):
        return None

    def first(*names: str) -> Path | None:
        paths = [matrix.with_name(f"{prefix}{name}{gz}") for name in names for gz in ("", ".gz")]
        return next((p for p in paths if p.is_file()), None)

    features, barcodes = first("features.tsv", "genes.tsv"), first("barcodes.tsv")
    if features is None or barcodes is None:
        return None
    return TenXFiles(matrix, features, barcodes)
