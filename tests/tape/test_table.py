import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hftgym.tape import NO_TIME, TapeError, read_tape, read_trades, write_tape
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.delimited import Field, _parse_fast, parse

S = 1_723_161_255
NS = S * 10**9
QUOTES = {
    "time": [S * 1000 + i for i in range(4)],
    "bid": [99.0, 99.5, 99.5, 98.0],
    "bid_size": [1.0, 2.0, 3.0, 4.0],
    "ask": [101.0] * 4,
    "ask_size": [5.0, 6.0, 7.0, 8.0],
}


def write_csv(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join("" if v is None else str(v) for v in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_parquet(path, columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(params=[write_csv, write_parquet], ids=["csv", "parquet"])
def write(request, tmp_path):
    return lambda columns: request.param(tmp_path / "table", columns)


def test_a_table_of_quotes_is_a_tape_without_trades(write):
    tape = read_tape(write(QUOTES), symbol="abc")
    assert (tape.venue, tape.symbol) == ("unknown", "ABC")
    for name in ("bid", "bid_size", "ask", "ask_size"):
        assert getattr(tape.quotes, name).tolist() == QUOTES[name]
    assert tape.quotes.local_ns.tolist() == tape.quotes.exchange_ns.tolist() == [NS + i * 10**6 for i in range(4)]
    assert len(tape.trades) == 0
    assert any("local_ns is the exchange's time" in note for note in tape.report.notes)


def test_one_row_is_a_tape_too(write):
    tape = read_tape(write({name: values[:1] for name, values in QUOTES.items()}), symbol="X")
    assert (len(tape.quotes), tape.duration_s) == (1, 0.0)


def test_quotes_and_trades_may_share_a_table_even_a_row(write):
    columns = {
        "Exchange_Timestamp": [NS, NS + 1, NS + 2, NS + 3],
        "localTimestamp": [NS + 5, NS + 6, NS + 7, NS + 8],
        "Bid Price": [99.0, None, 99.0, None],
        "bidQty": [1.0, None, 2.0, None],
        "OFFER": [101.0, None, 102.0, None],
        "ask_amount": [3.0, None, 4.0, None],
        "px": [None, 101.0, 99.0, None],
        "Qty": [None, 0.5, 0.25, None],
        "aggressor": [None, "BUY", "sell", None],
    }
    tape = read_tape(write(columns), symbol="X")
    assert tape.quotes.bid_size.tolist() == [1, 2]
    assert (tape.trades.price.tolist(), tape.trades.taker_side.tolist()) == ([101, 99], [1, -1])
    assert (tape.trades.exchange_ns.tolist(), tape.trades.local_ns.tolist()) == ([NS + 1, NS + 2], [NS + 6, NS + 7])
    assert tape.report.ignored.get("rows without a price") == 1
    assert tape.report.notes == ()


def test_columns_of_any_name_can_be_named(write):
    columns = {"a": QUOTES["time"], "b": QUOTES["bid"], "c": QUOTES["ask"]}
    tape = read_tape(write(columns), symbol="X", columns={"local_time": "a", "bid": "b", "ask": "c"})
    assert tape.quotes.ask.tolist() == QUOTES["ask"]
    assert tape.quotes.bid_size.tolist() == [1.0] * 4
    assert any("no sizes of bid and ask" in note for note in tape.report.notes)
    assert set(tape.quotes.exchange_ns) == {NO_TIME}


def test_a_maker_flag_stands_for_the_side(write):
    columns = {"time": QUOTES["time"], "price": [1.0, 2.0, 3.0, 4.0], "qty": [1.0] * 4}
    sides = read_trades(write({**columns, "is_buyer_maker": [True, False, True, False]}), symbol="X").taker_side
    assert sides.tolist() == [-1, 1, -1, 1]
    sides = read_trades(write({**columns, "side": [1, -1, 1, -1]}), symbol="X").taker_side
    assert sides.tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("times", "ns"),
    [
        ([S], NS),
        ([S * 10**3], NS),
        ([S * 10**6], NS),
        ([NS + 7], NS + 7),
        ([S + 0.25], NS + 250_000_000),
        (["2024-08-08T23:54:15.123456789Z"], NS + 123_456_789),
        (["2024-08-08 23:54:15+00:00"], NS),
        ([f"{S}.123456789"], NS + 123_456_789),
        ([np.datetime64(NS // 10**6, "ms")], NS),
    ],
)
def test_times_may_be_written_in_many_ways(write, times, ns):
    columns = {name: values[:1] for name, values in QUOTES.items()} | {"time": times}
    assert read_tape(write(columns), symbol="X").quotes.exchange_ns.tolist() == [ns]


@pytest.mark.parametrize(
    "time", ["9999-01-01T00:00:00", "9999999999.5", "4999999999.5", "0001-01-01T00:00:00", "99999999999999999999"]
)
def test_texts_of_times_that_are_out_of_range_are_bad_rows(write, time):
    report = read_tape(write({**QUOTES, "time": [*map(str, QUOTES["time"][:3]), time]}), symbol="X").report
    assert (report.quotes, report.bad_lines.count) == (3, 1)
    assert "field 'time' must be a time since 1970" in report.bad_lines.first[0][1]


def test_a_column_of_symbols_needs_a_choice_and_takes_it(write):
    path = write({**QUOTES, "symbol": ["A", "B", "A", "A"]})
    with pytest.raises(TapeError, match=r"holds 2 symbols: A \(3 quotes, 0 trades\), B \(1 quotes, 0 trades\)"):
        read_tape(path)
    assert read_tape(path, symbol="b").quotes.bid.tolist() == [99.5]
    with pytest.raises(TapeError, match="no symbol column, it does not say its market: pass symbol="):
        read_tape(write(QUOTES))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("bid", float("nan"), "field 'bid' must be finite and above 0, got nan"),
        ("bid", -1.0, "field 'bid' must be finite and above 0, got -1.0"),
        ("ask_size", 0.0, "field 'ask_size' must be finite and above 0, got 0.0"),
        ("ask", float("inf"), "field 'ask' must be finite and above 0, got inf"),
        ("time", 2**62 + 5, "field 'time' must be a time since 1970"),
        ("time", 17, "field 'time' must be a time since 1970"),
    ],
)
def test_bad_rows_are_counted_with_their_place(write, name, value, reason):
    columns = {**QUOTES, name: [*QUOTES[name][:2], value, QUOTES[name][3]]}
    path = write(columns)
    report = read_tape(path, symbol="X").report
    [(line, why)] = report.bad_lines.first
    assert line == 3 + (path.read_bytes()[:4] != b"PAR1")  # the header of a CSV is line 1
    assert reason in why
    assert report.quotes == 3


def test_oddities_are_reported_as_of_any_other_file(write):
    columns = {**QUOTES, "time": [S, S + 3, S + 2, S + 2], "bid": [99.0, 102.0, 99.0, 99.0]}
    report = read_tape(write(columns), symbol="X").report
    assert (report.gaps.count, report.backwards.count, report.crossed_quotes.count) == (1, 1, 1)


def test_a_row_stamped_ahead_puts_what_follows_behind(write):
    times = [S + k + 60 * (k == 2) for k in range(10)]
    columns = {name: [values[0]] * 10 for name, values in QUOTES.items()} | {"time": times}
    report = read_tape(write(columns), symbol="X").report
    assert (report.backwards.count, report.late.count) == (1, 7)
    assert report.late.first[0][1] == "59.000 s behind the latest time before it"
    line = report.late.first[0][0]
    assert report.oddities[:2] == (
        "1 steps back in local time, kept",
        "7 lines more than 1 s behind the latest local time, kept",
    )
    assert report.warning.startswith(
        "7 of 10 rows come more than 1 s behind the latest time before them, first in line"
    )
    assert f"line {line} (59.000 s" in report.warning
    few = replace(report, quotes=7_000)
    assert (few.late.count, few.warning) == (7, "")


def test_columns_that_make_no_tape_are_listed_with_what_is_needed(write, tmp_path):
    path = write({"time": [S], "bid": [1.0], "offset": [1.0]})
    with pytest.raises(
        TapeError, match=r"found time, bid, offset \(understood: time as time, bid as bid\); needed are"
    ):
        read_tape(path, symbol="X")
    path = write(QUOTES)
    with pytest.raises(TapeError, match=r"columns\['bid'\] is 'bp', but the file has time, bid, bid_size, ask"):
        read_tape(path, symbol="X", columns={"bid": "bp"})
    with pytest.raises(
        TapeError, match=r"columns: 'bud' is no meaning of a column, it must be one of time, local_time"
    ):
        read_tape(path, symbol="X", columns={"bud": "bid"})
    only = write({"time": [S], "price": [1.0], "size": [1.0]})
    with pytest.raises(TapeError, match="price, size and side"):
        read_trades(only, symbol="X")


def test_a_price_without_a_side_is_no_trade_and_that_is_said(write):
    tape = read_tape(write({**QUOTES, "price": [1.0] * 4}), symbol="X")
    assert len(tape.trades) == 0
    assert "'price' is not read as trades: there is no size and side to it" in tape.report.notes


def test_a_damaged_parquet_file_is_a_named_error(tmp_path):
    path = write_parquet(tmp_path / "table", QUOTES)
    blob = path.read_bytes()
    path.write_bytes(blob[: len(blob) // 2])
    with pytest.raises(TapeError, match="cut off, damaged, or no parquet file"):
        read_tape(path, symbol="X")


def test_a_tape_written_as_parquet_is_read_as_a_tape_and_not_as_a_table(write, tmp_path):
    tape = read_tape(write(QUOTES), symbol="X")
    path = write_tape(tape, tmp_path / "tape.parquet") or tmp_path / "tape.parquet"
    again = read_tape(path)
    assert repr(again) == repr(tape)
    assert again.report == tape.report


CELLS = (
    "1",
    "-1",
    "1.5",
    " 1",
    "1 ",
    "+1",
    "1.",
    ".5",
    "1e5",
    "1e-400",
    "1e400",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "",
    "NA",
)
CELLS += (
    "true",
    "True",
    "TRUE",
    "tRUE",
    "false",
    "0",
    "00",
    "01",
    "1_0",
    "x",
    '"1"',
    '"',
    "é",
    "9" * 19,
    "9" * 18,
    "\t1",
)
CELLS += ("null", "None", "1\r", "0x1", "1e", "-", "--1", "1,1", "١", "infinity", "1e5.", "-0", "9" * 25, "\x00")


@pytest.mark.slow
def test_lines_that_pyarrow_takes_are_those_that_the_careful_way_takes_with_the_same_values():
    rng = random.Random(0)
    fields = [Field("i", "int"), Field("f", "float"), Field("n", "number"), Field("b", "bool"), Field("t", "text")]
    fields.append(Field("skipped", "skip"))
    good = ["1", "1.5", "2.5", "true", "x", "y"]
    taken = 0
    for _ in range(3_000):
        cells = list(good)
        for _ in range(rng.randrange(1, 3)):
            cells[rng.randrange(6)] = rng.choice(CELLS)
        line = ",".join(cells).encode()
        builder = TapeBuilder(Path("x"), None, expected="")
        fast = _parse_fast([line], fields)
        # Behind a line with a quote, which pyarrow does not get to see, a block goes the careful way.
        careful = parse([b'1,1.5,2.5,true,"x",y', line], fields, first=1, builder=builder)
        if fast is not None:
            taken += 1
            assert len(careful) == 2, line
            for name, column in fast.items():
                assert repr(careful[name][1:].tolist()) == repr(column.tolist()), (line, name)
    assert taken > 500


def test_a_name_that_stands_for_several_columns_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("time,bid,bid,ask,ask_size\n1700000000,1,3,2,3\n")
    with pytest.raises(TapeError, match=r"several columns named bid: found time, bid, bid, ask, ask_size"):
        read_tape(path, symbol="X")
    path.write_text("time,bid,ask,other,other\n1700000000,1,2,3,4\n")  # nobody needs these
    assert read_tape(path, symbol="X").quotes.ask.tolist() == [2.0]
