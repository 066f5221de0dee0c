"""Memory of a worker, part by part."""

from __future__ import annotations

from longtail.costs.counting import BLOCK, FLOAT, KEPT
from longtail.costs.workload import Workload

__all__ = ["worker_memory"]

_PROGRAM = 5e8  # the interpreter, PyTorch, SciPy and Polars
_HELD_ENTRY = 12  # an entry's column, its count, and what the encoder sees of it
_BATCH_ENTRY = 100  # an entry of a batch, by row and by feature, twice
_ROW_GROUP = 3  # copies of a row group while it is read
# A feature's name, as text and in a dictionary; its places in counters, masks and pointers.
_NAME, _PLACES = 150, 100


def worker_memory(load: Workload, workers: int = 1) -> dict[str, float]:
    """Bytes at the peak of training."""
    b = load.batch_size / workers
    p, v, d = load.n_parameters, load.features, load.output_width
    theta, refine = load.theta_features, load.refine_features
    logits = b * theta
    keeps = load.likelihood in ("multinomial", "poisson") and theta == v and logits <= KEPT
    sampled = 0.0
    if refine < v:
        sampled += 2.0 * refine * d
    if theta < v:
        sampled += 2.0 * theta * d + 2.0 * v * d  # two more dense gradients, while they are added
    rows = load.buffer_rows * _ROW_GROUP if load.streamed else load.rows
    held = min(rows, load.rows) * load.non_zeros * _HELD_ENTRY
    return {
        "parameters": float(FLOAT * p),
        "gradients": float(FLOAT * p),
        "moments": float(2 * FLOAT * p),
        "best epoch": float(FLOAT * p) if load.valid_rows else 0.0,
        "exchange buffers": float(FLOAT * p) if workers > 1 else 0.0,
        "logits": FLOAT * (logits if keeps else float(min(logits, BLOCK))),
        "samples of features": FLOAT * sampled,
        "a batch": b * load.non_zeros * _BATCH_ENTRY
        + FLOAT * b * (load.draws + 4) * (d + load.hidden),
        "rows": held,
        "vocabulary": float((_NAME + _PLACES) * v),
        "program": _PROGRAM,
    }
