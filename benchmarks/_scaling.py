"""The page on scaling, from the rows: ``python -m benchmarks._scaling`` fills its table."""

from __future__ import annotations

import re

from benchmarks._performance import values_of
from benchmarks.rows import ROOT

PAGE = ROOT / "docs" / "scaling" / "README.md"

PYPI, TENFOLD = "pypi_summaries-744440x1/plain-1epoch", "pypi_summaries-744440x10/plain-100batches"
ZIPF = "zipf-V20000-nnz100/H400-K100-B500"
RAY = "pypi_summaries-100000/M5-W2-blocks5000"

# What is measured, benchmark, case, metric, and what the library means to reach.
MEASURED: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "744,440 rows × 36,937 words from Parquet, one plain epoch: peak memory beyond parameters "
        "and moments, GB",
        "stream_fit",
        f"{PYPI}-stream",
        "peak_rss_gb",
        "≤ 1.5",
    ),
    ("the same rows in memory, GB", "stream_fit", f"{PYPI}-memory", "peak_rss_gb", ""),
    (
        "its first 100 batches, GB",
        "stream_fit",
        "pypi_summaries-744440x1/plain-100batches-stream",
        "peak_rss_gb",
        "",
    ),
    (
        "ten times the rows on disk, 100 batches spread over them, GB",
        "stream_fit",
        f"{TENFOLD}-stream",
        "peak_rss_gb",
        "the same",
    ),
    (
        "share of the epoch spent waiting for rows",
        "stream_fit",
        f"{PYPI}-stream",
        "reading_share",
        "≤ 0.1",
    ),
    (
        "seconds of the two passes before",
        "stream_fit",
        f"{PYPI}-stream",
        "scan_seconds",
        "",
    ),
    (
        "ELBO at ψ* of 2,000 other rows, stream less memory, nats a row",
        "stream_fit",
        PYPI,
        "stream_minus_memory.nats_per_row",
        "noise",
    ),
    (
        "rows/s of two processes / of one, a thread each, V = 20,000, hybrid: 500 rows a process",
        "two_processes",
        f"{ZIPF}/hybrid",
        "speed_up.same_batch_per_process",
        "≥ 1.7",
    ),
    (
        "500 rows shared",
        "two_processes",
        f"{ZIPF}/hybrid",
        "speed_up.same_global_batch",
        "",
    ),
    (
        "plain: 500 rows a process",
        "two_processes",
        f"{ZIPF}/plain",
        "speed_up.same_batch_per_process",
        "",
    ),
    (
        "plain: 500 rows shared",
        "two_processes",
        f"{ZIPF}/plain",
        "speed_up.same_global_batch",
        "",
    ),
    (
        "Ray, two workers, 100,000 rows, M = 5: time over that of one process with two threads, "
        "less one",
        "ray_scoring",
        RAY,
        "overhead.over_process",
        "≤ 0.25",
    ),
    (
        "over that of two processes with one thread",
        "ray_scoring",
        RAY,
        "overhead.over_processes",
        "≤ 0.25",
    ),
    (
        "the same, with the start of the workers (8 s)",
        "ray_scoring",
        RAY,
        "overhead_with_start.over_processes",
        "",
    ),
    (
        "largest difference of latent vectors",
        "ray_scoring",
        RAY,
        "max_abs_difference.from_process",
        "≤ 1e-5",
    ),
)


def measured() -> str:
    """The table, of what has a row."""
    tables = {name: values_of(name) for name in {benchmark for _, benchmark, *_ in MEASURED}}
    lines = ["| | measured | aim | `python -m benchmarks …` |", "|---|---|---|---|"]
    for label, benchmark, case, metric, aim in MEASURED:
        value = tables[benchmark].get((case, "", metric))
        if value is not None:
            lines.append(f"| {label} | **{value:.3g}** | {aim} | `{benchmark}` |")
    return "\n".join(lines)


TABLES = {"scaling": measured}


def main() -> None:
    """Put the table in its place."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        mark = f"<!-- table: {name} -->"
        pattern = re.escape(mark) + r"\n\n(\|[^\n]*\n)*"
        text = re.sub(pattern, lambda _, m=mark, t=table: f"{m}\n\n{t()}\n", text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
