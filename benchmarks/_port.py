"""The published recipe in plain PyTorch: what the library's speed is measured against.

Krishnan, Liang and Hoffman (2018, arXiv 1710.06085), as one would write it down from the paper:
dense B×V batches, ``log_softmax``, automatic differentiation through the decoder, and Adam on the
variational parameters of each batch. Automatic differentiation is asked for the gradients that
are needed and no others, so refinement does not pay for those of the weights.

The parameters live in the library's own modules, so that the library scores what the port trains
and the port refines what the library trained; only the computation is the port's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from longtail.estimator.network import build_network, unigram_frequencies
from longtail.inference import Encoder, HybridModel

__all__ = ["PublishedRecipe", "RecipeSettings", "dense", "elbo", "encode", "refine", "refine_step"]

Decode = Callable[[Tensor], Tensor]


def dense(rows: csr_array) -> Tensor:
    """Rows as a float32 tensor: (B, V)."""
    return torch.from_numpy(rows.toarray().astype(np.float32, copy=False))


def elbo(
    decoder: Decode,
    x: Tensor,
    mean: Tensor,
    log_var: Tensor,
    *,
    kl_weight: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """ELBO of each row from one draw of z: (B,), nats, without the multinomial coefficient.

    Parameters
    ----------
    decoder
        Logits from latent vectors, (B, K) → (B, V), such as a `longtail.model.Decoder`.
    x
        Counts: (B, V), dense.
    mean, log_var
        ψ: (B, K) each.
    generator
        Of the noise; torch's own if not given.
    """
    noise = torch.randn(mean.shape, generator=generator)
    z = mean + (0.5 * log_var).exp() * noise
    log_likelihood = (x * torch.log_softmax(decoder(z), dim=1)).sum(1)
    kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
    return log_likelihood - kl_weight * kl


# --- local refinement --------------------------------------------------------------------------


def refine_step(
    decoder: Decode,
    x: Tensor,
    mean: Tensor,
    log_var: Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    kl_weight: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Move ψ, the optimiser's parameters, by one step; return the ELBO before it: (B,), nats."""
    bound = elbo(decoder, x, mean, log_var, kl_weight=kl_weight, generator=generator)
    mean.grad, log_var.grad = torch.autograd.grad(-bound.sum(), (mean, log_var))
    optimizer.step()
    return bound.detach()


def refine(
    decoder: Decode,
    x: Tensor,
    mean: Tensor,
    log_var: Tensor,
    steps: int,
    learning_rate: float,
    *,
    kl_weight: float = 1.0,
    generator: torch.Generator | None = None,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Refine ψ by M steps of Adam with a constant step size and fresh noise; θ stays as it is.

    Parameters
    ----------
    decoder, x
        As for `elbo`.
    mean, log_var
        ψ to start from, left unchanged.
    steps, learning_rate
        M and Adam's step size: 1e-2 in training, 8e-3 in evaluation.
    callback
        Called after each step with its number, from 1, and copies of μ and log σ².

    Returns
    -------
    mean, log_var : Tensor
        ψ*, detached.
    """
    mean = mean.detach().clone().requires_grad_()
    log_var = log_var.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([mean, log_var], lr=learning_rate)
    for step in range(1, steps + 1):
        refine_step(decoder, x, mean, log_var, optimizer, kl_weight=kl_weight, generator=generator)
        if callback is not None:
            callback(step, mean.detach().clone(), log_var.detach().clone())
    return mean.detach(), log_var.detach()


# --- training ----------------------------------------------------------------------------------


def encode(encoder: Encoder, features: Tensor) -> tuple[Tensor, Tensor]:
    """ψ(x) = (μ, log σ²) from dense features: (B, V) → (B, K) each."""
    h = torch.relu(features @ encoder.input_weight + encoder.input_bias)
    for layer in encoder.hidden_layers:
        h = torch.relu(layer(h))
    return encoder.mean(h), encoder.log_var(h)


@dataclass(frozen=True)
class RecipeSettings:
    """The settings of the paper.

    Attributes
    ----------
    n_components, n_hidden, n_layers
        K, H, and the hidden ReLU layers of encoder and decoder each.
    batch_size, learning_rate
        B and the step size of Adam on encoder and decoder.
    l2
        λ of the penalty λ‖w‖² on all parameters, added to the loss *summed* over a batch.
    steps, local_learning_rate
        M and the step size of Adam on ψ.
    anneal_updates
        Updates over which the weight of the KL rises from 0 to 1; 0 for none.
    seed
        Of everything random.
    """

    n_components: int = 100
    n_hidden: int = 400
    n_layers: int = 2
    batch_size: int = 500
    learning_rate: float = 8e-4
    l2: float = 0.01
    steps: int = 100
    local_learning_rate: float = 1e-2
    anneal_updates: int = 0
    seed: int = 0


class PublishedRecipe:
    """The hybrid training of the paper.

    Each update refines ψ(x) to ψ* with M local steps; then the encoder ascends ELBO(ψ(x)) with θ
    fixed and θ ascends ELBO(ψ*) with ψ* fixed, each from one draw.

    Where the paper leaves room: weights start Glorot-normal and biases at 0, the decoder's too
    (so the model begins at the uniform distribution). The L2 penalty is λ‖w‖² beside the sum of
    the batch's ELBOs; its gradient 2λw is Adam's ``weight_decay``. The last batch of an epoch is
    as small as it comes.

    Parameters
    ----------
    counts, features
        n×V training rows: raw counts and what the encoder sees.
    settings
        As published, if not given.

    Attributes
    ----------
    network : HybridModel
        θ and the encoder.
    epoch : int
        Epochs done.
    seconds : float
        Time spent training, without what happens between epochs.
    """

    def __init__(
        self,
        counts: csr_array,
        features: csr_array,
        settings: RecipeSettings | None = None,
    ) -> None:
        self.counts = counts
        self.features = features
        self.settings = settings = settings or RecipeSettings()
        self.network = glorot_network(counts, settings)
        self.encoder_weights = list(self.network.encoder.parameters())
        self.decoder_weights = list(self.network.generative.parameters())
        self.optimizer = torch.optim.Adam(
            [*self.encoder_weights, *self.decoder_weights],
            lr=settings.learning_rate,
            weight_decay=2 * settings.l2,
        )
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.epoch = 0
        self.update = 0
        self.seconds = 0.0

    def fit(self, epochs: int, on_epoch: Callable[[int, float], None] | None = None) -> None:
        """Train until `epochs` epochs are done in all.

        Parameters
        ----------
        on_epoch
            Called after each epoch with its number, from 1, and the training seconds so far,
            which do not include these calls.
        """
        while self.epoch < epochs:
            started = time.perf_counter()
            self.train_epoch()
            self.seconds += time.perf_counter() - started
            self.epoch += 1
            if on_epoch is not None:
                on_epoch(self.epoch, self.seconds)

    def train_epoch(self) -> None:
        """One pass over the training rows, shuffled."""
        n_rows, size = self.counts.shape[0], self.settings.batch_size
        order = np.random.default_rng([self.settings.seed, self.epoch]).permutation(n_rows)
        for begin in range(0, n_rows, size):
            rows = order[begin : begin + size]
            self.train_batch(dense(self.counts[rows]), dense(self.features[rows]))

    def train_batch(self, x: Tensor, features: Tensor) -> None:
        """One update of encoder and decoder from dense counts and features: (B, V) each."""
        settings, decoder = self.settings, self.network.generative.decoder
        bound: dict[str, Any] = {"kl_weight": self.kl_weight(), "generator": self.generator}
        psi = encode(self.network.encoder, features)
        star = refine(decoder, x, *psi, settings.steps, settings.local_learning_rate, **bound)
        encoder_loss = -elbo(decoder, x, *psi, **bound).sum()
        decoder_loss = -elbo(decoder, x, *star, **bound).sum()
        for loss, weights in (
            (encoder_loss, self.encoder_weights),
            (decoder_loss, self.decoder_weights),
        ):
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
        self.optimizer.step()
        self.update += 1

    def kl_weight(self) -> float:
        """The weight of the KL in this update."""
        if self.settings.anneal_updates == 0:
            return 1.0
        return min(1.0, self.update / self.settings.anneal_updates)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on as if nothing had happened."""
        return {
            "settings": asdict(self.settings),
            "epoch": self.epoch,
            "update": self.update,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same settings.

        Raises
        ------
        ValueError
            If it has others.
        """
        if state["settings"] != asdict(self.settings):
            raise ValueError(
                f"The state has the settings {state['settings']}, but this run has "
                f"{asdict(self.settings)}. Delete the state to begin anew."
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.epoch, self.update = state["epoch"], state["update"]
        self.seconds = state["seconds"]


def glorot_network(counts: csr_array, settings: RecipeSettings) -> HybridModel:
    """The library's modules with Glorot-normal weights and zero biases throughout."""
    shape = {
        "n_components": settings.n_components,
        "n_hidden": settings.n_hidden,
        "encoder_layers": settings.n_layers,
        "decoder_layers": settings.n_layers,
        "skip": False,
        "likelihood": "multinomial",
        "exposure": "auto",
        "refine_features": "all",
        "theta_features": "all",
    }
    network = build_network(shape, unigram_frequencies(counts), input_scale=1.0, mean_total=1.0, seed=settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.xavier_normal_(weight, generator=generator)
        else:
            nn.init.zeros_(weight)
    return network
