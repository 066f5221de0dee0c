"""Likelihoods p(x | z), in the sparse form: non-zeros plus reductions over V.

A likelihood says how a row of counts is scored, what its mean is and how that answers to z, how to
draw a row, and what a model that ignores z would reach (the floor). `Multinomial` is the default.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from longtail.errors import ParameterError
from longtail.model.likelihoods.base import (
    Exposure,
    JacobianKind,
    JacobianTerms,
    Likelihood,
)
from longtail.model.likelihoods.bernoulli import Bernoulli
from longtail.model.likelihoods.dirichlet_multinomial import (
    DirichletMultinomial,
    concentration_curve,
    likeliest_log_concentration,
    marginal_log_concentration,
)
from longtail.model.likelihoods.multinomial import Multinomial
from longtail.model.likelihoods.negative_binomial import (
    DISPERSION_GROUPS,
    NegativeBinomial,
    dispersion_curve,
    likeliest_log_dispersion,
    marginal_log_dispersion,
)
from longtail.model.likelihoods.poisson import Poisson

__all__ = [
    "DISPERSION_GROUPS",
    "LIKELIHOODS",
    "Bernoulli",
    "DirichletMultinomial",
    "Exposure",
    "JacobianKind",
    "JacobianTerms",
    "Likelihood",
    "Multinomial",
    "NegativeBinomial",
    "Poisson",
    "concentration_curve",
    "dispersion_curve",
    "get_likelihood",
    "likeliest_log_concentration",
    "likeliest_log_dispersion",
    "marginal_log_concentration",
    "marginal_log_dispersion",
    "resolve_exposure",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind
    for kind in (Multinomial, DirichletMultinomial, Bernoulli, Poisson, NegativeBinomial)
}


def get_likelihood(
    name: str,
    *,
    exposure: Exposure | Literal["auto"] = "auto",
    log_dispersion: Tensor | None = None,
    rate: float = 1.0,
    log_concentration: Tensor | None = None,
) -> Likelihood:
    """The likelihood of that name.

    Parameters
    ----------
    exposure
        See `resolve_exposure`.
    log_dispersion
        Where the dispersions of a negative binomial start, (V,).
    rate
        Its counts per unit of the exposures that are given.
    log_concentration
        Where that of a Dirichlet-multinomial starts, (1,).

    Raises
    ------
    ParameterError
        If there is none, or it has no such exposure.
    """
    if name not in LIKELIHOODS:
        known = ", ".join(sorted(LIKELIHOODS))
        raise ParameterError(f"likelihood must be one of {known}; got {name!r}.")
    chosen = resolve_exposure(name, exposure)
    if name == Poisson.name:
        return Poisson(chosen)
    if name == NegativeBinomial.name:
        start = torch.zeros(0, dtype=torch.float32) if log_dispersion is None else log_dispersion
        return NegativeBinomial(start, chosen, rate)
    if name == DirichletMultinomial.name:
        return DirichletMultinomial(
            torch.zeros(1, dtype=torch.float32) if log_concentration is None else log_concentration
        )
    return LIKELIHOODS[name]()


def resolve_exposure(name: str, exposure: Exposure | Literal["auto"]) -> Exposure:
    """What "auto" stands for: 1 for Bernoulli and Poisson, a row's total for the others.

    Raises
    ------
    ParameterError
        If another one was chosen, and the likelihood has no such choice: the Poisson has all, the
        negative binomial also takes exposures that are given.
    """
    usual: Exposure = "unit" if name in (Bernoulli.name, Poisson.name) else "total"
    if exposure == "auto" or exposure == usual:
        return usual
    if name == Poisson.name or (name == NegativeBinomial.name and exposure == "given"):
        return exposure
    other = " or 'given'" if name == NegativeBinomial.name else ""
    raise ParameterError(
        f"exposure={exposure!r} does not apply to likelihood={name!r}, whose exposure is "
        f"always {usual!r}{other}. Leave it at 'auto', or choose likelihood='poisson'."
    )
