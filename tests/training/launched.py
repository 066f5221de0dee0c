"""What a launcher starts in the tests: ``python -m tests.training.launched WHAT FOLDER …``.

Several processes run the same scenarios one after another and leave what came of them in files
``<name>-<rank>``, which the tests compare with what one process makes.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from longtail.errors import LongtailError
from longtail.evaluation.evaluate import make_batches
from longtail.inference import RefineSettings, Rows
from longtail.training import Callback, StopTraining, checkpoint, join_processes
from longtail.training.checkpoint import CheckpointStore
from longtail.training.run import Step
from tests.builders import prepared, small_network, topic_counts
from tests.training.runs import StopAtUpdate, run, timeless

VARIANTS = {
    "plain": {"refine_schedule": ((0, 0),)},
    "hybrid": {"importance_samples": "auto"},
    "adam": {"refine_method": "adam"},
    "sampled": {"network": {"refine_features": 10, "theta_features": 12}},
    "dropout": {"feature_dropout": 0.4},
    "skip": {"network": {"skip": True, "decoder_layers": 2}},
    "negative binomial": {"network": {"likelihood": "negative_binomial"}},
    "bernoulli": {"network": {"likelihood": "bernoulli"}, "binary": True},
    "uneven": {"batch_size": 13},
    "no validation": {"n_valid": 0},
    "one validation row": {"n_valid": 1},
    # Stops early, and keeps the weights of an epoch before the last.
    "early stopping": {
        "epochs": 40,
        "learning_rate": 0.1,
        "lr_schedule": "constant",
        "kl_anneal": 0.0,
        "patience": 3,
    },
}


def gradients(processes, *, network=None, binary=False, refine_schedule=((0, 3),), **changes):
    """Those of one update on a batch of 13 rows."""
    dense = topic_counts(13, 20, seed=1)
    train, transform, unigram = prepared(np.minimum(dense, 1) if binary else dense)
    model = small_network(unigram, scale=0.1, **(network or {}))
    step = processes.together(Step(model))
    batches = make_batches(train, transform, 13)
    (batch,) = batches.epoch(0, 0, part=processes.part)
    rows = Rows.from_batch(batch)
    terms = step(
        rows,
        RefineSettings(refine_schedule[0][1], changes.get("refine_method", "natural")),
        kl_weight=0.7,
        key=rows.noise_key(5),
        samples=8 if changes.get("importance_samples") == "auto" else 1,
        divisor=batch.global_size / processes.world,
    )
    terms.loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def write(folder, name, processes, tensors, facts):
    path = Path(folder, f"{name}-{processes.rank}")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, f"{path}.safetensors")
    Path(f"{path}.json").write_text(json.dumps(facts))


def facts(result):
    history = [vars(r) for r in timeless(result.history)]
    return {"history": history, "best_epoch": result.best_epoch, "stopped": result.stopped}


def scenarios(folder):
    processes = join_processes("cpu", timeout=60)
    for name, variant in VARIANTS.items():
        write(folder, f"gradients of {name}", processes, gradients(processes, **variant), {})
        network, result = run(processes=processes, **variant)
        write(folder, name, processes, network.state_dict(), facts(result))
    resumed(folder, processes)
    for error in (broken_rows, full_disk, callback_at_fault, terminated, other_data, in_use):
        told(folder, processes, error)


def resumed(folder, processes):
    """Go on from where one process stopped, and stop for one to go on."""
    store = CheckpointStore(Path(folder, "from one"), "f")
    network, result = run(processes=processes, checkpoints=store, resume=True)
    write(folder, "from one", processes, network.state_dict(), facts(result))
    store = CheckpointStore(Path(folder, "from two"), "f")
    stop = StopAtUpdate(5, StopTraining)
    _, result = run(processes=processes, checkpoints=store, checkpoint_every=0, callbacks=[stop])
    write(folder, "from two", processes, {}, facts(result))


def told(folder, processes, scenario):
    """What each process is told when one of them fails."""
    path = Path(folder, f"{scenario.__name__}-{processes.rank}.json")
    try:
        scenario(folder, processes)
    except (LongtailError, ZeroDivisionError, KeyboardInterrupt) as error:
        path.write_text(json.dumps([type(error).__name__, str(error)]))
    processes.broadcast(None)  # nobody goes on before all are here


class Doing:
    """Batches, before one of which something is done to it."""

    def __init__(self, batches, number, action):
        self.batches, self.number, self.action = batches, number, action
        self.n_rows, self.row_id = batches.n_rows, batches.row_id

    def __len__(self):
        return len(self.batches)

    def epoch(self, seed, epoch, *, start=0, part=None):
        for number, batch in enumerate(self.batches.epoch(seed, epoch, start=start, part=part)):
            yield self.action(batch) if number == self.number else batch


def broken_rows(folder, processes):
    def infinite(batch):
        features = batch.features.copy()
        features.data[:] = np.inf
        return replace(batch, features=features)

    own = (lambda b: Doing(b, 1, infinite)) if processes.rank == 1 else (lambda b: b)
    run(processes=processes, source=own)


def full_disk(folder, processes):
    def save(tensors, path):
        raise OSError("No space left on device")

    before, checkpoint.save_file = checkpoint.save_file, save
    try:
        run(processes=processes, checkpoints=CheckpointStore(Path(folder, "full"), "f"))
    finally:
        checkpoint.save_file = before


def callback_at_fault(folder, processes):
    class Fault(Callback):
        def on_epoch_end(self, record):
            raise ZeroDivisionError("by a callback")

    run(processes=processes, callbacks=[Fault()])


def terminated(folder, processes):
    def send(batch):
        os.kill(os.getpid(), signal.SIGINT)
        return batch

    own = (lambda b: Doing(b, 1, send)) if processes.rank == 1 else (lambda b: b)
    run(processes=processes, source=own, checkpoints=CheckpointStore(Path(folder, "signal"), "f"))


def other_data(folder, processes):
    store = CheckpointStore(Path(folder, "other"), f"of process {processes.rank}")
    run(processes=processes, checkpoints=store)


def in_use(folder, processes):
    """Another fit uses the folder, which the first process alone looks at."""
    path = Path(folder, "in use")
    path.mkdir(exist_ok=True)
    with (path / ".lock").open("ab") as held:
        if processes.is_first:
            fcntl.flock(held, fcntl.LOCK_EX)
        run(processes=processes, checkpoints=CheckpointStore(path, "f"))


def hang(folder):
    """The second process is slow before training, and stops answering in the middle of it."""
    # Imports may take one of them longer than the other's patience of 3 seconds.
    import lightning_fabric.strategies.ddp

    assert lightning_fabric
    Path(folder, f"ready-{os.environ['SLURM_PROCID']}").touch()
    while len(list(Path(folder).glob("ready-*"))) < 2:
        time.sleep(0.01)
    processes = join_processes("cpu", timeout=3)
    if processes.rank == 1:
        time.sleep(4)

    def sleep(batch):
        Path(folder, "asleep").touch()
        time.sleep(600)

    own = (lambda b: Doing(b, 1, sleep)) if processes.rank == 1 else (lambda b: b)
    try:
        run(processes=processes, source=own)
    except LongtailError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def program(folder):
    """The command line; its process number is left in a file."""
    from longtail.cli import main

    Path(folder, f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    sys.argv = ["longtail", *sys.argv[3:]]
    main()


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"scenarios": scenarios, "hang": hang, "program": program}[sys.argv[1]](sys.argv[2])
