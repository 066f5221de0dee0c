import csv

import numpy as np
import pytest

from benchmarks import rows
from benchmarks.rows import Row, flatten, metric_rows, quantiles, read_rows, write_rows

SHARED = {
    "threads": 2,
    "machine": "a machine",
    "versions": "longtail 0.1.0",
    "command": "python -m benchmarks speed",
}


def row(case="toy/K2", metric="elbo.per_doc", value=-1.5, seed=0, **changes):
    fields = {"benchmark": "speed", "unit": "nats", "split": "test", **SHARED, **changes}
    return Row(case=case, metric=metric, value=value, seed=seed, **fields)


def test_columns_are_those_that_tables_are_made_from():
    expected = (
        "benchmark, case, metric, value, unit, seed, split, peer, threads, machine, versions, "
        "command"
    )
    assert ", ".join(rows.COLUMNS) == expected


def test_write_then_read(tmp_path):
    path = write_rows("speed", [row(value=1 / 3, seed=None, case='with, "quotes"')], tmp_path)
    (cells,) = read_rows("speed", tmp_path)
    assert path == tmp_path / "speed.csv"
    assert cells["case"] == 'with, "quotes"'
    assert cells["seed"] == ""
    assert cells["peer"] == ""
    assert float(cells["value"]) == pytest.approx(1 / 3, rel=1e-9)


def test_rerun_replaces_rows_in_place_and_appends_new_ones(tmp_path):
    write_rows("speed", [row("a", value=1), row("b", value=2)], tmp_path)
    write_rows("speed", [row("c", value=4), row("a", value=3, machine="another")], tmp_path)
    cells = read_rows("speed", tmp_path)
    assert [(c["case"], c["value"], c["machine"]) for c in cells] == [
        ("a", "3", "another"),
        ("b", "2", "a machine"),
        ("c", "4", "a machine"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"benchmark": "other"},
        {"case": "other"},
        {"metric": "other"},
        {"seed": 1},
        {"seed": None},
        {"split": "train"},
        {"peer": "other"},
        {"threads": 1},
    ],
)
def test_each_key_column_tells_rows_apart(tmp_path, change):
    write_rows("speed", [row()], tmp_path)
    write_rows("speed", [row(**change)], tmp_path)
    assert len(read_rows("speed", tmp_path)) == 2


def test_two_rows_with_one_key_are_an_error_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="same key"):
        write_rows("speed", [row(value=1), row(value=2)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_crash_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_rows("speed", [row(value=1)], tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(rows.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_rows("speed", [row(value=2)], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["speed.csv"]
    assert read_rows("speed", tmp_path)[0]["value"] == "1"


def test_a_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "speed.csv").write_text("case,value\na,1\n")
    with pytest.raises(ValueError, match=r"expected the columns benchmark.*got case, value"):
        write_rows("speed", [row()], tmp_path)


def test_results_in_the_repository_can_be_read():
    for path in rows.RESULTS.glob("*.csv"):
        cells = read_rows(path.stem)
        keys = [tuple(c[column] for column in rows.KEY) for c in cells]
        assert len(set(keys)) == len(keys), path
        for number, c in enumerate(cells, start=2):
            assert None not in c.values(), f"{path}:{number}"
            float(c["value"])


def test_flatten_joins_nested_names():
    metrics = {"elbo": {"per_doc": -3.0, "kl": {"dims": np.int64(2)}}, "seconds": np.float32(0.5)}
    assert flatten(metrics) == {"elbo.per_doc": -3.0, "elbo.kl.dims": 2.0, "seconds": 0.5}


@pytest.mark.parametrize("value", ["text", None, [1.0], True])
def test_flatten_names_what_is_no_number(value):
    with pytest.raises(TypeError, match=r"'elbo\.note': expected a number"):
        flatten({"elbo": {"note": value}})


def test_metric_rows_of_repeated_timings():
    made = metric_rows(
        {"fit": quantiles([3.0, 1.0, 2.0, 10.0])},
        benchmark="speed",
        case="toy/K2",
        unit="s",
        seed=0,
        split="train",
        peer="other",
        packages=["pytest"],
    )
    assert [(r.metric, r.value) for r in made] == [
        ("fit.min", 1.0),
        ("fit.median", 2.5),
        ("fit.max", 10.0),
    ]
    assert {(r.unit, r.peer) for r in made} == {("s", "other")}
    assert all(f"pytest {pytest.__version__}" in r.versions for r in made)


def test_a_row_knows_what_ran_it():
    made = Row(
        benchmark="speed", case="toy", metric="fit", value=1.0, unit="s", seed=0, split="train"
    )
    assert "cores" in made.machine
    assert made.threads >= 1
    for name in ("python", "longtail", "torch", "numpy", "scipy"):
        assert f"{name} " in made.versions


def test_command_has_no_path_of_the_machine(monkeypatch):
    script = str(rows.ROOT / "benchmarks" / "speed.py")
    monkeypatch.setattr(rows.sys, "orig_argv", ["/usr/bin/python3", script, "--case", "a b"])
    assert rows.command() == "python benchmarks/speed.py --case 'a b'"


def test_data_file_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("LONGTAIL_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="LONGTAIL_DATA is not set"):
        rows.data_file("corpus/train.csv")
    monkeypatch.setenv("LONGTAIL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="not a folder"):
        rows.data_file("corpus/train.csv")
    monkeypatch.setenv("LONGTAIL_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"corpus/train\.csv is missing"):
        rows.data_file("corpus/train.csv")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.csv").touch()
    assert rows.data_file("corpus/train.csv") == tmp_path / "corpus" / "train.csv"


def test_files_are_plain_csv(tmp_path):
    path = write_rows("speed", [row()], tmp_path)
    assert b"\r" not in path.read_bytes()
    with path.open(newline="") as file:
        header, cells = csv.reader(file)
    assert tuple(header) == rows.COLUMNS
    assert cells[:4] == ["speed", "toy/K2", "elbo.per_doc", "-1.5"]
