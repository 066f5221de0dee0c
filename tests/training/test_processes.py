"""Two processes against one. What the launched ones do is in `tests.training.launched`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from longtail.data import Part
from longtail.errors import MissingExtraError, ParameterError, ProcessError
from longtail.training import OneProcess, StopTraining, fabric, join_processes, on_first
from longtail.training.checkpoint import CheckpointStore
from tests.builders import topic_counts
from tests.training.launched import VARIANTS, facts, gradients
from tests.training.runs import StopAtUpdate, run

ROOT = Path(__file__).parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(*words, **environment):
    words = [sys.executable, *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=ROOT, text=True, env=environment, **pipes)


# --- two processes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder in which two processes under torchrun have left their results."""
    folder = tmp_path_factory.mktemp("pair")
    store = CheckpointStore(folder / "from one", "f")
    run(checkpoints=store, callbacks=[StopAtUpdate(5, StopTraining)])
    process = start(*TORCHRUN, "-m", "tests.training.launched", "scenarios", folder)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert stdout == ""
    assert "Warning" not in stderr
    return folder


def result(folder, name, rank=0):
    path = folder / f"{name}-{rank}"
    return load_file(f"{path}.safetensors"), json.loads(Path(f"{path}.json").read_text())


def assert_near(found, expected):
    assert found[0].keys() == expected[0].keys()
    for key, value in expected[0].items():
        torch.testing.assert_close(found[0][key], value, rtol=1e-4, atol=1e-4, msg=key)
    (history, *rest), (expected_history, *expected_rest) = (
        x[1].values() for x in (found, expected)
    )
    assert rest == expected_rest
    assert len(history) == len(expected_history)
    for record, wanted in zip(history, expected_history, strict=True):
        assert {k for k, v in record.items() if v is None} == {
            k for k, v in wanted.items() if v is None
        }
        numbers = {k: v for k, v in wanted.items() if v is not None}
        assert {k: record[k] for k in numbers} == pytest.approx(numbers, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_are_those_of_one_process(pair, name):
    found, _ = result(pair, f"gradients of {name}")
    expected = gradients(OneProcess(), **VARIANTS[name])
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_make_the_model_of_one(pair, name):
    network, done = run(**VARIANTS[name])
    assert_near(result(pair, name), (network.state_dict(), facts(done)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*VARIANTS, "from one"])
def test_both_end_with_bitwise_the_same(pair, name):
    (first, told), (second, told_too) = (result(pair, name, rank) for rank in (0, 1))
    assert told == told_too
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_two_go_on_from_one_and_one_from_two(pair):
    network, done = run()
    expected = network.state_dict(), facts(done)
    assert_near(result(pair, "from one"), expected)
    store = CheckpointStore(pair / "from two", "f")
    assert (store.latest().state["epoch"], store.latest().state["batches"]) == (1, 2)
    network, done = run(checkpoints=store, resume=True, network_seed=99)
    assert_near((network.state_dict(), facts(done)), expected)


FAILURES = {
    "broken_rows": (["NonFiniteError"] * 2, "in epoch 1, batch 2, update 2: in log σ² of ψ"),
    "full_disk": (["CheckpointWriteError"] * 2, "No space left on device"),
    "callback_at_fault": (["ZeroDivisionError", "ProcessError"], "by a callback"),
    "in_use": (["CheckpointError"] * 2, "Another fit is running with the checkpoints in"),
    "other_data": (["ProcessError"] * 2, "Process 1 has other data or settings than process 0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_of_one_is_told_to_both(pair, name):
    kinds, message = FAILURES[name]
    told = [json.loads((pair / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
    assert [kind for kind, _ in told] == kinds
    assert all(message in text for _, text in told)


@pytest.mark.slow
def test_a_signal_to_one_ends_both_after_a_checkpoint(pair):
    told = [json.loads((pair / f"terminated-{rank}.json").read_text()) for rank in (0, 1)]
    assert told == [
        ["ProcessError", "Another of the processes was interrupted."],
        ["KeyboardInterrupt", ""],
    ]
    assert CheckpointStore(pair / "signal", "f").latest().state["batches"] == 2


# --- processes that are lost ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_that_hangs_is_given_up(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    both = [
        start(
            *("-m", "tests.training.launched", "hang", tmp_path),
            # As srun would start them.
            SLURM_JOB_ID="7",
            SLURM_JOB_NAME="fit",
            SLURM_LOCALID=str(rank),
            SLURM_NNODES="1",
            SLURM_NODEID="0",
            SLURM_NODELIST="127.0.0.1",
            SLURM_NTASKS="2",
            SLURM_NTASKS_PER_NODE="2",
            SLURM_PROCID=str(rank),
            SLURM_STEP_NUM_TASKS="2",
            MASTER_PORT=port,
        )
        for rank in (0, 1)
    ]
    try:
        _, stderr = both[0].communicate(timeout=120)
        assert both[1].poll() is None
    finally:
        both[1].kill()
        both[1].communicate()
    assert both[0].returncode == 1
    assert (tmp_path / "asleep").exists()
    assert "ProcessError: Process 0 of 2 has lost another one" in stderr
    assert "has not answered for 3 seconds" in stderr


@pytest.mark.slow
def test_one_of_two_is_killed_and_the_fit_goes_on(tmp_path):
    rows = topic_counts(200, 20, seed=3)
    words = [" ".join(f"w{i}" for i in row.nonzero()[0] for _ in range(row[i])) for row in rows]
    pl.DataFrame({"text": words}).write_parquet(tmp_path / "data.parquet", row_group_size=30)
    out = tmp_path / "model"
    fit = ["fit", tmp_path / "data.parquet", "--text-column", "text", "--stream"]
    fit += ["--n-components", "3", "--n-hidden", "8", "--epochs", "40", "--batch-size", "20"]
    fit += ["--patience", "0", "--json"]

    def launch(*options):
        program = ["-m", "tests.training.launched", "program", tmp_path]
        return start(*TORCHRUN, *program, *fit, "--out", out, *options)

    first = launch()
    wait_for(lambda: list(tmp_path.glob("model.checkpoint/epoch-*")), first)
    os.kill(int((tmp_path / "pid-1").read_text()), signal.SIGKILL)
    stdout, stderr = first.communicate(timeout=60)
    assert first.returncode == 1
    assert stdout == ""
    assert "failed: Process 0 of 2 has lost another one, which has ended" in stderr
    assert not out.exists()

    alone = start("-m", "longtail", *fit, "--out", tmp_path / "alone")
    second = launch("--resume")
    stdout, stderr = second.communicate(timeout=120)
    assert second.returncode == 0, stderr
    assert json.loads(stdout)["epochs"] == 40
    assert stderr.count("resuming after epoch") == 1
    assert not (tmp_path / "model.checkpoint").exists()
    weights = load_file(out / "weights.safetensors")
    _, stderr = alone.communicate(timeout=120)
    assert alone.returncode == 0, stderr
    for key, value in load_file(tmp_path / "alone" / "weights.safetensors").items():
        torch.testing.assert_close(weights[key], value, rtol=1e-2, atol=1e-3, msg=key)


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- one process ---------------------------------------------------------------------------------


def test_one_process_has_nobody_to_tell():
    alone = OneProcess()
    assert (alone.rank, alone.world, alone.is_first, alone.part) == (0, 1, True, Part(0, 1))
    alone.barrier()
    assert alone.any([True, False]) == [True, False]
    assert alone.gather("a") == ["a"]
    assert alone.broadcast("a") == "a"
    module = torch.nn.Linear(1, 1)
    assert alone.together(module) is module
    assert on_first(alone, lambda: 3) == 3


def test_alone_without_a_launcher_and_without_lightning():
    code = (
        "import os, sys; sys.modules['lightning_fabric'] = None; import longtail as lt;"
        "print(type(lt.join_processes()).__name__);"
        "os.environ |= {'TORCHELASTIC_RUN_ID': 'x', 'WORLD_SIZE': '1'};"
        "print(type(lt.join_processes()).__name__)"
    )
    assert start("-c", code).communicate()[0] == "OneProcess\n" * 2


def test_a_launcher_without_lightning(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MissingExtraError, match=r"torchrun has started 2.*'longtail\[distributed"):
        join_processes()


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(ParameterError, match="timeout must be a number of seconds above 0"):
        join_processes(timeout=timeout)


SRUN = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "0"}
LAUNCHED = {
    "nothing": ({}, None),
    "torchrun": (
        {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
        ("torchrun", 4, 2),
    ),
    "torchrun with one process": ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1"}, None),
    # A batch script without srun has most of the variables of a task.
    "sbatch": (SRUN, None),
    "srun": (
        SRUN | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS_PER_NODE": "4"},
        ("srun", 8, 4),
    ),
    "torchrun in srun": (
        SRUN | {"SLURM_STEP_NUM_TASKS": "2", "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"},
        ("torchrun", 2, 1),
    ),
}


@pytest.mark.parametrize("name", LAUNCHED)
def test_what_a_launcher_says(name):
    environment, expected = LAUNCHED[name]
    found = fabric._launched(environment)
    assert (None if found is None else tuple(vars(found).values())) == expected


def test_tasks_that_are_not_spread_evenly():
    with pytest.raises(ProcessError, match=r"8 tasks on 2 machine\(s\).*--ntasks-per-node"):
        fabric._launched(SRUN | {"SLURM_STEP_NUM_TASKS": "8"})
