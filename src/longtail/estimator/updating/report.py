"""What an update changed: rows, features, frequencies, latent vectors and bounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.estimator.updating.growing import NewFeature

__all__ = ["BoundChange", "Drift", "IdfChange", "UpdateReport"]

Array = npt.NDArray[np.float64]

_SHOWN = 10


@dataclass(frozen=True)
class BoundChange:
    """The ELBO at ψ* of the same rows before and after, nats a row.

    Attributes
    ----------
    rows
        How many.
    before, after
        Mean bounds.
    se
        Standard error over rows of their difference; None for a single row.
    """

    rows: int
    before: float
    after: float
    se: float | None

    @classmethod
    def of(cls, before: Array, after: Array) -> BoundChange:
        """Compare the bounds of n rows, (n,) each."""
        n = len(before)
        se = float((after - before).std(ddof=1) / np.sqrt(n)) if n > 1 else None
        return cls(n, float(before.mean()), float(after.mean()), se)


@dataclass(frozen=True)
class Drift:
    """How far latent vectors moved: those of the same rows under the old and the new model.

    Attributes
    ----------
    of
        Whose: "retained" rows, which the old model was fitted to, or "new" ones.
    rows
        How many; empty rows, and rows without a feature that the old model knew, are left out.
    cosine
        Mean cosine between a row's old vector and its new one; None if all vectors are 0.
    cosine_low
        Its fifth percentile over rows.
    shift
        Root mean square, over rows and dimensions, of how many old posterior standard deviations
        the mean moved. Below 1 the old and the new vector of a row are hardly told apart.
    """

    of: Literal["retained", "new"]
    rows: int
    cosine: float | None
    cosine_low: float | None
    shift: float

    @classmethod
    def between(
        cls, of: Literal["retained", "new"], old: Array, new: Array, old_scale: Array
    ) -> Drift:
        """Compare posterior means, (n, K) each, with the old standard deviations."""
        lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
        cosines = (old * new).sum(1)[lengths > 0] / lengths[lengths > 0]
        return cls(
            of=of,
            rows=len(old),
            cosine=float(cosines.mean()) if len(cosines) else None,
            cosine_low=float(np.quantile(cosines, 0.05)) if len(cosines) else None,
            shift=float(np.sqrt(np.square((new - old) / old_scale).mean())),
        )


@dataclass(frozen=True)
class IdfChange:
    """How the inverse document frequencies of running counts differ from those that were in use.

    Attributes
    ----------
    applied
        Whether the encoder now reads the new ones.
    mean, largest
        Absolute differences over the old features.
    feature
        The one that differs most.
    """

    applied: bool
    mean: float
    largest: float
    feature: str


@dataclass(frozen=True)
class UpdateReport:
    """What `partial_fit` did to a fitted model.

    Attributes
    ----------
    rows, tokens
        New rows that were learnt from, and their total count.
    held_out_rows, dropped_rows, retained_rows
        New rows held out; empty rows left out; old rows rehearsed.
    epochs, best_epoch, updates, learning_rate, seed
        Of the training; the parameters are those of the best epoch, counted within the update.
    total_rows, features
        Rows behind the running counts, and features of the model, afterwards.
    added, left_out, reasons
        Features taken in; not taken in, the most frequent first; how many for each reason.
    unseen_mass
        Share of the new rows' total count that was left out.
    idf
        None where the encoder does not see tf-idf.
    drift
        None if there was no row to judge it by.
    new_rows, old_rows
        Bounds of held-out new rows, under the grown model before and after training; of held-out
        retained rows, over the features that the old model knew, under the old and the new model.
    notes
        What is approximate.
    """

    rows: int
    tokens: float
    held_out_rows: int
    dropped_rows: int
    retained_rows: int
    epochs: int
    best_epoch: int
    updates: int
    learning_rate: float
    seed: int
    total_rows: float
    features: int
    added: tuple[NewFeature, ...] = ()
    left_out: tuple[NewFeature, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    unseen_mass: float = 0.0
    idf: IdfChange | None = None
    drift: Drift | None = None
    new_rows: BoundChange | None = None
    old_rows: BoundChange | None = None
    notes: tuple[str, ...] = field(default=())

    def frame(self) -> pl.DataFrame:
        """Every feature that was new: name, new rows that hold it, count, whether it was added."""
        both = [(f, True) for f in self.added] + [(f, False) for f in self.left_out]
        columns = {"feature": pl.String, "rows": pl.Int64, "count": pl.Float64, "added": pl.Boolean}
        lines = [(f.name, f.rows, f.count, is_added) for f, is_added in both]
        return pl.DataFrame(lines, schema=columns, orient="row")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; of many features the most frequent ten."""

        def listed(features: tuple[NewFeature, ...]) -> dict[str, Any]:
            first = sorted(features, key=lambda f: (-f.count, f.name))[:_SHOWN]
            return {
                "features": len(features),
                "count": sum(f.count for f in features),
                "first": [asdict(f) for f in first],
            }

        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if isinstance(getattr(self, name), int | float)
        }
        parts = {
            name: None if (part := getattr(self, name)) is None else asdict(part)
            for name in ("idf", "drift", "new_rows", "old_rows")
        }
        return {
            **plain,
            "added": listed(self.added),
            "left_out": listed(self.left_out) | {"reasons": dict(self.reasons)},
            **parts,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """For people."""
        lines = [
            f"{self.rows:,} new rows, {self.tokens:,.0f} tokens"
            f" ({self.held_out_rows:,} rows held out, {self.dropped_rows:,} empty)"
            + (f"; {self.retained_rows:,} old rows rehearsed" if self.retained_rows else ""),
            f"{self.epochs} epochs, {self.updates:,} updates, learning rate up to "
            f"{self.learning_rate:g}; parameters of epoch {self.best_epoch}",
            f"running counts are over {self.total_rows:,.0f} rows",
            self._features_line(),
        ]
        lines += [f"left out: {n:,} features {why}" for why, n in self.reasons]
        if self.left_out:
            lines.append(
                f"left out: {self.unseen_mass:.2%} of the count of the new rows "
                f"({_names(self.left_out)})"
            )
        lines += self._change_lines()
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _features_line(self) -> str:
        if not self.added:
            return f"features: {self.features:,}, none new"
        return (
            f"features: {self.features:,}, {len(self.added):,} of them new ({_names(self.added)})"
        )

    def _change_lines(self) -> list[str]:
        lines = []
        if self.idf is not None:
            kept = "now in use" if self.idf.applied else "kept out of use: idf='update' applies it"
            lines.append(
                f"idf of running counts: mean change {self.idf.mean:.3f}, largest "
                f"{self.idf.largest:.2f} ({self.idf.feature}); {kept}"
            )
        for name, change in (("new", self.new_rows), ("retained", self.old_rows)):
            if change is not None:
                se = "" if change.se is None else f" ± {change.se:.2f}"
                lines.append(
                    f"{change.rows:,} held-out {name} rows, ELBO at ψ*: {change.before:.2f} → "
                    f"{change.after:.2f} nats a row ({change.after - change.before:+.2f}{se})"
                )
        if self.drift is not None and self.drift.cosine is not None:
            lines.append(
                f"latent vectors of {self.drift.rows:,} {self.drift.of} rows, old against new: "
                f"mean cosine {self.drift.cosine:.3f} (5 % below {self.drift.cosine_low:.3f}), "
                f"moved by {self.drift.shift:.2f} posterior standard deviations"
            )
        return lines


def _names(features: tuple[NewFeature, ...]) -> str:
    first = sorted(features, key=lambda f: (-f.count, f.name))
    shown = ", ".join(f"{f.name} ×{f.count:g}" for f in first[:_SHOWN])
    return shown + (", …" if len(features) > _SHOWN else "")
