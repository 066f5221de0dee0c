"""Baskets found on every machine: recommend modules to files that import a few.

Reads which modules the installed Python files import, fits a model to most of the files, hides a
fifth of each other file's imports and looks for them, and completes a few baskets made by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.progress import Progress

from longtail.data import CountMatrix, import_counts, load_imports
from longtail.demo.hidden_items import baskets, compared, find_hidden, held_out_rows
from longtail.estimator import NonlinearFactorAnalysis
from longtail.introspection.explanations import supporting_items
from longtail.output_files import write_table
from longtail.terminal import console

__all__ = ["run_demo"]

_SETTINGS: dict[str, Any] = {
    "features": "binary",
    "n_components": 50,
    "n_hidden": 200,
    "batch_size": 250,
    # Chosen on validation files by ndcg@10.
    "kl_weight": 0.3,
    "eval_refine_steps": 30,
}

_BASKETS: list[list[str]] = [
    ["numpy", "scipy.sparse"],
    ["torch", "torch.nn"],
    ["http.server", "json"],
    ["sqlite3"],
    ["argparse", "subprocess"],
    ["matplotlib.pyplot", "numpy"],
    ["socket", "ssl"],
    ["xml.etree.ElementTree"],
]
_LISTED, _REASONED = 8, 3
_COMMON = 0.04

Say = Callable[[str], None]


def run_demo(out: Path, *, rows: int | None, epochs: int, seed: int, say: Say) -> dict[str, Any]:
    """Fit, find hidden imports, recommend; see `longtail.demo.run_demo`."""
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    files = _files(rows, seed, say)
    train, valid, observed, hidden = held_out_rows(files, seed)
    say(f"\nFitting to {train.n_rows:,} files; {observed.n_rows:,} others are held out")
    model = NonlinearFactorAnalysis(**_SETTINGS, epochs=epochs, random_state=seed, verbose=1)
    model.fit(train, valid=valid)
    say(f"  {model.fit_info_['stopped']}")
    say("\nA fifth of each held-out file's imports is hidden: who lists them in the first ten?")
    found = find_hidden(model, train, observed, hidden, seed)
    compared(found, say)
    suggested = _suggest(model, train, say)
    model.save(out / "model")
    asked = pl.DataFrame({"file": [" + ".join(b) for b in _BASKETS], "imports": _BASKETS})
    write_table(asked, out / "baskets.parquet")
    say(
        f"\nWritten: {out / 'model'}, {out / 'baskets.parquet'}\n"
        "\nTry:\n"
        f"  longtail recommend {out / 'model'} {out / 'baskets.parquet'} --explain 2\n"
        f"  longtail neighbors {out / 'model'} scipy.sparse\n"
        f"  longtail directions {out / 'model'} --top 8 --words 6"
    )
    seconds = time.perf_counter() - started
    say(f"\nThe demo took {seconds:.0f} s.")
    return {
        "corpus": {"train": train.summary(), "held_out": observed.summary()},
        "seconds": seconds,
        "ranking": {name: ranking.to_dict() for name, ranking in found.items()},
        "recommendations": suggested,
        "written": [str(out / "model"), str(out / "baskets.parquet")],
    }


def _files(rows: int | None, seed: int, say: Say) -> CountMatrix:
    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading imports (once)", total=None)
        listed = load_imports(
            rows, seed, progress=lambda done, all: bar.update(task, completed=done, total=all)
        )
    counts = import_counts(listed)
    by_package = listed["package"].value_counts(sort=True)["package"].to_list()
    s = counts.summary()
    say(
        f"Corpus: which modules Python files import, of {', '.join(by_package[:8])}"
        f"{' …' if len(by_package) > 8 else ''}\n"
        f"  {s['rows']:,} files × {s['features']:,} modules that five files or more import, "
        f"density {s['density']:.2%}, median file {s['median_row_total']:.0f} modules"
    )
    return counts


def _suggest(model: NonlinearFactorAnalysis, train: CountMatrix, say: Say) -> list[dict[str, Any]]:
    """Complete the baskets of which the model knows every module."""
    files_with = np.bincount(train.csr.indices, minlength=train.n_features)
    common = files_with > _COMMON * train.n_rows
    say(
        "\nWhat else would a file import? In brackets: which of its modules speaks most for it.\n"
        f"  The {common.sum()} modules that more than {_COMMON:.0%} of all files import, such as "
        f"{', '.join(train.vocabulary[int(i)] for i in np.argsort(-files_with)[:3])}, are not "
        "listed (filter_items)."
    )
    known = [b for b in _BASKETS if all(name in model.vocabulary_ for name in b)]
    if not known:
        say("  none: the model knows the modules of no basket")
        return []
    asked = baskets(known, model.vocabulary_)
    lists = model.recommend(asked, _LISTED, filter_items=np.flatnonzero(~common))
    suggested = []
    for d, basket in enumerate(known):
        items = lists.items(d)
        reasons = supporting_items(model, asked[[d]], items[:_REASONED], 1)
        because = [own["item"][0] for own in reasons]
        say(f"  {' + '.join(basket)}")
        shown = [
            f"{item} {score:.1%}"
            + (f" [{because[i]}]" if i < _REASONED and len(basket) > 1 else "")
            for i, (item, score) in enumerate(zip(items, lists.scores[d], strict=False))
        ]
        say(f"      {', '.join(shown)}")
        suggested.append({"imports": basket, "items": items, "because": because})
    return suggested
