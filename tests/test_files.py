"""Results of several files: all of them or none."""

from pathlib import Path

import pytest

from hftgym.files import written_together


def write(work):
    for name in "abc":
        (work / name).write_text("new")


def test_files_come_together_and_others_stay(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("a", "mine"):
        (tmp_path / "out" / name).write_text("old")
    with written_together(tmp_path / "out") as work:
        write(work)
        assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"a": "old", "mine": "old"}
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert found == {"a": "new", "b": "new", "c": "new", "mine": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
    def half(out):
        with written_together(out) as work:
            write(work)
            raise error

    with pytest.raises(error):
        half(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_in_between_says_what_is_there(tmp_path, monkeypatch):
    replace = Path.replace

    def interrupted(source, target):
        if source.name == "c":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with (
        pytest.raises(KeyboardInterrupt, match="of the results, a, b were written to"),
        written_together(tmp_path / "out") as work,
    ):
        write(work)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
