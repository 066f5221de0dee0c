"""What every figure shares: Altair when needed, inline data, titles, writing to a file."""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import polars as pl

from longtail.data.files import as_path
from longtail.errors import MissingExtraError, ParameterError
from longtail.output_files import check_output_file, replacing

__all__ = [
    "PALETTE",
    "TABLE_ROWS",
    "Figure",
    "altair",
    "cell_text",
    "check_plot_path",
    "drawn",
    "inline",
    "save_plot",
    "shortened",
    "styled",
    "table_html",
]

PALETTE = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#e45756", "#72b7b2", "#888888"]
_FORMATS = ("png", "svg", "html", "json")
TABLE_ROWS = 30
"""Rows of a table that are shown where the whole of it can be had otherwise."""
_LONGEST = 500  # characters of a cell that are kept behind a shortened one


class Figure(ABC):
    """A figure with its table, and both of them in notebooks."""

    @abstractmethod
    def frame(self) -> pl.DataFrame:
        """The table behind the figure."""

    @abstractmethod
    def plot(self) -> Any:
        """The figure as an Altair chart."""

    def _repr_html_(self) -> str:
        """The picture, where Altair is installed, and the table: no scripts, no requests."""
        table = self.frame()
        shown = f"{min(len(table), TABLE_ROWS):,} of {len(table):,} rows"
        listed = table_html(table)
        try:
            chart = self.plot()
        except MissingExtraError:
            return f"{listed}<p>{shown}</p>"
        image = f'<img alt="{html.escape(type(self).__name__)}" src="{drawn(chart)}">'
        return f"{image}<details><summary>Table: {shown}</summary>{listed}</details>"


def check_plot_path(path: str | Path) -> str:
    """Check that a plot could be written to this name, and return its kind.

    For use before long work whose plot comes last.

    Raises
    ------
    ParameterError
        If the extension is none of png, svg, html, json, or the file cannot be written.
    MissingExtraError
        If Altair is not installed.
    """
    path = as_path(path)
    kind = _plot_kind(path)
    check_output_file(path)
    return kind


def _plot_kind(path: Path) -> str:
    kind = path.suffix.lstrip(".").lower()
    if kind not in _FORMATS:
        raise ParameterError(
            f"A plot is written as one of {', '.join(_FORMATS)}, by extension; got {path.name!r}."
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
    ParameterError
        If the extension is none of png, svg, html, json.
    MissingExtraError
        If Altair is not installed.
    WriteError
        If the file cannot be written; an older one is unchanged.
    """
    path = as_path(path)
    kind = _plot_kind(path)
    options: dict[str, Any] = {"png": {"scale_factor": scale}, "html": {"inline": True}}
    with replacing(path) as partial:
        chart.save(partial, format=kind, **options.get(kind, {}))
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


def drawn(chart: Any) -> str:
    """A chart, or its specification, as the data URL of an SVG image.

    In an image no script runs, and the names of its parts cannot collide with others on the page.

    Raises
    ------
    MissingExtraError
    """
    altair()
    import vl_convert

    spec = chart if isinstance(chart, dict) else chart.to_dict()
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    # The image has one description, its `alt`; one on each mark would be most of its weight.
    svg = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", svg)
    # Vega goes on counting from one picture to the next; the same chart is the same image.
    clips = list(dict.fromkeys(re.findall(r' id="(clip\d+)"', svg)))
    svg = re.sub(
        r'(?<= id=")clip\d+(?=")|(?<=url\(#)clip\d+(?=\))',
        lambda name: f"clip-{clips.index(name[0])}",
        svg,
    )
    svg = re.sub(r' (?:d|transform)="[^"]*"', lambda places: _rounded(places[0]), svg)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _rounded(places: str) -> str:
    """Coordinates to a hundredth of a pixel."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", places)


def shortened(text: str, width: int) -> str:
    """Text in one line of at most `width` characters, an ellipsis where it is cut.

    Control characters become spaces, a name of spaces only is put in quotation marks.
    """
    if len(text) > 4 * width:  # before looking at every character of a very long one
        text = text[: 4 * width] + "…"
    visible = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text
    )
    line = " ".join(visible.split())
    if not line:
        return f"“{visible[:width]}”"
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def cell_text(value: Any) -> str:
    """A value of a table, for people."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if value != value else f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(cell_text, value))
    return str(value)


def table_html(table: pl.DataFrame, limit: int = TABLE_ROWS, width: int = 60) -> str:
    """The first rows of a table as HTML, everything escaped; names may be in any script."""
    numeric = {name for name, kind in table.schema.items() if kind.is_numeric()}
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    lines = []
    for row in table.head(limit).iter_rows(named=True):
        cells = []
        for name, value in row.items():
            text = cell_text(value)
            cut = shortened(text, width) if text else ""
            title = f' title="{html.escape(text[:_LONGEST])}"' if cut != text else ""
            kind = ' class="number"' if name in numeric else ""
            cells.append(f"<td{kind}{title}><bdi>{html.escape(cut)}</bdi></td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


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
