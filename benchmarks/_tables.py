"""Tables of the documentation, from the rows: ``python -m benchmarks._tables``."""

from __future__ import annotations

import re

from benchmarks.rows import ROOT, read_rows

PAGE = ROOT / "docs" / "reading.md"
CELLS_PAGE = ROOT / "docs" / "cells.md"


def rows_of(name: str) -> dict[tuple[str, str, str, str], float]:
    """Values by case, metric, split and peer; the first seed."""
    return {
        (r["case"], r["metric"], r["split"], r["peer"]): float(r["value"])
        for r in read_rows(name)
        if r["seed"] == "0"
    }


def spectra() -> list[str]:
    """The 2×2 on both corpora."""
    rows = rows_of("spectra")
    names = {
        "20news_miao/L2-K100-textbook": "20 Newsgroups, usual start",
        "20news_miao/L2-K100-library": "20 Newsgroups, the library's start",
        "imdb_reviews-6000x10000/L2-K100-textbook": "film reviews, usual start",
    }
    lines = [
        "| test rows | training | live directions | by KL | by column norm | by variance "
        "| ELBO at ψ\\* | importance-weighted | completion |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for prefix, label in names.items():
        for scheme in ("plain", "plain-anneal", "hybrid", "hybrid-anneal"):
            case = f"{prefix}-{scheme}"

            def value(metric: str, case: str = case) -> str:
                return f"{rows[case, metric, 'test', '']:,.0f}"

            lines.append(
                f"| {label} | {scheme.replace('-anneal', ', annealed')} "
                f"| **{value('directions.information')}** | {value('dimensions.kl')} "
                f"| {value('dimensions.column_norm')} | {value('dimensions.variance')} "
                f"| {value('elbo_refined.per_doc')} | {value('iw.per_doc')} "
                f"| {value('completion.per_word')} |"
            )
    return [
        *lines,
        "",
        "Bounds are perplexities per document, completion per word. "
        "`python -m benchmarks spectra`.",
    ]


def directions() -> list[str]:
    """Coherence and diversity."""
    rows = rows_of("directions")
    lines = ["| docstrings, held-out rows | lists | coherence | diversity |", "|---|---|---|---|"]
    for (case, metric, _, peer), value in rows.items():
        if metric == "coherence_npmi":
            other = {m: rows[case, m, "test", peer] for m in ("lists", "diversity")}
            label = peer or case.split("/")[1].replace("-", ", ", 1).replace("-", " ")
            lines.append(
                f"| {label} | {other['lists']:.0f} | {value:.3f} | {other['diversity']:.2f} |"
            )
    return [*lines, "", "`python -m benchmarks directions`."]


def contexts() -> list[str]:
    """Context must matter."""
    rows = rows_of("contexts")
    lines = [
        "| 24 words × 2 contexts, held-out docstrings | overlap of the two lists "
        "| list is nearer its own context | NPMI with the word | of a random word's list |",
        "|---|---|---|---|---|",
    ]
    for (case, metric, split, _), value in rows.items():
        if metric == "overlap" and split == "test":
            m = {
                n: rows[case, n, split, ""]
                for n in ("own_context_wins", "npmi_word", "npmi_word_random")
            }
            lines.append(
                f"| {case.split('/')[1].replace('-', ', ')} | {value:.2f} "
                f"| {m['own_context_wins']:.0%} | {m['npmi_word']:.2f} "
                f"| {m['npmi_word_random']:.2f} |"
            )
    return [*lines, "", "Context words are left out of all lists. `python -m benchmarks contexts`."]


def embeddings() -> list[str]:
    """Human judgement and classes."""
    rows = rows_of("embeddings")
    imdb = next(c.split("/")[0] for c, *_ in rows if c.startswith("imdb"))
    nhds = next(c.split("/")[0] for c, *_ in rows if c.startswith("nhds"))
    lines = ["| judged by | vectors | score |", "|---|---|---|"]

    def interval(case: str, metric: str, split: str, peer: str = "") -> str:
        stem = metric.rpartition(".")[0]
        stem = f"{stem}." if stem else ""
        value = rows[case, metric, split, peer]
        low, high = (rows[case, f"{stem}{end}", split, peer] for end in ("low", "high"))
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"

    peers = ("PPMI-SVD", "gensim word2vec CBOW", "gensim word2vec skip-gram")
    judge = "WordSim-353, 44,629 film reviews"
    for of in ("log_probabilities", "probabilities"):
        label = f"longtail, {of.replace('_', '-')}" + (" (default)" if of[0] == "l" else "")
        score = interval(f"{imdb}/wordsim353/{of}-power0.5", "spearman", "test")
        lines.append(f"| {judge} | {label} | {score} |")
    for peer in peers:
        score = interval(f"{imdb}/wordsim353", "spearman", "test", peer)
        lines.append(f"| {judge} | {peer} | {score} |")
    judge = "SCWS, test half"
    case = f"{imdb}/scws/default"
    for part, label in (("overall", "longtail, global"), ("contextual", "longtail, in context")):
        lines.append(f"| {judge} | {label} | {interval(case, f'{part}.spearman', 'test')} |")
    gain = rows[case, "difference", "test", ""]
    low, high = (rows[case, end, "test", ""] for end in ("low", "high"))
    lines.append(f"| {judge} | gain of the context | {gain:+.3f} [{low:+.3f}, {high:+.3f}] |")
    alone = interval(f"{imdb}/scws/jacobian-only", "contextual.spearman", "test")
    lines.append(f"| {judge} | longtail, the Jacobian's row alone | {alone} |")
    judge = "CCS class of diagnosis codes, precision at 10, test half"
    case = f"{nhds}/ccs_precision@10"
    for label, where, peer in (
        ("longtail (default)", f"{case}/log_probabilities-power0.5", ""),
        *((p, case, p) for p in peers),
    ):
        value, se = (rows[where, m, "test", peer] for m in ("precision", "se"))
        lines.append(f"| {judge} | {label} | {value:.3f} ± {se:.3f} |")
    return [*lines, "", "`python -m benchmarks embeddings`."]


def cells() -> list[str]:
    """Test cells under each program."""
    rows = rows_of("cells")
    by_peer = {(case, metric): v for (case, metric, split, _), v in rows.items() if split == "test"}

    def shown(case: str, metric: str, part: str = "nats_per_row", digits: int = 1) -> str:
        if (case, f"{metric}.{part}") not in by_peer:
            return "–"
        value, se = by_peer[case, f"{metric}.{part}"], by_peer[case, f"{metric}.se"]
        return f"{value:.{digits}f} ± {se:.{digits}f}".replace("-", "−")

    names = {
        "longtail": "longtail",
        "scvi": "scVI, its defaults",
        "scvi-start": "scVI, dispersions from the data, warm-up 30",
        "pca": "principal components",
    }
    lines = [
        "| 419 test cells, K = 10 | ELBO, ψ(x) | importance-weighted, ψ(x) | the same, ψ\\* | "
        "cell types, 15 neighbours |",
        "|---|--:|--:|--:|--:|",
    ]
    for program, label in names.items():
        case = f"worm_neurons/K10/{program}"
        nats = [shown(case, m) for m in ("elbo_amortized", "iw_amortized", "iw")]
        types = shown(case, "knn", "accuracy", 3)
        lines.append(f"| {label} | {' | '.join(nats)} | {types} |")
    floor = shown("worm_neurons/K10/longtail", "floor")
    lines.append(f"| no latent space | {floor} | {floor} | {floor} | – |")
    return [*lines, "", "`python -m benchmarks cells`."]


PAGES = {spectra: PAGE, directions: PAGE, contexts: PAGE, embeddings: PAGE, cells: CELLS_PAGE}


def main() -> None:
    """Put every table in its place."""
    for make, page in PAGES.items():
        mark = f"<!-- table: {make.__name__} -->"
        table = "\n".join(make())
        pattern = re.escape(mark) + r"(\n\n?\|.*?`python -m benchmarks [^\n]*\n)?"
        text = page.read_text(encoding="utf-8")
        text = re.sub(pattern, lambda _, m=mark, t=table: f"{m}\n\n{t}\n", text, flags=re.DOTALL)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
