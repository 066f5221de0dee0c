"""Recommenders to compare with, held to their definitions on small data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

import longtail as lt
from benchmarks import _recommenders as peers
from benchmarks import recommend
from tests.builders import topic_counts
from tests.estimator.models import small


def rows(n, v, seed=0):
    dense = np.random.default_rng(seed).poisson(0.4, (n, v)).astype(np.float32)
    dense[0] = 1  # every item is somebody's
    return csr_array(dense)


def test_popularity_counts_rows():
    train = rows(20, 8)
    scores = peers.popularity(train, 0)(rows(3, 8))
    np.testing.assert_array_equal(scores, np.tile((train.toarray() > 0).sum(0), (3, 1)))


def test_item_cosine():
    x, observed = rows(20, 8).toarray(), rows(5, 8, seed=1)
    unit = x / np.linalg.norm(x, axis=0)
    np.testing.assert_allclose(
        peers.item_cosine(csr_array(x), 0)(observed),
        observed.toarray() @ (unit.T @ unit),
        rtol=1e-4,
    )


def test_neighbors_are_shrunk_and_few():
    x, observed = rows(20, 8).toarray(), rows(5, 8, seed=1)
    norms = np.linalg.norm(x, axis=0)
    similarity = x.T @ x / (np.outer(norms, norms) + 5)
    np.fill_diagonal(similarity, 0)
    third = np.sort(similarity, axis=0)[-3]
    expected = observed.toarray() @ np.where(similarity >= third, similarity, 0)
    found = peers.item_neighbors(csr_array(x), 0, shrink=5, top=3)(observed)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("n", "v"), [(6, 15), (15, 6), (1500, 1100), (1100, 1500)])
def test_ease_is_the_same_from_both_sides(n, v):
    x, observed = rows(n, v), rows(5, v, seed=1)
    p = np.linalg.inv((x.T @ x).toarray().astype(np.float64) + 3 * np.eye(v))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    scorer = peers.ease(x, 0, penalty=3)
    for history in (observed, x[[3, 0]]):  # of others, and of its own rows
        expected = history.toarray() @ b
        np.testing.assert_allclose(scorer(history), expected, rtol=1e-5, atol=1e-6)


# The package warns about threads of numpy's library, which here has one.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_ials_finds_two_tastes():
    taste = np.repeat(np.eye(2), 4, axis=1)[np.arange(40) % 2]
    train = csr_array(taste * np.random.default_rng(0).integers(0, 2, taste.shape))
    train = lt.CountMatrix.from_any(train).csr  # whose arrays are read-only
    scorer = peers.ials(train, 0, factors=2, regularization=0.1, alpha=20.0)
    observed = np.array([[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]], np.float32)
    scores = scorer(csr_array(observed))
    assert scores[0, 2:4].min() > scores[0, 4:].max()
    assert scores[1, 4:6].min() > scores[1, :4].max()


def test_this_librarys_model_scores_by_its_posterior_predictive():
    train = csr_array(rows(60, 10).toarray() + 1)
    parameters = small(epochs=2).get_params()
    del parameters["random_state"]
    scores = peers.longtail(train, 0, **parameters)(rows(4, 10, seed=2))
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)


def graph(n=12, seed=0):
    upper = np.triu(np.random.default_rng(seed).random((n, n)) < 0.35, 1)
    return (upper | upper.T).astype(np.float32)


def test_scores_of_graphs():
    a = graph()
    observed = csr_array(a[:3])
    np.testing.assert_array_equal(peers.common_neighbors(csr_array(a), 0)(observed), a[:3] @ a)
    degree = a.sum(1)
    weight = np.where(degree > 1, 1 / np.log(np.maximum(degree, 2)), 0)
    found = peers.adamic_adar(csr_array(a), 0)(observed)
    np.testing.assert_allclose(found, (a[:3] * weight) @ a, rtol=1e-5)
    _, _, vt = np.linalg.svd(a)
    found = peers.truncated_svd(csr_array(a), 0, rank=4)(observed)
    # The graph's matrix is symmetric: singular values may be equal in pairs, their span is not.
    np.testing.assert_allclose(found, a[:3] @ vt[:4].T @ vt[:4], atol=1e-4)


def test_no_node_is_recommended_itself():
    a = lt.CountMatrix.from_any(graph())
    names = lt.Vocabulary([f"n{i}" for i in range(12)])
    counts = lt.CountMatrix.from_any(a.csr, row_ids=list(names.names), vocabulary=names)
    known, missing = lt.split_edges(counts, 0.3, seed=0)
    todo = recommend.Task(
        known, (known, missing), None, (known, missing), (1,), ("recall@1",), itself=True
    )

    def itself_first(rows):  # all of them, in order
        return np.eye(12) + 0.5 * missing.csr.toarray()

    lists = recommend.judged(itself_first, (known, missing), todo, known)
    assert lists["hit_rate@1"] == 1


def test_what_refinement_adds():
    model = small(epochs=20, learning_rate=0.03).fit(topic_counts(200, 25, tokens=15))
    scorer = peers.Predictive(model)
    counts = lt.CountMatrix.from_any(topic_counts(60, 25, tokens=15, seed=5))
    pair = lt.split_items(counts, seed=0)
    todo = recommend.Task(pair[0], pair, None, pair, (3,), ("ndcg@3",))
    refined, amortized = (
        recommend.judged(s, pair, todo, todo.train) for s in (scorer, scorer.amortized())
    )
    found = recommend.gain(refined, amortized, "ndcg@3")
    assert found["mean"] == pytest.approx(refined["ndcg@3"] - amortized["ndcg@3"])
    assert found["se"] > 0


def test_every_preset_and_grid_has_settings():
    for program in peers.PROGRAMS.values():
        assert all(program.grid(corpus) for corpus in recommend.CORPORA)
    liang = peers.PRESETS["mult-vae"][""]
    assert {s["refine_steps"] for s in liang} == {0}
    assert len({s["kl_weight"] for s in liang}) == len(liang) > 1
    assert peers.named({"factors": 8, "alpha": 0.5}) == "factors8-alpha0.5"


@pytest.mark.parametrize(
    ("weighting", "value"), [("raw", 8.0), ("log", 1 + np.log(8)), ("binary", 1)]
)
def test_weightings(weighting, value):
    counts = recommend.weighted(lt.CountMatrix.from_any([[0.0, 8.0]]), weighting)
    assert counts.csr.data.tolist() == pytest.approx([value])


def a_task():
    counts = lt.CountMatrix.from_any(rows(60, 12))
    train, (valid, test) = lt.split_fold_in(counts, [15, 15], share=0.4, seed=0)
    return recommend.Task(train, valid, None, test, (3,), ("recall@3", "ndcg@3"))


def test_settings_are_chosen_on_validation_rows_and_test_rows_scored_once(monkeypatch):
    written, scored = [], []
    monkeypatch.setattr(recommend, "task", lambda corpus: a_task())
    monkeypatch.setattr(recommend, "write_rows", lambda name, made: written.extend(made))
    judge = recommend.judged
    monkeypatch.setattr(
        recommend, "judged", lambda *given: scored.append(given[1][0].row_ids) or judge(*given)
    )
    program = peers.Program(peers.item_neighbors, {"": peers.grid(shrink=(0, 5), top=(2, 4))})
    recommend.record("toy", "item-neighbors", program, "item-neighbors", 0)
    todo = a_task()
    valid, test = todo.valid[0].row_ids, todo.test[0].row_ids
    assert [s.equals(valid) for s in scored] == [True] * 4 + [False]
    assert scored[-1].equals(test)
    chosen = {row.metric: row.value for row in written if row.metric.startswith("chosen.")}
    measured = {(row.split, row.metric) for row in written if row.metric not in chosen}
    assert measured == {
        (split, f"{metric}@3.{figure}")
        for split in ("test", "valid")
        for metric in ("recall", "ndcg")
        for figure in ("mean", "se")
    }
    grid = program.grid("toy")
    values = [
        recommend.judged(
            peers.item_neighbors(todo.train.csr, 0, **s), todo.valid, todo, todo.train
        )["recall@3"]
        for s in grid
    ]
    on_valid = [r.value for r in written if (r.split, r.metric) == ("valid", "recall@3.mean")]
    assert on_valid == [max(values)]
    best = grid[int(np.argmax(values))]
    assert chosen == {f"chosen.{name}": value for name, value in best.items()}
    assert {row.peer for row in written} == {"item-neighbors"}
