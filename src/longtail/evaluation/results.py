"""What an evaluation says, and how sure it is. Every figure names its estimator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.displays import EvaluationDisplay
from longtail.evaluation.sums import LogProbSums, Moments

__all__ = ["ActiveDims", "Bound", "Completion", "Evaluation", "Floor", "Gap"]

Array = npt.NDArray[np.float64]

KL_THRESHOLD = 0.05  # nats: mean KL above which a latent dimension counts as used
VARIANCE_THRESHOLD = 0.01  # Burda et al. 2016, active units


@dataclass(frozen=True)
class Floor:
    """What the training-set word frequencies alone reach: no model should be worse.

    Attributes
    ----------
    per_doc, per_word
        Perplexity averaged over rows, exp(mean_d −b_d/N_d), and over tokens,
        exp(−Σ b_d / Σ N_d); None under a likelihood that does not score tokens.
    per_doc_se
        Standard error of `per_doc` over rows (delta method).
    nats_per_row
        Mean log-probability of a row, nats.
    se
        Standard error of `nats_per_row` over rows, nats.
    """

    per_doc: float | None
    per_doc_se: float | None
    per_word: float | None
    nats_per_row: float
    se: float

    @classmethod
    def from_rows(cls, log_prob: Array, totals: Array | None) -> Floor:
        """Summarise per-row log-probabilities (n,) of rows with totals (n,), None: no tokens."""
        return cls.from_sums(LogProbSums.of(log_prob, totals))

    @classmethod
    def from_sums(cls, sums: LogProbSums) -> Floor:
        """The same from sums over rows."""
        return cls(**sums.summary())


@dataclass(frozen=True)
class Bound:
    """A lower bound on held-out log-likelihood.

    Attributes
    ----------
    per_doc, per_doc_se, per_word, nats_per_row, se
        As in `Floor`.
    mc_se
        Monte Carlo standard error of `nats_per_row`, nats: repeating the evaluation on the same
        rows with another seed moves it by about this much. For the importance-weighted bound it
        comes from the delta method, which says too little where a few draws carry the weight.
    samples
        S, draws per row.
    steps
        M, refinement steps per row; 0 is the inference network alone. With a full covariance, the
        gradients of its iterations too, two each.
    """

    per_doc: float | None
    per_doc_se: float | None
    per_word: float | None
    nats_per_row: float
    se: float
    mc_se: float
    samples: int
    steps: int

    @classmethod
    def from_rows(
        cls, values: Array, mc_var: Array, totals: Array | None, *, samples: int, steps: int
    ) -> Bound:
        """Summarise per-row bounds (n,) with Monte Carlo variances (n,); see `Floor.from_rows`."""
        sums = LogProbSums.of(values, totals)
        return cls.from_sums(sums, float(mc_var.sum()), samples=samples, steps=steps)

    @classmethod
    def from_sums(cls, sums: LogProbSums, mc_var: float, *, samples: int, steps: int) -> Bound:
        """The same from sums over rows; `mc_var` is the variance of the bounds' sum."""
        mc_se = float(np.sqrt(mc_var) / sums.rows.n)
        return cls(**sums.summary(), mc_se=mc_se, samples=samples, steps=steps)


@dataclass(frozen=True)
class Completion:
    """Document completion: the held-out half of each row's tokens, given the other half.

    Attributes
    ----------
    per_doc, per_doc_se, per_word, nats_per_row, se
        As in `Floor`, of the held-out tokens under E_q[p].
    rows, skipped_rows
        Rows scored; rows with fewer than two tokens, which cannot be split.
    tokens
        Held-out tokens scored.
    samples, steps
        S and M.
    """

    per_doc: float
    per_doc_se: float
    per_word: float
    nats_per_row: float
    se: float
    rows: int
    skipped_rows: int
    tokens: float
    samples: int
    steps: int

    @classmethod
    def from_rows(
        cls, log_prob: Array, totals: Array, *, skipped_rows: int, samples: int, steps: int
    ) -> Completion:
        """Summarise per-row scores (n,) of held-out halves with totals (n,)."""
        sums = LogProbSums.of(log_prob, totals)
        return cls.from_sums(sums, skipped_rows=skipped_rows, samples=samples, steps=steps)

    @classmethod
    def from_sums(
        cls, sums: LogProbSums, *, skipped_rows: int, samples: int, steps: int
    ) -> Completion:
        """The same from sums over rows."""
        return cls(
            **sums.summary(),
            rows=sums.rows.n,
            skipped_rows=skipped_rows,
            tokens=sums.tokens or 0.0,
            samples=samples,
            steps=steps,
        )


@dataclass(frozen=True)
class Gap:
    """The amortisation gap: what refinement adds to the ELBO of a row, ψ(x) → ψ*.

    Attributes
    ----------
    nats_per_row, se
        Mean and its standard error over rows.
    median, p90
        Quantiles over rows, nats.
    """

    nats_per_row: float
    se: float
    median: float
    p90: float

    @classmethod
    def from_rows(cls, gap: Array) -> Gap:
        """Summarise per-row gaps (n,)."""
        median, p90 = np.quantile(gap, [0.5, 0.9])
        return cls.from_sums(Moments.of(gap), median=float(median), p90=float(p90))

    @classmethod
    def from_sums(cls, gap: Moments, *, median: float, p90: float) -> Gap:
        """The same from sums over rows, and quantiles."""
        return cls(nats_per_row=float(gap.mean), se=gap.se, median=median, p90=p90)


@dataclass(frozen=True)
class ActiveDims:
    """Latent dimensions in use, by two views.

    Attributes
    ----------
    kl
        With a mean KL above `kl_threshold` nats.
    variance
        Whose posterior mean varies over rows by more than `variance_threshold`.
    """

    kl: int
    variance: int
    of: int
    kl_threshold: float = KL_THRESHOLD
    variance_threshold: float = VARIANCE_THRESHOLD

    @classmethod
    def from_rows(cls, kl: Array, mean: Array) -> ActiveDims:
        """Count from per-row KL and posterior means, both (n, K)."""
        return cls.from_sums(Moments.of(kl), Moments.of(mean))

    @classmethod
    def from_sums(cls, kl: Moments, mean: Moments) -> ActiveDims:
        """The same from sums over rows, of columns (K,)."""
        return cls(
            kl=int((kl.mean > KL_THRESHOLD).sum()),
            variance=int((mean.squares / mean.n > VARIANCE_THRESHOLD).sum()),
            of=len(kl.mean),
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The whole ladder on a set of rows.

    Attributes
    ----------
    rows, dropped_rows
        Rows scored; rows without any count in the vocabulary, which have no perplexity.
    tokens
        Total count of the rows scored, within the vocabulary.
    unseen
        Shares of rows that had, and of mass that was on, features outside the vocabulary.
    floor, elbo_amortized, elbo_refined, elbo_full, iw, completion
        The figures, weakest to tightest; completion is on another scale (held-out halves).
        `elbo_full`, with a full covariance, is None if it was not asked for; with it, `iw` draws
        from that posterior.
    gap
        What refinement added.
    active_dims
        Latent dimensions in use.
    per_row
        One line a row: row_id, tokens, floor, elbo_amortized, elbo_refined, elbo_full (if there),
        iw, gap (nats). No line if the rows were scored block by block: the files have them.
    """

    rows: int
    dropped_rows: int
    tokens: float
    unseen: dict[str, float]
    floor: Floor
    elbo_amortized: Bound
    elbo_refined: Bound
    elbo_full: Bound | None
    iw: Bound
    completion: Completion | None
    gap: Gap
    active_dims: ActiveDims
    seed: int
    per_row: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; the per-row table is left out."""
        names = [f for f in self.__dataclass_fields__ if f != "per_row"]
        out: dict[str, Any] = {}
        for name in names:
            value = getattr(self, name)
            plain = asdict(value) if hasattr(value, "__dataclass_fields__") else value
            out[name] = _without_nan(plain)
        return out

    def display(self) -> EvaluationDisplay:
        """The ladder as a figure with its table."""
        return EvaluationDisplay(self._table())

    def frame(self) -> pl.DataFrame:
        """The ladder as a table: one line a figure."""
        return self.display().frame()

    def plot(self) -> Any:
        """The ladder as an Altair chart."""
        return self.display().plot()

    def _repr_html_(self) -> str:
        return f"{self.display()._repr_html_()}<pre>{escape(str(self))}</pre>"

    def _table(self) -> list[dict[str, Any]]:
        rungs: list[tuple[str, str, Floor | Bound | Completion]] = [
            ("floor", "unigram floor", self.floor),
            ("elbo_amortized", "ELBO at ψ(x)", self.elbo_amortized),
            ("elbo_refined", "ELBO at ψ*", self.elbo_refined),
        ]
        if self.elbo_full is not None:
            rungs.append(("elbo_full", "ELBO at ψ*, full covariance", self.elbo_full))
        diagonal = self.elbo_full is None
        of = "importance-weighted at ψ*" if diagonal else "importance-weighted, full cov."
        rungs.append(("iw", of, self.iw))
        if self.completion is not None:
            rungs.append(("completion", "completion of held-out halves", self.completion))
        return [
            {
                "figure": name,
                "estimator": label,
                "per_doc": r.per_doc,
                "per_doc_se": r.per_doc_se,
                "per_word": r.per_word,
                "nats_per_row": r.nats_per_row,
                "se": r.se,
                "mc_se": getattr(r, "mc_se", None),
                "samples": getattr(r, "samples", None),
                "steps": getattr(r, "steps", None),
            }
            for name, label, r in rungs
        ]

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} rows, {self.tokens:,.0f} tokens in the vocabulary"
            f" ({self.dropped_rows:,} empty rows dropped; unseen features hold"
            f" {self.unseen['mass']:.1%} of the mass, in {self.unseen['rows']:.1%} of the rows)",
            "",
            *self._table_lines(),
        ]
        a, g = self.active_dims, self.gap
        lines += [
            "",
            *self._how_to_read(),
            f"refinement gains {g.nats_per_row:.2f} ± {g.se:.2f} nats a row"
            f" (median {g.median:.2f}, 90 % quantile {g.p90:.2f})",
            f"latent dimensions in use: {a.kl} of {a.of} by KL > {a.kl_threshold} nats,"
            f" {a.variance} by variance of the posterior mean > {a.variance_threshold}",
        ]
        return "\n".join(lines)

    def _table_lines(self) -> list[str]:
        """The table of estimators; columns grow with their numbers."""

        def number(value: float | None, digits: int) -> str:
            return "" if value is None else f"{value:.{digits}f}"

        heads = ("per doc", "± se", "per word", "nats/row", "± se", "± MC", "S", "M")
        cells = [
            (
                number(r["per_doc"], 1),
                number(r["per_doc_se"], 1),
                number(r["per_word"], 1),
                number(r["nats_per_row"], 2),
                number(r["se"], 2),
                number(r["mc_se"], 2),
                str(r["samples"] or ""),
                number(r["steps"], 0),
            )
            for r in self._table()
        ]
        least = (9, 7, 9, 10, 7, 7, 5, 5)
        columns = zip(heads, *cells, strict=True)
        widths = [
            max(least_width, *(len(text) + 1 for text in column))
            for least_width, column in zip(least, columns, strict=True)
        ]
        labels = ["estimator", *(r["estimator"] for r in self._table())]
        return [
            f"{label:<31}" + "".join(f"{text:>{w}}" for text, w in zip(row, widths, strict=True))
            for label, row in zip(labels, [heads, *cells], strict=True)
        ]

    def _how_to_read(self) -> list[str]:
        if self.floor.per_doc is not None:
            return [
                "per doc and per word are perplexities: lower is better. Bounds are lower bounds"
                " on",
                "log-likelihood: their perplexities are upper bounds. Completion scores other"
                " tokens.",
            ]
        return [
            "nats/row are lower bounds on the log-likelihood of a row: higher is better.",
            "Completion scores which features the held-out half has, by perplexity: lower is"
            " better.",
        ]

    __repr__ = __str__


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: a standard error of one row becomes null."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
