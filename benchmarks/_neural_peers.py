"""Topic models of other packages that are fitted by inference networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array, csr_matrix

import longtail as lt
from benchmarks._lda import Halves, row_of_entry

_CHUNK = 500


@dataclasses.dataclass
class NeuralPeer:
    """A fitted model.

    Attributes
    ----------
    probabilities
        Of every feature for each of a few rows (n, V), by the rows' counts.
    bound
        Perplexity per token of whole rows by its own bound.
    """

    probabilities: Callable[[csr_array], npt.NDArray[np.float64]]
    bound: Callable[[lt.CountMatrix], float]

    def complete(self, halves: Halves) -> float:
        """Perplexity per held-out token."""
        parts = []
        for start in range(0, halves.observed.shape[0], _CHUNK):
            part = slice(start, start + _CHUNK)
            target = halves.held_out[part]
            p = self.probabilities(halves.observed[part])
            parts.append(p[row_of_entry(target), target.indices])
        return halves.by_probabilities(np.concatenate(parts))


def prod_lda(train: lt.CountMatrix, n_topics: int, seed: int, epochs: int) -> NeuralPeer:
    """ProdLDA (Srivastava and Sutton 2017) by topmost, with its own settings."""
    from topmost.models import ProdLDA
    from topmost.trainers import BasicTrainer

    torch.manual_seed(seed)
    dense = torch.from_numpy(train.csr.toarray().astype(np.float32))
    model = ProdLDA(train.n_features, num_topics=n_topics)

    class Rows:
        train_data = dense
        train_dataloader = torch.utils.data.DataLoader(dense, batch_size=200, shuffle=True)
        vocab = train.vocabulary.names

    BasicTrainer(model, Rows(), epochs=epochs).train()
    model.eval()

    def tensor(rows: csr_array) -> torch.Tensor:
        return torch.from_numpy(rows.toarray().astype(np.float32))

    @torch.no_grad()
    def probabilities(rows: csr_array) -> npt.NDArray[np.float64]:
        p = model.decode(model.get_theta(tensor(rows)))
        return p.numpy().astype(np.float64)

    @torch.no_grad()
    def bound(rows: lt.CountMatrix) -> float:
        torch.manual_seed(seed)
        nats = 0.0
        for start in range(0, rows.n_rows, _CHUNK):
            x = tensor(rows.csr[start : start + _CHUNK])
            mean, log_var = model.encode(x)
            for _ in range(20):
                z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
                p = model.decode(torch.softmax(z, 1))
                nats += float(model.loss_function(x, p, mean, log_var)) * len(x) / 20
        return float(np.exp(nats / rows.csr.sum()))

    return NeuralPeer(probabilities, bound)


def amortized_lda(train: lt.CountMatrix, n_topics: int, seed: int, epochs: int) -> NeuralPeer:
    """LDA with an inference network by scvi-tools, with its own settings."""
    import anndata
    import scvi

    scvi.settings.seed = seed
    Model: Any = scvi.model.AmortizedLDA

    def table(rows: csr_array) -> anndata.AnnData:
        return anndata.AnnData(csr_matrix(rows.astype(np.float32)))

    rows = table(train.csr)
    Model.setup_anndata(rows)
    model = Model(rows, n_topics=n_topics)
    model.train(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False)
    phi = model.get_feature_by_topic().to_numpy().T  # (K, V)
    phi = phi / phi.sum(1, keepdims=True)

    def probabilities(rows: csr_array) -> npt.NDArray[np.float64]:
        theta = model.get_latent_representation(table(rows)).to_numpy()
        return np.asarray(theta @ phi, dtype=np.float64)

    def bound(rows: lt.CountMatrix) -> float:
        return float(model.get_perplexity(table(rows.csr)))

    return NeuralPeer(probabilities, bound)


NEURAL = {"ProdLDA": prod_lda, "AmortizedLDA": amortized_lda}
