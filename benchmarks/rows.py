"""Results as rows: one number each, with all that is needed to judge it and to run it again.

A benchmark measures, makes rows with `metric_rows`, and hands them to `write_rows`::

    seconds = [time_fit() for _ in range(5)]
    metrics = {"elbo_refined": {"per_doc": -331.9}}
    common = {"benchmark": "speed", "case": "20news_miao/K50", "seed": 0}
    write_rows(
        "speed",
        metric_rows(metrics, unit="nats", split="test", **common)
        + metric_rows({"fit": quantiles(seconds)}, unit="s", split="train", **common),
    )
"""

from __future__ import annotations

import csv
import dataclasses
import os
import platform
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from numbers import Real
from pathlib import Path

__all__ = [
    "COLUMNS",
    "KEY",
    "Row",
    "command",
    "data_dir",
    "data_file",
    "flatten",
    "machine",
    "metric_rows",
    "quantiles",
    "read_rows",
    "replace_csv",
    "threads",
    "versions",
    "write_rows",
]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


# --- what ran it, and how ----------------------------------------------------------------------


def machine() -> str:
    """Describe this machine: CPU model, cores, memory, and the GPU if one is in use."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    parts = [cpu, f"{os.cpu_count()} cores"]
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        parts.append(f"{memory / 2**30:.0f} GB")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def versions(*packages: str) -> str:
    """Name the versions of Python, this library, what it computes with, and `packages`."""
    names = dict.fromkeys(("longtail", "torch", "numpy", "scipy", *packages))
    return ", ".join(
        [f"python {platform.python_version()}"]
        + [f"{name} {metadata.version(name)}" for name in names]
    )


def threads() -> int:
    """Count the threads that torch uses, or the cores where torch is not loaded."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def command() -> str:
    """Spell the command line of this process, with paths relative to the repository."""
    words = []
    for word in sys.orig_argv[1:]:
        path = Path(word)
        inside = path.is_absolute() and path.is_relative_to(ROOT)
        words.append(str(path.relative_to(ROOT)) if inside else word)
    return shlex.join(["python", *words])


# --- rows --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number.

    Attributes
    ----------
    benchmark : str
        The script's name.
    case : str
        Data and settings, as in ``20news_miao/L2-K100-hybrid-anneal``.
    metric : str
        The name that ``longtail evaluate --json`` uses, joined with dots.
    value : float
        The number.
    unit : str
        ``nats``, ``s``, ``MB``; empty for a ratio or a count.
    seed : int or None
        The random seed; None where nothing is random.
    split : str
        The rows that were measured: ``train``, ``valid``, ``test``; empty where none were.
    peer : str
        The other program that was measured; empty for this library.
    threads, machine, versions, command
        What ran, on what, and the command that runs it again.
    """

    benchmark: str
    case: str
    metric: str
    value: float
    unit: str
    seed: int | None
    split: str
    peer: str = ""
    threads: int = dataclasses.field(default_factory=threads)
    machine: str = dataclasses.field(default_factory=machine)
    versions: str = dataclasses.field(default_factory=versions)
    command: str = dataclasses.field(default_factory=command)

    def cells(self) -> dict[str, str]:
        """Return the row as it stands in the file."""
        cells = {
            name: "" if value is None else str(value)
            for name, value in dataclasses.asdict(self).items()
        }
        return cells | {"value": f"{self.value:.10g}"}


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))

KEY = ("benchmark", "case", "metric", "seed", "split", "peer", "threads")
"""Columns that tell one row from another. Not the machine: a file holds the last run of each
row, and a table that compares times checks that they come from one machine."""


def metric_rows(
    metrics: Mapping[str, object],
    *,
    benchmark: str,
    case: str,
    unit: str,
    seed: int | None,
    split: str,
    peer: str = "",
    packages: Sequence[str] = (),
) -> list[Row]:
    """Make a row of each number in `metrics`, which may be nested.

    Parameters
    ----------
    metrics : mapping
        Numbers by name, or further mappings; see `flatten`.
    benchmark, case, unit, seed, split, peer
        As in `Row`; shared by all rows.
    packages : sequence of str
        Packages to name in `versions` besides the usual ones, such as the peer's.
    """
    shared = Row(
        benchmark=benchmark,
        case=case,
        metric="",
        value=0.0,
        unit=unit,
        seed=seed,
        split=split,
        peer=peer,
        versions=versions(*packages),
    )
    return [
        dataclasses.replace(shared, metric=metric, value=value)
        for metric, value in flatten(metrics).items()
    ]


def flatten(metrics: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """Join the names of nested metrics with dots: ``{"elbo": {"per_doc": 1}}`` → ``elbo.per_doc``.

    Raises
    ------
    TypeError
        Where a value is neither a number nor a mapping.
    """
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{path}.")
        elif isinstance(value, Real) and not isinstance(value, bool):
            flat[path] = float(value)
        else:
            raise TypeError(
                f"metric {path!r}: expected a number, got {type(value).__name__}. "
                "Leave it out, or turn it into a number first."
            )
    return flat


def quantiles(samples: Sequence[float]) -> dict[str, float]:
    """Summarise repeated measurements by their minimum, median and maximum."""
    return {"min": min(samples), "median": statistics.median(samples), "max": max(samples)}


def read_rows(name: str, folder: Path = RESULTS) -> list[dict[str, str]]:
    """Read ``<folder>/<name>.csv``; an absent file has no rows.

    Raises
    ------
    ValueError
        If the file has other columns than `COLUMNS`.
    """
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"{path}: expected the columns {', '.join(COLUMNS)}; "
                f"got {', '.join(reader.fieldnames or ())}. Remove the file and run again."
            )
        return list(reader)


def write_rows(name: str, rows: Iterable[Row], folder: Path = RESULTS) -> Path:
    """Add `rows` to ``<folder>/<name>.csv``; a row with the same `KEY` takes the old one's place.

    The file is replaced as a whole, so a crash leaves the old one.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If two of the `rows` have the same key, or the file has other columns.
    """
    table = {_key(cells): cells for cells in read_rows(name, folder)}
    new: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        cells = row.cells()
        if _key(cells) in new:
            raise ValueError(
                f"two rows have the same key {dict(zip(KEY, _key(cells), strict=True))}. "
                "Tell them apart by their case or metric."
            )
        new[_key(cells)] = cells
    table |= new

    path = folder / f"{name}.csv"
    replace_csv(path, COLUMNS, table.values())
    return path


def replace_csv(path: Path, columns: Sequence[str], table: Iterable[Mapping[str, object]]) -> None:
    """Write a table in the place of a file, as a whole: whatever happens, one of the two is there.

    Parameters
    ----------
    path
        The file; its folder is made if missing.
    columns
        Names, in order.
    table
        A mapping from each column to its cell, row by row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".csv")
    try:
        with open(handle, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        os.chmod(temporary, 0o644)  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _key(cells: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(cells[column] for column in KEY)


# --- data --------------------------------------------------------------------------------------


def data_dir() -> Path:
    """Return the folder that the environment variable ``LONGTAIL_DATA`` names.

    Raises
    ------
    FileNotFoundError
        If it is not set, or is no folder.
    """
    named = os.environ.get("LONGTAIL_DATA", "")
    if not named:
        raise FileNotFoundError(
            "LONGTAIL_DATA is not set. It names the folder that holds the benchmarks' data; "
            "benchmarks/README.md lists what belongs there."
        )
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"LONGTAIL_DATA is {named!r}, which is not a folder.")
    return folder


def data_file(name: str) -> Path:
    """Return the path of ``name``, such as ``20news_miao/train.feat.gz``, in `data_dir`.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    path = data_dir() / name
    if not path.exists():
        raise FileNotFoundError(
            f"{name} is missing from LONGTAIL_DATA ({data_dir()}). "
            "benchmarks/README.md says what it is."
        )
    return path
