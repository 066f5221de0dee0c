"""Ranking metrics: against ranx, against their definitions, and their edges."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx import Qrels, Run
from ranx import evaluate as ranx_evaluate

from longtail.data import CountMatrix
from longtail.errors import DataError, DataWarning, ParameterError
from longtail.evaluation import CUTOFFS, rank_lists, rank_scores
from longtail.evaluation.topk import NOTHING, top_k
from tests.profiles import examples

PEER = {"precision": "precision", "recall": "recall", "ndcg": "ndcg", "mrr": "mrr"}
PEER |= {"hit_rate": "hit_rate"}


def a_problem(seed, n=30, v=40):
    """Scores without ties, seen items, held-out items (a row without any among them)."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(n * v).reshape(n, v).astype(np.float64)
    owned = rng.random((n, v)) < 0.3
    held_out = owned & (rng.random((n, v)) < 0.4)
    held_out[0] = False
    seen = CountMatrix.from_any((owned & ~held_out).astype(float))
    return scores, CountMatrix.from_any(held_out.astype(float)), seen


# Of ranx's own compiled code; it says nothing about results.
@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")
@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_those_of_ranx(seed):
    scores, held_out, seen = a_problem(seed)
    cutoffs = (1, 5, 20)
    found = rank_scores(scores, held_out, seen=seen, cutoffs=cutoffs)
    wanted = {}
    run = {}
    for row in np.flatnonzero(np.diff(held_out.csr.indptr)):
        items = held_out.csr[[row]].indices
        wanted[f"r{row}"] = {f"i{i}": 1 for i in items}
        hidden = set(seen.csr[[row]].indices.tolist())
        run[f"r{row}"] = {f"i{i}": scores[row, i] for i in range(40) if i not in hidden}
    names = [f"{peer}@{k}" for peer in PEER.values() for k in cutoffs]
    peers = ranx_evaluate(Qrels(wanted), Run(run), names, return_mean=False)
    rows = [f"r{row}" for row in found.per_row["row_id"]]
    order = [sorted(wanted).index(row) for row in rows]  # ranx sorts queries by name
    for ours, peer in PEER.items():
        for k in cutoffs:
            values = np.asarray(peers[f"{peer}@{k}"])[order]
            np.testing.assert_allclose(found.per_row[f"{ours}@{k}"], values, rtol=0, atol=1e-9)


def test_metrics_by_hand():
    held_out = CountMatrix.from_any([[0, 1, 0, 1, 0, 1], [1, 0, 0, 0, 0, 0]])
    found = rank_lists(
        [[0, 1, 3], [2, 3, 4]], held_out, cutoffs=[2, 3], popularity=[4, 1, 1, 2, 0, 0]
    )
    row = found.per_row.row(0, named=True)
    assert row["recall@2"] == pytest.approx(1 / 3)
    assert row["recall_truncated@2"] == pytest.approx(1 / 2)
    assert row["recall@3"] == row["recall_truncated@3"] == pytest.approx(2 / 3)
    assert row["precision@3"] == pytest.approx(2 / 3)
    assert row["mrr@3"] == 0.5
    gain, ideal = 1 / math.log2(3), 1 + 1 / math.log2(3)
    assert row["ndcg@2"] == pytest.approx(gain / ideal)
    assert row["ndcg@3"] == pytest.approx((gain + 0.5) / (ideal + 0.5))
    assert row["novelty@2"] == pytest.approx((math.log(2) + math.log(8)) / 2)
    # Item 4 was never met in training: as novel as those met once.
    assert found.per_row["novelty@3"][1] == pytest.approx((2 * math.log(8) + math.log(4)) / 3)
    assert found["hit_rate@3"] == 0.5
    assert found["coverage@2"] == pytest.approx(4 / 6)
    assert found.metrics["hit_rate@3"].se == pytest.approx(0.5)


def test_rows_without_held_out_items_are_counted_not_scored():
    scores, held_out, seen = a_problem(0)
    found = rank_scores(scores, held_out, seen=seen, cutoffs=[5])
    assert found.skipped_rows == int((held_out.totals == 0).sum()) >= 1
    assert found.rows + found.skipped_rows == 30
    assert 0 not in found.per_row["row_id"].to_list()
    assert found.held_out == held_out.nnz


def test_seen_items_are_never_listed_and_scores_stay_as_they_were():
    scores, held_out, seen = a_problem(1)
    before = scores.copy()
    rank_scores(scores, held_out, seen=seen, cutoffs=[5])
    np.testing.assert_array_equal(scores, before)
    listed, _ = top_k(scores.copy(), 40, seen.csr)
    for row in range(30):
        own = set(seen.csr[[row]].indices.tolist())
        kept = listed[row][listed[row] != NOTHING]
        assert set(kept.tolist()) == set(range(40)) - own
        assert (np.diff(scores[row][kept]) < 0).all()


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 9))
def test_ties_go_to_the_lower_column(seed, v, k):
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.0, 1.0, 2.0, -np.inf], size=(6, v))
    indices, values = top_k(scores.copy(), k)
    for row, found, best in zip(scores, indices, values, strict=True):
        order = [c for c in np.argsort(-row, kind="stable") if row[c] > -np.inf][:k]
        padding = k - len(order)
        assert found.tolist() == order + [NOTHING] * padding
        np.testing.assert_array_equal(best, [*row[order], *[np.nan] * padding])


@settings(max_examples=examples(20))
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_the_chunks_do_not_matter(seed, rows_at_once):
    scores, held_out, seen = a_problem(seed)
    whole = rank_scores(scores, held_out, seen=seen, cutoffs=[3, 10])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("longtail.evaluation.topk._CHUNK", rows_at_once * 40)
        done = []
        parts = rank_scores(
            lambda rows: scores[rows].copy(), held_out, seen=seen, cutoffs=[10, 3],
            progress=done.append,
        )  # fmt: skip
    assert whole.per_row.equals(parts.per_row)
    assert len(done) == math.ceil(30 / rows_at_once)
    assert done[-1] == 30


def test_whole_numbers_are_scores_too():
    scores, held_out, seen = a_problem(0)
    as_floats = rank_scores(scores, held_out, seen=seen, cutoffs=[5])
    as_integers = rank_scores(scores.astype(int), held_out, seen=seen, cutoffs=[5])
    assert as_integers.per_row.equals(as_floats.per_row)


def test_a_perfect_ranking_scores_one():
    _, held_out, seen = a_problem(2)
    found = rank_scores(held_out.csr.toarray(), held_out, seen=seen, cutoffs=[5, 40])
    for metric in ("recall_truncated@5", "ndcg@5", "ndcg@40", "mrr@5", "recall@40"):
        assert found[metric] == pytest.approx(1)


def test_result_as_text_table_and_json():
    scores, held_out, seen = a_problem(0)
    found = rank_scores(scores, held_out, seen=seen, cutoffs=[5, 10], popularity=np.ones(40))
    assert "recall_truncated" in str(found)
    assert "k = 10" in str(found)
    plain = found.to_dict()
    assert plain["ndcg@5"].keys() == {"mean", "se"}
    assert plain["coverage@5"] == found["coverage@5"]
    frame = found.frame()
    line = frame.filter((pl.col("metric") == "ndcg") & (pl.col("k") == 10)).row(0, named=True)
    assert line["mean"] == found["ndcg@10"]
    assert frame.height == 2 * 8
    single = rank_lists([[1, 0]], CountMatrix.from_any([[1, 0]]), cutoffs=[2]).to_dict()
    assert single["mrr@2"] == {"mean": 0.5, "se": None}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cutoffs": [0]}, ParameterError, "whole numbers from 1 to the 3 items"),
        ({"cutoffs": []}, ParameterError, "whole numbers from 1"),
        ({"cutoffs": [4]}, ParameterError, "whole numbers from 1"),
        ({"cutoffs": [True]}, ParameterError, "whole numbers from 1"),
        ({"scores": np.zeros((2, 4))}, DataError, r"scores of shape \(2, 3\); got \(2, 4\)"),
        ({"scores": np.zeros((3, 3))}, DataError, r"scores of shape \(2, 3\); got \(3, 3\)"),
        ({"scores": np.full((2, 3), np.nan)}, DataError, "row 0, column 0 holds NaN"),
        ({"seen": CountMatrix.from_any([[1, 0, 0], [0, 0, 0]])}, DataError, "Row 0 has '0' both"),
        ({"seen": CountMatrix.from_any([[1, 0, 0]])}, DataError, "same rows and items"),
        ({"held_out": CountMatrix.from_any(np.zeros((2, 3)))}, DataError, "nothing to score"),
        ({"popularity": [1, 2]}, DataError, "popularity must be 3 numbers"),
        ({"popularity": [0, 0, 0]}, DataError, "0 for every item"),
    ],
)
def test_refusals(change, error, message):
    options = {"scores": np.zeros((2, 3)), "held_out": CountMatrix.from_any([[1, 0, 0], [0, 1, 0]])}
    options = options | {"cutoffs": [2]} | change
    with pytest.raises(error, match=message):
        rank_scores(**options)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0.5, 1]], "list of column numbers"),
        ([[0, 1], [1, 0]], "for each of 1 rows"),
        ([[0]], "too few for a cutoff of 2"),
        ([[0, 3]], "from 0 to 2"),
        ([[1, 1]], "names an item twice"),
    ],
)
def test_refused_lists(lists, message):
    with pytest.raises(DataError, match=message):
        rank_lists(lists, CountMatrix.from_any([[1, 0, 0]]), cutoffs=[2])


def test_a_short_list_is_no_fault():
    found = rank_lists(
        [[1, -1, -1]], CountMatrix.from_any([[0, 1, 1]]), cutoffs=[3], popularity=[1, 1, 2]
    )
    assert found["recall@3"] == 0.5
    assert found["novelty@3"] == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    ("n_items", "expected"),
    [(2, (1,)), (9, (1, 5)), (19, (1, 5, 10)), (20, (20,)), (99, (20, 50)), (100, (20, 50, 100))],
)
def test_the_usual_lists_are_no_longer_than_there_are_items(n_items, expected):
    held_out = CountMatrix.from_any(np.eye(2, n_items))
    scores = np.zeros((2, n_items))
    lists = np.tile(np.arange(n_items), (2, 1))
    for judge in (lambda: rank_scores(scores, held_out), lambda: rank_lists(lists, held_out)):
        if expected == CUTOFFS:
            assert judge().cutoffs == expected
        else:
            with pytest.warns(DataWarning, match=f"There are {n_items} items, too few"):
                assert judge().cutoffs == expected
