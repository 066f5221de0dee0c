"""Links of a network, scored from both their ends.

In a network items are rows too. A link between i and j is told of by i's neighbours and by j's,

    s_ij = log p(j | z_i) + log p(i | z_j),

and neither direction knows what the other does: i may have few neighbours, and j many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longtail.data import CountMatrix
from longtail.errors import DataError
from longtail.estimator.scores import PredictiveScores
from longtail.evaluation.topk import NOTHING, row_chunks

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["LinkScores", "items_of"]

Array = npt.NDArray[np.float32]


class LinkScores:
    """log p(item | row) + log p(row | item) of all items for a slice of the rows.

    Items without a row in the network, or with an empty one, are taken as rows without history:
    they have every neighbour as often as it has neighbours in training.

    Parameters
    ----------
    scores
        Of the first term.
    model
        Fitted.
    rows, network
        Rows whose links are scored, and the items' own, aligned with the model's vocabulary.
    own, items
        Which item each of these rows is, or -1: see `items_of`.
    refine_steps, seed
        As for the model's `posterior`.

    Raises
    ------
    DataError
        If a row is no item, or no item has a row.
    """

    def __init__(
        self,
        scores: PredictiveScores,
        model: NonlinearFactorAnalysis,
        rows: CountMatrix,
        own: npt.NDArray[np.int64],
        network: CountMatrix,
        items: npt.NDArray[np.int64],
        refine_steps: int | None,
        seed: int | None,
    ) -> None:
        self.scores = scores
        self.empty = scores.empty
        self.own = own
        unknown = np.flatnonzero(own == NOTHING)
        if len(unknown):
            raise DataError(
                f"In a network every row is an item too, but {len(unknown):,} of {rows.n_rows:,} "
                f"rows are none; the first is {rows.row_ids[int(unknown[0])]!r}. Give rows whose "
                "ids are names of features, such as read_counts(..., symmetric=True) makes."
            )
        is_item = items != NOTHING
        if not is_item.any():
            raise DataError(
                f"None of the {network.n_rows:,} rows of the network is called like a feature of "
                f"the model, such as {model.vocabulary_.names[0]!r}. Give the rows of the items."
            )
        latent = np.zeros((len(model.vocabulary_), scores.mean.shape[1]), dtype=np.float32)
        posterior = model.posterior(network, refine_steps=refine_steps, seed=seed)
        latent[items[is_item]] = posterior.mean[is_item]
        self.silent = np.ones(len(latent), dtype=bool)
        self.silent[items[is_item]] = network.totals[is_item] == 0
        self._prepare(latent)

    @torch.no_grad()
    def _prepare(self, latent: Array) -> None:
        """Hidden layers and normalisers of all items; their (V, V) logits are never held."""
        generative = self.scores.generative
        z = torch.from_numpy(latent).to(generative.decoder.bias)
        self.hidden = generative.decoder.hidden(z)
        n = len(latent)
        self.normalizer = torch.empty(n).to(self.hidden)
        for some in row_chunks(n, n):
            log_mean = self._log_mean(self.hidden[some])
            self.normalizer[some] = torch.logsumexp(log_mean, 1)

    def _log_mean(self, hidden: Tensor, columns: Any = slice(None)) -> Tensor:
        decoder = self.scores.generative.decoder
        logits = torch.addmm(decoder.bias[columns], hidden, decoder.weight[columns].T)
        return self.scores.generative.likelihood.log_mean(logits)

    @torch.no_grad()
    def __call__(self, rows: slice) -> Array:
        """(B, V), nats; −inf of a row with itself."""
        own = self.own[rows]
        backward = self._log_mean(self.hidden, torch.from_numpy(own)) - self.normalizer[:, None]
        backward[torch.from_numpy(self.silent)] = torch.from_numpy(self.scores.unigram[own]).to(
            backward
        )
        total: Array = self.scores(rows) + backward.T.cpu().numpy()
        total[np.arange(len(own)), own] = -np.inf
        return total


def items_of(X: Any, aligned: CountMatrix) -> npt.NDArray[np.int64]:
    """The column of the item that each row is, by its id; -1 for none.

    `aligned` are the rows over the model's vocabulary. Where that has no names, columns are told
    by those of X, if it has any, and otherwise by their numbers.
    """
    named_here = isinstance(X, CountMatrix) and not aligned.vocabulary.named
    vocabulary = X.vocabulary if named_here else aligned.vocabulary
    return vocabulary.codes([str(row_id) for row_id in aligned.row_ids])
