from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtail import archive, folders
from longtail.archive import FORMAT_VERSION, Archive, read_archive, write_archive
from longtail.errors import ArchiveError, ArchiveWriteError, DataWarning
from tests.kills import every_kill, killed_after

FILES = ["config.json", "weights.safetensors", "vocabulary.json", "history.json"]


def example(value=1.0):
    tensors = {
        "a.b": np.full((2, 3), value, dtype=np.float32),
        "column": np.arange(6.0).reshape(2, 3)[:, 1],
    }
    return Archive({"kind": "test", "x": [1, None, "é"]}, tensors, ["w", "é"], [{"e": 1}], "# Card")


@pytest.fixture
def folder(tmp_path):
    write_archive(tmp_path / "model", example())
    return tmp_path / "model"


def rewrite(folder, name, data):
    """Change a file and make the manifest match."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_round_trip(folder):
    back, written = read_archive(folder), example()
    assert back.config == {"format_version": FORMAT_VERSION} | written.config
    assert back.vocabulary == written.vocabulary
    assert back.history == written.history
    assert back.card == written.card
    assert back.tensors.keys() == written.tensors.keys()
    for name, value in written.tensors.items():
        assert back.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(back.tensors[name], value)


def test_the_files(folder):
    assert {p.name for p in folder.iterdir()} == {*FILES, "README.md", "manifest.json"}
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    assert json.loads((folder / "config.json").read_text("utf-8"))["x"] == [1, None, "é"]


def test_folders_on_the_way_are_made(tmp_path):
    write_archive(tmp_path / "a" / "b", example())
    assert read_archive(tmp_path / "a" / "b").vocabulary == ["w", "é"]


def test_what_is_not_a_model(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("absent", "is not a folder"),
        ("file", "is not a folder"),
        ("empty", "has no manifest"),
    ]:
        with pytest.raises(ArchiveError, match=rf"{name} is not a saved model: it {message}"):
            read_archive(tmp_path / name)
    with pytest.raises(ArchiveError, match="cannot be opened: File name too long"):
        read_archive(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_truncated_file(folder, name):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-3])
    with pytest.raises(ArchiveError, match=f"{name} (has .* truncated|is not valid JSON)"):
        read_archive(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte(folder, name):
    data = bytearray((folder / name).read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        changed = data.copy()
        changed[place] ^= 1
        (folder / name).write_bytes(changed)
        with pytest.raises(ArchiveError, match=f"{name} does not match its SHA-256"):
            read_archive(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArchiveError, match=f"incomplete: .*{name} cannot be read"):
        read_archive(folder)


def test_the_card_may_be_edited_or_lost(folder):
    (folder / "README.md").write_text("# My card")
    assert read_archive(folder).card == "# My card"
    (folder / "README.md").unlink()
    assert read_archive(folder).card == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no format version"),
        ("[]", "no format version"),
        ('{"format_version": "1"}', "no format version"),
        ('{"format_version": 0}', "no format version"),
        ('{"format_version": 1}', "does not list config.json"),
        ('{"format_version": 1, "files": {"config.json": 3}}', "does not list config.json"),
        ('{"format_version": 3}', r"model format 3; .* up to format 2\. Upgrade longtail"),
    ],
)
def test_a_manifest_of_another_kind(folder, text, message):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ArchiveError, match=message):
        read_archive(folder)


def test_a_newer_config(folder):
    rewrite(folder, "config.json", json.dumps({"format_version": 9}).encode())
    with pytest.raises(ArchiveError, match="model format 9"):
        read_archive(folder)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("config.json", b"\xff", "is not valid JSON"),
        ("vocabulary.json", b'{"a": 1}', "not a list of feature names"),
        ("vocabulary.json", b"[1]", "not a list of feature names"),
        ("weights.safetensors", b"", "cannot be read"),
        ("weights.safetensors", b"\xff" * 64, "cannot be read"),
    ],
)
def test_files_that_match_the_manifest_but_make_no_sense(folder, name, data, message):
    rewrite(folder, name, data)
    with pytest.raises(ArchiveError, match=message) as caught:
        read_archive(folder)
    assert str(folder / name) in str(caught.value)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_is_not_executed(folder, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rewrite(folder, name, pickle.dumps(Bomb()))
    with pytest.raises(ArchiveError, match=name):
        read_archive(folder)
    assert not (tmp_path / "exploded").exists()


def test_an_earlier_model_is_replaced(folder):
    write_archive(folder, example(2.0))
    assert (read_archive(folder).tensors["a.b"] == 2).all()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fails_at", range(6))
def test_a_full_disk_leaves_the_old_model(folder, monkeypatch, fails_at):
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > fails_at:
            full_disk()

    monkeypatch.setattr(archive.os, "fsync", fsync)
    with pytest.raises(ArchiveWriteError, match=r"No space left.*has changed"):
        write_archive(folder, example(2.0))
    assert (read_archive(folder).tensors["a.b"] == 1).all()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
def test_a_failure_between_the_two_renames(folder, monkeypatch, error):
    rename = type(folder).rename

    def fail(self, target):
        if self.name == "new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", fail)
    monkeypatch.setattr(folders, "_exchange", lambda *names: False)
    with pytest.raises((ArchiveWriteError, KeyboardInterrupt)):
        write_archive(folder, example(2.0))
    assert (read_archive(folder).tensors["a.b"] == 1).all()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path, monkeypatch):
    monkeypatch.setattr(archive.os, "fsync", full_disk)
    with pytest.raises(ArchiveWriteError):
        write_archive(tmp_path / "model", example())
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_folders_are_left_alone(tmp_path, folder):
    project = tmp_path / "project"
    project.mkdir()
    (project / "notes.txt").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    website = tmp_path / "website"
    website.mkdir()
    (website / "manifest.json").write_text("{}")
    (folder / "my results.csv").write_text("mine")
    for path in (project, website, file, folder):
        with pytest.raises(ArchiveError, match="Choose a new"):
            write_archive(path, example(2.0))
    assert (project / "notes.txt").read_text() == "mine"
    assert (folder / "my results.csv").read_text() == "mine"
    assert (read_archive(folder).tensors["a.b"] == 1).all()


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "model").mkdir()
    write_archive(tmp_path / "model", example())
    assert read_archive(tmp_path / "model").config["kind"] == "test"


# --- descriptions -------------------------------------------------------------------------------


def test_descriptions_are_a_file_more_and_only_if_there_are_any(folder):
    assert read_archive(folder).descriptions == {}
    described = replace(example(), descriptions={"é": "accent"})
    write_archive(folder, described)
    assert read_archive(folder).descriptions == {"é": "accent"}
    assert "descriptions.json" in {p.name for p in folder.iterdir()}
    write_archive(folder, example())  # a folder with the file is still a model, and is replaced
    assert "descriptions.json" not in {p.name for p in folder.iterdir()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'["accent"]', "does not map"),
        (b'{"w": 3}', "does not map"),
        (b'{"w": "double u", "z": "last"}', "describes 1 features .* such as 'z'"),
        (b"{", "not valid JSON"),
    ],
)
def test_descriptions_that_are_none(folder, content, message):
    rewrite(folder, "descriptions.json", content)
    with pytest.raises(ArchiveError, match=message):
        read_archive(folder)


def test_altered_or_missing_descriptions(folder):
    write_archive(folder, replace(example(), descriptions={"w": "double u"}))
    (folder / "descriptions.json").write_bytes(b'{"w": "double-u"}   ')
    with pytest.raises(ArchiveError, match="does not match its SHA-256"):
        read_archive(folder)
    (folder / "descriptions.json").unlink()
    with pytest.raises(ArchiveError, match="incomplete"):
        read_archive(folder)


# --- killed --------------------------------------------------------------------------------------


@pytest.fixture(params=["one step", "two steps"])
def exchanging(request, monkeypatch):
    if request.param == "two steps":
        monkeypatch.setattr(folders, "_exchange", lambda *names: False)


def value_of(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_archive(folder).tensors["a.b"][0, 0]


def nothing_else(folder):
    return [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.usefixtures("exchanging")
def test_a_kill_leaves_the_old_model_or_the_new_one(folder, opened):
    values = []
    for begin in every_kill(lambda: write_archive(folder, example(2.0))):
        begin()
        if opened:
            values.append(value_of(folder))
            assert value_of(folder) == values[-1]
        write_archive(folder, example(1.0))
        assert nothing_else(folder)
        assert value_of(folder) == 1
    assert not opened or (values == sorted(values) and {*values} == {1, 2})


def test_a_kill_of_the_first_save(tmp_path):
    folder, values = tmp_path / "model", []
    for begin in every_kill(lambda: write_archive(folder, example(2.0))):
        begin()
        try:
            values.append(value_of(folder))
        except ArchiveError:
            values.append(0)
        assert values == sorted(values)
        write_archive(folder, example(1.0))
        assert nothing_else(folder)
        shutil.rmtree(folder)
    assert {*values} == {0, 2}


def test_a_kill_of_what_puts_the_model_back(folder, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda *names: False)
    steps = kill_between_the_renames(folder)
    for begin in every_kill(lambda: value_of(folder)):
        begin()
        assert value_of(folder) == 2
        write_archive(folder, example(1.0))
        assert nothing_else(folder)
        with killed_after(steps):
            write_archive(folder, example(2.0))
        assert not folder.exists()


def kill_between_the_renames(folder):
    for steps, begin in enumerate(every_kill(lambda: write_archive(folder, example(2.0)))):
        begin()
        if not folder.exists():
            return steps
        write_archive(folder, example(1.0))
    raise AssertionError("never between them")


def test_putting_back_is_told(folder, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda *names: False)
    kill_between_the_renames(folder)
    with pytest.warns(DataWarning, match="killed while it saved .*model"):
        read_archive(folder)
    assert nothing_else(folder)


def test_a_place_that_cannot_be_written_is_named(folder, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda *names: False)
    kill_between_the_renames(folder)
    monkeypatch.setattr(type(folder), "rename", full_disk)
    with pytest.raises(ArchiveError, match=r"is in .*\.model\.saving.*move the folder"):
        read_archive(folder)


def test_a_reader_never_misses_the_model(folder):
    seen = []
    for begin in every_kill(lambda: write_archive(folder, example(2.0))):
        begin()
        seen.append((folder / "manifest.json").exists())
    assert all(seen)


def test_what_a_live_process_makes_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda *names: False)
    kill_between_the_renames(folder)
    held = (folder.parent / ".model.lock").open("ab")  # as another process would
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(ArchiveError, match="not a saved model"):
        read_archive(folder)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_archive, folder, example(3.0))
        with pytest.raises(TimeoutError):
            writing.result(timeout=0.2)
        assert not folder.exists()
        held.close()
        writing.result(timeout=60)
    assert value_of(folder) == 3
    assert nothing_else(folder)


def test_many_at_once(folder):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda value: write_archive(folder, example(value)), range(1, 20)))
    assert value_of(folder) in range(1, 20)
    assert nothing_else(folder)


KILLED = """
import os, signal, sys
from longtail import archive, folders
from tests.test_archive import example

def stop(self, target, rename=archive.Path.rename):
    if self.name == "new":
        print("ready", flush=True)
        signal.pause()
    return rename(self, target)

folders._exchange = lambda *names: False
archive.Path.rename = stop
archive.write_archive(sys.argv[1], example(2.0))
"""


@pytest.mark.slow
def test_a_process_that_is_really_killed(folder):
    command = [sys.executable, "-c", KILLED, str(folder)]
    root = Path(__file__).parents[1]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    assert not folder.exists()
    with pytest.raises(ArchiveError, match="not a saved model"):
        read_archive(folder)  # it is alive
    process.kill()
    process.communicate(timeout=60)
    assert value_of(folder) == 2
    assert nothing_else(folder)


def test_a_link_stays_a_link(folder, tmp_path):
    link = tmp_path / "here" / "link"
    link.parent.mkdir()
    link.symlink_to(folder, target_is_directory=True)
    write_archive(link, example(2.0))
    assert link.is_symlink()
    assert value_of(folder) == value_of(link) == 2
    assert nothing_else(link)


# --- what could not be opened --------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": {"x": float("nan")}},
        {"config": {"x": object()}},
        {"vocabulary": ["w", 3]},
        {"vocabulary": ["\ud83d"]},
        {"descriptions": {"of nothing": "known"}},
        {"tensors": {"a": np.array(["text"])}},
    ],
)
def test_what_could_not_be_opened_replaces_nothing(folder, wrong):
    with pytest.raises(ArchiveWriteError, match=r"could not be opened.*has changed"):
        write_archive(folder, replace(example(2.0), **wrong))
    assert value_of(folder) == 1
    assert nothing_else(folder)


def test_a_check_that_fails(tmp_path):
    def check(written):
        assert written.tensors["a.b"][0, 0] == 2
        raise ArchiveError("not the same")

    with pytest.raises(ArchiveWriteError, match="not the same"):
        write_archive(tmp_path / "model", example(2.0), check=check)
    assert list(tmp_path.iterdir()) == []


def test_nan_comes_back_bitwise(tmp_path):
    nan = np.array([0x7FC00001, 0x7FC00002], dtype=np.uint32).view(np.float32)
    write_archive(tmp_path / "model", replace(example(), tensors={"a": nan}))
    back = read_archive(tmp_path / "model").tensors["a"]
    assert back.tobytes() == nan.tobytes()
