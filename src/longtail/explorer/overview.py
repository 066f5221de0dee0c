"""What is computed once: embeddings, the Jacobian, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from longtail.estimator import NonlinearFactorAnalysis
from longtail.explorer.rows import PlacedRows
from longtail.introspection import Directions, Embeddings, Spectrum, embeddings, jacobian
from longtail.introspection.latent_directions import RowsView, directions_of
from longtail.introspection.spectra import from_jacobian, typical_row, verdict

__all__ = ["Overview"]

Progress = Callable[[str, int, int], None]
_SAMPLES = 200
_WORDS = 12


class Overview:
    """Embeddings, spectrum and directions of a model.

    Parameters
    ----------
    model
        Fitted.
    samples, seed
        Draws of z that the Jacobian is averaged over, and their seed.
    progress
        Called with (stage, done, in all).
    """

    def __init__(
        self,
        model: NonlinearFactorAnalysis,
        *,
        samples: int = _SAMPLES,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        def report(stage: str) -> Callable[[int, int], None] | None:
            return None if progress is None else partial(progress, stage)

        self.model = model
        self.embeddings: Embeddings = embeddings(
            model, samples=5 * samples, seed=seed, progress=report("embeddings")
        )
        self.jacobian = jacobian(
            model, "root_probabilities", samples=samples, seed=seed, progress=report("spectrum")
        )
        self.exposure, self.unit = typical_row(model)
        self._read(None)

    def add_rows(self, rows: PlacedRows) -> None:
        """Read the directions again, with what placed rows say of them."""
        self._read(rows)

    def _read(self, rows: PlacedRows | None) -> None:
        posterior = None if rows is None else rows.posterior
        view: RowsView | None = None if rows is None else rows.view()
        k = self.jacobian.matrix.shape[1]
        spectrum: Spectrum = from_jacobian(self.jacobian, posterior, self.exposure, self.unit)
        found: Directions = directions_of(self.jacobian, self.model, view, words=_WORDS)
        dimensions = directions_of(
            self.jacobian, self.model, view, top=k, words=_WORDS, by="dimension"
        )
        # Set together, at the end: requests are answered meanwhile.
        self.spectrum, self.directions = spectrum, found
        self.axes = np.array([d.vector for d in found.items])
        self.dimensions = {int(np.argmax(np.abs(d.vector))): d for d in dimensions.items}
        self.advice = verdict(spectrum, self.model)
        self.knows_rows = rows is not None
