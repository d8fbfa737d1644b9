"""Files appear whole or not at all, and only a run's own files are ever deleted."""

import errno
import os

import pytest

from agents.run_folder import RunError, RunFolder, write_atomic


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*file \(3 bytes\): No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot create .*file/run/checkpoints: Not a directory"):
        RunFolder(tmp_path / "file" / "run").create(overwrite=False)


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path)
    folder.create(overwrite=False)
    for path in (folder.config, folder.model, folder.checkpoint(3), tmp_path / "notes.txt"):
        path.write_text("x")
    with pytest.raises(RunError, match=r"--resume.*--overwrite"):
        folder.create(overwrite=False)
    folder.create(overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoints", "notes.txt"]


def test_a_folder_of_something_else_is_refused_even_to_overwrite(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"no config\.toml"):
        RunFolder(tmp_path).create(overwrite=True)


def test_the_newest_checkpoints_stay(tmp_path):
    folder = RunFolder(tmp_path)
    folder.create(overwrite=False)
    for steps in (900, 1_000_000, 20_000):
        folder.checkpoint(steps).write_text("x")
    (folder.checkpoints / "step_000002000000.zip.tmp").write_text("half")
    folder.prune(2)
    assert [path.name for path in folder.newest_first()] == ["step_000001000000.zip", "step_000000020000.zip"]
    assert len(list(folder.checkpoints.iterdir())) == 2
