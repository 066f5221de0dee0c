from __future__ import annotations

import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import longtail as lt
from longtail.cells import read_anndata
from longtail.errors import (
    DataError,
    DataWarning,
    MissingExtraError,
    NotFittedError,
    ParameterError,
)
from tests.builders import topic_counts

K = 3
GENES = [f"gene{i}" for i in range(20)]


def cells(n=40, *, genes=GENES, seed=0, container=sp.csr_matrix, **parts):
    counts = topic_counts(n, len(GENES), tokens=40, seed=seed).astype(np.float32)
    return anndata.AnnData(
        container(counts),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(n)]),
        var=pd.DataFrame(index=list(genes)),
        **parts,
    )


@pytest.fixture(scope="module")
def model():
    made = lt.NonlinearFactorAnalysis(
        K,
        likelihood="negative_binomial",
        n_hidden=8,
        epochs=2,
        batch_size=20,
        eval_refine_steps=4,
        refine_steps=[(0, 0), (1, 2)],
        validation_fraction=0.3,
        random_state=0,
        device="cpu",
    )
    return made.fit(cells())


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_cells_and_genes_are_annotated(model, tmp_path, container):
    adata = cells(30, seed=1, container=container)
    before = adata.X.copy()
    annotation = lt.annotate(model, adata, samples=60)
    posterior = model.posterior(adata)
    np.testing.assert_array_equal(adata.obsm["X_longtail"], posterior.mean)
    np.testing.assert_array_equal(adata.obsm["X_longtail_scale"], posterior.scale)
    vectors = lt.embeddings(model, samples=60, seed=model.seed_).vectors
    np.testing.assert_array_equal(adata.varm["longtail"], vectors)
    assert type(adata.X) is type(before)
    assert abs(adata.X - before).max() == 0
    assert annotation == lt.Annotation(30, K, 20, 0, 0, annotation.unseen)
    path = tmp_path / "annotated.h5ad"
    adata.write_h5ad(path)
    again = anndata.read_h5ad(path)
    np.testing.assert_array_equal(again.obsm["X_longtail"], posterior.mean)
    about = again.uns["longtail"]
    assert about["annotation"]["cells"] == 30
    assert about["parameters"]["likelihood"] == "negative_binomial"
    assert about["parameters"]["refine_steps"] == "[[0, 0], [1, 2]]"
    record = model.history_[model.fit_info_["best_epoch"] - 1]
    assert about["validation"]["rows"] == 12
    found = about["validation"]["elbo_refined.nats_per_row"]
    assert found == pytest.approx(record.valid_nats_per_row)


def test_genes_are_matched_by_name(model):
    adata = cells(30, seed=1)
    straight = lt.annotate(model, adata.copy(), samples=60)
    shuffled = adata[:, ::-1].copy()
    assert lt.annotate(model, shuffled, samples=60) == straight
    lt.annotate(model, adata, samples=60)
    np.testing.assert_allclose(
        shuffled.obsm["X_longtail"], adata.obsm["X_longtail"], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(shuffled.varm["longtail"], adata.varm["longtail"][::-1])


def test_unknown_genes_are_reported(model):
    adata = cells(30, genes=["actin", *GENES[1:]], seed=1)
    total = adata.X.sum()
    share = adata.X[:, 0].sum() / total
    with pytest.warns(DataWarning, match=r"1 genes are not in .*most frequent: actin"):
        annotation = lt.annotate(model, adata, samples=60)
    assert (annotation.genes, annotation.missing_genes) == (19, 1)
    assert annotation.unseen.mass == pytest.approx(share)
    assert np.isnan(adata.varm["longtail"][0]).all()
    assert np.isfinite(adata.varm["longtail"][1:]).all()
    assert adata.uns["longtail"]["annotation"]["unseen"]["genes"] == 1


def test_layers_keys_and_empty_cells(model):
    adata = cells(30, seed=1)
    counts = adata.X.toarray()
    counts[4] = 0
    adata.layers["counts"] = sp.csr_matrix(counts)
    adata.X = np.log1p(adata.X)
    with pytest.raises(DataError, match="normalised"):
        lt.annotate(model, adata)
    annotation = lt.annotate(
        model, adata, layer="counts", key="X_nb", refine_steps=0, seed=3, samples=60
    )
    assert annotation.empty_cells == 1
    assert set(adata.obsm) == {"X_nb", "X_nb_scale"}
    np.testing.assert_array_equal(adata.obsm["X_nb"][4], 0)
    assert set(adata.varm) == {"nb"}
    assert adata.uns["nb"]["layer"] == "counts"
    assert adata.uns["nb"]["refine_steps"] == 0
    assert adata.uns["nb"]["seed"] == 3


def test_a_model_without_names_goes_by_position():
    X = topic_counts(40, len(GENES), tokens=40)
    model = lt.NonlinearFactorAnalysis(K, n_hidden=8, epochs=1, random_state=0, device="cpu")
    adata = cells(30, seed=1)
    with pytest.warns(DataWarning, match="rows have feature names .* matched by position"):
        annotation = lt.annotate(model.fit(X), adata, refine_steps=0, samples=60)
    assert annotation.genes == 20
    assert np.isfinite(adata.varm["longtail"]).all()
    with pytest.raises(DataError, match="Expected 20 features, but these rows have 19"):
        lt.annotate(model, adata[:, :19].copy())


def test_what_cannot_be_annotated(model, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="Expected AnnData, but got a ndarray"):
        lt.annotate(model, np.eye(20))
    with pytest.raises(NotFittedError):
        lt.annotate(lt.NonlinearFactorAnalysis(), cells())
    for key in ("", "X_", "a/b", None):
        with pytest.raises(ParameterError, match="key must be a name"):
            lt.annotate(model, cells(), key=key)
    with pytest.raises(DataError, match=r"AnnData file \(.h5ad\), but the data are '.*x.mtx'"):
        read_anndata(tmp_path / "x.mtx")
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'longtail\[cells\]'"):
        read_anndata(tmp_path / "x.h5ad")


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_repeated_genes_are_numbered_and_each_has_its_own_vector(model):
    adata = cells(10, seed=1)
    adata.var_names = ["gene0", "gene0", *GENES[2:]]
    with pytest.warns(DataWarning) as told:
        annotation = lt.annotate(model, adata, refine_steps=0, samples=20)
    messages = [str(warning.message) for warning in told]
    assert any("1 of 20 genes of this AnnData" in message for message in messages)
    assert annotation.genes == 19
    vectors = adata.varm["longtail"]
    assert np.isfinite(vectors[0]).all()
    assert np.isnan(vectors[1]).all()  # gene0-1 is not gene0


def test_the_counts_of_raw_are_annotated(model):
    adata = cells(10, seed=1)
    expected = model.posterior(adata, refine_steps=0).mean
    adata.raw = adata.copy()
    adata.X = np.log1p(adata.X)
    fewer = adata[:, 3:].copy()  # raw keeps all genes
    with pytest.raises(DataError, match=r"Whole numbers are in 'raw': pass layer='raw'"):
        lt.annotate(model, fewer)
    annotation = lt.annotate(model, fewer, layer="raw", refine_steps=0, samples=20)
    np.testing.assert_array_equal(fewer.obsm["X_longtail"], expected)
    assert fewer.varm["longtail"].shape == (17, K)
    assert annotation.genes == 17


def test_genes_without_names_have_no_place_among_fewer():
    counts = topic_counts(40, len(GENES), tokens=40)
    bare = lt.NonlinearFactorAnalysis(K, n_hidden=8, epochs=1, random_state=0, device="cpu")
    adata = cells(10, seed=1)
    adata.raw = adata.copy()
    bare.fit(counts)
    with (
        pytest.warns(DataWarning, match="columns are matched by position"),
        pytest.raises(DataError, match="20 genes without names, but var has 17"),
    ):
        lt.annotate(bare, adata[:, 3:].copy(), layer="raw", samples=20)
