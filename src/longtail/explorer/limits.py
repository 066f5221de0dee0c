"""What one request may ask for. `/api/model` tells them, and errors name them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds of every request.

    Attributes
    ----------
    body_bytes
        Length of a request's body.
    rows, features, text
        Rows a request; features a row; characters a text.
    name
        Characters of a feature's name.
    refine_steps, samples
        M and S.
    neighbors, contexts, context_features
        k; contexts a request; features a context.
    listed
        Features, items, rows or directions in any other list.
    reasons
        Own items that speak for a recommendation.
    walk_steps
        Points along a direction.
    prefix
        Characters of a search.
    waiting_rows
        Rows of all requests that may wait to be refined; further requests are told to come back.
    waiting_requests
        Requests that may wait for other computations.
    batch_rows
        Rows refined together.
    """

    body_bytes: int = 1_000_000
    rows: int = 32
    features: int = 2_000
    text: int = 100_000
    name: int = 20_000
    refine_steps: int = 200
    samples: int = 100
    neighbors: int = 100
    contexts: int = 8
    context_features: int = 30
    listed: int = 100
    reasons: int = 10
    walk_steps: int = 61
    prefix: int = 200
    waiting_rows: int = 256
    waiting_requests: int = 64
    batch_rows: int = 64

    def to_dict(self) -> dict[str, int]:
        """Names and values."""
        return asdict(self)


LIMITS = Limits()
