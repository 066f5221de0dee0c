"""Jacobians of the decoder in closed form, and their averages over many z, streamed.

With p = softmax(a), a = W h(z) + b and J_h = ∂h/∂z (H×K), a product of masked weight matrices:

    logits               J_a = W J_h
    log-probabilities    J_l = J_a − 1 (pᵀ J_a)
    probabilities        J_p = diag(p) J_l
    root probabilities   J_r = diag(√p) J_l,    of r = 2√p

J_rᵀ J_r is the Fisher information about z in one token: r are the coordinates in which the
multinomial has unit variance, so no feature counts for more because it is frequent or rare.

Those are for a normalised mean p = softmax(a), as the multinomial, the negative binomial and, but
for "mean" and "root_probabilities", the Poisson have it. In general the likelihood says how J
follows from J_a (`Likelihood.jacobian_terms`):

    J_v = left_v J_a,v − right_v Σ_u mix_u J_a,u

A linear skip is a part of h: h = [h_L; z], whose Jacobian is [J_{h_L}; I].

Averages over z. J_a is linear in J_h, so its mean needs the mean of J_h only. J_l does not change
when one vector is taken from every row of W; with W centred in this way, W_c = W − 1 w̄ᵀ,

    J_l = W_c J_h − 1 mᵀ,    m = J_hᵀ W_cᵀ p,    J_lᵀ J_l = J_hᵀ W_cᵀ W_c J_h + V m mᵀ,

so each z adds one K-vector, and V enters only through p. J_p and J_r have to be summed over V×K for
each z.
Nothing of size samples × V × K is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.model import Decoder, Likelihood, Multinomial
from longtail.model.likelihoods import JacobianKind

__all__ = [
    "JacobianKind",
    "Moments",
    "average_jacobian",
    "feature_rows",
    "jacobian_at",
]

_CHUNK = 8_000_000  # numbers in a temporary array: 32 MB in float32
# A block of J_p should stay in the cache of a core while it is scaled, summed and squared.
_BLOCK_FEATURES, _BLOCK_COLUMNS = 512, 1600


@torch.no_grad()
def jacobian_at(
    decoder: Decoder, z: Tensor, of: JacobianKind, likelihood: Likelihood | None = None
) -> Tensor:
    """The Jacobian at each of a few points, in full: (S, K) → (S, V, K). The readable reference.

    The likelihood is the multinomial if it is not given.
    """
    j_h, h = decoder.hidden_jacobian(z)
    j = torch.matmul(decoder.weight, j_h)
    logits = F.linear(h, decoder.weight, decoder.bias)
    terms = (likelihood or Multinomial()).jacobian_terms(logits, of)
    mixed = terms.mix[:, None, :] @ j
    return terms.left[:, :, None] * j - terms.right[:, :, None] * mixed


@torch.no_grad()
def feature_rows(
    decoder: Decoder,
    z: Tensor,
    features: Tensor,
    of: JacobianKind,
    likelihood: Likelihood | None = None,
) -> Tensor:
    """One row of the Jacobian at each point: (S, K), (S,) → (S, K).

    Parameters
    ----------
    features
        int64: which row, 0 to V − 1, at each point.
    """
    n_features, n_hidden = decoder.weight.shape
    out = torch.empty_like(z)
    sizes = (n_hidden * z.shape[1], n_features)
    for rows in _split(torch.arange(len(z), device=z.device), *sizes):
        j_h, h = decoder.hidden_jacobian(z[rows])
        w, v = decoder.weight, features[rows]
        if of == "logits":
            out[rows] = torch.bmm(w[v][:, None, :], j_h).squeeze(1)
            continue
        logits = F.linear(h, w, decoder.bias)
        terms = (likelihood or Multinomial()).jacobian_terms(logits, of)
        left, right = (t.gather(1, v[:, None]) for t in (terms.left, terms.right))
        # What is common to both is taken out first: the difference keeps its precision.
        one = left * (w[v] - terms.mix @ w) + (left - right) * (terms.mix @ w)
        out[rows] = torch.bmm(one[:, None, :], j_h).squeeze(1)
    return out


@dataclass(frozen=True, eq=False)
class Moments:
    """Averages of a Jacobian over z.

    Attributes
    ----------
    mean
        E[J]: (V, K), in the decoder's precision.
    standard_error
        Monte Carlo standard error of each entry of `mean`, from batch means; None when there is
        only one batch.
    second
        E[JᵀJ]: (K, K), float64.
    noise
        A spectral norm that the Monte Carlo error of `mean` has: that of the alternating mean of
        the batches, which is distributed as the error is. Singular values of `mean` at or below
        it say nothing. 0 with one batch.
    """

    mean: Tensor
    standard_error: Tensor | None
    second: Tensor
    noise: float


@torch.no_grad()
def average_jacobian(
    decoder: Decoder,
    batches: Iterable[Tensor],
    of: JacobianKind,
    progress: Callable[[int], None] | None = None,
    likelihood: Likelihood | None = None,
) -> Moments:
    """Average over batches of points z, (S, K) each, every batch with the same weight.

    Memory is a few arrays of V×K and chunks of bounded size, whatever the number of points.

    Parameters
    ----------
    progress
        Called with the number of points done.
    likelihood
        The multinomial if not given.
    """
    kernel: _Linear | _Scaled | _Linked
    if likelihood is not None and of in likelihood.beyond_softmax:
        kernel = _Linked(decoder, of, likelihood)
    elif of in ("logits", "log_probabilities"):
        kernel = _Linear(decoder, of)
    else:
        kernel = _Scaled(decoder, of)
    means, grams = _BatchMeans(), _BatchMeans()
    done = 0
    for z in batches:
        mean, gram = kernel.batch(z)
        means.add(mean)
        grams.add(gram)
        done += len(z)
        if progress is not None:
            progress(done)
    return Moments(means.mean, means.standard_error(), grams.mean, means.noise())


class _BatchMeans:
    """Mean of batch means and its error, one pass (Welford)."""

    def __init__(self) -> None:
        self.n = 0

    def add(self, value: Tensor) -> None:
        self.n += 1
        if self.n == 1:
            self.mean = value
            self._squares = torch.zeros_like(value)
            self._alternating = value.clone()
            return
        change = value - self.mean
        self.mean += change / self.n
        self._alternating += value if self.n % 2 else -value
        self._squares += change.mul_(value - self.mean)

    def standard_error(self) -> Tensor | None:
        if self.n == 1:
            return None
        return (self._squares / (self.n * (self.n - 1))).clamp_(min=0).sqrt_()

    def noise(self) -> float:
        if self.n == 1:
            return 0.0
        # With an odd number of batches one is left unpaired: take it out.
        difference = self._alternating - (self.mean if self.n % 2 else 0)
        gram = difference.double().T @ difference.double()
        return float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt()) / self.n


class _Linear:
    """E[J_a] or E[J_l]: V×K work for a batch of points, not for each point."""

    def __init__(self, decoder: Decoder, of: JacobianKind) -> None:
        self.decoder = decoder
        self.centred = of == "log_probabilities"
        w = decoder.weight.detach()
        self.weight = w - w.mean(0) if self.centred else w
        self.root = _root(self.weight)

    def batch(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over the points of J, and of JᵀJ."""
        n_features, n_hidden = self.weight.shape
        n, k = z.shape
        j_sum = torch.zeros(n_hidden, k, dtype=z.dtype, device=z.device)
        m_sum = torch.zeros(k, dtype=z.dtype, device=z.device)
        gram = torch.zeros(k, k, dtype=torch.float64, device=z.device)
        for part in _split(z, n_hidden * k, n_features if self.centred else 1):
            j_h, h = self.decoder.hidden_jacobian(part)
            j_sum += j_h.sum(0)
            flat = torch.matmul(self.root, j_h).flatten(0, 1).double()
            gram += flat.T @ flat
            if self.centred:
                p = _softmax(self.decoder, h)
                m = torch.bmm((p @ self.weight)[:, None, :], j_h).squeeze(1)
                m_sum += m.sum(0)
                gram += n_features * (m.double().T @ m.double())
        mean = self.weight @ (j_sum / n)
        return (mean.sub_(m_sum / n) if self.centred else mean), gram / n


class _Scaled:
    """E[J_p] or E[J_r] where p = softmax(a): V×K work for each point, in blocks in the cache."""

    def __init__(self, decoder: Decoder, of: JacobianKind) -> None:
        self.decoder = decoder
        self.rooted = of == "root_probabilities"
        w = decoder.weight.detach()
        # [W_c, −1] against [J_h; mᵀ]: the subtraction of m is a part of the product.
        self.weight = torch.cat([w - w.mean(0), -torch.ones_like(w[:, :1])], dim=1)

    def batch(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over the points of J, and of JᵀJ."""
        n_features, width = self.weight.shape
        n, k = z.shape
        mean = torch.zeros(n_features, k, dtype=z.dtype, device=z.device)
        gram = torch.zeros(k, k, dtype=torch.float64, device=z.device)
        at_once = max(1, _BLOCK_COLUMNS // k)
        for part in _split(z, width * k, n_features):
            j_h, h = self.decoder.hidden_jacobian(part)
            p = _softmax(self.decoder, h)
            m = torch.bmm((p @ self.weight[:, :-1])[:, None, :], j_h)
            # (H + 1, S, K): a block of samples is then a matrix.
            j = torch.cat([j_h, m], dim=1).transpose(0, 1).contiguous()
            p = (p.sqrt_() if self.rooted else p).T.contiguous()
            for v in range(0, n_features, _BLOCK_FEATURES):
                w = self.weight[v : v + _BLOCK_FEATURES]
                for s in range(0, len(part), at_once):
                    right = j[:, s : s + at_once].flatten(1)
                    block = (w @ right).view(len(w), -1, k)
                    block *= p[v : v + _BLOCK_FEATURES, s : s + at_once, None]
                    mean[v : v + _BLOCK_FEATURES] += block.sum(1)
                    flat = block.view(-1, k)
                    gram += flat.T @ flat
        return mean.div_(n), gram / n


class _Linked:
    """E[J] as the likelihood defines it: V×K work for each point, in blocks."""

    def __init__(self, decoder: Decoder, of: JacobianKind, likelihood: Likelihood) -> None:
        self.decoder = decoder
        self.of = of
        self.likelihood = likelihood

    def batch(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over the points of J, and of JᵀJ."""
        weight = self.decoder.weight.detach()
        n_features, width = weight.shape
        n, k = z.shape
        mean = torch.zeros(n_features, k, dtype=z.dtype, device=z.device)
        gram = torch.zeros(k, k, dtype=torch.float64, device=z.device)
        at_once = max(1, _BLOCK_COLUMNS // k)
        for part in _split(z, width * k, n_features, at_once * k):
            j_h, h = self.decoder.hidden_jacobian(part)
            logits = F.linear(h, weight, self.decoder.bias)
            terms = self.likelihood.jacobian_terms(logits, self.of)
            mixed = torch.bmm((terms.mix @ weight)[:, None, :], j_h).transpose(0, 1)  # (1, S, K)
            left, right = terms.left.T[:, :, None], terms.right.T[:, :, None]
            j = j_h.transpose(0, 1).contiguous()  # (H, S, K)
            for v in range(0, n_features, _BLOCK_FEATURES):
                own = slice(v, v + _BLOCK_FEATURES)
                for s in range(0, len(part), at_once):
                    some = slice(s, s + at_once)
                    block = (weight[own] @ j[:, some].flatten(1)).view(-1, len(part[some]), k)
                    block = left[own, some] * block - right[own, some] * mixed[:, some]
                    mean[own] += block.sum(1)
                    flat = block.reshape(-1, k)
                    gram += flat.T @ flat
        return mean.div_(n), gram / n


def _softmax(decoder: Decoder, h: Tensor) -> Tensor:
    return torch.softmax(torch.addmm(decoder.bias, h, decoder.weight.T), dim=1)


def _root(weight: Tensor) -> Tensor:
    """R with RᵀR = WᵀW, (H, H): W may be replaced by it wherever only the product counts."""
    w = weight.double()
    values, vectors = torch.linalg.eigh(w.T @ w)
    root: Tensor = values.clamp(min=0).sqrt()[:, None] * vectors.T
    return root.to(weight.dtype)


def _split(z: Tensor, *sizes: int) -> tuple[Tensor, ...]:
    """Points in parts whose temporaries, of these sizes a point, stay bounded."""
    return torch.split(z, max(1, math.floor(_CHUNK / max(sizes))))
