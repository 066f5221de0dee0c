"""Scoring on a Ray cluster of two machines, which are processes of this one, with a CPU each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import polars as pl
import pytest

from longtail.errors import DataError, ParameterError, ScoringError
from longtail.scoring import Evaluate, RayEngine, Transform, score_dataset
from longtail.scoring.job import JobFile
from tests.scoring.datasets import corrupt, fitted, opened, parts, write
from tests.scoring.faulty import FaultyDataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    machines = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    machines.add_node(num_cpus=1)
    ray.init(machines.address, log_to_driver=False, logging_level=logging.ERROR)
    yield machines
    ray.shutdown()
    machines.shutdown()


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data", files=((12, 13), (8, 10, 20)))


def test_a_worker_that_is_killed_one_that_hangs_and_data_out_of_reach(
    cluster, tmp_path, data, capsys
):
    whole = score_dataset(fitted(), opened(data), tmp_path / "whole", Transform(scale=True))
    faults = {1: ("killed", 1), 2: ("unreachable", 2), 3: ("stopped", 1)}
    dataset = FaultyDataset.of(opened(data), tmp_path / "log", faults)
    seen = []
    found = score_dataset(
        fitted(),
        dataset,
        tmp_path / "z",
        Transform(scale=True),
        engine=RayEngine(block_timeout=6),
        progress=lambda *told: seen.append(told),
    )
    # Bitwise, as each worker has one thread and so has this process.
    assert parts(found.out) == parts(whole.out)
    assert found.rows == 63
    assert seen[-1] == (63, 63)
    begun = [dataset.begun(number) for number in range(5)]
    assert [len(processes) for processes in begun] == [1, 2, 3, 2, 1]
    assert len(set(begun[1])) == len(set(begun[3])) == 2
    everyone = {process for processes in begun for process in processes}
    assert len(everyone) >= 3
    assert os.getpid() not in everyone
    assert capsys.readouterr().out == ""  # is for results


def test_an_evaluation_is_that_of_one_process(cluster, tmp_path, data):
    task = Evaluate(seed=1)
    whole = score_dataset(fitted(), opened(data), tmp_path / "whole", task)
    found = score_dataset(fitted(), opened(data), tmp_path / "out", task, engine=RayEngine())
    assert parts(found.out) == parts(whole.out)
    assert found.evaluation.to_dict() == whole.evaluation.to_dict()


def test_a_worker_that_always_hangs_ends_the_run_and_the_rest_goes_on(cluster, tmp_path, data):
    corrupt(data, 4)
    dataset = FaultyDataset.of(opened(data), tmp_path / "log", {2: ("hangs", 2)})
    out = tmp_path / "z"
    engine = RayEngine(block_timeout=1, attempts=2)
    with pytest.raises(ScoringError, match=r"Block 2 \(row group 0 of .*it took too long"):
        score_dataset(fitted(), dataset, out, Transform(), engine=engine, skip_corrupt=True)
    assert len(dataset.begun(2)) == 2
    assert "part-000002.parquet" not in parts(out)
    engine = RayEngine(workers=1)
    found = score_dataset(fitted(), dataset, out, Transform(), engine=engine, skip_corrupt=True)
    assert [skipped.block.number for skipped in found.skipped] == [4]
    assert found.resumed_blocks > 0
    assert pl.read_parquet(out)["row_id"].to_list() == [f"r{i}" for i in range(43)]


def test_machines_without_the_output_folder_or_the_data(cluster, tmp_path, data, monkeypatch):
    # To be seen from a worker, the file that says what the output is must be there.
    monkeypatch.setattr(JobFile, "save", lambda self, out: None)
    with pytest.raises(ScoringError, match="does not see the output folder"):
        score_dataset(fitted(), opened(data), tmp_path / "z", Transform(), engine=RayEngine())
    monkeypatch.undo()
    dataset = opened(data)
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"Worker \d+ on .*: Cannot read row group"):
        score_dataset(fitted(), dataset, tmp_path / "y", Transform(), engine=RayEngine(workers=1))


def test_a_cluster_that_is_too_small(cluster, tmp_path, data):
    with pytest.raises(ParameterError, match=r"3 worker.* has room for 2"):
        score_dataset(
            fitted(), opened(data), tmp_path / "z", Transform(), engine=RayEngine(workers=3)
        )


def test_an_address_where_nothing_listens(tmp_path, data, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(ParameterError, match=r"There is no Ray cluster at '.*127.0.0.1:1'"):
            score_dataset(
                fitted(), opened(data), tmp_path / "z", Transform(), engine=RayEngine(address)
            )


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"cpus": 0}, {"attempts": 0}, {"block_timeout": 0}]
)
def test_options_are_checked(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        RayEngine(**options)


def test_a_cluster_of_its_own(tmp_path, data):
    fitted().save(tmp_path / "model")
    command = [sys.executable, "-m", "longtail", "transform", tmp_path / "model", data]
    command += ["--out", tmp_path / "z", "--engine", "ray", "--workers", "1", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows"], report["blocks"]) == (63, 5)
    assert pl.read_parquet(tmp_path / "z").height == 63
