"""Single cells: their split, a density that all programs share, and what scVI says of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array, csr_matrix
from torch import Tensor

import longtail as lt
from benchmarks.rows import data_file
from longtail.estimator.network import unigram_frequencies
from longtail.model.likelihoods import marginal_log_dispersion

FILE = "worm_neuron_cells.h5"
LEAST_CELLS = 10
NEIGHBORS = 15
_ROWS_AT_A_TIME = 2_000  # draws × cells whose densities over all genes are held at once

Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Cells:
    """Cells split at random, over the genes that enough training cells express.

    Attributes
    ----------
    train, valid, test
        Counts; exact duplicates of a cell are on one side.
    types
        Cell type of each cell, by its row id.
    """

    train: lt.CountMatrix
    valid: lt.CountMatrix
    test: lt.CountMatrix
    types: dict[str, int]

    def types_of(self, cells: lt.CountMatrix) -> npt.NDArray[np.int64]:
        """The cell types in the cells' order: (n,)."""
        return np.array([self.types[cell] for cell in cells.row_ids])


def read_cells(seed: int) -> Cells:
    """Read the cells, split them 80/10/10, and keep genes of at least ten training cells."""
    import h5py

    with h5py.File(data_file(FILE), "r") as file:
        matrix, types = csr_array(file["X"][()]), file["Y"][()].astype(np.int64)
    names = [f"cell{i}" for i in range(len(types))]
    genes = [f"gene{i}" for i in range(matrix.shape[1])]
    counts = lt.CountMatrix.from_any(matrix, vocabulary=genes, row_ids=names)
    train, *others = lt.split_rows(counts, [0.1, 0.1], seed=seed)
    expressed = np.bincount(train.csr.indices, minlength=train.n_features)
    kept = lt.Vocabulary([genes[i] for i in np.flatnonzero(expressed >= LEAST_CELLS)])
    train, valid, test = (part.align(kept)[0] for part in (train, *others))
    return Cells(train, valid, test, dict(zip(names, types.tolist(), strict=True)))


def log_prob(x: Tensor, mean: Tensor, r: Tensor) -> Tensor:
    """log of the negative binomial density of each row, constants included.

        Σ_v −r ln(1 + μ/r) + Σ_{v: x>0} lnΓ(x+r) − lnΓ(r) − ln x! + x (ln μ − ln(r+μ))

    Parameters
    ----------
    x
        Counts, (n, V).
    mean
        μ, for S draws: (S, n, V).
    r
        (V,).

    Returns
    -------
    Tensor
        (S, n), float64.
    """
    row, gene = x.nonzero(as_tuple=True)
    count, mu, at = x[row, gene].double(), mean[:, row, gene].double(), r[gene].double()
    terms = torch.lgamma(count + at) - torch.lgamma(at) - torch.lgamma(count + 1)
    terms = terms + count * (mu.log() - (at + mu).log())
    found = -(r * torch.log1p(mean / r)).sum(-1, dtype=torch.float64)
    return found.index_add(1, row, terms)


def accuracy(train: Array, test: Array, cells: Cells) -> float:
    """Share of test cells whose nearest training cells have their type."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(NEIGHBORS).fit(train, cells.types_of(cells.train))
    return float(classifier.score(test, cells.types_of(cells.test)))


def principal_components(cells: Cells, n_components: int, seed: int) -> tuple[Array, Array]:
    """Training and test cells in the principal components of log1p of size-normalised counts."""
    from sklearn.decomposition import PCA

    size = float(np.median(cells.train.totals))

    def normalised(rows: lt.CountMatrix) -> Array:
        dense: Array = rows.csr.toarray().astype(np.float64)
        return np.log1p(dense * (size / rows.totals)[:, None])

    pca = PCA(n_components, random_state=seed).fit(normalised(cells.train))
    return pca.transform(normalised(cells.train)), pca.transform(normalised(cells.test))


def disagreement(model: lt.NonlinearFactorAnalysis, rows: lt.CountMatrix) -> float:
    """Largest relative difference of our density from `log_prob` at the same means: no unit."""
    from longtail.ops import SparseRows

    generative = model.network_.generative
    z = torch.from_numpy(model.transform(rows))
    x = SparseRows.from_scipy(rows.csr)
    mean = generative.likelihood.mean(generative.decoder(z), x.totals())
    r = generative.likelihood.log_dispersion.exp()
    shared = log_prob(torch.from_numpy(rows.csr.toarray()), mean[None], r)[0]
    return _relative(generative.log_likelihood(z, x), shared)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float(((found.double() - expected) / expected).abs().max())


# --- scVI ----------------------------------------------------------------------------------------


def fit_scvi(
    cells: Cells,
    n_components: int,
    seed: int,
    *,
    marginal_start: bool = False,
    warmup: int | None = None,
) -> Any:
    """scVI with its own defaults, a negative binomial of the observed library size, and stopping.

    It stops by the validation cells; up to the number of epochs that it chooses itself.

    Parameters
    ----------
    marginal_start
        Start the dispersions where this library does, not at random.
    warmup
        Epochs in which the weight of the KL rises; None: scVI's own, 400.
    """
    import anndata
    import scvi

    scvi.settings.seed = seed
    n, n_valid = cells.train.n_rows, cells.valid.n_rows
    both = csr_matrix(np.concatenate([cells.train.csr.toarray(), cells.valid.csr.toarray()]))
    table = anndata.AnnData(both.astype(np.float32))
    scvi.model.SCVI.setup_anndata(table)
    model = scvi.model.SCVI(table, n_latent=n_components, gene_likelihood="nb", dispersion="gene")
    if marginal_start:
        unigram = unigram_frequencies(cells.train.csr)
        start = marginal_log_dispersion(cells.train.csr, unigram, cells.train.totals)
        model.module.px_r.data.copy_(torch.from_numpy(start))
    parts = [np.arange(n), np.arange(n, n + n_valid), np.array([], dtype=np.int64)]
    model.train(
        accelerator="cpu",
        early_stopping=True,
        datasplitter_kwargs={"external_indexing": parts},
        plan_kwargs={} if warmup is None else {"n_epochs_kl_warmup": warmup},
        enable_progress_bar=False,
    )
    return model


@torch.inference_mode()
def scvi_means(model: Any, rows: lt.CountMatrix) -> Array:
    """Posterior means of rows: (n, K)."""
    module = model.module.eval()
    return np.concatenate([_encode(module, x).mean.numpy() for x in _dense(rows, 500)])


@dataclasses.dataclass(frozen=True)
class ScviBounds:
    """Bounds of each row, nats; (n,).

    Attributes
    ----------
    elbo, iw
        The ELBO, and the importance-weighted bound of the same draws.
    disagreement
        Largest relative difference of scVI's density from `log_prob`: no unit.
    """

    elbo: Array
    iw: Array
    disagreement: float


@torch.inference_mode()
def scvi_bounds(model: Any, rows: lt.CountMatrix, samples: int, seed: int) -> ScviBounds:
    """Score rows with draws from scVI's own posterior; the library size is the row's total.

    The same as its `get_marginal_ll`, which has an observed library size too and leaves no
    constant out, but with the shared density in double precision, and row by row.
    """
    torch.manual_seed(seed)
    module = model.module.eval()
    prior = torch.distributions.Normal(0.0, 1.0)
    elbo, iw, first = [], [], math.nan
    for x in _dense(rows, max(1, _ROWS_AT_A_TIME // samples)):
        q = _encode(module, x)
        z = q.sample((samples,))  # (S, n, K)
        px = module.generative(
            z=z.flatten(0, 1),
            library=x.sum(1).log().repeat(samples)[:, None],
            batch_index=torch.zeros(samples * len(x), 1),
        )["px"]
        log_p = log_prob(x, px.mu.unflatten(0, (samples, len(x))), module.px_r.exp())
        if not elbo:
            # In single precision θ ln(θ/(θ+μ)) loses its digits where θ is large.
            exact = type(px)(mu=px.mu.double(), theta=px.theta.double())
            own = exact.log_prob(x.double().repeat(samples, 1)).sum(-1).view(samples, -1)
            first = _relative(own, log_p)
        log_w = log_p + (prior.log_prob(z) - q.log_prob(z)).double().sum(-1)
        iw.append(torch.logsumexp(log_w, 0) - math.log(samples))
        kl = torch.distributions.kl_divergence(q, prior).double().sum(-1)
        elbo.append(log_p.mean(0) - kl)
    return ScviBounds(torch.cat(elbo).numpy(), torch.cat(iw).numpy(), first)


def _encode(module: Any, x: Tensor) -> torch.distributions.Normal:
    posterior: torch.distributions.Normal = module.inference(x, torch.zeros(len(x), 1))["qz"]
    return posterior


def _dense(rows: lt.CountMatrix, at_a_time: int) -> list[Tensor]:
    return [
        torch.from_numpy(rows.csr[start : start + at_a_time].toarray().astype(np.float32))
        for start in range(0, rows.n_rows, at_a_time)
    ]
