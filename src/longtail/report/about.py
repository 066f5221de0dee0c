"""The sections on what the data are, what was fitted, and how training went."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import polars as pl

from longtail.data import CountMatrix, ReadSettings
from longtail.displays import LongTailDisplay
from longtail.estimator import NonlinearFactorAnalysis
from longtail.estimator.saved import saved_parameters
from longtail.report.blocks import Block, Card, Cards, Chart, Facts, Item, Prose, Section, Table
from longtail.report.findings import Findings
from longtail.training.history import EpochRecord

__all__ = ["data_section", "fit_section", "training_section"]

_EXAMPLES, _EXAMPLE_FEATURES = 6, 12
NO_ROWS = "Give held-out rows to see this: longtail report MODEL ROWS --out report.html"


def data_section(found: Findings) -> Section:
    """Rows, features, density, the long tail, and a few rows to look at."""
    model = found.model
    info = model.fit_info_
    tail = _long_tail(model)
    facts = [
        ("features", f"{model.n_features_in_:,}"),
        ("training rows", f"{info['train_rows']:,}"),
        ("validation rows", f"{info.get('valid_rows', 0):,}"),
        ("median total of a training row", f"{info['median_total']:,.0f}"),
    ]
    if "median_exposure" in info:
        facts.append(("median exposure of a training row", f"{info['median_exposure']:,.4g}"))
    if "train_tokens" in info:
        facts.insert(3, ("training counts in all", f"{info['train_tokens']:,.0f}"))
    v = model.n_features_in_
    half = tail.reaching(0.5)
    blocks: list[Block] = [
        Prose(
            "A row is a sparse list of counts: how often each feature occurs in one document, or "
            "for one person, record or cell. Few features are frequent and most are rare."
        ),
        Facts(tuple(facts)),
        Chart(
            "long_tail",
            tail,
            "The long tail",
            f"Half of all training counts fall on {half:,} of {v:,} features; the others share "
            "the rest. Both scales are logarithmic.",
            f"Line that falls from the most frequent to the rarest of {v:,} features; {half:,} "
            "features hold half of all counts.",
        ),
    ]
    if found.given is None or found.rows is None:
        blocks.append(Prose(f"Example rows are not shown. {NO_ROWS}", "missing"))
    else:
        blocks += _given_rows(found, found.given, found.rows)
    return Section("data", "What the data are", tuple(blocks))


def _long_tail(model: NonlinearFactorAnalysis) -> LongTailDisplay:
    tokens = model.fit_info_.get("train_tokens")
    if tokens is None:
        return LongTailDisplay(model.unigram_, model.vocabulary_, "share of all training counts")
    return LongTailDisplay(model.unigram_ * tokens, model.vocabulary_, "count in training rows")


def _given_rows(found: Findings, given: CountMatrix, rows: CountMatrix) -> list[Block]:
    s = given.summary()
    unseen = found.unseen
    facts = [
        ("rows given", f"{s['rows']:,}"),
        ("of them scored", f"{rows.n_rows:,}"),
        ("density", f"{s['density']:.3%}"),
        ("counts in the vocabulary", f"{s['tokens']:,.0f}"),
        ("median row total", f"{s['median_row_total']:,.0f}"),
        ("empty rows", f"{s['empty_rows']:,}"),
        ("duplicate rows", f"{s['duplicate_rows']:,}"),
    ]
    if unseen is not None:
        facts.append(("counts outside the vocabulary", f"{unseen.mass:.1%}"))
    rng = np.random.default_rng(found.settings.seed)
    chosen = np.sort(rng.permutation(rows.n_rows)[:_EXAMPLES])
    cards = [
        Card(
            str(rows.row_ids[int(d)]),
            f"total {rows.totals[d]:,.6g}, {np.diff(rows.csr.indptr)[d]:,} features",
            (("", _counted(rows, int(d))),),
        )
        for d in chosen
    ]
    drawn = (
        f"{rows.n_rows:,} of the rows that are not empty were drawn at random "
        f"(seed {found.settings.seed}); every figure of held-out rows below is of these."
        if rows.n_rows < given.n_rows - int(s["empty_rows"])
        else "Every figure of held-out rows below is of all rows given that are not empty."
    )
    return [
        Prose(f"The rows given with the model should be held out: not those of the fit. {drawn}"),
        Facts(tuple(facts)),
        Prose("A few of these rows, each with its most frequent features:"),
        Cards(tuple(cards)),
    ]


def _counted(rows: CountMatrix, d: int) -> tuple[Item, ...]:
    label = rows.vocabulary.label
    features = rows.top_features(d, _EXAMPLE_FEATURES)
    items = [Item(label(name), "" if x == 1 else f"{x:,.6g}") for name, x in features]
    more = int(np.diff(rows.csr.indptr)[d]) - len(items)
    return (*items, Item(f"and {more:,} more", muted=True)) if more > 0 else tuple(items)


def fit_section(found: Findings) -> Section:
    """Settings, time, machine."""
    model = found.model
    info, fitted = model.fit_info_, model.parameters_
    records = model.history_
    facts = [
        ("latent dimensions, K", f"{fitted['n_components']:,}"),
        ("likelihood", fitted["likelihood"].replace("_", " ")),
        ("decoder", _layers(fitted["decoder_layers"], fitted["n_hidden"])),
        ("encoder", _layers(fitted["encoder_layers"], fitted["n_hidden"])),
    ]
    if len(records):
        seconds = sum(r.seconds for r in records)
        facts.append(("time of training", _duration(seconds)))
        facts.append(("epochs", f"{len(records):,}"))
    if "best_epoch" in info:
        facts.append(("parameters kept are those of epoch", f"{info['best_epoch']:,}"))
    if "stopped" in info:
        facts.append(("training ended", str(info["stopped"])))
    facts.append(("seed", str(model.seed_)))
    facts += [(str(k), str(v)) for k, v in info.get("environment", {}).items()]
    plain = fitted["refine_steps"] == 0
    how = (
        "without local refinement in training: a plain variational auto-encoder"
        if plain
        else "with local refinement in training: each batch's posteriors are improved by a few "
        "optimisation steps before they teach the decoder"
    )
    return Section(
        "fit",
        "What was fitted",
        (
            Prose(
                "A deep generative model: each row has a latent vector z with K numbers, and a "
                "decoder network turns z into the probabilities of the features. An inference "
                f"network (encoder) guesses z from the row. It was trained {how}."
            ),
            Facts(tuple(facts)),
            Table("settings", _settings(model), "All settings", folded=True, shown=60),
            *_reading(model),
        ),
    )


def _settings(model: NonlinearFactorAnalysis) -> pl.DataFrame:
    defaults = inspect.signature(NonlinearFactorAnalysis).parameters
    lines = [
        {
            "setting": name,
            "value": str(value),
            "default": str(defaults[name].default),
            "changed": value != defaults[name].default,
        }
        for name, value in saved_parameters(model).items()
    ]
    return pl.DataFrame(lines)


def _reading(model: NonlinearFactorAnalysis) -> list[Block]:
    if model.read_settings_ is None:
        return []
    usual: dict[str, Any] = ReadSettings().to_dict()
    changed = [(k, v) for k, v in model.read_settings_.to_dict().items() if v != usual[k]]
    if not changed:
        return []
    table = pl.DataFrame(
        {"setting": [k for k, _ in changed], "value": [str(v) for _, v in changed]}
    )
    return [Table("reading", table, "How the data were read, where not as usual", folded=True)]


def training_section(found: Findings) -> Section:
    """Bounds, KL weight and dimensions in use over the epochs."""
    history = found.model.history_
    blocks: tuple[Block, ...]
    if len(history) == 0:
        blocks = (Prose("The model holds no record of its training.", "missing"),)
    else:
        last = history[-1]
        blocks = (
            Prose(
                "The bound should improve and level off. While the weight of the KL rises, the "
                "model is free to use many latent dimensions; some may be given up again as the "
                "weight reaches its full value."
            ),
            Chart(
                "training",
                history.display(),
                "Training, epoch by epoch",
                f"Above, {_bound(last)}; then the latent dimensions with a mean KL above 0.05 "
                "nats; below, the weight of the KL.",
                f"Three lines over {len(history)} epochs: the bound, the latent dimensions in use "
                f"({last.active_kl} at the end), and the KL weight ({last.kl_weight:g} at the "
                "end).",
            ),
        )
    return Section("training", "Training", blocks)


def _bound(last: EpochRecord) -> str:
    if last.valid_per_doc_refined is not None:
        return (
            "the perplexity of validation rows, lower is better: solid with refined posteriors, "
            "ψ*, dashed from the inference network alone, ψ(x)"
        )
    rows = "training" if last.valid_nats_per_row is None else "validation"
    return f"the bound on {rows} rows, higher is better"


def _layers(n: int, width: int) -> str:
    if n == 0:
        return "no hidden layer: log-linear"
    return f"{n} hidden layer{'s' if n > 1 else ''} of {width:,}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
