import gzip

import numpy as np
import pytest

from hftgym.tape import TapeError, read_chunks, read_tape, read_trades
from tests.memory import linux_only, peak_kib


def capture(wire, path, count):
    """A capture in which time steps back, quotes cross and pause, trades are missing and lines are bad."""
    rng = np.random.default_rng(1)
    lines, now = [], wire.START_NS
    for i, what in enumerate(rng.integers(0, 40, count)):
        now += int(rng.integers(-1_000, 10**6)) + (what == 0) * 2 * 10**9
        make = wire.trade if what % 3 == 0 else wire.quote
        fields = {"t": i // 2 + (i > count // 2)} if what % 3 == 0 else {"a": "61800.10" if what == 1 else "61800.30"}
        lines.append(b"?" if what == 2 else make(local_ns=now, **fields))
    return wire.write(path, lines, packed=True)


def columns(rows):
    return {name: getattr(rows, name) for name in type(rows).__dataclass_fields__}


@pytest.mark.parametrize("rows", [1, 700, 10**9])
def test_all_pieces_together_are_the_tape_and_the_report_does_not_depend_on_them(wire, tmp_path, rows):
    path = capture(wire, tmp_path / "x", 6_000)
    tape, chunks = read_tape(path), read_chunks(path, rows=rows)
    pieces = list(chunks)
    assert len(pieces) > 2 if rows < 10**9 else len(pieces) == 1
    for place, whole in enumerate((tape.quotes, tape.trades)):
        for name, column in columns(whole).items():
            joined = np.concatenate([columns(piece[place])[name] for piece in pieces])
            np.testing.assert_array_equal(joined, column)
    assert (chunks.venue, chunks.symbol, chunks.report) == (tape.venue, tape.symbol, tape.report)
    report = tape.report
    assert min(f.count for f in (report.gaps, report.crossed_quotes, report.backwards, report.bad_lines)) > 5
    assert report.lost.count > 0


def test_what_a_recording_was_is_known_at_its_end(wire, tmp_path):
    chunks = read_chunks(capture(wire, tmp_path / "x", 200))
    with pytest.raises(RuntimeError, match="after its last piece"):
        _ = chunks.report
    list(chunks)
    assert chunks.report.lines == 200


def test_what_is_wrong_with_the_whole_file_is_raised_at_its_end(wire, tmp_path):
    path = wire.write(tmp_path / "x", [wire.quote()] * 3_000 + [wire.quote(symbol="ETHUSDT")])
    pieces = iter(read_chunks(path, rows=1_000))
    next(pieces)
    with pytest.raises(TapeError, match="holds 2 symbols"):
        list(pieces)
    path.write_bytes(gzip.compress(path.read_bytes())[:-30])
    with pytest.raises(TapeError, match="breaks off"):
        list(read_chunks(path, symbol="BTCUSDT"))


@pytest.mark.parametrize("rows", [0, -1, 1.5])
def test_pieces_have_at_least_one_row(wire, tmp_path, rows):
    path = wire.write(tmp_path / "x", [wire.quote()])
    with pytest.raises(ValueError, match="rows must be a whole number of at least 1, got"):
        read_chunks(path, rows=rows)


def test_trades_can_be_read_from_a_capture_that_has_no_quotes(wire, tmp_path):
    path = wire.write(tmp_path / "x", [wire.trade(), wire.trade(m=True), wire.depth()])
    assert read_trades(path).taker_side.tolist() == [1, -1]
    with pytest.raises(TapeError, match="no quotes or trades of symbol"):
        read_trades(wire.write(tmp_path / "y", [wire.depth()] * 3))


def test_a_capture_and_the_quotes_of_another_recorder_join(wire, tmp_path):
    trades = wire.write(tmp_path / "t", [wire.trade(local_ns=wire.START_NS + i) for i in range(0, 100, 2)])
    quotes = wire.write(tmp_path / "q", [wire.quote(local_ns=wire.START_NS + i) for i in range(1, 100, 2)])
    tape = read_tape([trades, quotes])
    assert (len(tape.quotes), len(tape.trades), tape.report.lines) == (50, 50, 100)


@pytest.mark.slow
@linux_only
def test_memory_does_not_grow_with_the_file(wire, tmp_path):
    code = (
        "import sys; from hftgym.tape import read_chunks\n"
        "assert sum(len(q) + len(t) for q, t in read_chunks(sys.argv[1], rows=20_000)) == int(sys.argv[2])"
    )
    peaks, message = [], wire.quote()[20:]
    for count in (50_000, 1_000_000):
        path = tmp_path / str(count)
        with gzip.open(path, "wb", compresslevel=1) as file:
            for i in range(count):
                file.write(b"%d %s\n" % (wire.START_NS + i, message))
        peaks.append(peak_kib(code, path, count))
    assert peaks[1] - peaks[0] < 20_000  # a million quotes take 56,000
