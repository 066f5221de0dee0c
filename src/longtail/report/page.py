"""The page: sections as one HTML file with everything in it.

Names of features and rows are text of any kind. Jinja escapes it; figures and tables travel as JSON
whose angle brackets are escaped; pictures are images, in which no script runs. A content security
policy allows the two scripts of the page by their hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from longtail.data.files import as_path
from longtail.displays import Figure, save_plot
from longtail.displays.base import TABLE_ROWS, altair, drawn, shortened, table_html
from longtail.errors import MissingExtraError, ParameterError
from longtail.output_files import write_table, write_text
from longtail.report.blocks import Chart, Section, Table

__all__ = ["Report", "check_report_path", "require_extra"]

_NAME, _TITLE = 60, 500  # characters of a name that are shown, and that its title holds
# What a table on the page holds at most, so that the file stays small whatever the names.
_ROWS, _CELL = 5000, 200


@dataclass(frozen=True, eq=False)
class Report:
    """A page about a model.

    Attributes
    ----------
    title
        Of the page.
    sections
        In order.
    key_figures
        What it says in numbers, ready for JSON.
    """

    title: str
    sections: tuple[Section, ...]
    key_figures: dict[str, Any]

    @property
    def figures(self) -> dict[str, Figure]:
        """Every figure by name; each has `.frame()` and `.plot()`."""
        return {chart.name: chart.display for chart in self._charts()}

    def _charts(self) -> Iterator[Chart]:
        for section in self.sections:
            yield from (b for b in section.blocks if isinstance(b, Chart))

    def html(self) -> str:
        """The page."""
        require_extra()
        charts = {}
        tables = {}
        for chart in self._charts():
            spec = _untitled(chart.display.plot().to_dict()) | {"description": chart.alt}
            charts[chart.name] = {
                "image": drawn(spec),
                "spec": escaped_json(spec),
                "renderer": "canvas" if chart.searchable else "svg",
            }
            tables[chart.name] = _table(chart.display.frame())
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Table):
                    tables[block.name] = _table(block.frame, block.shown)
        bundle, script = _bundle(), _file("report.js")
        policy = (
            "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
            f"script-src {_hash(bundle)} {_hash(script)}; base-uri 'none'; form-action 'none'"
        )
        page: str = (
            _environment()
            .get_template("page.html.j2")
            .render(
                report=self,
                charts=charts,
                tables=tables,
                policy=policy,
                bundle=bundle,
                script=script,
                style=_file("report.css"),
                version=version("longtail"),
            )
        )
        # A name may hold half of a surrogate pair, which no encoding of the file can.
        return page.encode("utf-8", "replace").decode("utf-8")

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all.

        Raises
        ------
        ParameterError
            If the name does not end in .html.
        WriteError, MissingExtraError
        """
        path = check_report_path(path)
        write_text(self.html(), path)
        return path

    def save_figures(self, folder: str | Path, kind: str = "svg") -> list[Path]:
        """Write each figure, and its table as Parquet, into a folder.

        Parameters
        ----------
        kind
            "svg", "png", "html" or "json".

        Raises
        ------
        ParameterError, WriteError, MissingExtraError
        """
        folder = as_path(folder, "folder")
        written = []
        for name, figure in self.figures.items():
            written.append(save_plot(figure.plot(), folder / f"{name}.{kind}"))
            write_table(figure.frame(), folder / f"{name}.parquet")
        return written

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self.html())}" '
            'style="width:100%;height:80vh;border:1px solid #8884"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Report({self.title!r}, {len(self.sections)} sections, {len(self.figures)} figures)"


def check_report_path(path: str | Path) -> Path:
    """Check that a report could be written to this name.

    Raises
    ------
    ParameterError, MissingExtraError
    """
    path = as_path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ParameterError(f"A report is written as .html; got {path.name!r}.")
    require_extra()
    return path


def require_extra() -> None:
    """Check that what a report needs is installed.

    Raises
    ------
    MissingExtraError
    """
    try:
        import jinja2  # noqa: F401

        altair()
    except ImportError as error:
        raise MissingExtraError(
            "A report needs Jinja, Altair and vl-convert, which the extra brings: "
            "pip install longtail[report]. The figures' tables, and the commands evaluate, "
            "spectrum, directions and neighbors, need neither."
        ) from error


def escaped_json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _table(frame: pl.DataFrame, shown: int = TABLE_ROWS) -> dict[str, Any]:
    flat = frame.head(_ROWS).with_columns(pl.selectors.float().fill_nan(None))
    return {
        "rows": len(frame),
        "held": len(flat),
        "shown": min(shown, len(frame)),
        "html": table_html(frame, shown),
        "json": escaped_json(
            {"columns": flat.columns, "rows": [[_cell(x) for x in row] for row in flat.rows()]}
        ),
    }


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_cell(one) for one in value]
    if isinstance(value, str) and len(value) > _CELL:
        return f"{value[: _CELL - 1]}…"
    return value


def _untitled(spec: dict[str, Any]) -> dict[str, Any]:
    """Without the title, which is a heading of the page."""
    return {k: v for k, v in spec.items() if k not in ("title", "$schema")}


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # A module, for the browser, ends at the first closing tag: there must be none.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return resources.files("longtail.report").joinpath("templates", name).read_text("utf-8")


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("longtail.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cut"] = lambda text: shortened(text, _NAME)
    environment.filters["full"] = lambda text: text[:_TITLE]
    return environment
