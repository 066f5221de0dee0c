"""The commands that recommend, run by the program's own entry point in this process."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from longtail import load, read_counts, split_edges, with_self_links

ITEMS = [f"i{i:02d}" for i in range(12)]
FIT = ["--n-components", "3", "--n-hidden", "8", "--epochs", "8", "--batch-size", "20"]
FIT += ["--learning-rate", "0.03", "--eval-refine-steps", "10", "--device", "cpu"]
FIT += ["--row-column", "user", "--feature-column", "item", "--value-column", "plays"]


def histories(path, n, seed, extra=()):
    """Users of two tastes, half of the items each, as a long table."""
    rng = np.random.default_rng(seed)
    lines = list(extra)
    for user in range(n):
        taste = ITEMS[6 * (user % 2) :][:6]
        for item in rng.choice(taste, 4, replace=False):
            lines.append((f"u{seed}-{user}", item, int(rng.integers(1, 5))))
    pl.DataFrame(lines, schema=["user", "item", "plays"], orient="row").write_parquet(path)
    return path


@pytest.fixture
def folder(tmp_path, run):
    histories(tmp_path / "train.parquet", 60, 0)
    unknown = [("u1-0", "zebra", 1), ("stranger", "zebra", 2)]
    histories(tmp_path / "new.parquet", 6, 1, unknown)
    code, _, err = run("fit", tmp_path / "train.parquet", "--out", tmp_path / "model", *FIT)
    assert code == 0, err
    return tmp_path


def test_recommend_writes_the_table_that_the_library_makes(folder, run):
    out = folder / "recs.parquet"
    new = folder / "new.parquet"
    code, printed, err = run(
        "recommend", folder / "model", new, "--k", 2, "--out", out, "--explain", 2
    )
    assert code == 0, err
    assert "7 row(s)" in printed
    assert "stranger (no history)" in printed
    assert "because of" in printed
    assert "zebra" in err
    table = pl.read_parquet(out)
    model = load(folder / "model")
    rows = read_counts(new, row_column="user", feature_column="item", value_column="plays").align(
        model.vocabulary_
    )[0]
    expected = model.recommend(rows, 2).frame()
    assert table.drop("because").equals(expected)
    # A recommendation stays within the user's taste, and so do the reasons for it.
    told = table.filter(~pl.col("no_history") & (pl.col("rank") == 1))
    own = {user: set() for user in told["row_id"]}
    for user, item in pl.read_parquet(new).select("user", "item").iter_rows():
        own.get(user, set()).add(item)
    for user, item, because in told.select("row_id", "item", "because").iter_rows():
        taste = int(user.rpartition("-")[2]) % 2
        assert ITEMS.index(item) // 6 == taste
        assert because
        assert set(because) <= own[user]
    assert table.filter("no_history")["because"].to_list() == [[], []]


def test_recommend_prints_one_json_object(folder, run):
    (folder / "allowed.txt").write_text("i01\ni07\n")
    code, printed, err = run(
        "recommend", folder / "model", folder / "new.parquet", "--k", 3, "--json",
        "--filter-items", folder / "allowed.txt", "--include-seen", "--explain", 1,
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(printed)
    assert (report["rows"], report["k"], report["no_history"], report["short"]) == (7, 3, 1, 7)
    assert report["unseen"]["items"] == 1
    for line in report["recommendations"]:
        assert sorted(line["items"]) == ["i01", "i07"]
        assert len(line["because"]) == 2


def test_recommend_in_csv_has_reasons_as_text(folder, run):
    out = folder / "recs.csv"
    arguments = ["recommend", folder / "model", folder / "new.parquet", "-k", 9, "--out", out]
    code, printed, err = run(*arguments, "--explain", 2, "--json")
    assert code == 0, err
    assert json.loads(printed) | {"unseen": None} == {
        "out": str(out), "rows": 7, "k": 9, "no_history": 1, "short": 6, "unseen": None,
    }  # fmt: skip
    table = pl.read_csv(out)
    assert table.height == 63
    assert table["item"].null_count() == 6


@pytest.mark.parametrize("blocks", [False, True])
def test_a_whole_catalogue_may_be_given(folder, run, tmp_path, blocks):
    known = load(folder / "model").vocabulary_.names[0]
    catalogue = tmp_path / "catalogue.txt"
    catalogue.write_text(f"\n{known}\n  \nother 1\nother 2\n{known}\n")
    out = tmp_path / ("recs" if blocks else "recs.parquet")
    new = folder / "new.parquet"
    if blocks:  # whole rows on a line
        rows = pl.read_parquet(new).group_by("user", maintain_order=True).agg("item", "plays")
        rows.write_parquet(new)
    code, _, err = run(
        "recommend", folder / "model", new, "-k", 2,
        "--filter-items", catalogue, "--include-seen", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    assert "notice: 2 of 3 items of --filter-items are not among the model's" in err
    assert "'other 1', 'other 2'" in err
    table = pl.read_parquet(next(out.glob("*.parquet")) if blocks else out)
    items = table["item"].explode() if blocks else table["item"]
    assert set(items.drop_nulls()) == {known}


def test_a_catalogue_without_a_known_item_is_refused(folder, run):
    (folder / "allowed.txt").write_text("i1\n")
    code, _, err = run(
        "recommend", folder / "model", folder / "new.parquet",
        "--filter-items", folder / "allowed.txt",
    )  # fmt: skip
    assert code == 2
    assert "None of the 1 items of --filter-items (such as 'i1') is among the 12 of" in err


def test_rank_holds_out_a_share_of_each_row(folder, run):
    histories(folder / "test.parquet", 40, 2)
    arguments = ["rank", folder / "model", folder / "test.parquet", "--share", 0.5, "-k", 3]
    code, printed, err = run(*arguments, "--json", "--rows", folder / "rows.csv")
    assert code == 0, err
    report = json.loads(printed)
    assert (report["rows"], report["held_out"], report["items"]) == (40, 80, 12)
    assert report["recall@3"]["mean"] > 0.5  # 0.3 by chance
    assert report["seed"] == 0
    assert pl.read_csv(folder / "rows.csv")["ndcg@3"].len() == 40
    code, printed, _ = run(*arguments)
    assert f"{report['ndcg@3']['mean']:.4f} ± {report['ndcg@3']['se']:.4f}" in printed


def test_rank_takes_held_out_items_from_a_file(folder, run):
    users = pl.read_parquet(folder / "new.parquet").filter(pl.col("user") != "stranger")
    first = users.group_by("user", maintain_order=True).head(1)
    users.join(first, on=["user", "item"], how="anti").write_parquet(folder / "seen.parquet")
    first.filter(pl.col("item") != "zebra").write_parquet(folder / "wanted.parquet")
    code, printed, err = run(
        "rank", folder / "model", folder / "seen.parquet",
        "--held-out", folder / "wanted.parquet", "--cutoff", 2, "--cutoff", 5, "--json",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(printed)
    assert report["rows"] + report["skipped_rows"] == 6
    assert report["held_out"] == report["rows"] == 5
    assert report["hit_rate@5"]["mean"] >= report["hit_rate@2"]["mean"]


def test_rank_refuses_a_cutoff_beyond_the_items(folder, run):
    code, _, err = run("rank", folder / "model", folder / "new.parquet", "--cutoff", 13)
    assert code == 2
    assert "whole numbers from 1 to the 12 items" in err


@pytest.mark.filterwarnings("default:There are 12 items")
def test_rank_of_few_items_has_shorter_lists(folder, run):
    histories(folder / "few.parquet", 40, 2)
    code, printed, err = run(
        "rank", folder / "model", folder / "few.parquet", "--share", 0.5, "--json"
    )
    assert code == 0, err
    assert "notice: There are 12 items, too few for lists of 20, 50, 100" in err
    recalls = [name for name in json.loads(printed) if name.startswith("recall@")]
    assert recalls == ["recall@1", "recall@5", "recall@10"]


@pytest.mark.parametrize("self_links", [[], ["--self-links"]])
def test_links_of_a_network_are_scored_from_both_ends(tmp_path, run, self_links):
    edges = tmp_path / "friends.csv"
    rng = np.random.default_rng(0)
    pairs = {tuple(sorted(rng.choice(10, 2, replace=False) + 10 * (i % 2))) for i in range(80)}
    lines = [f"n{a},n{b}" for a, b in sorted(pairs)]
    edges.write_text("\n".join(["a,b", *lines]))
    fit = [*FIT[: FIT.index("--row-column")], "--row-column", "a", "--feature-column", "b"]
    assert run("fit", edges, "--symmetric", *self_links, "--out", tmp_path / "model", *fit)[0] == 0
    code, out, err = run("recommend", tmp_path / "model", edges, "-k", 2, "--network", "--json")
    assert code == 0, err
    model = load(tmp_path / "model")
    rows = read_counts(edges, row_column="a", feature_column="b", symmetric=True)
    if self_links:
        rows = with_self_links(rows)
    expected = model.recommend(rows, 2, network=rows)
    told = [list(line["items"]) for line in json.loads(out)["recommendations"]]
    assert told == [expected.items(row) for row in range(rows.n_rows)]
    code, out, err = run("rank", tmp_path / "model", edges, "-k", 5, "--network", "--json")
    assert code == 0, err
    observed, held_out = split_edges(rows, 0.2, seed=0)
    ranking = model.rank(observed, held_out, cutoffs=(5,), network=observed)
    assert json.loads(out)["recall@5"]["mean"] == pytest.approx(ranking["recall@5"])
    code, _, err = run(
        "recommend", tmp_path / "model", edges, "--network", "--out", tmp_path / "parts"
    )
    assert code == 2
    assert "--network is for rows at once" in err
