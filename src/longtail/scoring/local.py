"""The engine of one process: block after block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from longtail.errors import CorruptBlockError
from longtail.scoring.blocks import score_block
from longtail.scoring.job import Job
from longtail.scoring.watch import Watch

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["Engine", "LocalEngine"]


class Engine(Protocol):
    """What scores the blocks that are not done."""

    name: ClassVar[str]

    def run(
        self, job: Job, model: NonlinearFactorAnalysis, pending: Sequence[int], watch: Watch
    ) -> None:
        """Score these blocks, and tell `watch`."""
        ...


class LocalEngine:
    """Blocks one after the other in this process, with PyTorch's threads."""

    name: ClassVar[str] = "local"

    def run(
        self, job: Job, model: NonlinearFactorAnalysis, pending: Sequence[int], watch: Watch
    ) -> None:
        """See `Engine`."""
        for number in pending:
            try:
                score_block(job, model, number, watch.advanced)
            except CorruptBlockError as error:
                watch.corrupt(job.dataset.blocks[number], str(error))
