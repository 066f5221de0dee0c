"""Products with an averaged Jacobian that is never formed.

E[J(z)] over S points is V×K, and its probabilities cost S·V·H·K. What is asked of it in a context
is less: some of its rows, and its product with one vector q. With

    J_v = left_v J_a,v − right_v Σ_u mix_u J_a,u,    J_a = W J_h,

(see `closed_form`) a row needs one row of W, and the product needs J_h q, an H-vector at each
point:

    E[J] q = E[left ∘ W (J_h q) − right · (mixᵀ W J_h q)].

That is K times cheaper, and exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from longtail.errors import ParameterError
from longtail.introspection.closed_form import JacobianKind
from longtail.model import GenerativeModel

__all__ = ["JacobianProducts"]

Array = npt.NDArray[np.float32]


class JacobianProducts:
    """The averaged Jacobian over a few points, as an operator.

    Parameters
    ----------
    generative
        Decoder and likelihood.
    points
        z: (S, K), of equal weight. S·H·K and S·V numbers are held.
    of
        What is differentiated; see `longtail.jacobian`.
    """

    @torch.no_grad()
    def __init__(self, generative: GenerativeModel, points: Array, of: JacobianKind) -> None:
        if points.ndim != 2 or len(points) == 0:
            raise ParameterError(f"points must be of shape (S, K), S ≥ 1; got {points.shape}.")
        decoder = generative.decoder
        self._weight: torch.Tensor = decoder.weight
        z = torch.from_numpy(np.ascontiguousarray(points)).to(self._weight)
        self._hidden, h = decoder.hidden_jacobian(z)
        terms = generative.likelihood.jacobian_terms(F.linear(h, self._weight, decoder.bias), of)
        self._left, self._right = terms.left, terms.right
        mixed = (terms.mix @ self._weight)[:, None, :]
        self._mixed = torch.bmm(mixed, self._hidden).squeeze(1)  # (S, K)

    @torch.no_grad()
    def rows(self, columns: Sequence[int]) -> Array:
        """E[J] of these features: (n, K)."""
        chosen = torch.as_tensor(columns, dtype=torch.int64, device=self._weight.device)
        own, left = self._weight[chosen], self._left[:, chosen]
        # Σ_s left_s,v W_v J_h,s, one point at a time: (n, H) @ (H, K).
        total = -(self._right[:, chosen].T @ self._mixed)
        for at_point, j_h in zip(left, self._hidden, strict=True):
            total += at_point[:, None] * (own @ j_h)
        result: Array = (total / len(left)).cpu().numpy()
        return result

    @torch.no_grad()
    def times(self, vector: Array) -> Array:
        """E[J] q of all features: (K,) → (V,)."""
        q = torch.from_numpy(vector).to(self._weight)
        effect = F.linear(self._hidden @ q, self._weight)  # (S, V)
        total = self._left * effect - self._right * (self._mixed @ q)[:, None]
        result: Array = total.mean(0).cpu().numpy()
        return result
