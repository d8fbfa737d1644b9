import gzip

import pytest

from hftgym.tape import TapeError, read_tape, read_trades

NAME = "AAPL_2012-06-21_34200000_57600000_{}_2.csv"
MIDNIGHT_NS = 1_340_251_200 * 10**9  # 2012-06-21 00:00 in New York is 04:00 UTC
NOBODY = 9_999_999_999
EVENTS = [
    # time, type, order, size, price, direction; ask, ask_size, bid, bid_size, then the second level
    ("34200.004241176,1,16113575,18,5853300,1", f"5859400,200,5853300,18,{NOBODY},0,-{NOBODY},0"),
    ("34200.025551909,1,16120456,18,5859100,-1", "5859100,18,5853300,18,5859400,200,5853000,150"),
    ("34200.025579546,4,16120456,8,5859100,-1", "5859100,10,5853300,18,5859400,200,5853000,150"),
    ("34200.025613151,1,16120480,18,5859200,-1", "5859100,10,5853300,18,5859200,18,5853000,150"),
    ("34200.201517942,5,0,5,5853400,1", "5859100,10,5853300,18,5859200,18,5853000,150"),
    ("34200.201735987,3,16121200,18,5853300,1", "5859100,10,5853000,150,5859200,18,5851000,3"),
    ("34201,7,0,0,-1,-1", "5859100,10,5853000,150,5859200,18,5851000,3"),
]


@pytest.fixture
def pair(tmp_path):
    return write(tmp_path, EVENTS)


def write(folder, events, ending="\n"):
    paths = [folder / NAME.format(kind) for kind in ("message", "orderbook")]
    for i, path in enumerate(paths):
        path.write_bytes("".join(event[i] + ending for event in events).encode())
    return paths


def test_quotes_are_changes_of_the_first_level_and_trades_executions(pair):
    tape = read_tape(pair[0])
    assert (tape.venue, tape.symbol) == ("nasdaq", "AAPL")
    quotes, trades = tape.quotes, tape.trades
    assert list(zip(quotes.bid, quotes.bid_size, quotes.ask, quotes.ask_size, strict=True)) == [
        (585.33, 18, 585.94, 200),
        (585.33, 18, 585.91, 18),
        (585.33, 18, 585.91, 10),
        (585.30, 150, 585.91, 10),
    ]
    # An executed sell order was bought by the taker, an executed buy order sold to.
    assert list(zip(trades.price, trades.size, trades.taker_side, strict=True)) == [(585.91, 8, 1), (585.34, 5, -1)]
    assert quotes.local_ns[0] == quotes.exchange_ns[0] == MIDNIGHT_NS + 34_200_004_241_176
    assert trades.local_ns.tolist() == [MIDNIGHT_NS + 34_200_025_579_546, MIDNIGHT_NS + 34_200_201_517_942]


def test_every_line_of_both_files_is_accounted_for(pair):
    report = read_tape(pair[0]).report
    assert report.ignored == {"submission": 3, "deletion": 1, "trading halt": 1, "books with the same touch": 3}
    assert report.lines == 14 == report.quotes + report.trades + sum(report.ignored.values())
    assert any("local_ns is the exchange's time" in note for note in report.notes)


def test_either_file_or_both_give_the_same_tape(pair, tmp_path):
    first = read_tape(pair[0])
    assert repr(read_tape(pair[1])) == repr(read_tape(pair)) == repr(first)
    assert len(read_trades(pair[1])) == 2
    windows = tmp_path / "windows"
    windows.mkdir()
    assert repr(read_tape(write(windows, EVENTS, ending="\r\n")[0])) == repr(first)
    for path in pair:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert repr(read_tape(pair[0])) == repr(first)


def test_an_empty_side_makes_no_quote(tmp_path):
    books = [f"{NOBODY},0,5853300,18", f"5859400,200,-{NOBODY},0", "5859400,200,5853300,18"]
    events = [(f"3420{i}.5,1,1,18,5853300,1", book) for i, book in enumerate(books)]
    tape = read_tape(write(tmp_path, events)[0])
    assert tape.quotes.bid.tolist() == [585.33]
    assert tape.report.ignored["books with an empty side"] == 2


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (("90000.0,1,1,1,5853300,1", "5859300,9,5853000,150"), "field 'time' must be a time of day, got 90000.0"),
        (("34200.1,8,1,1,5853300,1", "5859300,9,5853000,150"), "field 'type' must be 1 to 7, got 8"),
        (("34200.1,4,1,0,5853300,1", "5859200,9,5853000,150"), "field 'size' must be finite and above 0, got 0"),
        (("34200.1,4,1,5,5853300,0", "5859200,9,5853000,150"), "field 'direction' must be 1 or -1, got 0"),
        (("34200.1,1,1,5,x,1", "5859300,9,5853000,150"), "field 'price' must be a whole number, got 'x'"),
        (("34200.1,1,1,5,5853300,1", "5859200,0,5853000,150"), "prices and sizes of a book must be above 0"),
        (("34200.1,1,1,5,5853300,1", "5859200,9"), "4 fields are expected, got 2"),
    ],
)
def test_a_bad_line_is_counted_and_the_rest_is_read(tmp_path, event, reason):
    events = [(message, ",".join(book.split(",")[:4])) for message, book in EVENTS]
    report = read_tape(write(tmp_path, [*events[:3], event, *events[3:]])[0]).report
    [(line, why)] = report.bad_lines.first
    assert line == 4
    assert reason in why
    assert report.trades == 2
    assert report.lines == 16 == report.quotes + report.trades + sum(report.ignored.values()) + report.bad_lines.count


def test_what_the_pair_lacks_is_named(pair, tmp_path):
    for path in pair:
        saved = path.read_bytes()
        path.unlink()
        other = pair[0] if path == pair[1] else pair[1]
        with pytest.raises(TapeError, match=f"{path.name} is not beside it"):
            read_tape(other)
        path.write_bytes(saved)
    odd = tmp_path / "some_message.csv"
    odd.write_bytes(pair[0].read_bytes())
    with pytest.raises(TapeError, match="name does not say ticker, date"):
        read_tape(odd)
    with pytest.raises(TapeError, match=r"no quotes or trades of symbol 'MSFT'; it holds AAPL"):
        read_tape(pair[0], symbol="msft")
    pair[1].write_bytes(pair[1].read_bytes()[:120])
    with pytest.raises(TapeError, match="must have equally many lines"):
        read_tape(pair[0])
    for date, said in (("2012-13-21", "is no date"), ("2116-01-01", "must be from 1970 to 2115, got 2116-01-01")):
        pair = [
            one.rename(tmp_path / NAME.replace("2012-06-21", date).format(what))
            for one, what in zip(pair, ("message", "orderbook"), strict=True)
        ]
        with pytest.raises(TapeError, match=f"the date in its name {said}"):
            read_tape(pair[0])


def test_time_that_goes_backwards_is_kept_and_counted(tmp_path):
    tape = read_tape(write(tmp_path, [EVENTS[2], EVENTS[1], EVENTS[5]])[0])
    assert tape.report.backwards.count == 1
    assert len(tape.quotes) == 3
