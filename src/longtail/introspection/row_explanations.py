"""Which latent directions explain a row, and through which of its features.

Feature v of a row, with count x_v, is x_v [log p_v(μ) − log p_v(0)] nats more probable at the row's
posterior mean μ than at the prior's mean. Along the straight line from 0 to μ that divides among
orthogonal directions u_j, μ = Σ_j t_j u_j (integrated gradients, Sundararajan et al. 2017):

    share of v and j = x_v t_j ∫₀¹ ∂ log p_v(s μ) / ∂u_j ds.

Over a complete set of directions the shares of a feature sum to its rise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from longtail.errors import ParameterError
from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["direction_shares"]

Array = npt.NDArray[np.float64]


@torch.no_grad()
def direction_shares(
    model: NonlinearFactorAnalysis,
    mean: npt.ArrayLike,
    features: Sequence[int],
    counts: npt.ArrayLike,
    axes: npt.ArrayLike,
    *,
    points: int = 16,
) -> Array:
    """Nats that each direction gives to each feature of a row.

    Parameters
    ----------
    mean
        μ: (K,).
    features, counts
        Columns of the row's m features, and their counts.
    axes
        Orthonormal directions: (L, K), L ≤ K.
    points
        On the line from 0 to μ; the midpoint rule.

    Returns
    -------
    ndarray of shape (m, L)

    Raises
    ------
    ParameterError
        If the directions are not orthonormal.
    """
    generative = model.network_.generative
    decoder = generative.decoder
    weight: torch.Tensor = decoder.weight
    mu = torch.as_tensor(np.asarray(mean)).to(weight)
    u = torch.as_tensor(np.asarray(axes)).to(weight)
    if not torch.allclose(u @ u.T, torch.eye(len(u)).to(u), atol=1e-3):
        raise ParameterError("axes must be orthonormal, one a row.")
    steps = (torch.arange(points, dtype=mu.dtype, device=mu.device) + 0.5) / points
    j_h, h = decoder.hidden_jacobian(steps[:, None] * mu)
    logits = F.linear(h, weight, decoder.bias)
    terms = generative.likelihood.jacobian_terms(logits, "log_probabilities")
    along = torch.matmul(j_h, u.T)  # (S, H, L)
    mixed = torch.bmm((terms.mix @ weight)[:, None, :], along)  # (S, 1, L)
    chosen = torch.as_tensor(features, dtype=torch.int64, device=mu.device)
    left, right = terms.left[:, chosen, None], terms.right[:, chosen, None]
    slope = (left * torch.matmul(weight[chosen], along) - right * mixed).mean(0)
    shares: Array = (slope * (u @ mu)).double().cpu().numpy()
    return shares * np.asarray(counts, dtype=np.float64)[:, None]
