"""The Dirichlet-multinomial: tokens that repeat themselves, as words and plays do."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import digamma, gammaln
from torch import Tensor, nn

from longtail import ops
from longtail.model.likelihoods.base import JacobianKind, JacobianTerms, Likelihood, softmax_terms
from longtail.ops import DataTerm, FeatureSample, SparseRows

__all__ = [
    "DirichletMultinomial",
    "concentration_curve",
    "likeliest_log_concentration",
    "marginal_log_concentration",
]

_GRID = np.linspace(math.log(1e-2), math.log(1e6), 81)


class DirichletMultinomial(Likelihood):
    """A multinomial whose probabilities vary around p = softmax(a) from row to row.

    They are drawn from a Dirichlet distribution of parameters α p, with one concentration α > 0
    that is learnt. Once a feature has occurred in a row it is likelier to occur there again
    (Madsen, Kauchak and Elkan 2005, "Modeling word burstiness using the Dirichlet distribution"):
    ten plays of an artist say less about a listener than one play of each of ten. For large α it
    is the multinomial; for small α what matters is which features a row has.

    The multinomial coefficient is left out, as in `Multinomial`: what remains is the probability
    of the tokens in their order, and perplexities of both can be compared.

    Parameters
    ----------
    marginal
        log α of a model that ignores z, (1,): where α starts, and that of the floor. See
        `marginal_log_concentration`.
    """

    name = "dirichlet_multinomial"
    per_token = True
    whole_counts = False

    def __init__(self, marginal: Tensor) -> None:
        super().__init__()
        self.log_concentration = nn.Parameter(marginal.clone())
        self.marginal: Tensor
        self.register_buffer("marginal", marginal.clone())

    def log_prob(
        self,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        x: SparseRows,
        data: DataTerm | None = None,
        *,
        sample: FeatureSample | None = None,
        frozen: bool = False,
    ) -> Tensor:
        """Return log p(x | z) of each row."""
        log_alpha = self.log_concentration.detach() if frozen else self.log_concentration
        return ops.dirichlet_multinomial_log_prob(h, weight, bias, log_alpha, x, sample)

    def independent(self, exposure: float) -> float:
        """Return α (ψ(N + α) − ψ(α)).

        So many of N tokens are drawn from p, and do not repeat an earlier one (of the Chinese
        restaurant process with concentration α); Σ_v i_v of `curvature` is at most that.
        """
        alpha = self.log_concentration.detach().double().exp().item()
        return alpha * float(digamma(exposure + alpha) - digamma(alpha))

    def effective_counts(self, x: SparseRows) -> Tensor:
        """Return α (ψ(N + α) − ψ(α)), see `independent`."""
        alpha = self.log_concentration.detach().double().exp()
        return alpha * (torch.digamma(x.totals() + alpha) - torch.digamma(alpha))

    def curvature(
        self,
        jacobian: Tensor,
        logits: Tensor,
        exposure: Tensor,
        features: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return about the mean over x, J_lᵀ diag(i) J_l, J_l = J − 1 pᵀ J.

        With c = α p the mean has i_v = c_v² (ψ′(c_v) − E ψ′(x_v + c_v)) exactly; see
        `_information` for how the expectation is approximated.
        """
        each = logits if weights is None else logits + weights.log().to(logits)
        log_z = torch.logsumexp(each, 0)
        centred = jacobian - (each - log_z).exp() @ jacobian
        alpha = self.log_concentration.detach().double().exp()
        information = _information((logits - log_z).double().exp(), alpha, exposure.double())
        if weights is not None:
            information = information * weights.double()
        root = information.sqrt()[:, None] * centred.double()
        return root.T @ root

    def mean(self, logits: Tensor, exposure: Tensor) -> Tensor:
        """Return N_d · softmax(a)."""
        return exposure[:, None] * self.probabilities(logits)

    def jacobian_terms(self, logits: Tensor, of: JacobianKind) -> JacobianTerms:
        """Return those of softmax; of root probabilities the Fisher information of one token."""
        return softmax_terms(logits, of)

    def sample(self, logits: Tensor, exposure: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the probabilities of each row, and from them N_d tokens."""
        alpha = self.log_concentration.detach().double().exp()
        shape = alpha * self.probabilities(logits.double())
        out = torch.zeros_like(logits)
        for d, n in enumerate(exposure.long().tolist()):
            if n > 0:  # torch.multinomial refuses to draw nothing
                weight = _log_gamma_draws(shape[d], generator)
                p = torch.softmax(weight, 0)
                tokens = torch.multinomial(p, n, replacement=True, generator=generator)
                out[d] = torch.bincount(tokens, minlength=len(p))
        return out

    def baseline(self, unigram: Tensor, mean_total: float) -> Tensor:
        """Return the log frequencies."""
        return unigram.log()

    def floor(self, unigram: Tensor, mean_total: float, x: SparseRows) -> Tensor:
        """Return log p(x) under the frequencies and the concentration of a model without z."""
        bias = self.baseline(unigram, mean_total)
        h, weight = bias.new_zeros(x.shape[0], 1), bias.new_zeros(len(bias), 1)
        return ops.dirichlet_multinomial_log_prob(h, weight, bias, self.marginal, x)


def _information(p: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
    """i_v of `DirichletMultinomial.curvature`, for rows of this total: (V,).

    E ψ′(x + c) is split: with the probability that x is 0 it is ψ′(c), else about ψ′ at the mean of
    the others: i is up to a tenth too large, and exact where N is 1.
    """
    tiny = torch.finfo(p.dtype).tiny ** 0.25
    c = (alpha * p).clamp(min=tiny)
    present = -torch.expm1(_log_absent(c, alpha, total))
    others = c + total * p / present.clamp(min=tiny)
    # c² ψ′(c) = 1 + c² ψ′(1 + c), which does not overflow.
    own = 1 + c.square() * torch.polygamma(1, 1 + c)
    return (present * (own - c.square() * torch.polygamma(1, others))).clamp(min=0)


def _log_absent(c: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
    """log of the probability that x_v is 0: lnΓ(α) − lnΓ(α − c) + lnΓ(N + α − c) − lnΓ(N + α).

    As an integral of digamma functions, by Gauss's rule of three nodes: for small c, differences
    of lnΓ are lost in rounding.
    """
    result = torch.zeros_like(c)
    for node, weight in ((0.5 - 0.15**0.5, 5), (0.5, 8), (0.5 + 0.15**0.5, 5)):
        rest = alpha - node * c
        result = result + weight / 18 * (torch.digamma(rest) - torch.digamma(total + rest))
    return c * result


def _log_gamma_draws(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Logs of draws from gamma distributions, which for small shapes are too small to be held."""
    boosted = torch._standard_gamma(shape + 1, generator=generator)
    uniform = torch.rand(shape.shape, generator=generator, dtype=shape.dtype).clamp(min=1e-300)
    return boosted.log() + uniform.log() / shape.clamp(min=1e-300)


def marginal_log_concentration(counts: csr_array, unigram: NDArray[np.float64]) -> float:
    """log α that is likeliest where every row has the training frequencies f.

    Parameters
    ----------
    counts
        n×V.
    unigram
        f, (V,), summing to 1.
    """
    return likeliest_log_concentration(concentration_curve(counts, unigram))


def concentration_curve(counts: csr_array, unigram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-likelihood of the rows at each concentration of a grid: those of parts add up."""
    values = counts.data.astype(np.float64)
    frequencies, totals = unigram[counts.indices], np.asarray(counts.sum(1), np.float64).ravel()
    curve = np.empty(len(_GRID))
    for i, log_alpha in enumerate(_GRID):
        alpha = math.exp(log_alpha)
        c = alpha * frequencies
        own = np.log(c) + gammaln(values + c) - gammaln(1 + c)
        curve[i] = own.sum() + (gammaln(alpha) - gammaln(totals + alpha)).sum()
    return curve


def likeliest_log_concentration(curve: NDArray[np.float64]) -> float:
    """log α at the top of the parabola through the best point of a curve and its neighbours."""
    best = int(np.clip(curve.argmax(), 1, len(_GRID) - 2))
    below, at, above = curve[best - 1 : best + 2]
    bend = min(below - 2 * at + above, -1e-12)
    shift = float(np.clip(0.5 * (below - above) / bend, -1, 1))
    return float(_GRID[best] + (_GRID[1] - _GRID[0]) * shift)
