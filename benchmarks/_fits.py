"""Models that several benchmarks look at: fitted once, kept in a folder, resumable.

A kept model is used again as long as its parameters and rows are the same; delete
``benchmarks/.models`` to fit anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import longtail as lt
from longtail.estimator.start import Start

# Parameters that came after the first fits, with the value that changes nothing: fits of before
# are fits of that value.
ADDED: dict[str, Any] = {
    "importance_samples": 1,
    "output_epsilon": 1e-8,
    "kl_weight": 1.0,
    "exposure": "auto",
}

# The library's first defaults. What was measured under them names them, so that its command makes
# the same fit again.
FIRST: dict[str, Any] = {"epochs": 100, "learning_rate": 1e-3, "weight_decay": 1.0, **ADDED}

MODELS = Path(__file__).parent / ".models"


class TextbookStart(lt.NonlinearFactorAnalysis):
    """The same model, but for how its encoder starts: as variational auto-encoders usually do.

    Glorot-normal weights and zero biases everywhere: posterior means near 0 and scales near 1,
    so that at first a row's code is mostly noise.
    """

    def _train(self, start: Start, *args: Any) -> Any:
        generator = torch.Generator().manual_seed(self._draw_seed() + 1)
        encoder = start.network.encoder
        nn.init.xavier_normal_(encoder.input_weight, generator=generator)
        for layer in (*encoder.hidden_layers, encoder.mean, encoder.log_var):
            nn.init.xavier_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        return super()._train(start, *args)


def settings_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what is fitted but the seed, defaults included, so that new ones count."""
    settings = lt.NonlinearFactorAnalysis(**parameters).get_params(deep=False)
    return {k: v for k, v in settings.items() if k not in ("random_state", "device", "verbose")}


def identity_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that a fit is known by."""
    return {k: v for k, v in settings_of(parameters).items() if k not in ADDED or v != ADDED[k]}


def fitted(
    name: str,
    train: lt.CountMatrix,
    valid: lt.CountMatrix,
    *,
    textbook: bool = False,
    **parameters: Any,
) -> lt.NonlinearFactorAnalysis:
    """The model of that name: opened if it was fitted before, otherwise fitted and kept.

    Without validation rows (`valid` has none) the fit holds out a share of its own.
    """
    key = {
        "parameters": identity_of(parameters),
        "seed": parameters.get("random_state"),
        "textbook": textbook,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode())
    for rows in (train, valid):
        digest.update(rows.row_keys().tobytes())
    folder = MODELS / f"{name}-{digest.hexdigest()[:12]}"
    # The same fit may have been asked for under another name.
    for kept in MODELS.glob(f"[!.]*-{digest.hexdigest()[:12]}"):
        return lt.load(kept)
    print(f"fitting {folder.name}", file=sys.stderr, flush=True)
    kind = TextbookStart if textbook else lt.NonlinearFactorAnalysis
    model = kind(**parameters, verbose=1)
    checkpoint = MODELS / f".{folder.name}.checkpoint"
    model.fit(train, valid=valid if valid.n_rows else None, checkpoint=checkpoint, resume=True)
    model.save(folder)
    shutil.rmtree(checkpoint)
    return lt.load(folder)
