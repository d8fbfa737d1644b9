"""The command that writes tapes."""

import sys

import numpy as np
import pytest

from hftgym.tape import TapeWriter, open_tape, read_tape
from scripts import record
from tests.memory import linux_only, peak_kib
from tests.reference.tapes import quotes_of, same, trades_of

START_NS = 1_723_161_255_088_169_167


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["record.py", *map(str, words)])
    return record.main()


@pytest.fixture
def capture(tmp_path):
    lines = [f'{START_NS + k} {{"u":1,"s":"BTCUSDT","b":"100.{k}","B":"1","a":"101","A":"2"}}\n' for k in range(1, 9)]
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
        ((capture, capture, "--overwrite"), "out must be another file than the source"),
    ):
        assert run(monkeypatch, *words) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in capture.parent.iterdir()] == ["capture"]


def test_an_interrupt_leaves_nothing(monkeypatch, capsys, capture):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "read_chunks", interrupted)
    assert run(monkeypatch, capture, capture.with_name("x")) == 130
    assert "interrupted: nothing was written" in capsys.readouterr().err
    assert [path.name for path in capture.parent.iterdir()] == ["capture"]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ('{"u":1,"s":"ETHUSDT","b":"1","B":"1","a":"2","A":"1"}', "holds 2 symbols"),
        (
            '{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1","T":1723161256322,"E":1723161256322}',
            "mixes messages of",
        ),
    ],
)
def test_what_the_end_of_a_source_shows_leaves_nothing_of_what_was_written(monkeypatch, capsys, capture, last, said):
    line = '{"u":1,"s":"BTCUSDT","b":"100","B":"1","a":"101","A":"2"}'
    monkeypatch.setattr(record, "_ROWS", 1_000)
    seen, write = [], TapeWriter.write

    def watched(self, quotes, trades):
        write(self, quotes, trades)
        seen.append(self.path.with_name("x.partial").is_file())

    monkeypatch.setattr(TapeWriter, "write", watched)
    text = "".join(f"{START_NS + k} {line}\n" for k in range(9_000))
    capture.write_text(f"{text}{START_NS + 9_000} {last}\n")
    assert run(monkeypatch, capture, capture.with_name("x")) == 1
    assert said in capsys.readouterr().err
    assert len(seen) > 1
    assert all(seen)
    assert [path.name for path in capture.parent.iterdir()] == ["capture"]


def test_trades_alone_are_no_tape(monkeypatch, capsys, capture):
    line = '{"e":"trade","E":1723161256322,"s":"BTCUSDT","t":1,"p":"100","q":"1","T":1723161256322,"m":true,"M":true}'
    capture.write_text(f"{START_NS} {line}\n" * 9)
    assert run(monkeypatch, capture, capture.with_name("x")) == 1
    assert "no quotes of symbol BTCUSDT" in capsys.readouterr().err
    assert [path.name for path in capture.parent.iterdir()] == ["capture"]


@pytest.mark.slow
@linux_only
def test_memory_does_not_grow_with_the_source(tmp_path):
    source, out, peaks = tmp_path / "capture", tmp_path / "x.parquet", []
    code = (
        "import sys; from pathlib import Path; from scripts.record import convert\n"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), symbol=None)"
    )
    for count in (1_000_000, 2_500_000):  # 4 and 10 pieces
        with source.open("w") as file:
            file.writelines(
                f'{START_NS + 10**6 * k} {{"stream":"btcusdt@bookTicker","data":'
                f'{{"u":1,"s":"BTCUSDT","b":"100.{k % 97}","B":"1","a":"101","A":"2"}}}}\n'
                for k in range(count)
            )
        peaks.append(peak_kib(code, source, out))
        assert (np.diff(read_tape(out).quotes.local_ns) == 10**6).all()
        assert open_tape(out).n_quotes == count
    assert peaks[1] - peaks[0] < 30_000  # as columns 72,000
