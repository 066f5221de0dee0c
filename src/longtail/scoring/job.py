"""A job: what is done to which rows with which model, and how far it has come.

Beside the folder of the output stands a file, ``OUT.job.json``. It says what the parts are made of,
so that a job goes on with nothing else, and when all parts are there, what came of it. It is not
in the folder, which holds Parquet and nothing else and can be read as one table.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longtail.data.stream import ParquetDataset
from longtail.errors import ParameterError, WriteError
from longtail.estimator.saved import to_archive
from longtail.scoring.parts import Parts, sync_folder
from longtail.scoring.tasks import Task

if TYPE_CHECKING:
    from longtail.estimator import NonlinearFactorAnalysis

__all__ = ["Job", "JobFile", "model_digest"]

_VERSION = 1
# These change where and how loud a model computes, not what.
_NOT_OF_THE_MODEL = ("device", "verbose")


@dataclass(frozen=True)
class Job:
    """What a worker must know, besides the model.

    Parameters
    ----------
    dataset
        The rows.
    task
        What is done to them.
    parts
        Where results go.
    """

    dataset: ParquetDataset
    task: Task
    parts: Parts

    @classmethod
    def plan(
        cls, model: NonlinearFactorAnalysis, dataset: ParquetDataset, task: Task, out: Path
    ) -> tuple[Job, JobFile]:
        """The job, and the file that will say what it is."""
        described = {
            "task": task.name,
            "settings": task.settings(),
            "model": model_digest(model),
            "data": dataset.fingerprint,
            "reading": dataset.settings.to_dict(),
            "blocks": dataset.n_blocks,
            "rows": dataset.n_rows,
        }
        text = json.dumps(described, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        file = JobFile(digest, json.loads(text))
        return cls(dataset, task, Parts(out, digest)), file


@dataclass(frozen=True)
class JobFile:
    """What stands in ``OUT.job.json``.

    Parameters
    ----------
    digest
        Of `described`; every part carries it.
    described
        Task and settings, digests of model and data, how the data are read, blocks and rows.
    result
        What came of it; None until all parts are there.
    """

    digest: str
    described: dict[str, Any]
    result: dict[str, Any] | None = None

    @staticmethod
    def path(out: Path) -> Path:
        """Where the file of an output is."""
        return out.with_name(f"{out.name}.job.json")

    def begin(self, out: Path, *, overwrite: bool) -> bool:
        """Start or go on; return whether an earlier run is continued.

        Raises
        ------
        ParameterError
            If the folder has the finished output of a job, that of another job, or other files.
        WriteError
            If it cannot be made.
        """
        earlier = self._read(out)
        _check_folder(out, known=earlier is not None)
        if earlier is not None and out.is_dir() and not overwrite:
            if earlier.result is not None:
                raise ParameterError(
                    f"{out} is finished: {earlier.result['rows']:,} rows of the task "
                    f"'{earlier.described['task']}'. Choose another folder, or add --overwrite "
                    "(overwrite=True) to begin anew."
                )
            self._check_same(earlier, out)
            return True
        try:
            if earlier is not None:
                # First: without its file, nothing in the folder counts as a part.
                self.path(out).unlink()
                Parts(out, earlier.digest).remove_all()
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(
                f"The folder {out} could not be made ready: {error.strerror or error}. Choose "
                "another one."
            ) from error
        self.save(out)
        return False

    def finish(self, out: Path, result: dict[str, Any]) -> None:
        """Say that all parts are there, and what came of it."""
        replace(self, result=result).save(out)

    def save(self, out: Path) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        WriteError
        """
        path = self.path(out)
        partial = path.with_name(f".{path.name}.new")
        try:
            with partial.open("w", encoding="utf-8") as file:
                json.dump({"version": _VERSION, **asdict(self)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise WriteError(
                f"{path} could not be written: {error.strerror or error}. Free some space and "
                "repeat the command: what is finished is kept."
            ) from error

    @classmethod
    def _read(cls, out: Path) -> JobFile | None:
        path = cls.path(out)
        if not path.exists():
            return None
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            return cls(plain["digest"], plain["described"], plain["result"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ParameterError(
                f"{path} should say what {out} is made of, but cannot be read ({error}). Choose "
                "another folder, or remove both."
            ) from error

    def _check_same(self, earlier: JobFile, out: Path) -> None:
        if earlier.digest == self.digest:
            return
        differs = [
            _difference(name, earlier.described.get(name), ours)
            for name, ours in self.described.items()
            if earlier.described.get(name) != ours
        ]
        raise ParameterError(
            f"{out} is the unfinished output of another job: {'; '.join(differs)}. Give the same "
            "model, data and settings to go on with it, choose another folder, or add "
            "--overwrite (overwrite=True) to begin anew."
        )


def _check_folder(out: Path, *, known: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ParameterError(
            f"{out} is a file, but the output is a folder of Parquet files. Choose a new name."
        )
    if not known and out.is_dir() and any(out.iterdir()):
        raise ParameterError(
            f"{out} holds files, but beside it there is no {JobFile.path(out).name} that says "
            "what they are. Choose a new or an empty folder."
        )


def _difference(name: str, theirs: Any, ours: Any) -> str:
    if name in ("model", "data"):
        return f"its {name} were others" if name == "data" else "its model was another one"
    if isinstance(theirs, dict) and isinstance(ours, dict):
        changed = [k for k in {**theirs, **ours} if theirs.get(k) != ours.get(k)]
        told = ", ".join(f"{k} {theirs.get(k)!r} and not {ours.get(k)!r}" for k in changed)
        return f"it had {told}"
    return f"its {name} was {theirs!r} and not {ours!r}"


def model_digest(model: NonlinearFactorAnalysis) -> str:
    """SHA-256 of what a fitted model computes with: the same before saving and after opening."""
    archive = to_archive(model)
    parameters = {
        k: v for k, v in archive.config["parameters"].items() if k not in _NOT_OF_THE_MODEL
    }
    facts = [parameters, archive.config["fit"], archive.vocabulary]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, array in sorted(archive.tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
