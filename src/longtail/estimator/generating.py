"""Rows that a fitted model expects, and rows drawn from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from longtail.data.checks import MAX_COUNT
from longtail.errors import ParameterError
from longtail.estimator.inputs import row_totals
from longtail.model import GenerativeModel

__all__ = ["expected_counts", "sampled_rows"]


def expected_counts(
    generative: GenerativeModel, latent: Tensor, totals: Any
) -> npt.NDArray[np.float32]:
    """E[x | z] of latent vectors (n, K) with these totals or exposures: (n, V)."""
    logits = generative.decoder(latent)
    likelihood = generative.likelihood
    exposure = likelihood.scaled(row_totals(totals, len(latent)).to(logits))
    expected: npt.NDArray[np.float32] = likelihood.mean(logits, exposure).cpu().numpy()
    return expected


def sampled_rows(
    generative: GenerativeModel,
    n_components: int,
    totals: Tensor,
    *,
    seed: int,
    chunk: int,
    device: torch.device,
) -> csr_array:
    """Draw z from the prior, then counts: a row for each total, (n, V).

    Parameters
    ----------
    totals
        (n,), or exposures.
    chunk
        Rows that are dense at a time.

    Raises
    ------
    ParameterError
        If a total is no whole number (exposures that are given with the rows need not be), or
        counts would be larger than float32 holds exactly.
    """
    likelihood = generative.likelihood
    if likelihood.exposed != "given" and not torch.equal(totals, totals.round()):
        wrong = totals[totals != totals.round()][0].item()
        raise ParameterError(f"totals must be whole numbers to draw rows; got {wrong!r}.")
    if likelihood.exposed != "given" and totals.max() >= MAX_COUNT:
        raise _too_large(f"a total of {totals.max().item():g}")
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for some in torch.split(likelihood.scaled(totals), chunk):
        z = generative.prior.sample(len(some), n_components, generator)
        logits = generative.decoder(z.to(device)).cpu()
        if likelihood.exposed != "total" and not likelihood.mean(logits, some).max() <= MAX_COUNT:
            raise _too_large("an expected count above that")
        parts.append(csr_array(likelihood.sample(logits, some, generator).numpy()))
    return csr_array(vstack(parts, format="csr"))


def _too_large(got: str) -> ParameterError:
    return ParameterError(
        f"Rows are drawn with counts below {MAX_COUNT:,}, up to which float32 holds every whole "
        f"number; got {got}. Lower totals."
    )
