"""The decoder: from a latent vector to the last hidden layer and the logits.

    h(z) = ReLU(W_L ⋯ ReLU(W_1 z + c_1) ⋯ + c_L),    a(z) = W h(z) + b.

L = 0 hidden layers means h(z) = z: the log-linear model. The optional linear skip
a(z) = W h(z) + W_lin z + b is one output layer over the concatenation [h(z); z].
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """An MLP with `n_layers` ReLU layers and a linear output layer.

    Parameters
    ----------
    n_components
        K, latent dimensions.
    n_features
        V, observed features.
    n_layers
        L ≥ 0, hidden layers.
    n_hidden
        H, width of each hidden layer.
    skip
        Add the linear skip W_lin z.
    bias
        Start of the output bias, (V,); zeros if not given.
    """

    def __init__(
        self,
        n_components: int,
        n_features: int,
        *,
        n_layers: int,
        n_hidden: int,
        skip: bool = False,
        bias: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_components = n_components
        self.skip = skip and n_layers > 0
        widths = [n_components] + [n_hidden] * n_layers
        self.hidden_layers = nn.ModuleList(
            nn.Linear(a, b, dtype=torch.float32) for a, b in pairwise(widths)
        )
        n_out = widths[-1] + (n_components if self.skip else 0)
        self.weight = nn.Parameter(torch.empty(n_features, n_out, dtype=torch.float32))
        start = torch.zeros(n_features, dtype=torch.float32) if bias is None else bias.clone()
        self.bias = nn.Parameter(start)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        for layer in self.hidden_layers:
            assert isinstance(layer, nn.Linear)
            # He et al. 2015: keeps the variance of activations through ReLU layers.
            std = math.sqrt(2 / layer.in_features)
            layer.weight.normal_(0, std, generator=generator)
            layer.bias.zero_()
        # Small at the start: the model begins at the logits of its bias.
        self.weight.normal_(0, 0.1 / math.sqrt(self.weight.shape[1]), generator=generator)

    def hidden(self, z: Tensor, *, frozen: bool = False) -> Tensor:
        """What the output layer sees: h(z), or [h(z); z] with a skip. (B, K) → (B, H).

        With `frozen`, gradients reach z but not the parameters.
        """
        h = z
        for layer in self.hidden_layers:
            assert isinstance(layer, nn.Linear)
            w, c = layer.weight, layer.bias
            h = torch.relu(F.linear(h, *((w.detach(), c.detach()) if frozen else (w, c))))
        return torch.cat([h, z], dim=-1) if self.skip else h

    def hidden_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """J_h = ∂h/∂z, a product of masked weight matrices, and h, of what the output layer sees.

        Parameters
        ----------
        z
            (n, K).

        Returns
        -------
        jacobian, hidden
            (n, H, K) and (n, H); with a skip, H counts the K linear units too. A unit exactly at
            0 has derivative 0, as in automatic differentiation.
        """
        n, k = z.shape
        h = z
        identity = torch.eye(k, dtype=z.dtype, device=z.device).expand(n, k, k)
        j = identity
        for depth, layer in enumerate(self.hidden_layers):
            assert isinstance(layer, nn.Linear)
            before = F.linear(h, layer.weight, layer.bias)
            j = layer.weight.expand(n, -1, -1) if depth == 0 else torch.matmul(layer.weight, j)
            j = j * (before > 0)[:, :, None]
            h = torch.relu(before)
        if self.skip:
            return torch.cat([j, identity], dim=1), torch.cat([h, z], dim=1)
        return j, h

    def forward(self, z: Tensor) -> Tensor:
        """Logits a(z): (B, K) → (B, V)."""
        return torch.addmm(self.bias, self.hidden(z), self.weight.T)
