"""The command that writes tapes."""

import sys

import pytest

from hftgym.tape import TapeWriter, open_tape, read_tape
from scripts import record
from tests.reference.tapes import quotes_of, same, trades_of


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["record.py", *map(str, words)])
    return record.main()


@pytest.fixture
def capture(tmp_path):
    lines = [
        f'{1_723_161_255_088_169_167 + k} {{"u":1,"s":"BTCUSDT","b":"100.{k}","B":"1","a":"101","A":"2"}}\n'
        for k in range(1, 9)
    ]
    (tmp_path / "capture").write_text("".join(lines))
    return tmp_path / "capture"


def test_a_capture_becomes_a_tape_and_an_existing_one_is_left_alone(monkeypatch, capsys, capture):
    out = capture.with_name("x.parquet")
    assert run(monkeypatch, capture, out, "--symbol", "btcusdt") == 0
    assert "8  quotes" in capsys.readouterr().out
    tape = read_tape(capture)
    assert same(read_tape(out).quotes, tape.quotes)
    assert open_tape(out).report == tape.report
    assert run(monkeypatch, capture, out) == 1
    assert "x.parquet exists: choose another name, or --overwrite" in capsys.readouterr().err
    assert run(monkeypatch, capture, out, "--overwrite") == 0


def test_the_journal_of_a_killed_recording_is_finished(monkeypatch, tmp_path):
    writer = TapeWriter(tmp_path / "live.parquet", venue="a", symbol="b", journal=True)
    writer.write(quotes_of([1, 2]), trades_of([2]))
    writer.discard()
    assert run(monkeypatch, tmp_path / "live.parquet.journal") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live.parquet"]
    assert open_tape(tmp_path / "live.parquet").n_quotes == 2


def test_what_is_wrong_is_said_and_nothing_is_left(monkeypatch, capsys, capture):
    for words, said in (
        ((capture,), "out must be the tape to write"),
        ((capture.with_name("absent"), capture.with_name("x")), "no such file"),
        ((capture, capture.with_name("x"), "--symbol", "ETHUSDT"), "ETHUSDT"),
    ):
        assert run(monkeypatch, *words) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in capture.parent.iterdir()] == ["capture"]


def test_an_interrupt_leaves_nothing(monkeypatch, capsys, capture):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "read_tape", interrupted)
    assert run(monkeypatch, capture, capture.with_name("x")) == 130
    assert "interrupted: nothing was written" in capsys.readouterr().err
    assert [path.name for path in capture.parent.iterdir()] == ["capture"]
