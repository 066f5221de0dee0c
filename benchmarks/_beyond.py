"""The page on data that are no documents, from the rows: ``python -m benchmarks._beyond``.

Fills the tables of ``docs/beyond.md`` and draws its picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from benchmarks._results import IMAGES, by_scheme, fill, markdown, peers
from benchmarks.rows import ROOT, read_rows
from longtail.displays import save_plot
from longtail.displays.base import PALETTE, altair, inline, styled

PAGE = ROOT / "docs" / "beyond.md"

Figures = dict[str, dict[str, float]]


def figures(benchmark: str, prefix: str, split: str = "test") -> Figures:
    """By program: every metric of the cases that begin with a prefix."""
    found: Figures = {}
    for row in read_rows(benchmark):
        if row["case"].startswith(f"{prefix}/") and row["split"] == split:
            program = row["case"].removeprefix(f"{prefix}/")
            found.setdefault(program, {})[row["metric"]] = float(row["value"])
    return found


def with_error(values: dict[str, float], metric: str, digits: int) -> str:
    """``0.1641 ± 0.0012``; nothing where there is no figure."""
    mean, error = values.get(f"{metric}.mean"), values.get(f"{metric}.se")
    return "" if mean is None or error is None else f"{mean:.{digits}f} ± {error:.{digits}f}"


def ranking(corpus: str, metrics: tuple[str, ...]) -> Callable[[], str]:
    """Programs in the order of their first metric."""

    def table() -> str:
        found = figures("recommend", corpus)
        order = sorted(found, key=lambda p: found[p][f"{metrics[0]}.mean"])
        lines = [[p, *(with_error(found[p], m, 4) for m in metrics)] for p in order]
        return markdown(["program", *metrics], lines)

    return table


RANKED = {
    "gowalla": ("recall@20", "ndcg@20"),
    "deezer": ("recall@20", "ndcg@20"),
    **{
        f"lastfm-{weighting}": ("ndcg@100", "recall_truncated@20", "recall_truncated@50")
        for weighting in ("binary", "log", "raw")
    },
}


def refinement() -> str:
    """What refining a row's posterior adds to the rank of its held-out items."""
    lines = []
    for corpus, metrics in RANKED.items():
        for program, values in figures("recommend", corpus).items():
            # None for other programs, and 0 for a model whose own setting is not to refine.
            if not values.get(f"refinement_gain.{metrics[0]}.se"):
                continue
            lines += [
                [
                    f"{corpus}, {program}, {metric}",
                    with_error(values, f"amortized.{metric}", 4),
                    with_error(values, metric, 4),
                    with_error(values, f"refinement_gain.{metric}", 4),
                ]
                for metric in metrics
            ]
    return markdown(["rows, model, metric", "ψ(x)", "ψ\\*", "difference"], lines)


def class_precision() -> dict[tuple[str, str], tuple[float, float]]:
    """By program and half of the codes: the share of near codes of the same class, its error."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in read_rows("embeddings"):
        case, _, kind = row["case"].partition("ccs_precision@10")
        if case.startswith("nhds2010"):
            program = row["peer"] or f"longtail, {kind.lstrip('/')}"
            found.setdefault((program, row["split"]), {})[row["metric"]] = float(row["value"])
    return {key: (values["precision"], values["se"]) for key, values in found.items()}


def classes() -> str:
    """Embeddings of codes by the half that settings were compared on, and by the other."""
    found = class_precision()
    programs = sorted({program for program, _ in found}, key=lambda p: found[p, "test"])
    lines = [
        [p, *(f"{found[p, split][0]:.3f} ± {found[p, split][1]:.3f}" for split in ("dev", "test"))]
        for p in programs
    ]
    return markdown(["embeddings", "dev", "test"], lines)


TABLES: dict[str, Callable[[], str]] = {
    "codes": by_scheme("codes", "test"),
    "codes-peers": peers("nhds2010"),
    "classes": classes,
    **{corpus: ranking(corpus, metrics) for corpus, metrics in RANKED.items()},
    "refinement": refinement,
}


def panel(points: list[dict[str, Any]], title: str, axis: str, *, zero: bool = True) -> Any:
    """Programs under one another, each with its value and an interval."""
    alt = altair()
    table = pl.DataFrame(points).sort("value")
    base = alt.Chart(inline(alt, table), width=220, title=title).encode(
        y=alt.Y("program:N", sort=table["program"].to_list(), title=None),
        color=alt.Color("whose:N", title=None, scale=alt.Scale(range=PALETTE[:2])),
    )
    value = alt.X("value:Q", title=axis, scale=alt.Scale(zero=zero))
    return base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=axis), x2="high:Q"
    ) + base.mark_point(filled=True, size=60).encode(x=value)


def point(program: str, value: float, error: float) -> dict[str, Any]:
    """What `panel` shows of a program: ± 2 standard errors."""
    whose = "longtail" if program.startswith("longtail") else "others"
    low, high = value - 2 * error, value + 2 * error
    return {"program": program, "value": value, "low": low, "high": high, "whose": whose}


def together(panels: list[Any], title: str) -> Any:
    """Panels side by side, each with axes of its own."""
    chart = altair().concat(*panels, columns=2).resolve_scale(y="independent", x="independent")
    return styled(chart, title, "bars: ± 2 standard errors over rows")


def draw() -> Any:
    """The first metric of every program, one panel for each set."""
    panels = []
    for corpus, metrics in RANKED.items():
        mean, error = f"{metrics[0]}.mean", f"{metrics[0]}.se"
        found = figures("recommend", corpus)
        points = [point(program, values[mean], values[error]) for program, values in found.items()]
        panels.append(panel(points, corpus, metrics[0]))
    return together(panels, "Held-out items found")


def draw_codes() -> Any:
    """The best embeddings of codes by each program, on the half that nothing was chosen by."""
    found = class_precision()
    points = [
        point(program, *values) for (program, split), values in found.items() if split == "test"
    ]
    chart = panel(points, "", "codes among the ten nearest that are of the same class")
    return styled(chart, "Near codes of one class", "bars: ± 2 standard errors over codes")


def draw_cells() -> Any:
    """Single cells: the bound at its tightest, and cell types by neighbours."""
    found = figures("cells", "worm_neurons/K10")
    bounds, types = [], []
    for program, values in found.items():
        # Only this library refines.
        tightest = "iw" if "iw.nats_per_row" in values else "iw_amortized"
        if f"{tightest}.nats_per_row" in values:
            nats, error = values[f"{tightest}.nats_per_row"], values[f"{tightest}.se"]
            bounds.append(point(program, nats, error))
        if "knn.accuracy" in values:
            types.append(point(program, values["knn.accuracy"], values["knn.se"]))
    panels = [
        panel(bounds, "held-out cells", "importance-weighted bound, nats a cell", zero=False),
        panel(types, "cell types", "accuracy of 15 neighbours", zero=False),
    ]
    return together(panels, "Cells")


def main() -> None:
    """Put the tables and the picture in their places."""
    fill(PAGE, TABLES)
    save_plot(draw(), IMAGES / "beyond_ranking.png")
    save_plot(draw_codes(), IMAGES / "beyond_codes.png")
    save_plot(draw_cells(), IMAGES / "beyond_cells.png")


if __name__ == "__main__":
    main()
