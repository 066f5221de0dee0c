from __future__ import annotations

import gzip

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from longtail.data import CountMatrix, ReadSettings, Vocabulary, read_counts, read_like
from longtail.data.formats import resolve_format
from longtail.errors import DataError, DataWarning

COUNTS = np.array([[0, 2, 0, 1], [1, 0, 0, 0], [3, 0, 1, 5]])  # cells × features
CELLS = ["AAAC-1", "AAAG-1", "AACT-1"]
GENES = ["actin", "myosin", "opsin", "actin"]


def write_10x(folder, *, counts=COUNTS.T, gz=True, prefix="", old=False, types=None, genes=GENES):
    """Write a folder as Cell Ranger does: version 3 packed, version 2 with genes.tsv."""
    folder.mkdir(exist_ok=True)
    kinds = types or ["Gene Expression"] * len(genes)
    lines = [
        f"ENSG{i}\t{gene}" + ("" if old else f"\t{kind}")
        for i, (gene, kind) in enumerate(zip(genes, kinds, strict=True))
    ]
    scipy.io.mmwrite(folder / "plain.mtx", sp.coo_array(counts))
    files = {
        "matrix.mtx": (folder / "plain.mtx").read_text(),
        "genes.tsv" if old else "features.tsv": "\n".join(lines) + "\n",
        "barcodes.tsv": "\n".join(CELLS) + "\n",
    }
    (folder / "plain.mtx").unlink()
    for name, content in files.items():
        data = content.encode()
        path = folder / (prefix + name + (".gz" if gz else ""))
        path.write_bytes(gzip.compress(data) if gz else data)
    return folder


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("prefix", ["", "GSM1_"])
@pytest.mark.parametrize("as_file", [True, False])
def test_a_folder_is_cells_by_named_genes(tmp_path, gz, old, prefix, as_file):
    folder = write_10x(tmp_path / "x", gz=gz, old=old, prefix=prefix)
    path = folder / f"{prefix}matrix.mtx{'.gz' if gz else ''}" if as_file else folder
    with pytest.warns(DataWarning, match="1 of 4 genes of .* numbered.*: actin-1"):
        counts = read_counts(path)
    assert counts.vocabulary.names == ("actin", "myosin", "opsin", "actin-1")
    assert counts.row_ids.to_list() == CELLS
    np.testing.assert_array_equal(counts.csr.toarray(), COUNTS)
    assert counts.settings.format == "10x"
    assert resolve_format(path) == "10x"


def test_new_data_are_read_alike(tmp_path):
    genes = ["actin", "myosin", "opsin", "rhodopsin"]
    train = read_counts(write_10x(tmp_path / "x", genes=genes))
    new = write_10x(tmp_path / "y", genes=genes[::-1], counts=COUNTS.T[::-1])
    rows, unseen = read_like(new, train.settings, train.vocabulary)
    np.testing.assert_array_equal(rows.csr.toarray(), COUNTS)
    assert unseen.n_features == 0


def test_a_matrix_stored_as_cells_by_genes_is_told_by_its_shape(tmp_path):
    folder = write_10x(tmp_path / "x", counts=COUNTS, genes=["a", "b", "c", "d"])
    np.testing.assert_array_equal(read_counts(folder).csr.toarray(), COUNTS)


def test_features_that_are_no_genes_are_left_out(tmp_path):
    types = ["Gene Expression", "Antibody Capture", "Gene Expression", "Antibody Capture"]
    folder = write_10x(tmp_path / "x", types=types)
    with pytest.warns(DataWarning, match=r"2 of 4 features .* no genes \(Antibody Capture\)"):
        counts = read_counts(folder)
    assert counts.vocabulary.names == ("actin", "opsin")
    np.testing.assert_array_equal(counts.csr.toarray(), COUNTS[:, [0, 2]])
    only = write_10x(tmp_path / "y", types=["Peaks"] * 4, genes=["a", "b", "c", "d"])
    assert read_counts(only).n_features == 4


def test_names_that_do_not_fit_are_refused(tmp_path):
    folder = write_10x(tmp_path / "x", counts=np.ones((5, 3), dtype=int))
    with pytest.raises(DataError, match=r"is 5 × 3, but 'features.tsv.gz' .* 4 .*'barcodes.* 3 "):
        read_counts(folder)
    with pytest.raises(DataError, match="is not a folder of Cell Ranger"):
        read_counts(tmp_path, format="10x")


def test_several_matrices_in_a_folder_are_refused(tmp_path):
    for prefix in ("a_", "b_"):
        write_10x(tmp_path, prefix=prefix, genes=["a", "b", "c", "d"])
    with pytest.raises(DataError, match=r"holds several matrices .*a_matrix.mtx, b_matrix.mtx"):
        read_counts(tmp_path)
    assert read_counts(tmp_path / "a_matrix.mtx.gz").shape == (3, 4)


def test_settings_without_effect_are_refused(tmp_path):
    folder = write_10x(tmp_path / "x")
    for field in ({"transpose": True}, {"stop_words": "english"}, {"layer": "counts"}):
        with pytest.raises(DataError, match=f"{next(iter(field))} does not apply"):
            read_counts(folder, **field)


# --- matrices without names, stored as features × rows --------------------------------------------


def write_matrix(path, matrix):
    if path.suffix == ".npz":
        sp.save_npz(path, sp.csr_array(matrix))
    else:
        scipy.io.mmwrite(path, sp.coo_array(matrix))
    return path


@pytest.mark.parametrize("name", ["x.mtx", "x.npz"])
def test_a_transposed_matrix(tmp_path, name):
    path = write_matrix(tmp_path / name, COUNTS.T)
    counts = read_counts(path, transpose=True)
    np.testing.assert_array_equal(counts.csr.toarray(), COUNTS)
    again = ReadSettings.from_dict(counts.settings.to_dict())
    assert again.transpose
    assert read_like(path, again, counts.vocabulary)[0].shape == COUNTS.shape
    (tmp_path / "x.svm").write_text("1 1:2\n")
    with pytest.raises(DataError, match=r"transpose does not apply"):
        read_counts(tmp_path / "x.svm", transpose=True)


def test_settings_of_earlier_versions_say_nothing_of_transpose():
    plain = ReadSettings().to_dict()
    assert "transpose" not in plain
    assert ReadSettings.from_dict(plain) == ReadSettings()


@pytest.mark.parametrize("name", ["x.mtx", "x.npz"])
@pytest.mark.parametrize(
    ("beside", "n_lines"), [("genes.tsv", 4), ("x.genes.txt", 4), ("barcodes.tsv", 3)]
)
def test_names_beside_tell_that_a_matrix_is_transposed(tmp_path, name, beside, n_lines):
    (tmp_path / beside).write_text("name\n" * n_lines)
    path = write_matrix(tmp_path / name, COUNTS.T)
    with pytest.warns(DataWarning, match=rf"\(4 × 3\) looks transposed: '{beside}'.*--transpose"):
        read_counts(path)
    read_counts(path, transpose=True)
    read_counts(write_matrix(tmp_path / name, COUNTS))  # fits as it is
    read_counts(write_matrix(tmp_path / name, np.ones((n_lines, n_lines))))  # fits both ways
    read_counts(write_matrix(tmp_path / name, np.ones((7, 8))))  # fits neither way


@pytest.mark.parametrize("trained_so", [False, True])
def test_new_data_stored_the_other_way_are_refused(tmp_path, trained_so):
    settings = ReadSettings(format="mtx", transpose=trained_so)
    right, wrong = (COUNTS.T, COUNTS) if trained_so else (COUNTS, COUNTS.T)
    path = write_matrix(tmp_path / "x.mtx", right)
    known = Vocabulary.positional(4)
    assert read_like(path, settings, known)[0].shape == (3, 4)
    write_matrix(path, wrong)
    with pytest.raises(DataError, match=r"Expected 4 features, .* have 3. .*looks transposed"):
        read_like(path, settings, known)
    write_matrix(path, np.ones((5, 5)))
    with pytest.raises(DataError, match=r"Expected 4 features, but these rows have 5. Columns"):
        read_like(path, settings, known)


def test_a_model_of_the_matrix_alone_reads_the_matrix_alone(tmp_path):
    folder = write_10x(tmp_path / "x", genes=["a", "b", "c", "d"])
    path = folder / "matrix.mtx.gz"
    with pytest.warns(DataWarning, match="looks transposed"):
        bare = read_counts(path, format="mtx")
    assert isinstance(bare, CountMatrix)
    assert bare.shape == (4, 3)
    turned = read_counts(path, format="mtx", transpose=True)
    rows, _ = read_like(path, turned.settings, turned.vocabulary)
    assert not rows.vocabulary.named
    np.testing.assert_array_equal(rows.csr.toarray(), COUNTS)
