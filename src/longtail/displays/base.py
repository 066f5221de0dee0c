"""What every figure shares: Altair when needed, inline data, titles, writing to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from longtail.errors import MissingExtraError, ParameterError

__all__ = ["PALETTE", "altair", "check_plot_path", "inline", "save_plot", "styled"]

PALETTE = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#e45756", "#72b7b2", "#888888"]
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
    altair()
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


def altair() -> Any:
    """The module, imported when a figure is wanted.

    Raises
    ------
    MissingExtraError
    """
    try:
        import altair as module
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "Plots need Altair and vl-convert, which the extra brings: pip install longtail[plot]. "
            "The table behind the figure, .frame(), needs neither."
        ) from error
    return module


def inline(alt: Any, table: pl.DataFrame) -> Any:
    """Inline data: plain JSON values, so that no data-frame bridge is needed."""
    # JSON has no NaN, the standard error of a single row.
    return alt.Data(values=table.with_columns(pl.selectors.float().fill_nan(None)).to_dicts())


def styled(chart: Any, title: str, subtitle: str | None = None) -> Any:
    """A chart with a title and this library's looks."""
    params: dict[str, Any] = {"text": title, "anchor": "start", "fontSize": 15}
    if subtitle:
        params |= {"subtitle": subtitle, "subtitleColor": "#666"}
    return (
        chart.properties(title=params)
        .configure_view(strokeOpacity=0)
        .configure_axis(gridOpacity=0.4, titleFontWeight="normal")
    )
