"""Pictures of neighbours, turned so that a feature that stays near hardly moves.

A picture is the plane of the two principal components of the directions from the asked feature to
its neighbours. Components have no sign or order of their own, so each context's picture is turned
or mirrored onto the picture without a context (orthogonal Procrustes, Schönemann 1966): that one
has a place for every feature, so any two contexts can be laid over each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from longtail.introspection.neighbors import unit

__all__ = ["Layout"]

Array = npt.NDArray[np.float64]


class Layout:
    """The picture around one feature, without a context; and other pictures turned to it.

    Parameters
    ----------
    own
        The feature's vector: (K,).
    around
        The vectors of its neighbours: (n, K).
    """

    def __init__(self, own: npt.NDArray[np.float32], around: npt.NDArray[np.float32]) -> None:
        self._own = own
        self._plane = _plane(_away(own, around))

    def places(self, vectors: npt.NDArray[np.float32]) -> Array:
        """Where features lie in the picture without a context: (n, K) → (n, 2)."""
        return _scaled(_away(self._own, vectors) @ self._plane)

    def turned(
        self,
        own: npt.NDArray[np.float32],
        vectors: npt.NDArray[np.float32],
        reference: npt.NDArray[np.float32],
    ) -> Array:
        """Where features lie in a context: (n, 2).

        Parameters
        ----------
        own, vectors
            Of the feature and of the n others, in the context.
        reference
            Of the same others without a context.
        """
        away = _away(own, vectors)
        flat = away @ _plane(away)
        u, _, vt = np.linalg.svd(flat.T @ self.places(reference))
        return _scaled(flat @ (u @ vt))


def _away(own: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32]) -> Array:
    """From one direction to others, on the unit sphere."""
    difference: Array = (unit(vectors) - unit(own[None])).astype(np.float64)
    return difference


def _plane(away: Array) -> Array:
    """The two directions that show most of the differences: (K, 2)."""
    k = away.shape[1]
    plane = np.zeros((k, 2))
    if len(away) == 0:
        return plane
    _, _, v = np.linalg.svd(away - away.mean(0), full_matrices=False)
    plane[:, : min(2, len(v))] = v[:2].T
    # An arbitrary sign, but always the same one.
    largest = np.abs(plane).argmax(0)
    plane *= np.where(plane[largest, [0, 1]] < 0, -1, 1)
    return plane


def _scaled(places: Array) -> Array:
    """Within the unit circle."""
    furthest = np.linalg.norm(places, axis=1).max(initial=0)
    return places / furthest if furthest > 0 else places
