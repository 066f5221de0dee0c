"""The explorer under load: how long answers take, with one client and with eight.

A server on this machine, and clients in another process that each wait for an answer before they
ask again. The model has V = 20,000 features and K = 100, and is fitted for an epoch to synthetic
counts of a Zipf distribution: what it says means nothing, and what it costs is what any model of
that size costs. Each kind of request is measured by itself, for a bounded time:

- neighbors: of a feature, overall;
- spectrum;
- posterior: of a row of 60 tokens, refined, with all that is told of it;
- context: neighbours of a feature in a context of two, whose posterior is refined.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import torch

import longtail as lt
from benchmarks.rows import metric_rows, write_rows

NAME = "explorer_load"
FEATURES, COMPONENTS, ROWS, TOKENS = 20_000, 100, 4_000, 60
CLIENTS = (1, 8)
PROGRAM = (sys.executable, "-m", "longtail", "explore")
Request = tuple[str, str, dict[str, Any] | None]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, serve, ask, write the rows."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the server")
    parser.add_argument("--requests", type=int, default=200, help="at most, of each kind")
    parser.add_argument("--seconds", type=float, default=30, help="at most, for each kind")
    parser.add_argument("--dry-run", action="store_true", help="print only; write no rows")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)  # the rows tell it
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        _fit().save(model)
        server, url = _serve(model, args.threads)
        try:
            found = {
                clients: {
                    kind: _measure(url, ask, clients, args.requests, args.seconds)
                    for kind, ask in _kinds().items()
                }
                for clients in CLIENTS
            }
        finally:
            server.terminate()
            server.wait(30)
    rows = []
    for clients, kinds in found.items():
        print(f"{clients} clients, seconds: {json.dumps(kinds)}")
        rows += metric_rows(
            kinds,
            benchmark=NAME,
            case=f"zipf/V{FEATURES}-K{COMPONENTS}-c{clients}",
            unit="s",
            seed=0,
            split="",
            packages=("fastapi", "uvicorn"),
        )
    if not args.dry_run:
        write_rows(NAME, rows)


def _fit() -> lt.NonlinearFactorAnalysis:
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, FEATURES + 1)
    drawn = rng.choice(FEATURES, (ROWS, TOKENS), p=frequency / frequency.sum())
    table = lt.CountMatrix.from_any(_counts(drawn), vocabulary=[f"w{v}" for v in range(FEATURES)])
    return lt.NonlinearFactorAnalysis(
        COMPONENTS, n_hidden=400, epochs=1, random_state=0, refine_steps=0
    ).fit(table)


def _counts(drawn: np.ndarray) -> Any:
    from scipy.sparse import coo_array

    rows = np.repeat(np.arange(len(drawn)), drawn.shape[1])
    ones = np.ones(drawn.size, np.float32)
    return coo_array((ones, (rows, drawn.ravel())), shape=(len(drawn), FEATURES)).tocsr()


def _serve(model: Path, threads: int) -> tuple[subprocess.Popen[str], str]:
    """The program, ready to answer, and its address."""
    server = subprocess.Popen(
        [*PROGRAM, str(model), "--port", "0", "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise RuntimeError("the explorer did not start; its messages are above.")
    return server, json.loads(line)["url"]


def _kinds() -> dict[str, Callable[[np.random.Generator], Request]]:
    """What is asked; each request of other features."""

    def word(rng: np.random.Generator) -> str:
        return f"w{int(FEATURES ** rng.uniform()) - 1}"  # about as frequent as in a text

    def posterior(rng: np.random.Generator) -> Request:
        counts: dict[str, int] = {}
        for name in (word(rng) for _ in range(TOKENS)):
            counts[name] = counts.get(name, 0) + 1
        return "POST", "/api/posterior", {"rows": [{"counts": counts}]}

    def context(rng: np.random.Generator) -> Request:
        ask = {"feature": word(rng), "contexts": [[word(rng), word(rng)]]}
        return "POST", "/api/neighbors", ask

    return {
        "neighbors": lambda rng: ("POST", "/api/neighbors", {"feature": word(rng)}),
        "spectrum": lambda rng: ("GET", "/api/spectrum", None),
        "posterior": posterior,
        "context": context,
    }


def _measure(
    url: str,
    ask: Callable[[np.random.Generator], Request],
    clients: int,
    requests: int,
    seconds: float,
) -> dict[str, float]:
    """Median and 95th percentile of the time to an answer, and how many there were."""

    def client(seed: int) -> list[float]:
        rng = np.random.default_rng(seed)
        times = []
        with httpx2.Client(base_url=url, timeout=60) as http:
            _timed(http, ask(rng))  # the connection, and what is made on first use
            until = time.perf_counter() + seconds
            while len(times) < requests // clients and time.perf_counter() < until:
                times.append(_timed(http, ask(rng)))
        return times

    with ThreadPoolExecutor(clients) as pool:
        times = [t for each in pool.map(client, range(clients)) for t in each]
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95)}


def _timed(http: httpx2.Client, request: Request) -> float:
    method, path, body = request
    started = time.perf_counter()
    http.request(method, path, json=body).raise_for_status()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
