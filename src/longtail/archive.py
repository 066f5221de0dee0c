"""Saved models: a folder of JSON and safetensors. Opening one never executes code.

    config.json          format and library versions, every parameter, how to read data
    weights.safetensors  parameters of the model, idf, training word frequencies
    vocabulary.json      feature names, in order
    descriptions.json    what features mean, by name; only if something is known
    history.json         one record an epoch
    README.md            a model card, which may be edited
    manifest.json        size and SHA-256 of each of these

This module handles plain dictionaries and arrays; what they mean is the estimator's business.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from longtail.errors import ArchiveError, ArchiveWriteError, DataWarning
from longtail.folders import BusyError, flush, locked, put_in_place

__all__ = [
    "FORMAT_VERSION",
    "Archive",
    "check_replaceable",
    "read_archive",
    "require_same",
    "write_archive",
]

FORMAT_VERSION = 2

_MANIFEST, _CARD, _WEIGHTS = "manifest.json", "README.md", "weights.safetensors"
_CHECKED = ("config.json", _WEIGHTS, "vocabulary.json", "history.json")
_DESCRIPTIONS = "descriptions.json"
_FILES = {_MANIFEST, _CARD, _DESCRIPTIONS, *_CHECKED}


@dataclass(frozen=True, eq=False)
class Archive:
    """What a saved model consists of.

    Attributes
    ----------
    config
        JSON-ready parameters and facts about the fit.
    tensors
        Named arrays.
    vocabulary
        Feature names, in order.
    history
        JSON-ready records, one an epoch.
    card
        Model card, Markdown.
    descriptions
        What features mean, by name; of some of them, or none.
    """

    config: dict[str, Any]
    tensors: dict[str, npt.NDArray[Any]]
    vocabulary: list[str]
    history: list[dict[str, Any]]
    card: str
    descriptions: dict[str, str] = field(default_factory=dict)


def write_archive(
    path: str | Path, archive: Archive, *, check: Callable[[Archive], None] | None = None
) -> None:
    """Write a saved model, whole or not at all; an earlier model there is replaced.

    What was written is read back and compared before it replaces anything.

    Parameters
    ----------
    check
        Called with what was read back; an ArchiveError of it ends the writing.

    Raises
    ------
    ArchiveError
        If the folder holds something other than a saved model, or cannot be written. What was
        there stays.
    """
    target = Path(os.path.realpath(path))  # a link stays; the model that it leads to is replaced
    check_replaceable(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _workplace(target, wait=True) as work:
            _put_back(target, work)
            _replace(target, work, archive, check)
    except OSError as error:
        raise ArchiveWriteError(
            f"The model could not be written to {path}: {error}. Free some space or choose "
            "another folder; nothing that was there has changed."
        ) from error
    except (ArchiveError, SafetensorError, TypeError, ValueError) as error:
        raise ArchiveWriteError(
            f"The model is not written to {path}, since it could not be opened from there as it "
            f"is: {str(error).rstrip('.')}. Nothing that was there has changed."
        ) from error


def _replace(
    target: Path, work: Path, archive: Archive, check: Callable[[Archive], None] | None
) -> None:
    partial, new, old = work / "partial", work / "new", work / "old"
    shutil.rmtree(work, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_files(partial, archive)
        _check_written(partial, archive, check)
        partial.rename(new)  # from here on it may be put in place after a kill
        put_in_place(new, target, old)
    finally:
        if target.exists() or not old.exists():
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _workplace(target: Path, *, wait: bool) -> Iterator[Path]:
    """Hold the hidden folder beside a model where its successor is made.

    A process that is killed leaves the folder, and the next one to write there removes it.
    """
    with locked(target.with_name(f".{target.name}.lock"), wait=wait):
        yield target.with_name(f".{target.name}.saving")


def _put_back(target: Path, work: Path) -> None:
    """Put a whole model back in its place, if the exchange was broken off in the middle."""
    if target.exists():
        return
    for model in (work / "new", work / "old"):
        with suppress(ArchiveError):
            _read_folder(model)
            model.rename(target)
            flush(target.parent)
            return


def _recover(target: Path) -> bool:
    """Put back what a killed process has left beside `target`; whether there was something.

    Raises
    ------
    ArchiveError
        If it cannot be moved.
    """
    target = Path(os.path.realpath(target))
    work = target.with_name(f".{target.name}.saving")
    if target.exists() or not any((work / name).is_dir() for name in ("new", "old")):
        return False
    try:
        with _workplace(target, wait=False):
            _put_back(target, work)
            if target.exists():
                shutil.rmtree(work, ignore_errors=True)
    except BusyError:  # a live process makes a model
        return False
    except OSError as error:
        raise ArchiveError(
            f"A process was killed while it saved {target}. The model is in {work}, and cannot be "
            f"moved ({error}): move the folder `new` there, or else `old`, to {target}."
        ) from error
    return target.exists()


def _check_written(folder: Path, archive: Archive, check: Callable[[Archive], None] | None) -> None:
    written = _read_folder(folder)
    config = {"format_version": FORMAT_VERSION} | archive.config
    require_same(replace(archive, config=config), written)
    if check is not None:
        check(written)


def require_same(expected: Archive, given: Archive) -> None:
    """Check that two archives agree in all but the model card: tensors bitwise.

    Raises
    ------
    ArchiveError
        If they do not; names the parts that differ.
    """
    names = ("config", "vocabulary", "history", "descriptions")
    wrong = [n for n in names if _json(getattr(expected, n)) != _json(getattr(given, n))]
    ours, theirs = expected.tensors, given.tensors
    wrong += sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours or name not in theirs or not _same_bits(ours[name], theirs[name])
    )
    if wrong:
        raise ArchiveError(f"these parts do not come back as they were: {', '.join(wrong)}")


def _same_bits(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> bool:
    """Whether two arrays agree in type, shape and every bit."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    ours, theirs = (np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (first, second))
    return bool(np.array_equal(ours, theirs))


def check_replaceable(path: str | Path) -> None:
    """Check that a model may be written here: nothing, an empty folder, or a saved model.

    Raises
    ------
    ArchiveError
        If something else is there.
    """
    target = Path(path)
    if target.is_dir():
        names = {path.name for path in target.iterdir()}
        # Replacing removes the folder, so nothing else may be in it.
        if names and not {_MANIFEST, _WEIGHTS} <= names <= _FILES:
            raise ArchiveError(
                f"{target} is not a saved model, or holds other files too: it is left as it is. "
                "Choose a new folder."
            )
    elif target.exists():
        raise ArchiveError(f"{target} is a file; a model is saved as a folder. Choose a new name.")


def _write_files(folder: Path, archive: Archive) -> None:
    config = {"format_version": FORMAT_VERSION} | archive.config
    contents = {
        "config.json": _json(config),
        _WEIGHTS: save_tensors({k: np.ascontiguousarray(v) for k, v in archive.tensors.items()}),
        "vocabulary.json": _json(archive.vocabulary, indent=None),
        "history.json": _json(archive.history),
        _CARD: archive.card.encode(),
    }
    if archive.descriptions:
        contents[_DESCRIPTIONS] = _json(archive.descriptions)
    manifest = {
        "format_version": FORMAT_VERSION,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in contents.items()
        },
    }
    for name, data in (contents | {_MANIFEST: _json(manifest)}).items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    flush(folder)


def _json(value: Any, indent: int | None = 1) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False).encode()


def read_archive(path: str | Path) -> Archive:
    """Open a saved model, checking every file but the model card against the manifest.

    The checksums detect accidents, not attackers. If a process was killed while it replaced the
    model, the whole model that it left is put in its place first.

    Raises
    ------
    ArchiveError
        If it is not a saved model, is of a newer format, or a file is missing, truncated or
        altered.
    """
    folder = Path(path)
    try:
        folder.is_dir()
    except OSError as error:  # a name that is too long, for one
        raise ArchiveError(f"{folder} cannot be opened: {error.strerror}.") from error
    if _recover(folder):
        warnings.warn(
            f"A process was killed while it saved {folder}: the whole model that it left is now in "
            "its place.",
            DataWarning,
            stacklevel=3,
        )
    return _read_folder(folder)


def _read_folder(folder: Path) -> Archive:
    if not (folder / _MANIFEST).is_file():
        what = "has no manifest.json" if folder.is_dir() else "is not a folder"
        raise ArchiveError(
            f"{folder} is not a saved model: it {what}. Give the folder that `fit --out` or "
            "`save` wrote."
        )
    manifest = _parse(folder / _MANIFEST, _read(folder / _MANIFEST))
    _check_version(folder, manifest)
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(files.get(n), dict) for n in _CHECKED):
        raise ArchiveError(f"{folder / _MANIFEST} does not list {', '.join(_CHECKED)}: damaged.")
    # Models of features without descriptions, and all earlier ones, do not have the last.
    listed = [*_CHECKED, *([_DESCRIPTIONS] if isinstance(files.get(_DESCRIPTIONS), dict) else [])]
    data = {name: _read(folder / name) for name in listed}
    for name, content in data.items():
        _check_content(folder / name, content, files[name])
    try:
        tensors = load_tensors(data[_WEIGHTS])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArchiveError(f"{folder / _WEIGHTS} cannot be read: {error}.") from error
    config = _parse(folder / "config.json", data["config.json"])
    _check_version(folder, config)
    vocabulary = _parse(folder / "vocabulary.json", data["vocabulary.json"])
    history = _parse(folder / "history.json", data["history.json"])
    if not isinstance(vocabulary, list) or not all(isinstance(v, str) for v in vocabulary):
        raise ArchiveError(f"{folder / 'vocabulary.json'} is not a list of feature names.")
    descriptions = _parse(folder / _DESCRIPTIONS, data.get(_DESCRIPTIONS, b"{}"))
    _check_descriptions(folder / _DESCRIPTIONS, descriptions, vocabulary)
    card = folder / _CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return Archive(config, tensors, vocabulary, history, text, descriptions)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArchiveError(
            f"The saved model is incomplete: {path} cannot be read ({error.strerror}). "
            "Save or copy the model again."
        ) from error


def _parse(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ArchiveError(f"{path} is not valid JSON ({error}): the file is damaged.") from error


def _check_descriptions(path: Path, descriptions: Any, vocabulary: list[str]) -> None:
    if not isinstance(descriptions, dict) or not all(
        isinstance(text, str) for text in descriptions.values()
    ):
        raise ArchiveError(f"{path} does not map feature names to descriptions.")
    unknown = descriptions.keys() - set(vocabulary)
    if unknown:
        raise ArchiveError(
            f"{path} describes {len(unknown):,} features that the vocabulary does not have, such "
            f"as {min(unknown)!r}. The files are not those that were saved together."
        )


def _check_version(folder: Path, holder: Any) -> None:
    version = holder.get("format_version") if isinstance(holder, dict) else None
    if not isinstance(version, int) or version < 1:
        raise ArchiveError(f"{folder} names no format version: it is damaged or not a saved model.")
    if version > FORMAT_VERSION:
        raise ArchiveError(
            f"{folder} has model format {version}; this version of longtail reads up to format "
            f"{FORMAT_VERSION}. Upgrade longtail to open it."
        )


def _check_content(path: Path, content: bytes, entry: dict[str, Any]) -> None:
    if len(content) != entry.get("bytes"):
        raise ArchiveError(
            f"{path} has {len(content)} bytes where the manifest says {entry.get('bytes')}: "
            "truncated or altered. Save or copy the model again."
        )
    if hashlib.sha256(content).hexdigest() != entry.get("sha256"):
        raise ArchiveError(
            f"{path} does not match its SHA-256 in the manifest: altered since it was saved. "
            "Save or copy the model again."
        )
