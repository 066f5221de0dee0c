"""What is told of a fit: on what machine, and in a few lines for notebooks."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

import polars as pl
import torch

from longtail.displays.base import table_html

if TYPE_CHECKING:
    from longtail.estimator.nfa import NonlinearFactorAnalysis

__all__ = ["environment", "fitted_html"]


def environment(device: str) -> dict[str, str]:
    """Versions and kind of machine, for the record; nothing that names the machine or its user."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
        "device": device,
        "versions": ", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{name} {version(name)}" for name in ("longtail", "torch", "numpy")]
        ),
    }


def fitted_html(model: NonlinearFactorAnalysis) -> str:
    """The facts of a fit as a table; nothing before there is one."""
    if not model.__sklearn_is_fitted__():
        return ""
    info = model.fit_info_
    facts = {
        "features": f"{model.n_features_in_:,}",
        "training rows": f"{info.get('train_rows', 0):,}",
        "epochs": f"{len(model.history_):,}",
    }
    if len(model.history_) and "best_epoch" in info:
        kept = model.history_[info["best_epoch"] - 1]
        facts["parameters kept are those of epoch"] = str(info["best_epoch"])
        facts["latent dimensions in use"] = (
            f"{kept.active_kl} of {model.parameters_['n_components']}"
        )
        if kept.valid_nats_per_row is not None:
            facts["validation ELBO at ψ*, nats a row"] = f"{kept.valid_nats_per_row:.2f}"
    table = pl.DataFrame({"fitted": list(facts), "": list(facts.values())})
    return table_html(table)
