"""The main job from end to end, on documents found on every machine.

Reads docstrings, splits them, fits a hybrid and a plain model with the same settings, scores
both on held-out rows, shows neighbours in the latent space, counts the latent directions that live
in each model, and looks at ambiguous words in two contexts each.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress, TaskID

from longtail.data import CountMatrix, read_counts, read_like, split_rows
from longtail.data.corpora import docstring_packages, docstring_settings, load_docstrings
from longtail.data.counts import Unseen
from longtail.displays import EvaluationDisplay, HistoryDisplay, save_plot
from longtail.estimator import NonlinearFactorAnalysis
from longtail.evaluation import Evaluation
from longtail.introspection import Spectra, neighborhoods, spectrum
from longtail.output_files import write_table, write_text
from longtail.report import check_report_path, make_report
from longtail.terminal import console

__all__ = ["run_demo"]

_TEST_ROWS = 1000
_SHOWN = 4
_SETTINGS: dict[str, Any] = {
    "n_components": 50,
    "n_hidden": 200,
    "batch_size": 250,
    "learning_rate": 2e-3,
    "eval_samples": 10,
}

# Words of two minds, each with two contexts.
_AMBIGUOUS: dict[str, tuple[list[str], list[str]]] = {
    "kernel": (["cuda", "thread"], ["svm", "gaussian"]),
    "tree": (["forest", "classifier"], ["ast", "syntax"]),
    "signal": (["frequency", "sampling"], ["handler", "process"]),
    "window": (["fft", "frequency"], ["dataframe", "rolling"]),
    "key": (["dict", "mapping"], ["certificate", "encryption"]),
}

Say = Callable[[str], None]


def run_demo(out: Path, *, rows: int, epochs: int, seed: int, say: Say) -> dict[str, Any]:
    """Run the demo and write what it makes into a folder.

    Parameters
    ----------
    out
        Made if missing; what an earlier demo left there is replaced.
    rows
        Documents sampled from the corpus; 1,000 of them (or a fifth) are held out.
    say
        Called with each finding.

    Returns
    -------
    dict
        The findings, ready for JSON, with the paths of what was written.
    """
    started = time.perf_counter()
    page = check_report_path(out / "report.html")  # before the long work that it comes after
    out.mkdir(parents=True, exist_ok=True)
    train, test, unseen = _corpus(out, rows, seed, say)
    models = {
        "hybrid": NonlinearFactorAnalysis(**_SETTINGS, epochs=epochs, random_state=seed, verbose=1),
        "plain": NonlinearFactorAnalysis(
            **_SETTINGS, epochs=epochs, refine_steps=0, random_state=seed, verbose=1
        ),
    }
    seconds = {}
    for name, model in models.items():
        say(f"\nFitting a {name} model ({_describe(model)})")
        begun = time.perf_counter()
        model.fit(train)
        seconds[name] = time.perf_counter() - begun
        say(f"  {seconds[name]:.0f} s, {model.fit_info_['stopped']}")
    say("\nScoring the held-out documents, which neither fit nor validation has seen")
    scores = {
        name: model.evaluate(test, seed=seed, unseen=unseen) for name, model in models.items()
    }
    say(f"\nThe hybrid model\n{scores['hybrid']}")
    say(f"\n{_comparison(scores, seconds)}")
    neighbours = _nearest_documents(models["hybrid"], train, test, out, seed, say)
    words = _ambiguous_words(models["hybrid"], out, seed, say)
    spectra = spectrum(models, test, samples=100, seed=seed)
    say(f"\nWhich latent directions live\n{spectra}")
    paths = _write(out, models, scores, spectra, words)
    say("\nLooking at the hybrid model from all sides")
    with _progress() as progress:
        make_report(
            models["hybrid"],
            test,
            title="Docstrings of Python packages",
            seed=seed,
            unseen=unseen,
            progress=progress,
        ).save(page)
    paths[str(page)] = "a page about the hybrid model: look at this first"
    say("\nWritten:\n" + "\n".join(f"  {p:<34} {what}" for p, what in paths.items()))
    program = "longtail" if shutil.which("longtail") else sys.argv[0]
    say(
        "\nTry:\n"
        f"  {program} info {out / 'model'}\n"
        f"  {program} evaluate {out / 'model'} {out / 'held_out.parquet'}\n"
        f"  {program} transform {out / 'model'} {out / 'held_out.parquet'} --out z.parquet\n"
        f"  {program} report {out / 'model'} {out / 'held_out.parquet'} --out report.html\n"
        f"  {program} explore {out / 'model'} {out / 'held_out.parquet'}\n"
        f"  {program} neighbors {out / 'model'} kernel --context cuda,thread\n"
        f"  {program} directions {out / 'model'} {out / 'held_out.parquet'} --top 12"
    )
    say(f"\nThe report: open {page.resolve().as_uri()} in a browser.")
    say(
        "The explorer, to ask the model yourself: "
        f"{program} explore {out / 'model'} {out / 'held_out.parquet'}"
    )
    say(f"\nThe demo took {time.perf_counter() - started:.0f} s.")
    return {
        "corpus": {"train": train.summary(), "test": test.summary()},
        "seconds": seconds | {"all": time.perf_counter() - started},
        "evaluation": {name: score.to_dict() for name, score in scores.items()},
        "nearest_documents": neighbours,
        "neighbors": {word: table.to_dicts() for word, table in words.items()},
        "spectrum": spectra.to_dict(),
        "written": list(paths),
    }


def _corpus(out: Path, rows: int, seed: int, say: Say) -> tuple[CountMatrix, CountMatrix, Unseen]:
    """Sample docstrings, write them as two Parquet files, and read these as a user would."""
    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading docstrings (once)", total=None)
        documents = load_docstrings(
            rows, seed, progress=lambda done, all: bar.update(task, completed=done, total=all)
        )
    found, _ = docstring_packages()
    say(f"Corpus: docstrings of {', '.join(found)}")
    settings = docstring_settings(min_df=5, max_df=0.2, max_features=5000)
    # Counted once before splitting, to keep exact duplicates (as bags of words) on one side.
    everything = out / "docstrings.parquet"
    write_table(documents, everything)
    bags = read_counts(everything, settings=settings)
    n_test = min(_TEST_ROWS, documents.height // 5)
    parts = split_rows(bags, [n_test], seed=seed)
    files = (out / "train.parquet", out / "held_out.parquet")
    for path, part in zip(files, parts, strict=True):
        write_table(documents.filter(pl.col("doc_id").is_in(part.row_ids.to_list())), path)
    everything.unlink()
    train = read_counts(files[0], settings=settings).drop_empty()[0]
    assert train.settings is not None
    test, unseen = read_like(files[1], train.settings, train.vocabulary)
    for name, part in (("training and validation", train), ("held out", test)):
        s = part.summary()
        say(
            f"  {name}: {s['rows']:,} documents × {s['features']:,} words, "
            f"{s['tokens']:,.0f} tokens, density {s['density']:.2%}, median document "
            f"{s['median_row_total']:.0f} tokens"
        )
    frequency = np.sort(np.bincount(train.csr.indices, minlength=train.n_features))
    say(
        f"  the long tail: half of the words are in at most {np.median(frequency):.0f} documents, "
        f"the most frequent in {frequency[-1]:,}"
    )
    say(f"  out of vocabulary in held-out documents: {unseen.mass:.1%} of the tokens")
    return train, test, unseen


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage, on standard error."""
    with Progress(console=console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield report


def _describe(model: NonlinearFactorAnalysis) -> str:
    refinement = (
        "a few local steps refine every batch"
        if model.refine_steps
        else "no refinement in training: a VAE"
    )
    return (
        f"K = {model.n_components}, {model.decoder_layers} hidden layers of {model.n_hidden}; "
        f"{refinement}; both anneal the KL"
    )


def _comparison(scores: dict[str, Evaluation], seconds: dict[str, float]) -> str:
    """Hybrid against plain, with the uncertainty of the difference."""
    hybrid, plain = scores["hybrid"], scores["plain"]
    lines = [
        "Hybrid against plain training (hybrid: refinement, importance-weighted updates)",
        f"{'':<34}{'plain':>10}{'hybrid':>10}",
    ]

    def line(label: str, value: Callable[[Evaluation], float | None], digits: int = 0) -> None:
        numbers = "".join(f"{value(s):>10.{digits}f}" for s in (plain, hybrid))
        lines.append(f"{label:<34}{numbers}")

    line("unigram floor, per doc", lambda s: s.floor.per_doc)
    line("ELBO at ψ(x), per doc", lambda s: s.elbo_amortized.per_doc)
    line("ELBO at ψ*, per doc", lambda s: s.elbo_refined.per_doc)
    line("importance-weighted, per doc", lambda s: s.iw.per_doc)
    if hybrid.completion and plain.completion:
        line("completion, per word", lambda s: s.completion.per_word if s.completion else 0)
    line("refinement gain, nats a row", lambda s: s.gap.nats_per_row, 1)
    line("latent dimensions in use", lambda s: s.active_dims.kl)
    lines.append(f"{'seconds to fit':<34}{seconds['plain']:>10.0f}{seconds['hybrid']:>10.0f}")
    difference = (hybrid.per_row["iw"] - plain.per_row["iw"]).to_numpy()
    se = difference.std(ddof=1) / np.sqrt(len(difference))
    verdict = (
        "hybrid is better"
        if difference.mean() > 2 * se
        else "plain is better"
        if difference.mean() < -2 * se
        else "no difference that these rows could show"
    )
    lines.append(
        f"Row by row, hybrid − plain in the importance-weighted bound: {difference.mean():+.2f} "
        f"± {se:.2f} nats ({verdict})."
    )
    return "\n".join(lines)


def _nearest_documents(
    model: NonlinearFactorAnalysis,
    train: CountMatrix,
    test: CountMatrix,
    out: Path,
    seed: int,
    say: Say,
) -> list[dict[str, Any]]:
    """For some held-out documents, the training documents with the closest latent vectors."""
    texts = dict(
        pl.concat(
            [pl.read_parquet(out / "train.parquet"), pl.read_parquet(out / "held_out.parquet")]
        )
        .select("doc_id", "text")
        .iter_rows()
    )
    # Short documents say little about themselves: ask about typical ones.
    typical = np.flatnonzero((test.totals >= 30) & (test.totals <= 120))
    queries = test[np.sort(np.random.default_rng(seed).permutation(typical)[:_SHOWN])]
    similarity = _cosine(model.transform(queries), model.transform(train))
    say("\nNearest documents: held-out docstrings, and the training ones closest to them in z")
    findings = []
    for row, doc_id in enumerate(queries.row_ids.to_list()):
        order = np.argsort(-similarity[row])[:3]
        near = [(str(train.row_ids[int(i)]), float(similarity[row, i])) for i in order]
        findings.append({"document": doc_id, "nearest": [list(n) for n in near]})
        say(f"  {doc_id}: {_first_line(texts[doc_id])}")
        for other, cosine in near:
            say(f"      {cosine:.2f}  {other}: {_first_line(texts[other])}")
    return findings


def _ambiguous_words(
    model: NonlinearFactorAnalysis, out: Path, seed: int, say: Say
) -> dict[str, pl.DataFrame]:
    """Neighbours of ambiguous words in two contexts each, as tables and figures."""
    say("\nWords in context: the nearest words of one word in two contexts")
    tables = {}
    for word, contexts in _AMBIGUOUS.items():
        known = [[name for name in names if name in model.vocabulary_] for names in contexts]
        if word not in model.vocabulary_ or not all(known):
            continue
        display = neighborhoods(model, word, known, k=8, overall=False, seed=seed)
        tables[word] = display.frame()
        save_plot(display.plot(), out / f"neighbors_{word}.png")
        say(f"  {word}")
        for (context,), table in tables[word].group_by("context", maintain_order=True):
            say(f"      with {context}: {', '.join(table['feature'])}")
    return tables


def _cosine(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    result: npt.NDArray[Any] = a @ b.T
    return result


def _first_line(text: str, width: int = 76) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _write(
    out: Path,
    models: dict[str, NonlinearFactorAnalysis],
    scores: dict[str, Evaluation],
    spectra: Spectra,
    words: dict[str, pl.DataFrame],
) -> dict[str, str]:
    models["hybrid"].save(out / "model")
    history = HistoryDisplay({name: model.history_.frame() for name, model in models.items()})
    save_plot(history.plot(), out / "history.png")
    ladder = EvaluationDisplay(
        [line | {"model": name} for name, s in scores.items() for line in s.frame().to_dicts()]
    )
    save_plot(ladder.plot(), out / "ladder.png")
    write_table(ladder.frame(), out / "evaluation.csv")
    save_plot(spectra.plot(), out / "spectrum.png")
    figures = [out / f"neighbors_{word}.png" for word in words]
    write_table(scores["hybrid"].per_row, out / "rows.parquet")
    plain = {name: score.to_dict() for name, score in scores.items()}
    write_text(json.dumps(plain, indent=1), out / "evaluation.json")
    return {
        str(out / "model"): "the hybrid model: longtail.load() or the commands below",
        str(out / "history.png"): "training of both models",
        str(out / "ladder.png"): "held-out bounds of both models",
        str(out / "spectrum.png"): "latent directions in use, hybrid against plain",
        **{str(path): "one word in two contexts" for path in figures},
        str(out / "evaluation.csv"): "the same as a table (evaluation.json: everything)",
        str(out / "rows.parquet"): "held-out figures row by row",
        str(out / "held_out.parquet"): "the held-out documents",
    }
