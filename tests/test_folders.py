from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from longtail import folders
from longtail.folders import BusyError, locked, put_in_place


def test_a_lock_excludes_others_and_leaves_nothing(tmp_path):
    path = tmp_path / "a" / "lock"
    with locked(path):
        with path.open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with locked(path):  # the same thread
            pass
        assert path.exists()
    assert list(path.parent.iterdir()) == []


def test_another_thread_is_another_holder(tmp_path):
    errors = []

    def try_it():
        try:
            with locked(tmp_path / "lock"):
                pass
        except BusyError as error:
            errors.append(error)

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join(timeout=60)
    assert len(errors) == 1


def test_many_that_wait_hold_it_one_after_another(tmp_path):
    inside, most = [0], [0]

    def hold():
        for _ in range(20):
            with locked(tmp_path / "folder" / "lock", wait=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
            try:
                (tmp_path / "folder").rmdir()
            except OSError:
                continue

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most == [1]
    assert not (tmp_path / "folder" / "lock").exists()


@pytest.mark.slow
def test_a_killed_holder_holds_nothing(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from longtail.folders import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(BusyError), locked(tmp_path / "lock"):
        pass
    process.kill()
    process.communicate(timeout=60)
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("not here")

    monkeypatch.setattr(folders.fcntl, "flock", refuse)
    with locked(tmp_path / "lock"):
        pass
    monkeypatch.setattr(folders, "fcntl", None)
    with locked(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", ["one", "two"])
@pytest.mark.parametrize("before", ["nothing", "an empty folder", "a folder"])
def test_a_folder_is_put_in_place(tmp_path, monkeypatch, steps, before):
    if steps == "two":
        monkeypatch.setattr(folders, "_exchange", lambda *names: False)
    new, target, aside = (tmp_path / name for name in ("new", "target", "aside"))
    new.mkdir()
    (new / "file").write_text("new")
    if before != "nothing":
        target.mkdir()
    if before == "a folder":
        (target / "file").write_text("old")
    put_in_place(new, target, aside)
    assert (target / "file").read_text() == "new"
    left = {path.name for path in tmp_path.iterdir()} - {"target"}
    assert len(left) == (before != "nothing")
    assert left <= ({"new"} if steps == "one" else {"aside"})


def test_the_system_here_exchanges_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / name).mkdir(parents=True)
    assert folders._exchange(tmp_path / "a", tmp_path / "b")
    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == (["b"], ["a"])
    assert not folders._exchange(tmp_path / "a", tmp_path / "absent")
