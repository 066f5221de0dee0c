"""Scoring a data set: what is not done yet, the engine that does it, and what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.data.files import as_path
from longtail.data.stream import ParquetDataset
from longtail.data.stream.files import is_url
from longtail.data.unseen import no_names_error
from longtail.errors import ParameterError, ScoringError
from longtail.evaluation import Evaluation
from longtail.scoring.averages import evaluation_of_parts
from longtail.scoring.facts import Facts
from longtail.scoring.job import Job
from longtail.scoring.local import Engine, LocalEngine
from longtail.scoring.tasks import Evaluate, Task
from longtail.scoring.watch import Skipped, Watch

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["Scoring", "score_dataset"]


@dataclass(frozen=True, eq=False)
class Scoring:
    """What came of scoring a data set.

    Attributes
    ----------
    out
        The folder with the parts: ``polars.read_parquet(out)`` reads them as one table, in the
        order of the rows.
    rows
        Lines of that table: as many as the data set has rows, but for skipped blocks.
    blocks, resumed_blocks
        Blocks of the data set; those that an earlier run had done.
    skipped
        Blocks that could not be read.
    empty_rows, short_rows
        Rows without a count in the model's vocabulary; those for which too few items were left.
    unseen
        Shares of rows that had, and of mass that was on, features outside the vocabulary.
    seconds
        Of this run.
    evaluation
        Of the task `Evaluate`; its `per_row` is empty, as the parts have these figures.
    """

    out: Path
    rows: int
    blocks: int
    resumed_blocks: int
    skipped: tuple[Skipped, ...]
    empty_rows: int
    short_rows: int
    unseen: dict[str, float]
    seconds: float
    evaluation: Evaluation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; of an evaluation, its figures."""
        return {
            "out": str(self.out),
            "rows": self.rows,
            "blocks": self.blocks,
            "resumed_blocks": self.resumed_blocks,
            "skipped_blocks": [block.to_dict() for block in self.skipped],
            "empty_rows": self.empty_rows,
            "short_rows": self.short_rows,
            "unseen": self.unseen,
            "seconds": self.seconds,
            "evaluation": None if self.evaluation is None else self.evaluation.to_dict(),
        }


def score_dataset(
    model: NonlinearFactorAnalysis,
    dataset: ParquetDataset,
    out: str | Path,
    task: Task,
    *,
    engine: Engine | None = None,
    skip_corrupt: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda message: None,
    progress: Callable[[int, int], None] | None = None,
) -> Scoring:
    """Transform, recommend to, or evaluate the rows of a data set, a block at a time.

    Each block becomes a part, a Parquet file in `out`, with its rows in their order, empty ones
    included. A part is there whole or not at all. If the run ends early, the same call goes on
    with the blocks that are not done. One run at a time may write to a folder.

    Parameters
    ----------
    model
        Fitted.
    dataset
        The rows.
    out
        Folder of the parts. Beside it stands ``OUT.job.json``, which says what they are made of.
    task
        `Transform`, `Recommend` or `Evaluate`.
    engine
        This process (`LocalEngine`), or a Ray cluster (`RayEngine`).
    skip_corrupt
        Leave out blocks that cannot be read, instead of stopping.
    overwrite
        Begin anew, whatever job the folder has the output of.
    say
        Told in words of an earlier run that is continued, and of blocks that are left out.
    progress
        Called with (rows done, rows in all).

    Raises
    ------
    ParameterError
        If the folder has a finished output, or that of another job.
    CorruptBlockError
        If a block cannot be read, and such blocks are not to be left out.
    DataError, WriteError, ScoringError
        If a block cannot be scored or written. Finished parts are kept.
    """
    started = time.perf_counter()
    model.check_fitted()
    task.check(model)
    if not model.vocabulary_.named:
        raise no_names_error()
    out = _folder(out)
    job, file = Job.plan(model, _from_anywhere(dataset), task, out)
    resumed = file.begin(out, overwrite=overwrite)
    job.parts.remove_partial()
    blocks = job.dataset.blocks
    pending = [b.number for b in blocks if job.parts.facts(b.number, b.n_rows) is None]
    done = job.dataset.n_rows - sum(blocks[number].n_rows for number in pending)
    if resumed:
        say(
            f"{out}: {len(blocks) - len(pending):,} of {len(blocks):,} blocks are there from an "
            "earlier run, which goes on."
        )
    watch = Watch(job.dataset.n_rows, done, skip_corrupt, progress)
    watch.advanced(0)
    if pending:
        (engine or LocalEngine()).run(job, model, pending, watch)
    for skipped in watch.skipped:
        say(f"notice: left out {skipped.block.n_rows:,} rows. {skipped.reason}")
    result = _gather(job, model, watch.skipped)
    result = replace(
        result,
        resumed_blocks=len(blocks) - len(pending),
        seconds=time.perf_counter() - started,
    )
    file.finish(out, result.to_dict())
    return result


def _gather(job: Job, model: NonlinearFactorAnalysis, skipped: list[Skipped]) -> Scoring:
    """Add up what the parts say, all of which must be there."""
    left_out = {each.block.number for each in skipped}
    facts, paths = Facts(), []
    for block in job.dataset.blocks:
        if block.number in left_out:
            continue
        found = job.parts.facts(block.number, block.n_rows)
        if found is None:
            path = job.parts.path(block.number)
            raise ScoringError(
                f"{path} is not what was written there. See that nothing else writes to this "
                "folder, and that every machine of the job has the same one; then repeat the "
                "command."
            )
        facts += found
        paths.append(job.parts.path(block.number))
    evaluation = None
    if isinstance(job.task, Evaluate):
        evaluation = evaluation_of_parts(model, job.task, paths, facts)
    return Scoring(
        out=job.parts.folder,
        rows=facts.rows,
        blocks=job.dataset.n_blocks,
        resumed_blocks=0,
        skipped=tuple(skipped),
        empty_rows=facts.empty_rows,
        short_rows=facts.short_rows,
        unseen=facts.unseen,
        seconds=0.0,
        evaluation=evaluation,
    )


def _folder(out: str | Path) -> Path:
    if is_url(out):
        raise ParameterError(
            f"The output must be a folder that this machine can write to; got the URL {out}. Data "
            "may be read from one."
        )
    return as_path(out, "out").expanduser().absolute()


def _from_anywhere(dataset: ParquetDataset) -> ParquetDataset:
    """With absolute paths: a worker may have another working directory."""
    if is_url(dataset.path):
        return dataset
    blocks = tuple(replace(block, file=os.path.abspath(block.file)) for block in dataset.blocks)
    return replace(dataset, path=os.path.abspath(dataset.path), blocks=blocks)
