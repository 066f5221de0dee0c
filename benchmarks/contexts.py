"""Context must matter: neighbours of ambiguous words in two contexts each.

A model of the docstrings found here; words and contexts are listed below. Judged on held-out
docstrings: how far the two lists overlap, whether a list belongs to its own context rather than
to the other (NPMI), and whether it still belongs to the word. The default way of comparing in a
context was chosen with the words of DEVELOPMENT, on training rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import polars as pl

import longtail as lt
from benchmarks._corpora import docstrings
from benchmarks._fits import FIRST, fitted
from benchmarks.rows import ROOT, metric_rows, write_rows

NAME = "contexts"
IMAGES = ROOT / "docs" / "images"
TABLE = ROOT / "docs" / "contexts.csv"
SETTINGS = {
    **FIRST,
    "random_state": 0,
    "epochs": 30,
    "refine_steps": [(0, 0), (24, 5)],
    "kl_anneal": 0.4,
    "patience": None,
}
DEVELOPMENT = {
    "kernel": ("cuda thread", "svm gaussian"),
    "tree": ("forest classifier", "ast syntax"),
    "batch": ("gradient training", "queue jobs"),
    "key": ("dictionary mapping", "certificate encryption"),
    "frame": ("dataframe column", "stack traceback"),
    "filter": ("fir frequency", "warnings message"),
    "signal": ("frequency sampling", "handler process"),
    "session": ("http cookies", "database sql"),
    "layer": ("chart mark", "convolution network"),
    "cluster": ("kmeans centroid", "distributed worker"),
    "line": ("plot marker", "text file"),
    "mode": ("file open", "median distribution"),
    "port": ("server socket", "graph input"),
    "order": ("polynomial derivative", "sort ascending"),
    "handler": ("signal sigint", "logging record"),
    "point": ("float precision", "plane geometry"),
    "format": ("date string", "image png"),
    "host": ("server address", "device memory"),
    "map": ("color palette", "iterable apply"),
    "index": ("dataframe label", "tensor dim"),
    "sample": ("audio frequency", "random distribution"),
    "rank": ("matrix singular", "process distributed"),
    "block": ("matrix sparse", "code indentation"),
    "character": ("unicode string", "group representation"),
    "degree": ("polynomial root", "node graph"),
    "step": ("optimizer learning", "time integration"),
    "head": ("attention transformer", "http request"),
    "bin": ("histogram edges", "executable path"),
    "shape": ("array dimension", "circle geometry"),
    "term": ("polynomial expression", "document frequency"),
    "lock": ("thread acquire", "file version"),
    "scope": ("variable namespace", "fixture test"),
    "match": ("regex pattern", "graph isomorphism"),
    "base": ("decimal number", "abstract class"),
}
WORDS = {
    "node": ("graph edge", "ast parser"),
    "token": ("parser grammar", "text vectorizer"),
    "window": ("fft hamming", "terminal curses"),
    "stream": ("cuda device", "socket file"),
    "pool": ("convolution max", "process worker"),
    "graph": ("edges vertices", "export tracing"),
    "state": ("optimizer momentum", "random generator"),
    "mask": ("attention transformer", "nan missing"),
    "process": ("gaussian regression", "subprocess fork"),
    "module": ("import package", "layer forward"),
    "scale": ("axis chart", "quantization quantized"),
    "path": ("file directory", "shortest graph"),
    "normal": ("distribution variance", "vector plane"),
    "loop": ("event asyncio", "compile iteration"),
    "queue": ("thread lock", "heap priority"),
    "channel": ("convolution image", "chart encoding"),
    "group": ("distributed rank", "aggregation groupby"),
    "message": ("email header", "distributed send"),
    "series": ("dataframe column", "taylor power"),
    "domain": ("server email", "frequency time"),
    "color": ("chart legend", "terminal ansi"),
    "field": ("dataclass attribute", "finite polynomial"),
    "root": ("polynomial equation", "directory path"),
    "cell": ("lstm recurrent", "table text"),
}


def known(model: lt.NonlinearFactorAnalysis, words: dict) -> dict[str, list[list[str]]]:
    """Words and contexts that the vocabulary has; the others are named."""
    kept = {}
    for word, contexts in words.items():
        lists = [[w for w in c.split() if w in model.vocabulary_] for c in contexts]
        if word in model.vocabulary_ and all(lists):
            kept[word] = lists
        else:
            print(f"left out, not in the vocabulary: {word} {contexts}")
    return kept


def score(
    model: lt.NonlinearFactorAnalysis,
    words: dict,
    rows: lt.CountMatrix,
    case: str,
    split: str,
    **how: str,
) -> pl.DataFrame:
    """Neighbours of each word in its two contexts, judged on rows; write rows."""
    together = lt.CoOccurrence(rows)
    rng = np.random.default_rng(0)
    names = np.array(model.vocabulary_.names)
    table = []
    for word, contexts in known(model, words).items():
        frequency = together.frequency
        own = frequency[model.vocabulary_.index(word)]
        alike = names[(frequency > own / 2) & (frequency < own * 2) & (names != word)]
        other_word = str(rng.choice(alike))
        lists, others = [], []
        for context in contexts:
            vectors = lt.embeddings(model, context, **how)
            hidden = [w for c in contexts for w in c]
            lists.append(vectors.neighbors(word, 10, exclude=hidden)["feature"].to_list())
            others.append(
                vectors.neighbors(other_word, 10, exclude=[*hidden, word])["feature"].to_list()
            )
        for i in (0, 1):

            def npmi(with_: list[str], features: list[str] = lists[i]) -> float:
                return float(np.nanmean(together.npmi(features, with_)))

            table.append(
                {
                    "word": word,
                    "context": " ".join(contexts[i]),
                    "neighbors": " ".join(lists[i]),
                    "overlap": len(set(lists[0]) & set(lists[1])) / 10,
                    "npmi_own_context": npmi(contexts[i]),
                    "npmi_other_context": npmi(contexts[1 - i]),
                    "npmi_word": npmi([word]),
                    "npmi_word_random": float(np.nanmean(together.npmi(others[i], [word]))),
                }
            )
    frame = pl.DataFrame(table)
    values = {
        "overlap": frame["overlap"].mean(),
        "own_context_wins": (frame["npmi_own_context"] > frame["npmi_other_context"]).mean(),
        "npmi_own_context": frame["npmi_own_context"].mean(),
        "npmi_other_context": frame["npmi_other_context"].mean(),
        "npmi_word": frame["npmi_word"].mean(),
        "npmi_word_random": frame["npmi_word_random"].mean(),
        "word_wins": (frame["npmi_word"] > frame["npmi_word_random"]).mean(),
        "words": frame["word"].n_unique(),
    }
    print(case, split, {k: round(float(v), 3) for k, v in values.items()}, flush=True)
    write_rows(
        NAME,
        metric_rows(values, benchmark=NAME, case=case, seed=0, split=split, unit="mean"),
    )
    return frame


def main(argv: Sequence[str] | None = None) -> None:
    """Fit the model, judge the default and the alternatives, draw one word."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.parse_args(argv)
    train, valid, test = docstrings()
    model = fitted("docstrings", train, valid, **SETTINGS)
    corpus = f"docstrings-{train.n_rows}x{train.n_features}"
    frame = score(model, WORDS, test, f"{corpus}/default", "test")
    frame.write_csv(TABLE, float_precision=3)
    alternatives = {
        "root_probabilities-dot": {"of": "root_probabilities", "metric": "dot"},
        "log_probabilities-cosine": {"of": "log_probabilities", "metric": "cosine"},
    }
    for name, how in alternatives.items():
        score(model, WORDS, test, f"{corpus}/{name}", "test", **how)
    for name, how in ({"default": {}} | alternatives).items():
        score(model, DEVELOPMENT, train, f"{corpus}/{name}", "train", **how)
    for word in ("kernel", "window"):
        contexts = known(model, DEVELOPMENT | WORDS)[word]
        display = lt.neighborhoods(model, word, contexts)
        lt.save_plot(display.plot(), IMAGES / f"neighborhood_{word}.png")


if __name__ == "__main__":
    main()
