"""`TapeWriter`: the order of rows over any pieces, and what is left when something goes wrong."""

import itertools
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hftgym.tape.writer
from hftgym.tape import TapeError, TapeWriter, finish_tape, open_tape, read_tape, write_tape
from hftgym.tape.rows import rows_of
from tests.reference.tapes import START_NS, quotes_of, same, tapes, trades_of, walk

ROOT = Path(__file__).parents[2]
MARKET = {"venue": "binance-usdm", "symbol": "BTCUSDT"}
NO_QUOTES, NO_TRADES = quotes_of([]), trades_of([])


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("writer")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def row_groups_of(rows):
    """Small row groups, so that few rows fill several."""
    before = hftgym.tape.writer.ROWS
    hftgym.tape.writer.ROWS = rows
    try:
        yield
    finally:
        hftgym.tape.writer.ROWS = before


def cut(rows, places):
    edges = [0, *sorted(place % (len(rows) + 1) for place in places), len(rows)]
    return [rows_of(rows, a, b) for a, b in itertools.pairwise(edges)]


@settings(max_examples=20)
@given(
    tapes(local_ns=st.integers(START_NS, START_NS + 5)),
    st.lists(st.integers(0, 20), min_size=3, max_size=3),
    st.lists(st.integers(0, 20), min_size=3, max_size=3),
    st.booleans(),
)
def test_any_pieces_whose_kinds_come_apart_by_less_than_ten_seconds_make_the_same_table(
    folder, tape, quotes, trades, journal
):
    write_tape(tape, folder / "whole")
    with row_groups_of(5), TapeWriter(folder / "pieces", **MARKET, journal=journal) as writer:
        for pair in zip(cut(tape.quotes, quotes), cut(tape.trades, trades), strict=True):
            writer.write(*pair)
    assert pq.read_table(folder / "pieces").equals(pq.read_table(folder / "whole")) or _equal(folder)
    assert open_tape(folder / "pieces").price_step == tape.price_step
    assert not (folder / "pieces.journal").exists()


def _equal(folder):
    """NaN is not equal to itself in arrow."""
    tables = [pq.read_table(folder / name).to_pydict() for name in ("pieces", "whole")]
    return all(np.array(tables[0][name]).tobytes() == np.array(tables[1][name]).tobytes() for name in tables[0])


def test_rows_are_written_while_others_still_wait(tmp_path):
    tape = walk(quotes=5_000, trades=900, seconds=1_000)
    edges = [0, *tape.quotes.local_ns[25:5_000:25].tolist(), 2**62]  # every 5 s
    quotes, trades = (np.searchsorted(rows.local_ns, edges).tolist() for rows in (tape.quotes, tape.trades))
    with row_groups_of(500):
        with TapeWriter(tmp_path / "x", **MARKET) as writer:
            for (a, b), (c, d) in zip(itertools.pairwise(quotes), itertools.pairwise(trades), strict=True):
                writer.write(rows_of(tape.quotes, a, b), NO_TRADES)
                writer.write(NO_QUOTES, rows_of(tape.trades, c, d))
        assert pq.ParquetFile(tmp_path / "x").num_row_groups > 5
    back = read_tape(tmp_path / "x")
    assert same(back.quotes, tape.quotes)
    assert same(back.trades, tape.trades)


def test_rows_that_come_too_late_are_refused_and_the_writer_goes_on(tmp_path):
    second = 10**9
    with TapeWriter(tmp_path / "x", **MARKET) as writer:
        writer.write(quotes_of([START_NS, START_NS + 60 * second]), NO_TRADES)
        with pytest.raises(TapeError, match=r"rows come 10\.500 s after younger ones; while writing, at most 10 s"):
            writer.write(NO_QUOTES, trades_of([START_NS + 49_500_000_000]))
        writer.write(quotes_of([START_NS]), trades_of([START_NS + 50 * second]))  # quotes know their own clock
    back = read_tape(tmp_path / "x")
    assert back.quotes.local_ns.tolist() == [START_NS, START_NS + 60 * second, START_NS]
    assert len(back.trades) == 1


def test_a_writer_reports_what_its_rows_show(tmp_path):
    second = 10**9
    quotes = quotes_of(
        [START_NS, START_NS + second, START_NS + 3 * second, START_NS + 2 * second], bid=[1, 9, 1, 1], ask=2
    )
    with row_groups_of(2), TapeWriter(tmp_path / "x", **MARKET) as writer:
        for row in range(4):
            writer.write(rows_of(quotes, row, row + 1), NO_TRADES)
    found = open_tape(tmp_path / "x").report
    assert (found.lines, found.quotes, found.trades, found.bad_lines.count) == (4, 4, 0, 0)
    assert found.crossed_quotes.first == ((2, "bid 9.0 >= ask 2.0"),)
    assert found.backwards.first == ((4, "1.000000000 s before the row before it"),)
    assert found.gaps.first == ((3, "2.000 s without a quote"),)
    assert found.late.count == 0  # exactly a second is not more than one


def test_rows_behind_the_latest_time_are_counted(tmp_path):
    stamped = [START_NS + k * 10**8 + (k == 3) * 10**10 for k in range(8)]  # the fourth is 10 s ahead
    with row_groups_of(2), TapeWriter(tmp_path / "x", **MARKET) as writer:
        for one in stamped:
            writer.write(quotes_of([one]), NO_TRADES)
    found = open_tape(tmp_path / "x").report
    assert (found.backwards.count, found.late.count) == (1, 4)
    assert found.late.first[0] == (5, "9.900 s behind the latest time before it")


def test_the_market_may_be_told_at_the_end(tmp_path):
    with TapeWriter(tmp_path / "x") as writer:
        writer.write(quotes_of([1]), NO_TRADES)
        writer.close(venue="a", symbol="b")
    assert (open_tape(tmp_path / "x").venue, open_tape(tmp_path / "x").symbol) == ("a", "b")
    with pytest.raises(ValueError, match="venue must be a name, got ''"), TapeWriter(tmp_path / "y") as writer:
        writer.write(quotes_of([1]), NO_TRADES)
    with pytest.raises(ValueError, match="symbol must be a name, got ''"):
        TapeWriter(tmp_path / "y", venue="a", journal=True)
    assert names(tmp_path) == ["x"]


def test_without_a_quote_there_is_no_tape(tmp_path):
    with (
        pytest.raises(TapeError, match="a tape needs at least one quote, none was written"),
        TapeWriter(tmp_path / "x", **MARKET) as writer,
    ):
        writer.write(NO_QUOTES, trades_of([1]))
    assert names(tmp_path) == []


def test_an_error_or_an_interrupt_leaves_the_old_tape_and_nothing_else(tmp_path):
    write_tape(walk(), tmp_path / "x")
    before = (tmp_path / "x").read_bytes()
    for error in (RuntimeError, KeyboardInterrupt):
        writer = TapeWriter(tmp_path / "x", **MARKET)
        with suppress(error), writer:
            writer.write(quotes_of([1]), NO_TRADES)
            raise error
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == before
    with pytest.raises(ValueError, match="the tape is discarded"):
        writer.write(quotes_of([1]), NO_TRADES)
    with pytest.raises(ValueError, match="was discarded and cannot be closed"):
        writer.close()


@pytest.mark.parametrize("journal", [False, True])
def test_one_tape_has_one_writer_at_a_time(tmp_path, journal):
    with TapeWriter(tmp_path / "x", **MARKET, journal=journal) as first:
        first.write(quotes_of([1]), NO_TRADES)
        before = names(tmp_path)
        for _ in range(2):
            with pytest.raises(TapeError, match=r"x\.partial: another process or writer is writing this tape"):
                TapeWriter(tmp_path / "x", **MARKET, journal=journal)
        assert names(tmp_path) == before
        first.write(quotes_of([2]), NO_TRADES)
    assert names(tmp_path) == ["x"]
    assert read_tape(tmp_path / "x").quotes.local_ns.tolist() == [1, 2]
    (tmp_path / "x.partial").write_bytes(b"of one that was killed")
    with TapeWriter(tmp_path / "x", **MARKET) as second:
        second.write(quotes_of([3]), NO_TRADES)
    assert read_tape(tmp_path / "x").quotes.local_ns.tolist() == [3]


def test_a_closed_writer_takes_no_rows_and_may_be_closed_again(tmp_path):
    with TapeWriter(tmp_path / "x", **MARKET) as writer:
        writer.write(quotes_of([1]), NO_TRADES)
    writer.close()
    with pytest.raises(ValueError, match="the tape is closed"):
        writer.write(quotes_of([1]), NO_TRADES)


@contextmanager
def disk_of(size):
    """No file of this process may grow beyond a size: what a full disk looks like."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("rows", [500, 1 << 18])  # full in the middle, full at the end
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, rows):
    tape = walk(quotes=20_000, seconds=1_000)
    with row_groups_of(rows), disk_of(20_000):
        with pytest.raises(OSError, match=r"x: the tape cannot be written: .*; nothing of it is left"):
            write_tape(tape, tmp_path / "x")
        assert names(tmp_path) == []


def test_a_full_disk_keeps_the_journal_and_what_stands_in_it(tmp_path):
    tape = walk(quotes=3_000, trades=0)
    with row_groups_of(1 << 20), disk_of(100_000):
        writer = TapeWriter(tmp_path / "x", **MARKET, journal=True)
        for start in range(0, 2_000, 100):
            writer.write(rows_of(tape.quotes, start, start + 100), NO_TRADES)
        with pytest.raises(OSError, match=r"cannot be written: .* its rows are kept in .*x\.journal"):
            writer.write(rows_of(tape.quotes, 2_000, 3_000), NO_TRADES)
    assert names(tmp_path) == ["x.journal"]
    finish_tape(tmp_path / "x")
    back = read_tape(tmp_path / "x")
    assert 2_000 < len(back.quotes) <= 100_000 // 49
    assert same(back.quotes, rows_of(tape.quotes, 0, len(back.quotes)))
    assert names(tmp_path) == ["x"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match=r"absent/x: the tape cannot be written: "):
        write_tape(walk(), tmp_path / "absent" / "x")


RECORDER = """
import sys
sys.path.insert(0, {root!r})
from hftgym.tape import TapeWriter
from hftgym.tape.rows import rows_of
from tests.reference.tapes import trades_of, walk
tape, none = walk(quotes=200_000, trades=0, seconds=20_000), trades_of([])
writer = TapeWriter({path!r}, venue="a", symbol="b", journal={journal})
for start in range(0, 200_000, 50):
    writer.write(rows_of(tape.quotes, start, start + 50), none)
    print(start + 50, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("journal", [False, True])
def test_a_recorder_that_is_killed_leaves_no_half_tape_and_loses_nothing_that_is_in_the_journal(tmp_path, journal):
    path, written = tmp_path / "live.parquet", 0
    program = RECORDER.format(root=str(ROOT), path=str(path), journal=journal)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as recorder:
        while written < 2_000:
            written = int(recorder.stdout.readline())
        recorder.kill()
        written = int((recorder.stdout.read().split() or [written])[-1])
    assert not path.exists()
    if not journal:
        with pytest.raises(TapeError, match="there is no journal of a recording"):
            finish_tape(path)
        return
    tape, begun = walk(quotes=200_000, trades=0, seconds=20_000), written + 50
    with TapeWriter(path, venue="a", symbol="b", journal=True) as writer:  # started again, it goes on
        writer.write(rows_of(tape.quotes, begun, begun + 50), NO_TRADES)
    back = read_tape(path)
    assert len(back.quotes) in (written + 50, written + 100)
    assert same(rows_of(back.quotes, 0, written), rows_of(tape.quotes, 0, written))
    assert not list(tmp_path.glob("*.journal"))


def test_a_journal_cut_off_or_damaged_anywhere(tmp_path):
    tape = walk(quotes=40, trades=10)
    journal, path = tmp_path / "x.journal", tmp_path / "x"
    writer = TapeWriter(path, **MARKET, journal=True)
    writer.write(tape.quotes, tape.trades)
    writer.discard()
    content = journal.read_bytes()
    head = content.index(b"\n") + 1
    assert len(content) == head + 50 * 49
    for length in range(head + 1, len(content), 137):
        journal.write_bytes(content[:length])
        if length < head + 49 * 2:
            continue
        finish_tape(path)
        assert open_tape(path).n_quotes + open_tape(path).n_trades == (length - head) // 49
    journal.write_bytes(content[:head] + bytes(490))
    with pytest.raises(TapeError, match=r"x\.journal: damaged between records 0 and 10: Quotes\.bid must be finite"):
        finish_tape(path)
    assert journal.exists()
    for wrong in (b"", b"hello\n", b'{"a": 1}\n'):
        journal.write_bytes(wrong)
        with pytest.raises(TapeError, match="not a journal of a recording"):
            finish_tape(path)


def test_a_journal_of_another_market_is_left_alone(tmp_path):
    writer = TapeWriter(tmp_path / "x", **MARKET, journal=True)
    writer.write(quotes_of([1]), NO_TRADES)
    writer.discard()
    with pytest.raises(TapeError, match=r"x\.journal: not a journal of binance-usdm ETHUSDT, it begins with"):
        TapeWriter(tmp_path / "x", venue="binance-usdm", symbol="ETHUSDT", journal=True)
    finish_tape(tmp_path / "x")
    assert open_tape(tmp_path / "x").symbol == "BTCUSDT"
