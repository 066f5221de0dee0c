from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from pyarrow.parquet import read_metadata

from longtail.data.stream import ParquetDataset
from longtail.errors import DataError, MissingExtraError, ParameterError, WriteError
from longtail.scoring import Evaluate, RayEngine, Recommend, Transform, score_dataset
from longtail.scoring.job import model_digest
from tests.builders import topic_counts
from tests.estimator.models import small
from tests.scoring.datasets import fitted, in_memory, opened, parts, write


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data")


def test_rows_are_transformed_in_their_order(tmp_path, data):
    seen = []
    found = score_dataset(
        fitted(),
        opened(data),
        tmp_path / "z",
        Transform(scale=True),
        progress=lambda *told: seen.append(told),
    )
    assert seen == [(0, 63), (20, 63), (33, 63), (63, 63)]
    rows, unseen = in_memory(data)
    expected = fitted().posterior(rows)
    table = pl.read_parquet(found.out)
    assert table["row_id"].to_list() == [f"r{i}" for i in range(63)]
    np.testing.assert_allclose(table.select("^z.*$").to_numpy(), expected.mean, atol=1e-6)
    np.testing.assert_allclose(table.select("^scale.*$").to_numpy(), expected.scale, atol=1e-6)
    sizes = [read_metadata(path).num_rows for path in sorted(found.out.iterdir())]
    assert sizes == [20, 13, 30]
    assert (found.rows, found.blocks, found.resumed_blocks) == (63, 3, 0)
    assert found.empty_rows == (rows.totals == 0).sum() > 0
    assert found.unseen == pytest.approx({"rows": unseen.rows, "mass": unseen.mass})
    json.dumps(found.to_dict(), allow_nan=False)


def test_rows_of_a_block_are_scored_a_few_at_a_time(tmp_path, data, monkeypatch):
    monkeypatch.setattr("longtail.scoring.blocks._ROWS", 16)
    seen = []
    for task in (Transform(), Evaluate()):
        score_dataset(
            fitted(), opened(data), tmp_path / task.name, task, progress=lambda d, n: seen.append(d)
        )
    assert seen == 2 * [0, 16, 20, 33, 49, 63]
    z = fitted().transform(in_memory(data)[0])
    table = pl.read_parquet(tmp_path / "transform")
    np.testing.assert_allclose(table.select("^z.*$").to_numpy(), z, atol=1e-6)


def test_recommendations_are_lists(tmp_path, data):
    allowed = fitted().vocabulary_.names[:11]
    task = Recommend(k=10, filter_items=allowed)
    found = score_dataset(fitted(), opened(data), tmp_path / "items", task)
    rows, _ = in_memory(data)
    expected = fitted().recommend(rows, 10, filter_items=allowed)
    assert found.short_rows == expected.short.sum() > 0
    table = pl.read_parquet(found.out)
    assert table.height == 63
    assert table["no_history"].to_list() == expected.no_history.tolist()
    longer = table.explode("item", "score", empty_as_null=False)
    plain = expected.frame().drop_nulls("item")
    assert longer["item"].to_list() == plain["item"].to_list()
    np.testing.assert_allclose(longer["score"], plain["score"], rtol=1e-5)


def test_blocks_without_rows_have_parts_without_rows(tmp_path):
    data = write(tmp_path / "data", files=((0, 5, 0), (4,)))
    assert [block.n_rows for block in opened(data).blocks] == [0, 5, 0, 4]
    for task in (Transform(), Recommend(k=2), Evaluate()):
        found = score_dataset(fitted(), opened(data), tmp_path / task.name, task)
        table = pl.read_parquet(found.out)
        assert table["row_id"].to_list() == [f"r{i}" for i in range(9)]
        assert found.rows == 9
        assert len(parts(found.out)) == 4


class StopError(Exception):
    pass


def stop_after(rows):
    def progress(done, total):
        if done >= rows:
            raise StopError

    return progress


def test_a_run_that_ended_early_goes_on(tmp_path, data):
    whole = score_dataset(fitted(), opened(data), tmp_path / "whole", Transform())
    out = tmp_path / "z"
    with pytest.raises(StopError):
        score_dataset(fitted(), opened(data), out, Transform(), progress=stop_after(33))
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert sorted(before) == ["part-000000.parquet"]
    told = []
    found = score_dataset(fitted(), opened(data), out, Transform(), say=told.append)
    assert "1 of 3 blocks are there" in told[0]
    assert (found.resumed_blocks, found.rows) == (1, 63)
    assert (out / "part-000000.parquet").stat().st_mtime_ns == before["part-000000.parquet"]
    assert parts(out) == parts(whole.out)


@pytest.mark.parametrize("fault", ["cut", "rows", "other job", "left over"])
def test_what_an_earlier_run_left_is_checked(tmp_path, data, fault):
    whole = score_dataset(fitted(), opened(data), tmp_path / "whole", Transform())
    out = tmp_path / "z"
    with pytest.raises(StopError):
        score_dataset(fitted(), opened(data), out, Transform(), progress=stop_after(63))
    first, second = (out / f"part-00000{i}.parquet" for i in (0, 1))
    if fault == "cut":
        first.write_bytes(first.read_bytes()[:-10])
    elif fault == "rows":
        first.write_bytes(second.read_bytes())
    elif fault == "other job":
        pl.read_parquet(first).write_parquet(first)
    else:
        (out / ".part-000002.parquet.0123").write_bytes(b"half of")
    found = score_dataset(fitted(), opened(data), out, Transform())
    assert found.resumed_blocks == (2 if fault == "left over" else 1)
    assert parts(out) == parts(whole.out)


def test_a_finished_output_is_kept(tmp_path, data):
    out = tmp_path / "z"
    score_dataset(fitted(), opened(data), out, Transform())
    with pytest.raises(ParameterError, match=r"is finished: 63 rows.*--overwrite"):
        score_dataset(fitted(), opened(data), out, Transform())
    found = score_dataset(fitted(), opened(data), out, Recommend(k=2), overwrite=True)
    assert found.resumed_blocks == 0
    assert "item" in pl.read_parquet(out).columns


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("settings", "it had refine_steps None and not 3"),
        ("task", "its task was 'transform' and not 'recommend'"),
        ("model", "its model was another one"),
        ("data", "its data were others"),
        ("reading", "it had lowercase True and not False"),
    ],
)
def test_an_unfinished_output_is_not_mixed_with_another_job(tmp_path, data, change, told):
    out = tmp_path / "z"
    with pytest.raises(StopError):
        score_dataset(fitted(), opened(data), out, Transform(), progress=stop_after(33))
    model, task, dataset = fitted(), Transform(), opened(data)
    if change == "settings":
        task = Transform(refine_steps=3)
    elif change == "task":
        task = Recommend()
    elif change == "model":
        model = fitted(eval_samples=6)
    elif change == "data":
        dataset = opened(write(tmp_path / "more", files=((20, 13), (31,))))
    else:
        dataset = type(dataset).open(data, text_column="text", id_column="id", lowercase=False)
    with pytest.raises(ParameterError, match=told):
        score_dataset(model, dataset, out, task)
    assert len(parts(out)) == 1
    assert score_dataset(model, dataset, out, task, overwrite=True).resumed_blocks == 0


def test_moved_data_and_a_saved_model_are_the_same(tmp_path, data):
    from longtail import load

    out = tmp_path / "z"
    with pytest.raises(StopError):
        score_dataset(fitted(), opened(data), out, Transform(), progress=stop_after(33))
    data.rename(tmp_path / "moved")
    fitted().save(tmp_path / "model")
    model = load(tmp_path / "model")
    assert model_digest(model) == model_digest(fitted())
    assert score_dataset(model, opened(tmp_path / "moved"), out, Transform()).resumed_blocks == 1


def test_other_files_are_left_alone(tmp_path, data):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(ParameterError, match=r"there is no full\.job\.json"):
        score_dataset(fitted(), opened(data), tmp_path / "full", Transform(), overwrite=True)
    (tmp_path / "file").write_text("dear")
    with pytest.raises(ParameterError, match="is a file, but the output is a folder"):
        score_dataset(fitted(), opened(data), tmp_path / "file", Transform())
    (tmp_path / "z.job.json").write_text("{")
    with pytest.raises(ParameterError, match="cannot be read"):
        score_dataset(fitted(), opened(data), tmp_path / "z", Transform())
    with pytest.raises(ParameterError, match="got the URL"):
        score_dataset(fitted(), opened(data), "s3://bucket/z", Transform())
    with pytest.raises(WriteError, match="could not be made ready"):
        score_dataset(fitted(), opened(data), tmp_path / "file" / "z", Transform())


def test_ray_is_loaded_when_it_is_used(tmp_path, data, monkeypatch):
    code = "import sys, longtail.scoring; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'longtail\[ray\]'"):
        score_dataset(fitted(), opened(data), tmp_path / "z", Transform(), engine=RayEngine())


def test_bad_settings_are_told_before_anything_is_written(tmp_path, data):
    for task in (Transform(refine_steps=-1), Recommend(k=0), Evaluate(samples=0)):
        with pytest.raises(ParameterError, match="whole number"):
            score_dataset(fitted(), opened(data), tmp_path / "z", task)
    with pytest.raises(DataError, match="Unknown feature 'zebra'"):
        score_dataset(fitted(), opened(data), tmp_path / "z", Recommend(filter_items=["zebra"]))
    assert not (tmp_path / "z").exists()


def test_a_row_without_a_known_word_is_alone_as_among_others(tmp_path):
    out = {}
    for name, lines in (("alone", ["okapi"]), ("among others", ["w01 w02", "okapi"])):
        (tmp_path / name).mkdir()
        pl.DataFrame({"text": lines}).write_parquet(tmp_path / name / "a.parquet")
        data = ParquetDataset.open(tmp_path / name, text_column="text")
        found = score_dataset(fitted(), data, tmp_path / f"z {name}", Transform())
        assert found.empty_rows == 1
        out[name] = pl.read_parquet(found.out).select("^z.*$").row(-1)
    assert out["alone"] == out["among others"] == (0.0,) * 3


def test_a_model_without_names_is_refused_at_once(tmp_path, data):
    plain = small().fit(topic_counts(60, 20, seed=1))
    with pytest.raises(DataError, match="no names, so nothing says which column is which"):
        score_dataset(plain, opened(data), tmp_path / "z", Transform())
    assert not (tmp_path / "z").exists()
