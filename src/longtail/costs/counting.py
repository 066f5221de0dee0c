"""The work of one update, part by part, counted from what the kernels do.

With b rows for a worker, z = b·non-zeros entries, D the width that the output layer sees, F the
features that take part (V, or a sample), in float32 (4 bytes):

* a product of the output layer is 2 b F D operations. An evaluation of refinement takes two
  (logits; softmax·W), weighing a draw one (logits), an update of θ three (logits, softmax·W,
  softmaxᵀ·h), and the logits again where they are too many to be kept;
* a product of sparse rows with a V×D table gathers z rows of D numbers, 4 z D bytes;
* the gradients of W and of the encoder's first layer are dense: 4 V D bytes to write, and more
  where several are added up;
* AdamW reads and writes value, gradient and two moments of every parameter: 28 bytes.

`docs/scaling/costs.md` tells this in words.
"""

from __future__ import annotations

import math

from longtail.costs.work import Work
from longtail.costs.workload import Workload

__all__ = ["after_epoch", "update_work"]

FLOAT = 4

# Logits that an update of θ keeps, rather than to compute them again; logits of one block.
KEPT, BLOCK = 2**26, 2**20

# Bytes for an entry of a batch, to select it and to hold it by row and by feature, twice (counts
# and features); for a feature of the vocabulary, the pointers to its entries.
_ENTRY, _POINTER = 208, 48
_STORED_ENTRY = 6  # bytes of an entry in a compressed Parquet file
# Bytes for a feature of the vocabulary whenever some are drawn: counters, masks and pointers.
_DRAW = 140
# The share of the entries whose features are not always drawn, and are put in exactly.
_RARE = 0.5
# Bytes for a latent dimension of a row: noise and steps of an evaluation; noise of a draw.
_STEP, _NOISE = 200, 100
# Operations that a part starts, besides those of each block: a pair of evaluations, a draw of z
# that is weighed, the update of θ, and what a sample of features adds to each of these.
_CALLS_PAIR, _CALLS_WEIGHED, _CALLS_THETA, _CALLS_SAMPLE, _CALLS_BLOCK = 165, 50, 160, 110, 7
_ADAM = 28 + 1 + FLOAT  # now and then vanished moments; and fresh pages for the gradients
_VALID_DRAWS = 2 * 5  # draws a validation row, for both bounds


def update_work(load: Workload, workers: int = 1) -> dict[str, Work]:
    """The parts of one update for each of so many workers, who share a batch."""
    b = load.batch_size / workers
    entries = b * load.non_zeros
    v, h, k, d = load.features, load.hidden, load.components, load.output_width
    layers = 2 * b * ((load.encoder_layers - 1) * h * h + 2 * h * k)
    parts = {
        "reading": Work(
            stream=_ENTRY * entries + _POINTER * v,
            disk=_STORED_ENTRY * entries if load.streamed else 0.0,
            calls=30,
        ),
        "encoder": Work(
            flops=3 * layers,  # forward, and gradients of both factors
            gather=2 * FLOAT * entries * h,
            stream=FLOAT * v * h,
            calls=80,
        ),
        "refinement": _refinement(load, b, entries, load.refine_steps),
        "weighing draws": _weighing(load, b, entries),
        "decoder": _decoder(load, b, entries),
        "optimiser": Work(stream=_ADAM * load.n_parameters, calls=30),
    }
    if workers > 1:
        parts["gradient exchange"] = Work(
            network=2 * (workers - 1) / workers * FLOAT * load.n_parameters,
            messages=2 * (workers - 1),
        )
    parts["data term"] = Work(gather=FLOAT * entries * d, calls=10)
    return parts


def _hidden_flops(load: Workload, rows: float) -> float:
    """One pass of the decoder's hidden layers."""
    if load.decoder_layers == 0:
        return 0.0
    h, k = load.hidden, load.components
    return 2 * rows * (k * h + (load.decoder_layers - 1) * h * h)


def _passes(load: Workload) -> int:
    """Sums over V that a likelihood needs: the negative binomial has two."""
    return 2 if load.likelihood == "negative_binomial" else 1


def _output(load: Workload, rows: float, features: int, products: float) -> Work:
    """Some products of the output layer, with one exponential of each logit."""
    logits = rows * features * _passes(load)
    return Work(
        flops=2 * logits * load.output_width * products,
        softmax=logits,
        calls=_CALLS_BLOCK * math.ceil(logits / BLOCK),
    )


def _sample(load: Workload, features: int, *, draws: float) -> Work:
    """Drawing features, and copying their rows of W."""
    if features >= load.features:
        return Work()
    rows = 2 * FLOAT * features * load.output_width
    return Work(stream=_DRAW * load.features, gather=rows, calls=_CALLS_SAMPLE) * draws


def _own(load: Workload, features: int, entries: float, tables: float) -> Work:
    """Logits of each row's own features, which read so many tables of rows.

    Of the rare ones, where the others are drawn; of all, where the counts are not a factor.
    """
    share = 0.0 if features >= load.features else _RARE
    if load.likelihood == "dirichlet_multinomial":
        share += 1
    return Work(gather=share * entries * FLOAT * load.output_width * tables)


def _refinement(load: Workload, b: float, entries: float, steps: float) -> Work:
    pairs = math.ceil(steps / 2)
    features = load.refine_features
    return (
        Work(
            flops=2 * _hidden_flops(load, b) * steps,
            stream=_STEP * b * load.components * steps,
            calls=_CALLS_PAIR * pairs,
        )
        + _output(load, b, features, 2) * steps
        + _sample(load, features, draws=pairs)
        + _own(load, features, entries, 3) * steps
    )


def _weighing(load: Workload, b: float, entries: float) -> Work:
    if load.draws <= 1:
        return Work()
    features, rows = load.refine_features, b * load.draws
    return (
        Work(
            flops=_hidden_flops(load, rows),
            stream=_NOISE * rows * load.components,
            calls=_CALLS_WEIGHED * load.draws,
        )
        + _output(load, rows, features, 1)
        + _sample(load, features, draws=1)
        + _own(load, features, entries, 2) * load.draws
    )


def _decoder(load: Workload, b: float, entries: float) -> Work:
    """The update of θ at one z a row."""
    features, v, d = load.theta_features, load.features, load.output_width
    plain = load.refine_steps == 0
    # Without hidden layers, and with ψ* fixed, nothing asks for softmax·W.
    products = 3 if load.decoder_layers or plain else 2
    sampled = features < v
    # Only the multinomial and the Poisson keep the logits of all features.
    keeps = load.likelihood in ("multinomial", "poisson") and not sampled
    again = 0 if keeps and b * features <= KEPT else 1
    logits = b * features
    # The gradient of W is written and then subtracted from; from a sample there are three,
    # zeroed, and added up.
    dense = 9 if sampled else 3
    return (
        Work(
            flops=3 * _hidden_flops(load, b),
            stream=FLOAT * dense * v * d + (0 if again else 2 * FLOAT * logits),
            gather=FLOAT * entries * d,
            calls=_CALLS_THETA,
        )
        + _output(load, b, features, products + again)
        + Work(softmax=again * logits)
        + _sample(load, features, draws=1)
        + _own(load, features, entries, 4)
    )


def after_epoch(load: Workload) -> dict[str, Work]:
    """What comes once an epoch: validation, and the checkpoint."""
    rows = float(load.valid_rows)
    entries = rows * load.non_zeros
    scored = _output(load, rows * _VALID_DRAWS, load.features, 1)
    validation = _refinement(load, rows, entries, load.valid_steps) + scored
    kept = 4 if load.valid_rows else 3  # parameters, two moments, those of the best epoch
    return {
        "validation": validation if load.valid_rows else Work(),
        "checkpoint": Work(disk=kept * FLOAT * load.n_parameters),
    }
