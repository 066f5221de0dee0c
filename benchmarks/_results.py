"""The page of results, from the rows: ``python -m benchmarks._results``.

Fills the tables of ``docs/results.md`` and draws its pictures.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks._experiments import QUESTIONS
from benchmarks.fit_matrix import TABLE
from benchmarks.rows import RESULTS, ROOT, read_rows
from longtail.displays import save_plot
from longtail.displays.base import PALETTE, altair, inline, styled

PAGE = ROOT / "docs" / "results.md"
IMAGES = ROOT / "docs" / "images"
SCORES = ("elbo_amortized_per_doc", "elbo_per_doc", "iw_per_doc", "completion_per_word")
HEADS = ("ELBO, ψ(x)", "ELBO, ψ\\*", "importance-weighted", "completion")

# M and S of the rows that are shown.
SCORING = {"valid": (50, 20), "test": (100, 100)}

Rows = list[dict[str, Any]]


def rows_of(question: str, split: str = "valid", covariance: str = "diagonal") -> Rows:
    """The rows of a question's experiments, under its names for them."""
    frame = pl.read_csv(TABLE, schema_overrides={"input": pl.String}, infer_schema_length=None)
    steps, samples = SCORING[split]
    frame = frame.filter(
        pl.col("split") == split,
        pl.col("covariance") == covariance,
        pl.col("steps") == steps,
        pl.col("samples") == samples,
    )
    kept = {r["digest"]: r for r in frame.to_dicts()}
    found = []
    for experiment in QUESTIONS[question]():
        if experiment.digest in kept:
            named = {"scheme": experiment.scheme, "corpus": experiment.corpus}
            found.append(kept[experiment.digest] | named)
    return found


def markdown(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A table; figures are aligned right."""
    cells = [list(heads), ["---", *["--:"] * (len(heads) - 1)], *lines]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in cells)


def figures(row: dict[str, Any]) -> list[str]:
    """The four perplexities of a row."""
    return [f"{float(row[score]):,.0f}" for score in SCORES]


# --- tables --------------------------------------------------------------------------------------


def by_scheme(question: str, split: str = "valid") -> Callable[[], str]:
    """One line per run."""

    def table() -> str:
        lines = [
            [f"{r['corpus']}, {r['scheme']}", *figures(r), r["dims_kl"]]
            for r in rows_of(question, split)
        ]
        return markdown(["run", *HEADS, "dimensions"], lines)

    return table


def with_covariance(question: str, split: str) -> Callable[[], str]:
    """One line per run, with the rung of a full covariance."""

    def table() -> str:
        lines = []
        for r in rows_of(question, split, "full"):
            amortized, star, iw, completion = figures(r)
            full = f"{float(r['elbo_full_per_doc']):,.0f}"
            name = f"{r['corpus']}, {r['scheme']}, seed {r['seed']}"
            lines.append([name, amortized, star, full, iw, completion, r["dims_kl"]])
        heads = ["run", *HEADS[:2], "ELBO, full covariance", *HEADS[2:], "dimensions"]
        return markdown(heads, lines)

    return table


def inputs() -> str:
    """Mean and standard deviation over seeds."""
    groups: dict[str, Rows] = {}
    for row in rows_of("inputs"):
        groups.setdefault(row["scheme"], []).append(row)
    lines = []
    for scheme, rows in groups.items():
        cells = []
        for score in SCORES:
            values = [float(r[score]) for r in rows]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):,.1f}{spread}")
        lines.append([scheme, *cells, len(rows)])
    return markdown(["training, input", *HEADS, "seeds"], lines)


def two_by_two() -> str:
    """Each cell at the learning rate with the lowest ELBO at ψ*."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows_of("two-by-two"):
        cell = (row["corpus"], row["scheme"].rpartition("-")[0])
        if cell not in best or row["elbo_per_doc"] < best[cell]["elbo_per_doc"]:
            best[cell] = row
    lines = [
        [f"{corpus}, {cell}", f"{r['learning_rate']:g}", *figures(r), r["dims_kl"]]
        for (corpus, cell), r in sorted(best.items())
    ]
    return markdown(["cell", "learning rate", *HEADS, "dimensions"], lines)


def refinement() -> str:
    """ψ(x) → ψ*: the ratio of perplexities, over all runs."""
    groups: dict[tuple[str, str], list[float]] = {}
    for r in {r["digest"]: r for question in QUESTIONS for r in rows_of(question)}.values():
        kind = "plain" if r["refined_in_training"] == "0" else "hybrid"
        ratio = float(r["elbo_per_doc"]) / float(r["elbo_amortized_per_doc"])
        groups.setdefault((r["corpus"], kind), []).append(100 * (ratio - 1))
    lines = [
        [f"{corpus}, {kind}", len(v), f"{max(v):.1f} %", f"{statistics.median(v):.1f} %",
         f"{min(v):.1f} %"]
        for (corpus, kind), v in sorted(groups.items())
    ]  # fmt: skip
    return markdown(["models", "runs", "least", "median", "most"], lines)


def peers(*corpora: str) -> Callable[[], str]:
    """Completion of the same halves by other programs."""

    def table() -> str:
        lines = [
            [r["case"], r["peer"], f"{float(r['value']):,.0f}"]
            for r in read_rows("peers")
            if (r["metric"], r["split"]) == ("completion.per_word", "test")
            and r["case"].split("/")[0] in corpora
        ]
        return markdown(["test rows", "topics-steps, best on validation rows", "completion"], lines)

    return table


TABLES: dict[str, Callable[[], str]] = {
    "depth": by_scheme("depth"),
    "inputs": inputs,
    "two-by-two": two_by_two,
    "refinement": refinement,
    "sparsity": by_scheme("sparsity"),
    "search": by_scheme("search"),
    "decay": by_scheme("decay"),
    "late": by_scheme("late"),
    "draws": by_scheme("draws"),
    "draws-full": with_covariance("draws", "valid"),
    "rare": by_scheme("rare"),
    "longer": with_covariance("longer", "valid"),
    "longer-test": with_covariance("longer", "test"),
    "defaults": by_scheme("defaults"),
    "before": by_scheme("before", "test"),
    "best": with_covariance("best", "test"),
    "peers": peers("20news", "imdb-full-20k"),
}


# --- pictures ------------------------------------------------------------------------------------


def lines_chart(
    points: Rows, *, x: str, y: str, log: bool = False, tick: float = 0.0, **titles: str
) -> Any:
    """Lines by scheme, one panel per corpus."""
    alt = altair()
    kind: dict[str, Any] = {"scale": alt.Scale(type="log", nice=False)} if log else {}
    color = alt.Color("scheme:N", title=None, legend=alt.Legend(orient="top"))
    chart = (
        alt.Chart(width=250, height=230)
        .mark_line(point=True)
        .encode(
            x=alt.X(f"{x}:Q", title=titles["x_title"], axis=alt.Axis(tickMinStep=tick), **kind),
            y=alt.Y(f"{y}:Q", title=titles["y_title"], scale=alt.Scale(zero=False)),
            color=color.scale(range=PALETTE[:4]),
        )
    )
    panels = [
        chart.properties(
            data=inline(alt, pl.DataFrame([p for p in points if p["corpus"] == corpus])),
            title=corpus,
        )
        for corpus in dict.fromkeys(p["corpus"] for p in points)
    ]
    return styled(
        alt.hconcat(*panels).resolve_scale(y="independent", x="independent"), titles["title"]
    )


def points_of(question: str, scheme: Callable[[str], str], **columns: str) -> Rows:
    """What a picture shows of a question's rows."""
    return [
        {"corpus": r["corpus"], "scheme": scheme(r["scheme"])}
        | {name: float(r[column]) for name, column in columns.items()}
        for r in rows_of(question)
    ]


def first(scheme: str) -> str:
    """``hybrid`` of ``hybrid-L2``."""
    return scheme.partition("-")[0]


def draw() -> None:
    """All pictures."""
    bound = "perplexity per document, ELBO at ψ*"
    rate = {"x": "learning_rate", "elbo": "elbo_per_doc", "dims": "dims_kl"}
    cells = points_of("two-by-two", lambda s: s.rpartition("-")[0], **rate)
    charts = {
        "results_depth": lines_chart(
            points_of("depth", first, x="depth", elbo="elbo_per_doc"),
            x="x", y="elbo", title="Depth of the decoder",
            x_title="hidden layers", y_title=bound, tick=1,
        ),
        "results_two_by_two": lines_chart(
            cells, x="x", y="elbo", log=True, title="Refinement × annealing by learning rate",
            x_title="learning rate (log)", y_title=bound,
        ),
        "results_dimensions": lines_chart(
            cells, x="x", y="dims", log=True, title="Latent dimensions in use, of 100",
            x_title="learning rate (log)", y_title="dimensions with KL > 0.05 nats",
        ),
        "results_sparsity": lines_chart(
            _sparsity_points(), x="x", y="gain", log=True,
            title="What refining at test time gains, by vocabulary",
            x_title="V, words (log)", y_title="nats per token, ψ(x) → ψ*",
        ),
        "results_refinement": _gaps(),
    }  # fmt: skip
    if (RESULTS / "curves" / "rarity.csv").exists():
        charts["results_rarity"] = _rarity()
    for name, chart in charts.items():
        save_plot(chart, IMAGES / f"{name}.png")


def _sparsity_points() -> Rows:
    found = []
    for r in rows_of("sparsity"):
        corpus, _, _ = r["corpus"].rpartition("-")
        name = "19,400 training rows" if corpus == "imdb-full" else "6,000 training rows"
        gain = float(r["gap_nats"]) / (float(r["tokens"]) / float(r["rows"]))
        x = float(r["vocabulary"])
        found.append({"corpus": name, "scheme": r["scheme"], "x": x, "gain": gain})
    return found


def _gaps() -> Any:
    """Every model's ψ(x) against its ψ*."""
    alt = altair()
    points = {
        r["digest"]: {
            "corpus": "20news" if r["corpus"].startswith("20news") else "film reviews",
            "amortized": float(r["elbo_amortized_per_doc"]) / float(r["floor_per_doc"]),
            "refined": float(r["elbo_per_doc"]) / float(r["floor_per_doc"]),
            "training": "plain" if r["refined_in_training"] == "0" else "hybrid",
        }
        for question in QUESTIONS
        for r in rows_of(question)
    }
    encode = {"x": alt.X("amortized:Q", title="ψ(x): ELBO perplexity / floor")}
    chart = alt.Chart(inline(alt, pl.DataFrame(list(points.values()))), width=460, height=320)
    marks = chart.mark_point(filled=True, size=45).encode(
        **encode,
        y=alt.Y("refined:Q", title="ψ*: ELBO perplexity / floor", scale=alt.Scale(zero=False)),
        color=alt.Color("training:N", scale=alt.Scale(range=PALETTE)),
        shape=alt.Shape("corpus:N"),
    )
    line = chart.mark_line(color="#999", strokeDash=[4, 4]).encode(x="refined:Q", y="refined:Q")
    return styled(line + marks, "Every model before and after refinement of its rows")


def _rarity() -> Any:
    names = {
        "refined_over_amortized": "ψ(x) → ψ*, plain model",
        "hybrid_over_plain": "plain → hybrid, both at ψ*",
    }
    points = [
        {
            "corpus": r["corpus"],
            "scheme": names[r["gain"]],
            "x": float(r["rarity"]),
            "gain": float(r["nats_per_token"]),
        }
        for r in pl.read_csv(RESULTS / "curves" / "rarity.csv").to_dicts()
    ]
    return lines_chart(
        points, x="x", y="gain", title="Gain against the rarity of a row's words (test rows)",
        x_title="mean of log n/df over the row's tokens", y_title="nats per token",
    )  # fmt: skip


def fill(page: Path, tables: Mapping[str, Callable[[], str]]) -> None:
    """Put tables where a page marks their places."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        mark = f"<!-- table: {name} -->"
        if mark not in text:
            raise LookupError(f"{page} has no place for the table {name!r}: {mark}")
        pattern = re.escape(mark) + r"\n+(\|[^\n]*\n)*\n*"
        made = f"{mark}\n\n{table()}\n\n"
        text = re.sub(pattern, lambda _, made=made: made, text)
    page.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def main() -> None:
    """Put the tables and the pictures in their places."""
    fill(PAGE, TABLES)
    draw()


if __name__ == "__main__":
    main()
