"""Rows of data placed in latent space, some at a time, so that requests are served meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from longtail.data import CountMatrix
from longtail.estimator import NonlinearFactorAnalysis, Posterior
from longtail.explorer.refining import RefineHow, refine_rows
from longtail.introspection.latent_directions import RowsView
from longtail.introspection.neighbors import NearestRows

__all__ = ["PlacedRows"]

_MOST_ROWS = 20_000  # a sample of more says as much and takes longer
_PART = 64
_SHOWN = 8


class PlacedRows:
    """Rows with their posteriors.

    Parameters
    ----------
    model
        Fitted.
    counts
        Over the model's vocabulary. Empty rows are left out; of very many, some are drawn.
    """

    def __init__(self, model: NonlinearFactorAnalysis, counts: CountMatrix, seed: int = 0) -> None:
        kept, self.dropped = counts.drop_empty()
        if kept.n_rows > _MOST_ROWS:
            chosen = np.random.default_rng(seed).permutation(kept.n_rows)[:_MOST_ROWS]
            kept = kept[np.sort(chosen)]
        self.model = model
        self.counts = kept
        self._positions = {row_id: i for i, row_id in enumerate(kept.row_ids)}
        self.done = 0
        shape = (kept.n_rows, model.network_.generative.decoder.n_components)
        self._mean = np.zeros(shape, dtype=np.float32)
        self._scale = np.ones(shape, dtype=np.float32)
        self._nearest: NearestRows | None = None

    @property
    def total(self) -> int:
        """How many rows there are to place."""
        return self.counts.n_rows

    @property
    def ready(self) -> bool:
        """Whether all are placed."""
        return self._nearest is not None

    def place_some(self) -> None:
        """Place the next few rows."""
        part = slice(self.done, min(self.done + _PART, self.total))
        how = RefineHow(self.model.eval_refine_steps)
        found = refine_rows(self.model, self.counts[part], how)
        self._mean[part], self._scale[part] = found.mean, found.scale
        self.done = part.stop
        if self.done == self.total:
            self._nearest = NearestRows(self._mean, "cosine")

    @property
    def posterior(self) -> Posterior:
        """Of all rows, once they are ready."""
        return Posterior(self._mean, self._scale)

    def view(self) -> RowsView:
        """The rows as `directions` reads them."""
        return RowsView(self.counts, self._mean)

    def nearest(self, mean: npt.NDArray[np.float32], k: int) -> list[tuple[int, float]] | None:
        """Positions and cosines of the rows nearest to a posterior mean (K,); None until ready."""
        if self._nearest is None:
            return None
        if k == 0:
            return []
        found, similarity = self._nearest.search(mean[None], k)
        return [(int(i), float(s)) for i, s in zip(found[0], similarity[0], strict=True)]

    def furthest(self, dimension: int, sign: int, n: int) -> list[tuple[int, float]]:
        """Positions and places of the rows furthest along one latent dimension."""
        places = self._mean[:, dimension]
        order = np.argsort(-sign * places, kind="stable")[:n]
        return [(int(i), float(places[i])) for i in order]

    def row_id(self, position: int) -> Any:
        """What the row is called."""
        return self.counts.row_ids[position]

    def position(self, row_id: Any) -> int:
        """Where the row of this id is."""
        return self._positions[row_id]

    def features(self, position: int) -> list[tuple[str, float]]:
        """The row's features that say most about it: surprising counts first."""
        begin, end = self.counts.csr.indptr[position : position + 2]
        columns = self.counts.csr.indices[begin:end]
        values = self.counts.csr.data[begin:end]
        # By surprise under the training frequencies: a frequent feature tells little of a row.
        told = -values * np.log(self.model.unigram_[columns])
        order = np.argsort(-told, kind="stable")[:_SHOWN]
        names = self.counts.vocabulary
        return [(names[int(columns[i])], float(values[i])) for i in order]
