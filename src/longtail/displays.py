"""Figures: each has `.frame()`, its table, and `.plot()`, an Altair chart.

`save_plot` writes a chart to PNG, SVG, HTML or JSON without a browser or a network. Altair comes
with the extra ``longtail[plot]``; the tables need nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from longtail.errors import MissingExtraError, ParameterError

__all__ = ["EvaluationDisplay", "HistoryDisplay", "check_plot_path", "save_plot"]

_PALETTE = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d"]
_FORMATS = ("png", "svg", "html", "json")


def check_plot_path(path: str | Path) -> str:
    """Check that a plot could be written to this name, and return its kind.

    For use before long work whose plot comes last.

    Raises
    ------
    ParameterError
        If the extension is none of png, svg, html, json.
    MissingExtraError
        If Altair is not installed.
    """
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in _FORMATS:
        raise ParameterError(
            f"A plot is written as one of {', '.join(_FORMATS)}, by extension; got "
            f"{Path(path).name!r}."
        )
    _altair()
    return kind


def save_plot(chart: Any, path: str | Path, *, scale: float = 2.0) -> Path:
    """Write a chart to a file, its kind chosen by the extension.

    Parameters
    ----------
    scale
        Pixels per unit, for PNG.

    Raises
    ------
    ParameterError, MissingExtraError
        As `check_plot_path`.
    """
    path = Path(path)
    kind = check_plot_path(path)
    if kind == "png":
        chart.save(path, format=kind, scale_factor=scale)
    elif kind == "html":
        chart.save(path, format=kind, inline=True)
    else:
        chart.save(path, format=kind)
    return path


class HistoryDisplay:
    """Training over epochs: held-out bounds, KL weight, and latent dimensions in use.

    Parameters
    ----------
    runs
        A table of epochs for each named run; one unnamed run is usual.
    """

    def __init__(self, runs: Mapping[str, pl.DataFrame]) -> None:
        self._runs = dict(runs)

    def frame(self) -> pl.DataFrame:
        """One line an epoch and run."""
        tables = [t.with_columns(run=pl.lit(name)) for name, t in self._runs.items()]
        return pl.concat(tables, how="diagonal_relaxed")

    def plot(self) -> Any:
        """Three panels that share the epoch axis."""
        alt = _altair()
        table = self.frame()
        many = len(self._runs) > 1
        color = (
            alt.Color("run:N", title=None, scale=alt.Scale(range=_PALETTE))
            if many
            else alt.Undefined
        )
        base = alt.Chart(_values(alt, table)).encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1))
        )

        def panel(columns: dict[str, str], title: str, height: int, log: bool = False) -> Any:
            names = list(columns.values())
            labels = " : ".join(f"datum.series == '{c}' ? '{n}'" for c, n in columns.items())
            shown = (
                base.transform_fold(list(columns), as_=["series", "value"])
                .transform_filter("isValid(datum.value)")
                .transform_calculate(series=f"{labels} : ''")
            )
            scale = alt.Scale(type="log", nice=False) if log else alt.Scale(zero=True)
            dash = alt.Scale(domain=names, range=[[1, 0], [6, 3]][: len(names)])
            return (
                shown.mark_line(point=alt.OverlayMarkDef(size=12))
                .encode(
                    y=alt.Y("value:Q", title=title, scale=scale),
                    color=color,
                    strokeDash=alt.StrokeDash("series:N", scale=dash, legend=None),
                    tooltip=["epoch:Q", "series:N", alt.Tooltip("value:Q", format=",.2f")],
                )
                .properties(width=560, height=height)
            )

        validated = table["valid_per_doc_refined"].null_count() < table.height
        if validated:
            bounds = panel(
                {
                    "valid_per_doc_refined": "ELBO at ψ*",
                    "valid_per_doc_amortized": "ELBO at ψ(x)",
                },
                "validation perplexity, per document",
                260,
                log=True,
            )
        else:
            bounds = panel(
                {"train_nats_per_row": "training ELBO"}, "training ELBO, nats a row", 260
            )
        weight = panel({"kl_weight": "KL weight"}, "KL weight", 70)
        active = panel({"active_kl": "dimensions"}, "latent dimensions in use", 110)
        chart = alt.vconcat(bounds, active, weight).resolve_scale(strokeDash="independent")
        return _styled(
            chart, "Training", "solid: ELBO at ψ*; dashed: ELBO at ψ(x)" if validated else None
        )


class EvaluationDisplay:
    """The ladder of held-out figures against the unigram floor, with error bars.

    Parameters
    ----------
    rungs
        One mapping a figure: figure, estimator, per_doc, per_doc_se, per_word, nats_per_row,
        se, mc_se, samples, steps, and optionally model.
    """

    def __init__(self, rungs: Sequence[Mapping[str, Any]]) -> None:
        self._rungs = [dict(r) for r in rungs]

    def frame(self) -> pl.DataFrame:
        """One line a figure."""
        return pl.DataFrame(self._rungs, infer_schema_length=None)

    def plot(self) -> Any:
        """Perplexity per document on each rung, ± 2 standard errors over rows.

        Completion is left out of the picture: it scores other tokens.
        """
        alt = _altair()
        table = self.frame().filter(pl.col("figure") != "completion")
        table = table.with_columns(
            low=pl.col("per_doc") - 2 * pl.col("per_doc_se").fill_nan(0),
            high=pl.col("per_doc") + 2 * pl.col("per_doc_se").fill_nan(0),
        )
        order = table["estimator"].unique(maintain_order=True).to_list()
        many = "model" in table.columns
        extra: dict[str, Any] = {"yOffset": "model:N"} if many else {}
        color = (
            alt.Color("model:N", title=None, scale=alt.Scale(range=_PALETTE))
            if many
            else alt.value(_PALETTE[0])
        )
        base = alt.Chart(_values(alt, table)).encode(
            y=alt.Y("estimator:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
            color=color,
            **extra,
        )
        x = alt.X("per_doc:Q", title="perplexity per document (lower is better)")
        points = base.mark_point(filled=True, size=70).encode(
            x=x.scale(zero=False),
            tooltip=[
                "estimator:N",
                *(
                    alt.Tooltip(f"{c}:Q", format=",.2f")
                    for c in ("per_doc", "per_word", "nats_per_row", "se")
                ),
                "samples:Q",
                "steps:Q",
            ],
        )
        bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=""), x2="high:Q")
        labels = base.mark_text(dy=-11, fontSize=11).encode(
            x="per_doc:Q", text=alt.Text("per_doc:Q", format=",.0f")
        )
        chart = (bars + points + labels).properties(width=520, height={"step": 34 if many else 42})
        return _styled(
            chart,
            "Held-out bounds",
            "bars: ± 2 standard errors over rows",
        )


def _altair() -> Any:
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "Plots need Altair and vl-convert, which the extra brings: pip install longtail[plot]. "
            "The table behind the figure, .frame(), needs neither."
        ) from error
    return altair


def _values(alt: Any, table: pl.DataFrame) -> Any:
    """Inline data: plain JSON values, so that no data-frame bridge is needed."""
    # JSON has no NaN, the standard error of a single row.
    return alt.Data(values=table.with_columns(pl.selectors.float().fill_nan(None)).to_dicts())


def _styled(chart: Any, title: str, subtitle: str | None = None) -> Any:
    params: dict[str, Any] = {"text": title, "anchor": "start", "fontSize": 15}
    if subtitle:
        params |= {"subtitle": subtitle, "subtitleColor": "#666"}
    return (
        chart.properties(title=params)
        .configure_view(strokeOpacity=0)
        .configure_axis(gridOpacity=0.4, titleFontWeight="normal")
    )
