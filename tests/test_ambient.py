"""Results do not depend on the state in which the caller has left PyTorch."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import numpy as np
import polars as pl
import pytest
import torch

import longtail as lt
from longtail.errors import ParameterError
from longtail.tuning import Range
from tests.ambient import STATES, all_states, state_of_torch
from tests.builders import topic_counts

NAMES = [f"w{i}" for i in range(20)]
SMALL = {
    "n_components": 3,
    "n_hidden": 6,
    "epochs": 2,
    "batch_size": 32,
    "refine_steps": 2,
    "importance_samples": 2,
    "eval_refine_steps": 6,
    "eval_samples": 3,
}
KINDS = {
    "multinomial": {},
    "dirichlet_multinomial": {"likelihood": "dirichlet_multinomial"},
    "bernoulli": {"likelihood": "bernoulli"},
    "poisson": {"likelihood": "poisson"},
    "negative_binomial": {"likelihood": "negative_binomial", "decoder_layers": 1},
    "poisson_given": {"likelihood": "poisson", "exposure": "given"},
    "negative_binomial_given": {"likelihood": "negative_binomial", "exposure": "given"},
    "log_linear": {"decoder_layers": 0, "refine_method": "adam"},
    "sampled": {"refine_features": 8, "theta_features": 9, "skip": True},
    "plain": {"refine_steps": 0, "importance_samples": 1, "features": "log1p"},
}


def rows(kind="multinomial", n=60, seed=1, n_features=20):
    dense = topic_counts(n, n_features, seed=seed)
    if kind == "bernoulli":
        dense = dense > 0
    frame = pl.DataFrame(dense.astype(np.int64), schema=[f"w{i}" for i in range(n_features)])
    exposure = dense.sum(1) / 10 if kind.endswith("given") else None
    return lt.CountMatrix.from_any(frame, exposure=exposure)


def fitted(kind):
    return lt.NonlinearFactorAnalysis(random_state=0, **SMALL | KINDS[kind]).fit(
        rows(kind), valid=rows(kind, 20, 3)
    )


@pytest.fixture(scope="module")
def models():
    return {kind: fitted(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("ambient") / "texts.parquet"
    counts = topic_counts(60, 20, seed=4)
    lines = [" ".join(name for name, n in zip(NAMES, row, strict=True) if n) for row in counts]
    pl.DataFrame({"text": lines}).write_parquet(path)
    return path


def plain(value):
    """What must be the same, as bytes and plain values."""
    if isinstance(value, lt.NonlinearFactorAnalysis):
        bounds = [(r.train_nats_per_row, r.valid_nats_per_row) for r in value.history_]
        return [plain(dict(value.network_.state_dict())), bounds]
    if isinstance(value, torch.Tensor):
        return plain(value.numpy())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, pl.DataFrame):
        return value.to_dict(as_series=False)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if dataclasses.is_dataclass(value):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    return repr(value)


def scored(model, kind):
    new = rows(kind, 30, 2)
    return [
        model.transform(new),
        model.posterior(new, refine_steps=0),
        model.score_samples(new),
        model.score(new),
        model.evaluate(new, full_covariance=True).to_dict(),
        model.score_rows(new, model.evaluation_settings()),
        model.inverse_transform(np.ones((2, 3))),
        model.sample(5, random_state=0).toarray(),
        model.recommend(new, 3),
        model.rank(*lt.split_items(new, 0.3, seed=0), cutoffs=[3]).to_dict(),
    ]


def looked_into(model, kind):
    new = rows(kind, 10, 2)
    return [
        [lt.jacobian(model, of, samples=40) for of in ("mean", "log_probabilities", "logits")],
        lt.spectrum(model, new, samples=40).to_dict(),
        lt.directions(model, new, samples=40).to_dict(),
        lt.embeddings(model, ["w1"], samples=10, count=1).vectors,
        lt.explain_recommendation(model, new[:1], "w5").to_dict(),
    ]


def looked_into_contexts(model, new):
    places = [("w1", ["w2"]), ("w3", ["w4"]), ("w5", ["w6"]), ("w7", ["w8"])]
    pairs = [(places[i], places[i + 1], float(i)) for i in range(3)]
    return [
        lt.contextual_vectors(model, ["w1", "w2"], new[:2], samples=4),
        lt.contextual_similarity(model, pairs, samples=4),
        lt.neighborhoods(model, "w1", [["w3"], ["w4"]], k=3, samples=10).frame(),
        lt.ambiguous_features(model, top=2, k=3, candidates=6).frame(),
        [each.to_dict() for each in lt.explain_recommendations(model, new[:1], ["w5", "w6"])],
    ]


def saved_and_opened(model, kind, folder):
    model.save(folder / "model")
    again = lt.load(folder / "model")
    return [again, again.transform(rows(kind, 30, 2))]


def updated(model, kind, n_features=20):
    again = copy.deepcopy(model)
    again.partial_fit(rows(kind, 60, 5, n_features), epochs=1, min_df=1)
    return again


def linked():
    dense = np.random.default_rng(0).random((20, 20)) < 0.3
    names = [f"p{i}" for i in range(20)]
    table = pl.DataFrame((dense | dense.T).astype(np.int64), schema=names)
    counts = dataclasses.replace(lt.CountMatrix.from_any(table), row_ids=pl.Series(names))
    model = lt.NonlinearFactorAnalysis(random_state=0, **SMALL).fit(counts, valid=counts)
    return model.recommend(counts, 3, network=counts)


def streamed(path):
    model = lt.NonlinearFactorAnalysis(random_state=0, **SMALL, validation_fraction=0.2)
    model.fit(lt.open_stream(path))
    model.partial_fit(lt.open_stream(path), epochs=1)
    return model


def tuned():
    fixed = {name: value for name, value in SMALL.items() if name != "n_components"}
    space = {"kl_weight": Range(0.5, 1.0)}
    done = lt.tune(rows(n=120), trials=1, fixed=fixed, space=space, metric="completion")
    return [done.best_value, done.model]


def reported(model):
    report = lt.make_report(model, rows(n=20, seed=2), max_rows=20, samples=20)
    return report.html().split("<footer")[0]


CASES = {
    **{f"fit-{kind}": lambda c, kind=kind: fitted(kind) for kind in KINDS},
    **{f"score-{kind}": lambda c, kind=kind: scored(c.models[kind], kind) for kind in KINDS},
    **{
        f"{name}-{kind}": lambda c, use=use, kind=kind: use(c.models[kind], kind)
        for name, use in (("introspect", looked_into), ("update", updated))
        for kind in ("multinomial", "dirichlet_multinomial", "bernoulli", "negative_binomial_given")
    },
    **{
        f"save-{kind}": lambda c, kind=kind: saved_and_opened(c.models[kind], kind, c.folder)
        for kind in ("multinomial", "negative_binomial_given")
    },
    "contexts": lambda c: looked_into_contexts(c.models["multinomial"], rows(n=10, seed=2)),
    "grow": lambda c: updated(c.models["negative_binomial"], "negative_binomial", 24),
    "network": lambda c: linked(),
    "stream": lambda c: streamed(c.texts),
    "tune": lambda c: tuned(),
    "report": lambda c: reported(c.models["multinomial"]),
}


class Given:
    def __init__(self, models, texts, folder):
        self.models, self.texts, self.folder = models, texts, folder


@pytest.fixture
def given(models, texts, tmp_path):
    return Given(models, texts, tmp_path)


@pytest.fixture(scope="module")
def expected():
    return {}


def check(case, state, given, expected):
    if case not in expected:
        expected[case] = plain(CASES[case](given))
    with state():
        before = state_of_torch()
        result = CASES[case](given)
        assert state_of_torch() == before
    assert plain(result) == expected[case]


@pytest.mark.parametrize("case", CASES)
def test_no_result_depends_on_all_states_at_once(case, given, expected):
    check(case, all_states, given, expected)


@pytest.mark.parametrize("case", CASES)
def test_no_result_depends_on_the_default_dtype(case, given, expected):
    check(case, STATES["float64"], given, expected)


@pytest.mark.parametrize("state", sorted(STATES.keys() - {"float64"}))
@pytest.mark.parametrize("case", ["fit", "score", "introspect", "update", "save"])
def test_no_result_depends_on_any_state(state, case, given, expected):
    check(f"{case}-multinomial", STATES[state], given, expected)


def test_a_model_made_in_inference_mode_can_be_used_outside(models):
    with torch.inference_mode():
        made = {
            "fitted": fitted("multinomial"),
            "copied": copy.deepcopy(models["multinomial"]),
            "unpickled": pickle.loads(pickle.dumps(models["multinomial"])),
        }
    wanted = plain(scored(models["multinomial"], "multinomial"))
    for how, model in made.items():
        assert plain(scored(model, "multinomial")) == wanted, how
        assert plain(updated(model, "multinomial")) == plain(
            updated(models["multinomial"], "multinomial")
        ), how


# --- a public function that is new must be among the cases, or here -----------------------------

WITHOUT_TORCH = {
    *("check_fitted", "check_parameters", "evaluation_settings", "set_fitted", "align"),
    *("drop_duplicates", "open_stream", "read_counts", "read_descriptions", "read_like"),
    *("read_new", "split_by_time", "split_edges", "split_fold_in", "split_items", "split_rows"),
    *("with_self_links", "rank_lists", "rank_scores", "class_precision", "word_similarity"),
    *("effective_rank", "topic_coherence", "topic_diversity", "plan_cost", "preset", "save_plot"),
    *("join_processes", "annotate"),  # a set-up; and what calls `posterior` and `embeddings`
}
WITH_TORCH = {
    *("fit", "partial_fit", "transform", "posterior", "score_samples", "score", "evaluate"),
    *("score_rows", "recommend", "rank", "inverse_transform", "sample", "save", "load"),
    *("jacobian", "spectrum", "directions", "embeddings", "explain_recommendation"),
    *("explain_recommendations", "contextual_vectors", "contextual_similarity", "neighborhoods"),
    *("ambiguous_features", "make_report", "tune"),
}


def test_every_public_function_is_accounted_for():
    functions = {name for name in lt.__all__ if inspect.isfunction(getattr(lt, name))}
    methods = {
        name
        for name, value in vars(lt.NonlinearFactorAnalysis).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert functions | methods == WITH_TORCH | WITHOUT_TORCH
    source = inspect.getsource(inspect.getmodule(test_every_public_function_is_accounted_for))
    calls = source[: source.index("WITHOUT_TORCH = {")]
    assert [name for name in WITH_TORCH if f".{name}(" not in calls] == []


# --- networks that have been cast ---------------------------------------------------------------


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
def test_a_network_that_has_been_cast_is_refused(models, tmp_path, cast):
    model = copy.deepcopy(models["sampled"])
    getattr(model.network_, cast)()
    new = rows(n=30, seed=2)
    uses = [
        lambda: model.save(tmp_path / "model"),
        lambda: model.transform(new),
        lambda: model.evaluate(new),
        lambda: model.partial_fit(new),
        lambda: model.sample(),
        lambda: lt.jacobian(model),
    ]
    for use in uses:
        with pytest.raises(
            ParameterError, match=r"network_ has been cast: .* open the saved model"
        ):
            use()
    assert not (tmp_path / "model").exists()
    # Back again, but the features are drawn by numbers that have lost digits.
    model.network_.float()
    with pytest.raises(ParameterError, match=r"refine_sampler\.inclusion is torch\.float32"):
        model.transform(new)
