"""Which latent directions a model uses: spectra of its Jacobian, and a verdict in words.

The prior N(0, I) has no preferred axes, so a model may lay a few live directions across all of its
latent dimensions: each axis then looks used. Singular values see through that. With the
root probabilities (the default) they have an absolute scale: eigenvalue λ of E[JᵀJ] is the Fisher
information about z in one token along a direction, and a row of N tokens, whose posterior along
it has precision about 1 + N λ, spends about ½ log(1 + N λ) nats on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.displays import SpectrumDisplay
from longtail.errors import DataError, ParameterError
from longtail.estimator import NonlinearFactorAnalysis, Posterior
from longtail.estimator.exposures import typical_size
from longtail.estimator.parameters import refine_schedule
from longtail.evaluation.results import KL_THRESHOLD, VARIANCE_THRESHOLD
from longtail.introspection.closed_form import JacobianKind
from longtail.introspection.jacobians import Jacobian, jacobian
from longtail.ops.ambient import neutral_torch

__all__ = ["Spectra", "Spectrum", "effective_rank", "from_jacobian", "spectrum", "verdict"]

Array = npt.NDArray[np.float64]

# For kinds without an absolute scale: share of the largest value.
RELATIVE_THRESHOLD = 0.1


def effective_rank(values: npt.ArrayLike) -> float:
    """exp of the entropy of σ_k / Σσ (Roy and Vetterli 2007): between 1 and K; 0 if all are 0."""
    sigma = np.asarray(values, dtype=np.float64)
    total = sigma.sum()
    if total <= 0:
        return 0.0
    p = sigma[sigma > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One model's latent directions and dimensions.

    Attributes
    ----------
    singular_values
        Of E[J], (K,), largest first.
    root_eigenvalues
        Of E[JᵀJ], (K,): no effect cancels in them.
    noise
        Monte Carlo error of the singular values; those up to about this say nothing.
    threshold, threshold_rule
        Above what a direction is called live, and why.
    column_norms
        √diag E[JᵀJ] of each latent dimension, (K,).
    kl, variance
        Of each latent dimension over the rows: mean KL, nats, and variance of the posterior mean;
        None without rows.
    n_rows, tokens
        Rows behind these, and the median row total, or exposure, that the threshold is for.
    of, at, samples, seed
        See `Jacobian`.
    """

    singular_values: Array
    root_eigenvalues: Array
    noise: float
    threshold: float
    threshold_rule: str
    column_norms: Array
    kl: Array | None
    variance: Array | None
    n_rows: int
    tokens: float
    of: JacobianKind
    at: str
    samples: int
    seed: int

    @property
    def n_components(self) -> int:
        """K."""
        return len(self.singular_values)

    @property
    def live(self) -> int:
        """Directions whose root eigenvalue is above the threshold."""
        return int((self.root_eigenvalues > self.threshold).sum())

    @property
    def live_mean(self) -> int:
        """Directions whose singular value in E[J] is above the threshold and the noise."""
        return int((self.singular_values > max(self.threshold, self.noise)).sum())

    @property
    def live_dimensions(self) -> dict[str, int]:
        """Latent dimensions in use by each view along the axes, with its threshold."""
        views = {"column_norm": int((self.column_norms > self.threshold).sum())}
        if self.kl is not None and self.variance is not None:
            views["kl"] = int((self.kl > KL_THRESHOLD).sum())
            views["variance"] = int((self.variance > VARIANCE_THRESHOLD).sum())
            dead = (
                (self.column_norms <= self.threshold)
                & (self.kl <= KL_THRESHOLD)
                & (self.variance <= VARIANCE_THRESHOLD)
            )
            views["dead_in_all"] = int(dead.sum())
        return views

    def to_dict(self) -> dict[str, Any]:
        """Figures by name, ready for JSON."""
        return {
            "components": self.n_components,
            "live": self.live,
            "live_mean": self.live_mean,
            "effective_rank": {
                "mean": effective_rank(self.singular_values),
                "rms": effective_rank(self.root_eigenvalues),
            },
            "dimensions": self.live_dimensions,
            "threshold": self.threshold,
            "threshold_rule": self.threshold_rule,
            "noise": self.noise,
            "of": self.of,
            "at": self.at,
            "samples": self.samples,
            "seed": self.seed,
            "singular_values": self.singular_values.tolist(),
            "root_eigenvalues": self.root_eigenvalues.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra of one or several models, with what they say.

    Attributes
    ----------
    models
        By name.
    advice
        What could be tried with each model, in words.
    """

    models: dict[str, Spectrum]
    advice: dict[str, str]

    def __getitem__(self, name: str) -> Spectrum:
        return self.models[name]

    def frame(self) -> pl.DataFrame:
        """One line a model and direction: model, rank, mean, rms, threshold, noise, live."""
        return pl.concat(
            pl.DataFrame(
                {
                    "model": [name] * s.n_components,
                    "rank": range(1, s.n_components + 1),
                    "mean": s.singular_values,
                    "rms": s.root_eigenvalues,
                    "threshold": [s.threshold] * s.n_components,
                    "noise": [s.noise] * s.n_components,
                    "live": [s.live] * s.n_components,
                }
            )
            for name, s in self.models.items()
        )

    def dimensions(self) -> pl.DataFrame:
        """One line a model and latent dimension: column_norm, and with rows kl and variance."""
        tables = []
        for name, s in self.models.items():
            columns: dict[str, Any] = {
                "model": [name] * s.n_components,
                "dimension": range(s.n_components),
                "column_norm": s.column_norms,
            }
            if s.kl is not None:
                columns |= {"kl": s.kl, "variance": s.variance}
            tables.append(pl.DataFrame(columns))
        return pl.concat(tables, how="diagonal")

    def display(self) -> SpectrumDisplay:
        """The spectra as one figure with its table."""
        s = next(iter(self.models.values()))
        rules = {m.threshold_rule for m in self.models.values()}
        rule = s.threshold_rule if len(rules) == 1 else "each model's own threshold"
        subtitle = (
            f"Jacobian of the {_words(s.of)} over {s.at}, {s.samples:,} samples; dashed: {rule}"
        )
        return SpectrumDisplay(self.frame(), subtitle)

    def plot(self) -> Any:
        """The spectra as one Altair chart."""
        return self.display().plot()

    def _repr_html_(self) -> str:
        return f"{self.display()._repr_html_()}<pre>{escape(str(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Figures by model, ready for JSON."""
        return {n: s.to_dict() | {"advice": self.advice[n]} for n, s in self.models.items()}

    def __str__(self) -> str:
        return "\n\n".join(
            f"{name + ': ' if name else ''}{_report(s)}\n{self.advice[name]}"
            for name, s in self.models.items()
        )


@neutral_torch()
def spectrum(
    models: NonlinearFactorAnalysis | Mapping[str, NonlinearFactorAnalysis],
    rows: Any = None,
    *,
    of: JacobianKind = "root_probabilities",
    at: str = "prior",
    samples: int = 200,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Spectra:
    """Which latent directions are in use, for one or several models.

    Parameters
    ----------
    models
        A fitted model, or several by name, to be shown on one picture.
    rows
        Counts. With them, mean KL and variance of the posterior mean of each latent dimension.
    of
        Which Jacobian; see `jacobian`. The root probabilities have an absolute threshold:
        the information above which a row of median length spends more than 0.05 nats. For the
        others, a direction is live above a tenth of the strongest.
    at
        "prior", or "rows" for the aggregate posterior of the rows.
    samples, seed
        Draws of z, and their seed.
    progress
        Called with (stage, done, in all).

    Raises
    ------
    NotFittedError, ParameterError, DataError
    """
    named = dict(models) if isinstance(models, Mapping) else {"": models}
    if not named:
        raise ParameterError("spectrum needs at least one model; got none.")
    if at not in ("prior", "rows") or (at == "rows" and rows is None):
        raise ParameterError(
            f"at must be 'prior', or 'rows' together with rows of counts; got {at!r}"
            + (" without rows." if at == "rows" else ".")
        )
    found, advice = {}, {}
    for name, model in named.items():
        label = f"spectrum {name}".rstrip()
        posterior = None if rows is None else _posterior(model, rows)
        j = jacobian(
            model,
            of,
            "prior" if at == "prior" or posterior is None else posterior,
            samples=samples,
            seed=seed,
            progress=None if progress is None else partial(progress, label),
        )
        found[name] = from_jacobian(j, posterior, *typical_row(model))
        advice[name] = verdict(found[name], model)
    return Spectra(found, advice)


def _posterior(model: NonlinearFactorAnalysis, rows: Any) -> Posterior:
    aligned = model.align(rows)[0].drop_empty()[0]
    if aligned.n_rows == 0:
        raise DataError(
            "None of the rows has a feature of the model's vocabulary: there is no posterior to "
            "look at. The spectrum over the prior needs no rows."
        )
    return model.posterior(aligned)


def spectrum_of(
    model: NonlinearFactorAnalysis, averaged: Jacobian, posterior: Posterior | None
) -> Spectra:
    """As `spectrum` of one model, for a caller that holds its Jacobian and posteriors."""
    found = from_jacobian(averaged, posterior, *typical_row(model))
    return Spectra({"": found}, {"": verdict(found, model)})


def typical_row(model: NonlinearFactorAnalysis) -> tuple[float, str]:
    """How many units of information, tokens say, a median training row holds; and which units."""
    likelihood = model.network_.generative.likelihood
    # What a negative binomial makes of exposures that are given is a number of tokens.
    own = likelihood.exposed == "given" and likelihood.name == "poisson"
    exposure = likelihood.typical_exposure(typical_size(model))
    independent = likelihood.independent(exposure)
    if independent != exposure:
        return independent, "independent tokens"
    return exposure, "units of exposure" if own else "tokens"


def from_jacobian(
    j: Jacobian, posterior: Posterior | None, exposure: float, unit: str = "tokens"
) -> Spectrum:
    """The spectrum of a Jacobian, with the views that a posterior adds."""
    roots = np.sqrt(np.linalg.eigvalsh(j.second_moment)[::-1].clip(min=0))
    if j.of == "root_probabilities":
        threshold = math.sqrt(math.expm1(2 * KL_THRESHOLD) / exposure)
        size = f"{exposure:,.0f}" if unit.endswith("tokens") else f"{exposure:,.4g}"
        of = "" if exposure == 1 else f" of {size} {unit}"
        rule = f"{KL_THRESHOLD} nats in a row{of}"
    else:
        threshold = RELATIVE_THRESHOLD * float(roots[0])
        rule = f"{RELATIVE_THRESHOLD:g} of the strongest direction"
    kl = variance = None
    if posterior is not None:
        mean, scale = posterior.mean.astype(np.float64), posterior.scale.astype(np.float64)
        kl = 0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale)).mean(0)
        variance = mean.var(0)
    singular = np.zeros(len(roots))  # a model may have more dimensions than features
    found = np.linalg.svd(j.matrix.astype(np.float64), compute_uv=False)
    singular[: len(found)] = found
    return Spectrum(
        singular_values=singular,
        root_eigenvalues=roots,
        noise=j.noise,
        threshold=threshold,
        threshold_rule=rule,
        column_norms=j.column_norms(),
        kl=kl,
        variance=variance,
        n_rows=0 if posterior is None else len(posterior.mean),
        tokens=exposure,
        of=j.of,
        at=j.at,
        samples=j.samples,
        seed=j.seed,
    )


def _words(of: JacobianKind) -> str:
    return of.replace("log_probabilities", "log-probabilities").replace("_", " ")


def _report(s: Spectrum) -> str:
    views = s.live_dimensions
    lines = [
        f"{s.live} of {s.n_components} latent directions live ({s.threshold_rule})",
        f"  Jacobian of the {_words(s.of)} over {s.at}, {s.samples:,} samples",
        f"  {'effective rank':<44}{effective_rank(s.root_eigenvalues):>7.1f}  of E[JᵀJ]^½; "
        f"{effective_rank(s.singular_values):.1f} of E[J]",
        f"  {'directions above the threshold in E[J]':<44}{s.live_mean:>7}"
        f"  (Monte Carlo noise {s.noise:.2g}, threshold {s.threshold:.2g})",
        f"  {'dimensions (axes) by column norm':<44}{views['column_norm']:>7}  same threshold",
    ]
    if "kl" in views:
        lines += [
            f"  {f'dimensions by mean KL > {KL_THRESHOLD} nats':<44}{views['kl']:>7}"
            f"  over {s.n_rows:,} rows",
            f"  {f'dimensions by variance of the mean > {VARIANCE_THRESHOLD}':<44}"
            f"{views['variance']:>7}",
            f"  {'dimensions dead in all three views':<44}{views['dead_in_all']:>7}",
        ]
    return "\n".join(lines)


def verdict(s: Spectrum, model: NonlinearFactorAnalysis) -> str:
    """What the spectrum says about K, in plain words."""
    k, live = s.n_components, s.live
    axes = max(v for name, v in s.live_dimensions.items() if name != "dead_in_all")
    parts = []
    if live >= 0.9 * k:
        parts.append(
            f"Nearly every direction lives: fewer dimensions would hurt, and more may help. "
            f"Try n_components={2 * k}."
        )
    elif live >= 0.5 * k:
        parts.append(
            f"There is room: {k - live} directions say next to nothing. More dimensions would "
            "be wasted on these settings; fewer than about "
            f"{live} would hurt."
        )
    else:
        parts.append(
            f"Most directions are pruned: more dimensions would be wasted, and about "
            f"{max(2, math.ceil(1.25 * live))} would do as well."
        )
        parts.append(
            f"If you expect more structure, {_remedies(model)}; then compare the held-out bounds: "
            "more directions are better only if they raise them."
        )
    if axes > 1.5 * live + 2:
        parts.append(
            f"Along the axes up to {axes} dimensions look used, because the live directions lie "
            "across them; the prior has no preferred axes, so trust the directions."
        )
    return " ".join(parts)


def _remedies(model: NonlinearFactorAnalysis) -> str:
    tries = []
    if max(m for _, m in refine_schedule(model.parameters_["refine_steps"])) == 0:
        tries.append("train with local refinement (refine_steps='auto')")
    if model.parameters_["kl_anneal"] < 0.5:
        tries.append("anneal the KL (kl_anneal=0.5)")
    tries.append("train longer or with a smaller learning rate")
    return ", ".join(tries[:-1]) + (" or " if len(tries) > 1 else "") + tries[-1]
