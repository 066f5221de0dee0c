"""Time and memory of averaged Jacobians, beside torch.func.

A decoder of 2 × 400 with K = 100 and random weights; 1,000 samples of the prior. Each case runs in
a process of its own, so that its peak of resident memory is its own. torch.func differentiates
fewer samples, and by reverse mode at a smaller V: its time is compared per sample.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import jacfwd, jacrev, vmap

from benchmarks.rows import ROOT, metric_rows, write_rows
from longtail.introspection.closed_form import average_jacobian
from longtail.model import Decoder

NAME = "jacobian_speed"
KINDS = ("logits", "log_probabilities", "probabilities", "root_probabilities")
_OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda a: a,
    "log_probabilities": lambda a: torch.log_softmax(a, -1),
    "probabilities": lambda a: torch.softmax(a, -1),
    "root_probabilities": lambda a: 2 * torch.softmax(a, -1).sqrt(),
}


def decoder_of(n_features: int) -> Decoder:
    """A decoder whose logits vary as those of a fitted one."""
    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(100, n_features, n_layers=2, n_hidden=400, generator=generator)
    decoder.requires_grad_(False)
    decoder.weight.normal_(0, 0.05, generator=generator)
    return decoder


def measure(method: str, of: str, n_features: int, samples: int) -> dict[str, float]:
    """Seconds for the samples, and this process's peak memory; call in a fresh process."""
    decoder = decoder_of(n_features)
    z = torch.randn(samples, 100, generator=torch.Generator().manual_seed(1))
    if method == "longtail":
        average_jacobian(decoder, z[:20].split(1), of)  # warm up

        def work() -> None:
            average_jacobian(decoder, z.split(max(1, samples // 20)), of)

    else:
        output = _OUTPUTS[of]
        differentiate = jacfwd if method == "jacfwd" else jacrev
        at_once = vmap(differentiate(lambda point: output(decoder(point[None])[0])))
        at_once(z[:2])
        chunk = max(1, 40_000_000 // (100 * n_features))

        def work() -> None:
            total = torch.zeros(n_features, 100)
            for part in z.split(chunk):
                total += at_once(part).sum(0)

    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": seconds, "ms_per_sample": 1000 * seconds / samples, "peak_rss_gb": peak}


def in_a_process(method: str, of: str, n_features: int, samples: int) -> dict[str, float]:
    """Measure in a fresh process."""
    arguments = ["--one", method, of, str(n_features), str(samples)]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{NAME}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def record(method: str, of: str, n_features: int, samples: int) -> dict[str, float]:
    """Measure three times, write the rows of the median run."""
    runs = sorted(
        (in_a_process(method, of, n_features, samples) for _ in range(3)),
        key=lambda run: run["seconds"],
    )
    values = runs[1]
    print(f"{method:9} {of:19} V={n_features:<7,} S={samples:<5} {values}", flush=True)
    units = {"seconds": "s", "ms_per_sample": "ms", "peak_rss_gb": "GB"}
    common = {
        "benchmark": NAME,
        "case": f"L2-H400-K100-V{n_features}-S{samples}/{of}",
        "seed": 0,
        "split": "",
        "peer": "" if method == "longtail" else f"torch.func {method}",
    }
    write_rows(
        NAME,
        [
            row
            for name, unit in units.items()
            for row in metric_rows({name: values[name]}, unit=unit, **common)
        ],
    )
    return values


def main(argv: Sequence[str] | None = None) -> None:
    """Measure everything, or one case for the parent process."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--one", nargs=4, metavar=("METHOD", "OF", "V", "S"))
    args = parser.parse_args(argv)
    if args.one:
        method, of, n_features, samples = args.one
        print(json.dumps(measure(method, of, int(n_features), int(samples))))
        return
    for of in KINDS:
        ours = record("longtail", of, 20_000, 1000)["ms_per_sample"]
        small = record("longtail", of, 2000, 1000)["ms_per_sample"]
        forward = record("jacfwd", of, 20_000, 40)["ms_per_sample"]
        reverse = record("jacrev", of, 2000, 20)["ms_per_sample"]
        ratios = {"jacfwd-V20000": forward / ours, "jacrev-V2000": reverse / small}
        print(f"times faster: {ratios}", flush=True)
        write_rows(
            NAME,
            metric_rows(
                {"times_faster": ratios},
                benchmark=NAME,
                case=f"L2-H400-K100/{of}",
                seed=0,
                split="",
                unit="ratio",
            ),
        )
    for of in KINDS:
        record("longtail", of, 200_000, 100)


if __name__ == "__main__":
    main()
