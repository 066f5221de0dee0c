"""The page on performance, from the rows: ``python -m benchmarks._performance``.

Fills the table of ratios of ``docs/performance.md`` and draws its pictures.
"""

from __future__ import annotations

import csv
import re

import polars as pl

from benchmarks.rows import RESULTS, ROOT, read_rows
from longtail.displays import save_plot
from longtail.displays.base import PALETTE, altair, inline, styled

PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"

# What is compared, benchmark, case, metric, and what the library means to reach.
RATIOS: tuple[tuple[str, str, str, str, str], ...] = (
    *(
        (f"{what}, V = {v:,}", "refine_step", f"V{v}-B{b}", metric, aim)
        for what, metric, aims in (
            (
                "refinement step / its two output-layer products",
                "refine_step_over_gemm",
                ("≤ 1.45", "≤ 1.2", "≤ 1.15"),
            ),
            ("autograd port's step / ours", "port_over_refine_step", ("≥ 1.15", "≥ 1.5", "≥ 1.6")),
            (
                "step on a sample of features / the two products on all",
                "sampled_step_over_gemm",
                ("", "", ""),
            ),
        )
        for (v, b), aim in zip(((2000, 500), (20000, 500), (100000, 200)), aims, strict=True)
    ),
    *(
        (
            f"port's 100 Adam steps / ours to that bound ({unit}), {label}",
            "refine_speed",
            case,
            f"port_over_{variant}.{figure}",
            "≥ 7; 15",
        )
        for case, label, variant in (
            ("20news_miao/L2-hybrid", "20 Newsgroups", "exact"),
            ("20news_miao/L0-hybrid", "20 Newsgroups, 0 hidden layers", "exact"),
            ("20news_miao/L1-hybrid", "20 Newsgroups, 1 hidden layer", "exact"),
            ("20news_miao/L3-hybrid", "20 Newsgroups, 3 hidden layers", "exact"),
            ("20news_miao/L2-plain", "20 Newsgroups, plain model", "exact"),
            ("imdb-6000x20000", "film reviews, V = 20,000, all features", "exact"),
            ("imdb-6000x20000", "film reviews, V = 20,000, default", "default"),
            ("nhds2010", "diagnoses", "exact"),
        )
        for figure, unit in (("nats", "nats a row"), ("per_doc", "perplexity"))
    ),
    (
        "hybrid fit / plain fit, all epochs",
        "fit_speed",
        "20news_miao/L2-K100",
        "hybrid_over_plain.seconds",
        "≤ 4",
    ),
    (
        "hybrid fit / plain fit, to within 0.1 % of the best",
        "fit_speed",
        "20news_miao/L2-K100",
        "hybrid_over_plain.seconds_to_converged",
        "",
    ),
    (
        "port of the published recipe to its best bound / hybrid fit to that bound",
        "fit_speed",
        "20news_miao/L2-K100",
        "port_over_hybrid_to_final_bound",
        "≥ 10",
    ),
    (
        "the same, to within 0.1 % of it",
        "fit_speed",
        "20news_miao/L2-K100",
        "port_over_hybrid_to_converged_bound",
        "",
    ),
    (
        "step at V = 1,000,000 / exact step at V = 50,000",
        "large_vocabulary",
        "planted",
        "step_1M_over_exact_50k",
        "≤ 2.5",
    ),
    (
        "share of the bound lost to sampling, V = 1,000,000",
        "large_vocabulary",
        "planted-V1000000",
        "bound.loss",
        "≤ 0.005",
    ),
    (
        "peak memory of training beyond parameters, gradients, moments, V = 1,000,000, GB",
        "large_vocabulary",
        "planted-V1000000",
        "train_peak_gb.beyond",
        "≤ 1",
    ),
    (
        "fastest LDA / longtail to LDA's best completion, default fit",
        "lda_race",
        "20news_miao/default",
        "lda_over_longtail",
        "≥ 4",
    ),
    ("the same, quick plain fit", "lda_race", "20news_miao/quick", "lda_over_longtail", "≥ 4"),
    (
        "rows/s of transform / gensim's inference",
        "transform_speed",
        "imdb_reviews-V20000/K100-rows2000|gensim LDA",
        "longtail_over_peer",
        "",
    ),
    (
        "rows/s of transform / tomotopy's inference",
        "transform_speed",
        "imdb_reviews-V20000/K100-rows2000|tomotopy LDA",
        "longtail_over_peer",
        "",
    ),
)


def measured() -> list[tuple[str, float, str, str]]:
    """Those of `RATIOS` that have a row: label, value, aim, benchmark."""
    tables = {name: values_of(name) for name in {benchmark for _, benchmark, *_ in RATIOS}}
    found = []
    for label, benchmark, case, metric, aim in RATIOS:
        where, _, peer = case.partition("|")
        value = tables[benchmark].get((where, peer, metric))
        if value is not None:
            found.append((label, value, aim, benchmark))
    return found + by_threads()


def values_of(name: str, threads: str = "") -> dict[tuple[str, str, str], float]:
    """Values by case, peer and metric; those with the most threads if their number is not given."""
    rows = sorted(read_rows(name), key=lambda r: int(r["threads"]))
    return {
        (r["case"], r["peer"], r["metric"]): float(r["value"])
        for r in rows
        if threads in ("", r["threads"])
    }


def by_threads() -> list[tuple[str, float, str, str]]:
    """Seconds of a refinement step with one thread over those with two, where both are there."""
    one, two = (values_of("refine_step", n) for n in ("1", "2"))
    return [
        (
            f"step with one thread / with two, {case[0].partition('-')[0]}",
            one[case] / two[case],
            "",
            "refine_step",
        )
        for case in two
        if case[2] == "step.ours.median" and case in one
    ]


def _number(value: float) -> str:
    return (
        f"{value:.2g}" if abs(value) < 0.01 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
    )


def summary() -> str:
    """The ratios as plain text."""
    lines = [f"{_number(v):>9}  {aim:>8}  {label}" for label, v, aim, _ in measured()]
    return "\n".join([f"{'measured':>9}  {'aim':>8}", *lines])


def table() -> str:
    """The ratios as Markdown."""
    lines = ["| | measured | aim | `python -m benchmarks …` |", "|---|---|---|---|"]
    lines += [
        f"| {label} | **{_number(v)}** | {aim} | `{benchmark}` |"
        for label, v, aim, benchmark in measured()
    ]
    return "\n".join(lines)


# --- pictures ----------------------------------------------------------------------------------

_NAMES = {"plain": "plain", "hybrid": "hybrid, default", "port": "published recipe, port"}


def draw_fits() -> None:
    """Validation bound against seconds of training."""
    alt = altair()
    with (RESULTS / "curves" / "fit_speed.csv").open(encoding="utf-8") as file:
        points = [
            {
                "fit": _NAMES[r["run"]],
                "seconds": float(r["seconds"]),
                "perplexity": float(r["per_doc"]),
            }
            for r in csv.DictReader(file)
        ]
    frame = pl.DataFrame(points).filter(pl.col("perplexity") < 1400)
    order = list(_NAMES.values())
    chart = (
        alt.Chart(inline(alt, frame), width=520, height=300)
        .mark_line(point={"size": 12})
        .encode(
            x=alt.X("seconds:Q", title="seconds of training (log)", scale=alt.Scale(type="log")),
            y=alt.Y(
                "perplexity:Q",
                title="validation perplexity per document, ELBO at ψ*",
                scale=alt.Scale(zero=False),
            ),
            color=alt.Color(
                "fit:N",
                sort=order,
                title=None,
                legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=order, range=PALETTE[:3]),
            ),
        )
    )
    title = "20 Newsgroups: bound against seconds"
    save_plot(
        styled(chart, title, "two cores, no GPU; scored alike, off the clock"),
        IMAGES / "fit_speed.png",
    )


def draw_vocabulary() -> None:
    """Seconds of a refinement step against V."""
    alt = altair()
    points = []
    for r in read_rows("large_vocabulary"):
        found = re.fullmatch(r"planted-V(\d+)", r["case"])
        if found and r["metric"].startswith("step_seconds."):
            kind = {"exact": "all features", "sampled": "a twentieth, at least 1,000"}
            points.append(
                {
                    "features": int(found[1]),
                    "ms": 1000 * float(r["value"]),
                    "step": kind[r["metric"].rpartition(".")[2]],
                }
            )
    scale = alt.Scale(type="log")
    chart = (
        alt.Chart(inline(alt, pl.DataFrame(points)), width=520, height=300)
        .mark_line(point=True)
        .encode(
            x=alt.X("features:Q", title="V, features (log)", scale=scale),
            y=alt.Y("ms:Q", title="milliseconds a step (log)", scale=scale),
            color=alt.Color(
                "step:N",
                title=None,
                legend=alt.Legend(orient="top"),
                scale=alt.Scale(range=PALETTE[:2]),
            ),
        )
    )
    title = "Cost of a refinement step against the vocabulary"
    save_plot(
        styled(chart, title, "200 rows, 2×200 decoder, K = 50; two cores"),
        IMAGES / "step_by_vocabulary.png",
    )


def main() -> None:
    """Put the table and the pictures in their places."""
    text = PAGE.read_text(encoding="utf-8")
    mark = "<!-- table: ratios -->"
    pattern = re.escape(mark) + r"\n\n(\|[^\n]*\n)*"
    PAGE.write_text(re.sub(pattern, lambda _: f"{mark}\n\n{table()}\n", text), encoding="utf-8")
    draw_fits()
    draw_vocabulary()


if __name__ == "__main__":
    main()
