"""Files are written whole or not at all, wherever that is possible."""

from __future__ import annotations

import ast
import os
import resource
import stat
import threading
from contextlib import contextmanager
from pathlib import Path

import altair as alt
import numpy as np
import polars as pl
import pytest

import longtail
from longtail.costs import MACHINES
from longtail.data import Vocabulary
from longtail.displays import save_plot
from longtail.errors import ParameterError, WriteError
from longtail.introspection import Embeddings
from longtail.output_files import (
    check_output_file,
    check_output_folder,
    replacing,
    write_table,
    write_text,
)

TABLE = pl.DataFrame({"a": range(100), "b": [f"word {i}" for i in range(100)]})
CHART = alt.Chart(alt.Data(values=[{"x": 1}, {"x": 3}])).mark_bar().encode(x="x:Q")
VECTORS = Embeddings(Vocabulary(list("abc")), np.eye(3, 2, dtype=np.float32))

WRITERS = {
    "table.csv": lambda path: write_table(TABLE, path),
    "table.parquet": lambda path: write_table(TABLE, path),
    "text.html": lambda path: write_text("<p>" * 99, path),
    "plot.png": lambda path: save_plot(CHART, path),
    "plot.svg": lambda path: save_plot(CHART, path),
    "plot.html": lambda path: save_plot(CHART, path),
    "plot.json": lambda path: save_plot(CHART, path),
    "vectors.csv": VECTORS.save,
    "vectors.parquet": VECTORS.save,
    "vectors.w2v": VECTORS.save,
    "machine.json": MACHINES["laptop"].save,
}


@contextmanager
def full_disk(limit=10):
    """No file may grow past some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_older_file(name, tmp_path):
    path = tmp_path / name
    path.write_text("older")
    with (
        full_disk(),
        pytest.raises(WriteError, match=r"could not be written: .*File too large") as e,
    ):
        WRITERS[name](path)
    assert "\n" not in str(e.value)
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_missing_parents_are_made_and_older_files_replaced(name, tmp_path):
    path = tmp_path / "new" / "folder" / name
    WRITERS[name](path)
    first = path.read_bytes()
    assert len(first) > 10
    path.write_bytes(b"older " * 10_000)
    WRITERS[name](path)
    assert path.read_bytes()[:4] == first[:4]
    assert [p.name for p in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_parent_that_is_a_file(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="could not be written: "):
        WRITERS[name](tmp_path / "file" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(WriteError, match="could not be written: Is a directory"):
        WRITERS[name](tmp_path / name)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_or_interruption_while_writing(error, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("older")

    def write():
        with replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions(tmp_path):
    path = tmp_path / "x.txt"
    before = os.umask(0o027)
    try:
        write_text("new", path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write_text("newer", path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_read_only_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text("older")
    path.chmod(0o444)
    # Root may write to it: what others are told.
    monkeypatch.setattr(os, "access", lambda path, mode: bool(os.stat(path).st_mode & 0o200))
    with pytest.raises(ParameterError, match="cannot be written: Permission denied"):
        check_output_file(path)
    with pytest.raises(WriteError, match="could not be written: Permission denied"):
        write_text("new", path)
    assert path.read_text() == "older"


def test_a_symbolic_link_stays(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(Path("there") / "real.txt")
    for text in ("first", "second"):  # the first through a link that leads nowhere
        write_text(text, link)
        assert link.is_symlink()
        assert (tmp_path / "there" / "real.txt").read_text() == text


def test_a_name_as_long_as_allowed(tmp_path):
    path = tmp_path / f"{'x' * 251}.txt"
    check_output_file(path)
    write_text("text", path)
    assert path.read_text() == "text"


def test_devices_and_fifos_are_written_through(tmp_path, capfd):
    for path in ("/dev/null", "/dev/stdout"):
        check_output_file(path)
        write_text("through", path)
    assert capfd.readouterr().out == "through"
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    reader.start()
    write_table(TABLE, fifo)
    reader.join(10)
    assert read[0].startswith(b"PAR1")
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    with pytest.raises(WriteError, match="No space left on device"):
        write_table(TABLE, "/dev/full")


def test_standard_output_that_is_a_file_keeps_what_else_is_printed(tmp_path, capfd):
    # Under pytest, /dev/stdout is a regular file: it must not be renamed away from who has it.
    print("before")
    write_text("x", "/dev/fd/1")
    print("after")
    assert "after" in capfd.readouterr().out


# --- checks ---------------------------------------------------------------------------------------


def faults(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    return {
        "empty": "",
        "long": tmp_path / ("x" * 256),
        "long in a missing folder": tmp_path / "missing" / ("x" * 256) / "x.csv",
        "very long": tmp_path / "/".join(["x" * 200] * 30),
        "below a file": tmp_path / "file" / "x.csv",
        "loop": tmp_path / "a",
        "below a loop": tmp_path / "a" / "x",
        "null": "a\0b",
        "half an emoji": tmp_path / "a\ud83d",
        "read-only": Path("/proc/x.csv"),
    }


FAULTS = [
    *("empty", "long", "long in a missing folder", "very long", "below a file", "loop"),
    *("below a loop", "null", "half an emoji", "read-only"),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("check", [check_output_file, check_output_folder])
def test_paths_that_cannot_be_written(check, fault, tmp_path):
    path = faults(tmp_path)[fault]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ParameterError) as error:
        check(path)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_whose_checkpoints_would_have_too_long_a_name(tmp_path):
    check_output_folder(tmp_path / ("x" * 244), replaced=True)
    with pytest.raises(ParameterError, match="File name too long"):
        check_output_folder(tmp_path / ("x" * 245), replaced=True)


@pytest.mark.parametrize("name", ["", "a\0b", "a\ud83d"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(ParameterError):
        write_text("text", name)


def test_files_and_folders_in_each_others_place(tmp_path):
    faults(tmp_path)
    with pytest.raises(ParameterError, match="is a folder; expected the name of a file"):
        check_output_file(tmp_path / "folder.csv")
    with pytest.raises(ParameterError, match="is a file; expected a folder"):
        check_output_folder(tmp_path / "file")
    for name in (".", ".."):
        check_output_folder(name)
        with pytest.raises(ParameterError, match="cannot be replaced as a whole"):
            check_output_folder(name, replaced=True)


def test_checks_leave_nothing_behind(tmp_path):
    check_output_file(tmp_path / "new" / "x.csv")
    check_output_folder(tmp_path / "new" / "folder")
    check_output_folder(tmp_path / "new" / "model", replaced=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.csv").write_text("older")
    check_output_file(tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "older"


# --- nothing else writes --------------------------------------------------------------------------

OWN_WAY = {
    "archive.py": "a model is a folder, exchanged as a whole",
    "training/checkpoint.py": "a checkpoint is a folder, renamed as a whole",
    "scoring/job.py": "renamed; its folder is flushed too, for the loss of power",
    "scoring/parts.py": "renamed; its folder is flushed too, and workers may share a file",
    "data/claims.py": "the cache of downloads, shared by processes",
    "data/corpus_cache.py": "a cache, renamed; the program goes on without it",
    "data/download.py": "the cache of downloads: a part is kept, to go on with",
    "data/remote.py": "the cache of downloads: a digest, renamed",
    "data/unpack.py": "the cache of downloads: unpacked beside, renamed by its caller",
    "costs/calibrate.py": "a temporary file that measures the disk",
    "cli/output.py": "the null device",
    "terminal.py": "the null device",
    "output_files.py": "a file without a name, to see whether a folder can be written to",
    "folders.py": "the file that a lock is on",
}
WRITE_METHODS = {"write_text", "write_bytes", "write_csv", "write_parquet", "write_h5ad", "to_csv"}
TEMPORARY = {"NamedTemporaryFile", "TemporaryFile", "mkstemp"}


def writes(tree):
    """Lines that write to a file by name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [*node.args, *(k.value for k in node.keywords)]
        opened = name == "open" and any(
            isinstance(part, ast.Constant)
            and isinstance(part.value, str)
            and set(part.value) <= set("rwaxbt+")
            and set(part.value) & set("wax+")
            for mode in modes
            for part in ast.walk(mode)
        )
        charted = name == "save" and any(k.arg == "format" for k in node.keywords)
        method = isinstance(node.func, ast.Attribute) and name in WRITE_METHODS
        if opened or charted or method or name in TEMPORARY:
            yield node


def test_files_are_written_in_one_place():
    root = Path(longtail.__file__).parent
    seen = set()
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.With)
            and any(
                isinstance(item.context_expr, ast.Call)
                and getattr(item.context_expr.func, "id", "") == "replacing"
                for item in block.items
            )
            for node in ast.walk(block)
        }
        name = path.relative_to(root).as_posix()
        for node in writes(tree):
            if id(node) not in inside:
                seen.add(name)
                assert name in OWN_WAY, (
                    f"{name}:{node.lineno} writes a file: use longtail.output_files"
                )
    assert seen == OWN_WAY.keys()
