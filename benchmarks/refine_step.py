"""One step of local refinement beside its matrix products, and beside an autograd port.

A refinement step (one gradient evaluation of every row of a batch; 2×400 decoder, K = 100) over
its two output-layer products alone, and a straightforward autograd port of it (dense batch,
``log_softmax``, ``autograd.grad``) over it. Medians of runs in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array, random_array

from benchmarks import _port
from benchmarks.rows import metric_rows, quantiles, write_rows
from longtail.inference import GaussianPosterior, NoiseKey, RefineSettings, RowObjective, refine
from longtail.model import Decoder, GenerativeModel, Multinomial, StandardNormal
from longtail.ops import FeatureSampler, SparseRows

NAME = "refine_step"
K, H = 100, 400
CASES = {"V2000": (2_000, 500), "V20000": (20_000, 500), "V100000": (100_000, 200)}
STEPS = 20


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list]:
    """Seconds of each function, run in turns after one turn to warm up."""
    seconds: dict[str, list] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def prepared(n_features: int, n_rows: int) -> Mapping[str, Callable[[], object]]:
    """What is timed at one size: each function, and how many steps it makes."""
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(K, n_features, n_layers=2, n_hidden=H, generator=generator)
    for p in decoder.parameters():
        p.requires_grad_(False)
    model = GenerativeModel(StandardNormal(), decoder, Multinomial())
    rng = np.random.default_rng(0)
    csr = csr_array(
        random_array((n_rows, n_features), density=80 / n_features, format="csr", rng=rng)
    )
    csr.data = rng.integers(1, 4, csr.nnz).astype(np.float32)
    x, dense = SparseRows.from_scipy(csr), _port.dense(csr)
    start = GaussianPosterior(
        torch.randn(n_rows, K, generator=generator), torch.full((n_rows, K), -1.0)
    )
    key = NoiseKey(torch.arange(n_rows), 0)
    h = torch.randn(n_rows, H, generator=generator).relu()
    logits, out = torch.empty(n_rows, n_features), torch.empty(n_rows, H)
    frequencies = 1 / torch.arange(10.0, n_features + 10.0)
    sampler = FeatureSampler(frequencies, max(1000, n_features // 20))

    def products() -> None:
        torch.mm(h, decoder.weight.T, out=logits)
        torch.mm(logits, decoder.weight, out=out)

    def ours(sampler: FeatureSampler | None) -> None:
        objective = RowObjective.of(model, x, 1.0, sampler)
        refine(objective, start, key, RefineSettings(STEPS))

    def port() -> None:
        _port.refine(decoder, dense, start.mean, start.log_var, 2, 8e-3)

    return {
        "products": products,
        "ours": partial(ours, None),
        "sampled": partial(ours, sampler),
        "port": port,
    }


def run(case: str, repeats: int) -> None:
    """Time one size; write its ratios."""
    n_features, n_rows = CASES[case]
    seconds = interleaved(prepared(n_features, n_rows), repeats)
    per_step = {"products": 1, "ours": STEPS, "sampled": STEPS, "port": 2}
    each = {name: [s / per_step[name] for s in seconds[name]] for name in seconds}
    median = {name: statistics.median(values) for name, values in each.items()}
    ratios = {
        "refine_step_over_gemm": median["ours"] / median["products"],
        "sampled_step_over_gemm": median["sampled"] / median["products"],
        "port_over_refine_step": median["port"] / median["ours"],
    }
    print(f"{case} (B {n_rows}): " + ", ".join(f"{k} {v:.3f}" for k, v in ratios.items()))
    common = {"benchmark": NAME, "case": f"{case}-B{n_rows}", "seed": None, "split": ""}
    times = {f"step.{name}": quantiles(values) for name, values in each.items()}
    write_rows(
        NAME,
        metric_rows(ratios, unit="", **common) + metric_rows(times, unit="s", **common),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Time the sizes asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args(argv)
    for case in args.case or CASES:
        run(case, args.repeats)


if __name__ == "__main__":
    main()
