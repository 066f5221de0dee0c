"""Cost of refinement and of training against the number of features V.

A planted corpus: rows are drawn from a decoder (2×200, K = 50) whose frequencies follow Zipf's
law and whose output weights are random, about 130 non-zeros a row. Refinement under that same
decoder starts at N(0, exp(−1)) and is run on all features and on samples of them; every bound is
then computed over all features. Peak memory of training is that of one hybrid update of a network
of that size, without its parameters, gradients and optimiser state, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from benchmarks.memory import peak_gb
from benchmarks.rows import ROOT, metric_rows, write_rows
from longtail.estimator.network import build_network
from longtail.inference import (
    GaussianPosterior,
    NoiseKey,
    RefineSettings,
    RowObjective,
    Rows,
    Stream,
    elbo,
    normal_noise,
    refine,
)
from longtail.model import Decoder, GenerativeModel, Multinomial, StandardNormal
from longtail.ops import FeatureSampler, SparseRows
from longtail.training.optimizer import optimizer_of
from longtail.training.step import step_terms

NAME = "large_vocabulary"
B, H, K, TOKENS, STEPS = 200, 200, 50, 150, 20
SIZES = (2_000, 5_000, 10_000, 20_000, 50_000, 200_000, 1_000_000)
SHARE, LEAST = 20, 1_000


@torch.no_grad()
def planted(n_features: int, seed: int = 0) -> tuple[GenerativeModel, csr_array, Tensor]:
    """A decoder, B rows drawn from it, and the features' frequencies."""
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(K, n_features, n_layers=2, n_hidden=H, generator=generator)
    h = decoder.hidden(torch.randn(2000, K, generator=generator))
    # Logits of a feature vary by about 1.5 nats from row to row, as in models of text.
    decoder.weight.normal_(0, 1.5 / float(h.square().sum(1).mean().sqrt()), generator=generator)
    decoder.bias.copy_(-(torch.arange(n_features) + 10.0).log())
    blocks, frequencies = [], torch.zeros(n_features, dtype=torch.float64)
    for _ in range(0, B, 50):
        p = torch.softmax(decoder(torch.randn(50, K, generator=generator)), dim=1).double()
        tokens = torch.multinomial(p, TOKENS, replacement=True, generator=generator).numpy()
        rows = np.repeat(np.arange(50), TOKENS)
        ones = np.ones(len(rows), dtype=np.float32)
        blocks.append(csr_array((ones, (rows, tokens.ravel())), shape=(50, n_features)))
        frequencies += p.sum(0)
    for p in decoder.parameters():
        p.requires_grad_(False)
    counts = csr_array(_stack(blocks))
    return GenerativeModel(StandardNormal(), decoder, Multinomial()), counts, frequencies


def _stack(blocks: Sequence[csr_array]) -> csr_array:
    from scipy.sparse import vstack

    counts = vstack(blocks, format="csr")
    counts.sum_duplicates()
    return counts


def run_size(n_features: int, repeats: int) -> dict[str, float]:
    """Time exact and sampled refinement; compare their bounds over all features."""
    model, counts, frequencies = planted(n_features)
    x = SparseRows.from_scipy(counts)
    start = GaussianPosterior(torch.zeros(B, K), torch.full((B, K), -1.0))
    key = NoiseKey(torch.arange(B), 0)

    def refined(sampler: FeatureSampler | None) -> GaussianPosterior:
        return refine(RowObjective.of(model, x, 1.0, sampler), start, key, RefineSettings(STEPS))

    @torch.no_grad()
    def bound(psi: GaussianPosterior) -> float:
        draws = [
            elbo(model, psi, x, normal_noise(key, K, Stream.BOUND, s)).bound() for s in range(5)
        ]
        return float(torch.stack(draws).mean())

    n_drawn = max(LEAST, n_features // SHARE)
    samplers = {"exact": None, "sampled": FeatureSampler(frequencies, n_drawn)}
    metrics = {"non_zeros_per_row": counts.nnz / B, "bound.start": bound(start)}
    for name, sampler in samplers.items():
        psi = refined(sampler)
        metrics[f"bound.{name}"] = bound(psi)
        metrics[f"step_seconds.{name}"] = _median(lambda s=sampler: refined(s), repeats) / STEPS
    metrics["bound.loss"] = 1 - metrics["bound.exact"] / metrics["bound.sampled"]
    return metrics


def _median(function: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


# --- memory of training ------------------------------------------------------------------------


def train_memory(n_features: int) -> dict[str, float]:
    """Peak of one hybrid update beyond parameters, gradients and optimiser state, GB."""
    rng = np.random.default_rng(0)
    indices = np.concatenate(
        [np.unique(((n_features + 1.0) ** rng.random(120)).astype(int) - 1) for _ in range(B)]
    )
    rows = np.repeat(
        np.arange(B), np.diff(np.r_[np.flatnonzero(np.r_[0, np.diff(indices)] <= 0), len(indices)])
    )
    csr = csr_array((np.ones(len(rows), np.float32), (rows, indices)), shape=(B, n_features))
    unigram = 1 / np.arange(10.0, n_features + 10.0)
    settings = {
        "n_components": 100,
        "n_hidden": H,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "skip": False,
        "likelihood": "multinomial",
        "exposure": "auto",
        "refine_features": "auto",
        "theta_features": "all",
    }
    network = build_network(
        settings, unigram / unigram.sum(), input_scale=1.0, mean_total=1.0, seed=0
    )
    optimizer = optimizer_of(network, 1e-3, weight_decay=1.0, output_epsilon=1e-8)
    x = SparseRows.from_scipy(csr)
    batch = Rows(x, x, torch.arange(B))
    seconds = []
    for update in range(3):
        started = time.perf_counter()
        key = batch.noise_key(0).folded(update)
        terms = step_terms(network, batch, RefineSettings(4), kl_weight=1.0, key=key)
        optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    # Value, gradient and two moments of each.
    held = sum(p.numel() for p in network.parameters()) * 4 * 4 / 1e9
    return {
        "train_peak_gb.peak": peak_gb(),
        "train_peak_gb.beyond": peak_gb() - held,  # the interpreter and torch included
        "train_peak_gb.held": held,
        "train_step_seconds": min(seconds),
    }


def _train_memory_apart(n_features: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks", NAME, "--only-memory-of", str(n_features)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Run all sizes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks large_vocabulary", description=__doc__
    )
    parser.add_argument("--size", type=int, action="append", help="V; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-memory-of", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.only_memory_of:
        print(json.dumps(train_memory(args.only_memory_of)))
        return
    step: dict[int, dict[str, float]] = {}
    for n_features in args.size or SIZES:
        metrics = run_size(n_features, args.repeats)
        if n_features == max(SIZES):
            metrics |= _train_memory_apart(n_features)
        step[n_features] = metrics
        print(n_features, {k: round(v, 5) for k, v in metrics.items()}, flush=True)
        common = {"benchmark": NAME, "case": f"planted-V{n_features}", "seed": 0, "split": ""}
        write_rows(NAME, metric_rows(metrics, unit="", **common))
    if {1_000_000, 50_000} <= step.keys():
        ratio = step[1_000_000]["step_seconds.sampled"] / step[50_000]["step_seconds.exact"]
        print(f"step at V = 1,000,000 over an exact step at V = 50,000: {ratio:.3f}")
        common = {"benchmark": NAME, "case": "planted", "seed": 0, "split": ""}
        write_rows(NAME, metric_rows({"step_1M_over_exact_50k": ratio}, unit="", **common))


if __name__ == "__main__":
    main()
