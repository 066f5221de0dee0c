"""Commands over data that need not fit in memory: block by block, from Parquet to Parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longtail.cli.options import is_folder, reading_like
from longtail.cli.output import Interrupted, check_outputs, log, rows_progress
from longtail.errors import ParameterError

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis
    from longtail.scoring import Scoring
    from longtail.scoring.local import Engine
    from longtail.scoring.tasks import Task

__all__ = ["BlockOptions", "in_words", "score_blocks", "summary"]


@dataclass(frozen=True)
class BlockOptions:
    """The options of scoring block by block; see `longtail.cli.options`."""

    engine: Literal["local", "ray"] | None
    address: str | None
    workers: int | None
    worker_cpus: int | None
    block_timeout: float | None
    skip_corrupt: bool
    overwrite: bool

    def apply(self, data: str, out: Path | None, layer: str | None = None) -> bool:
        """Whether these data are scored block by block.

        Raises
        ------
        ParameterError
            If options do not fit together.
        """
        if not (self.engine or _is_parquet_set(data) or is_folder(out)):
            given = self._given([f.name for f in fields(self)])
            if given:
                raise ParameterError(
                    f"{given} is for rows that are scored block by block. Give a folder as --out: "
                    "a name without an ending."
                )
            return False
        if layer is not None:
            raise ParameterError("--layer is for AnnData, which is not scored block by block.")
        if out is None or not is_folder(out):
            got = "there is none" if out is None else f"got {out}"
            raise ParameterError(
                f"{data} is scored block by block, and needs as --out a folder for the parts, a "
                f"name without an ending; {got}."
            )
        if out.parts[0].endswith(":"):
            raise ParameterError(
                f"The output must be a folder that this machine can write to; got the URL {out}. "
                "DATA may be at one."
            )
        check_outputs([out.absolute().with_name(f"{out.absolute().name}.job.json")], folder=out)
        given = self._given(["address", "workers", "worker_cpus", "block_timeout"])
        if given and self.engine != "ray":
            raise ParameterError(f"{given} is for a Ray cluster: add --engine ray.")
        return True

    def make_engine(self) -> Engine:
        """The engine that they describe."""
        from longtail.scoring import LocalEngine, RayEngine

        if self.engine != "ray":
            return LocalEngine()
        return RayEngine(
            address=self.address,
            workers=self.workers,
            cpus=self.worker_cpus or 1,
            block_timeout=self.block_timeout,
        )

    def _given(self, names: list[str]) -> str:
        given = [name for name in names if getattr(self, name) not in (None, False)]
        return ", ".join(f"--{name.replace('_', '-')}" for name in given)


def score_blocks(
    model: Path,
    data: str,
    out: Path,
    task: Task | Callable[[NonlinearFactorAnalysis], Task],
    options: BlockOptions,
    exposure_column: str | None = None,
) -> tuple[NonlinearFactorAnalysis, Scoring]:
    """Score data the way the model's training data were read; say how far it is.

    `task` may be a function that makes the task for the model.
    """
    from longtail.data.stream import ParquetDataset
    from longtail.estimator import load
    from longtail.scoring import score_dataset

    fitted = load(model)
    chosen = task(fitted) if callable(task) else task
    settings = reading_like(fitted, None, exposure_column=exposure_column)
    dataset = ParquetDataset.open(data, settings)
    log(f"{data}: {dataset.n_rows:,} rows in {dataset.n_blocks:,} blocks")
    try:
        with rows_progress(chosen.name) as progress:
            found = score_dataset(
                fitted,
                dataset,
                out,
                chosen,
                engine=options.make_engine(),
                skip_corrupt=options.skip_corrupt,
                overwrite=options.overwrite,
                say=log,
                progress=progress,
            )
    except Interrupted:
        raise Interrupted(
            f"The parts that are finished are kept in {out}: repeat the command to go on."
        ) from None
    if found.unseen["mass"]:
        log(
            f"notice: features that are not in the model's vocabulary have "
            f"{found.unseen['mass']:.1%} of the mass, in {found.unseen['rows']:.1%} of the rows."
        )
    if found.empty_rows:
        log(f"notice: rows without a count of a feature that the model knows: {found.empty_rows:,}")
    return fitted, found


def summary(found: Scoring, **facts: Any) -> dict[str, Any]:
    """A result for programs, with more facts."""
    plain = found.to_dict()
    for name in ("evaluation", "short_rows"):
        del plain[name]
    return {"out": plain.pop("out"), "rows": plain.pop("rows"), **facts, **plain}


def in_words(found: Scoring) -> str:
    """How many blocks there were, for people."""
    words = f"{found.blocks:,} blocks"
    if found.resumed_blocks:
        words += f", {found.resumed_blocks:,} of them from an earlier run"
    if found.skipped:
        words += f", {len(found.skipped):,} left out"
    return words


def _is_parquet_set(data: str) -> bool:
    from longtail.data.stream.files import ENDINGS, is_url

    inside = Path(data).rglob("*") if Path(data).is_dir() else ()
    return is_url(data) or any(file.name.lower().endswith(ENDINGS) for file in inside)
