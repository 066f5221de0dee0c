"""Which tensor, and which rows, brought NaN or infinity into training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from longtail.data import Batch
from longtail.errors import NonFiniteError
from longtail.inference import HybridModel
from longtail.training.step import StepTerms

__all__ = ["REMEDY", "check_parameters", "fault_of"]

REMEDY = (
    " Try a lower learning_rate, and look at these rows for extreme"
    " counts. The last checkpoint, if there is one, is from before this."
)


def fault_of(
    model: HybridModel, batch: Batch, terms: StepTerms, row_id: Callable[[int], Any], where: str
) -> str:
    """Say what is not finite in a batch whose loss is not.

    Parameters
    ----------
    where
        Epoch, batch and update.
    """
    suspects = {f"parameter {n!r}": p for n, p in model.named_parameters()}
    per_row = {
        "log σ² of ψ*": terms.psi.log_var,
        "μ of ψ*": terms.psi.mean,
        "KL at ψ(x)": terms.amortized.kl,
        "log p(x | z) at ψ(x)": terms.amortized.log_likelihood,
        "log p(x | z) at ψ*": terms.refined.log_likelihood,
    }
    tensor = next(
        (n for n, t in (suspects | per_row).items() if not bool(torch.isfinite(t).all())),
        "the loss",
    )
    bad = torch.zeros(len(batch), dtype=torch.bool)
    for value in per_row.values():
        bad |= ~torch.isfinite(value.detach().reshape(len(batch), -1)).all(1).cpu()
    rows = [row_id(int(batch.rows[i])) for i in bad.nonzero().flatten()[:5]]
    return (
        f"Training met NaN or infinity in {where}: in {tensor}; {int(bad.sum())} of {len(batch)} "
        f"rows, first row ids {rows}." + REMEDY
    )


def check_parameters(model: HybridModel, epoch: int) -> None:
    """Raise a NonFiniteError if a parameter is not finite."""
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise NonFiniteError(
                f"After epoch {epoch} the parameter {name!r} holds NaN or infinity." + REMEDY
            )
