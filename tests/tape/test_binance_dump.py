import gzip
import random
import zipfile

import numpy as np
import pytest

from hftgym.tape import TapeError, read_chunks, read_tape, read_trades

MS = 1_723_075_200_000
AGGREGATE = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
HEADERS = {
    "spot-trades": "id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch",
    "usdm-trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "spot-aggTrades": f"{AGGREGATE},is_best_match",
    "usdm-aggTrades": AGGREGATE,
    "usdm-bookTicker": "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
}


def row(kind, i, *, unit=1, maker="true"):
    time = (MS + 100 * i) * unit
    return {
        "spot-trades": f"{7 + i},{100 + i}.50,0.25,25.1,{time},{maker.title()},True",
        "usdm-trades": f"{7 + i},{100 + i}.50,0.25,25.1,{time},{maker}",
        "spot-aggTrades": f"{7 + i},{100 + i}.50,0.25,3,4,{time},{maker.title()},True",
        "usdm-aggTrades": f"{7 + i},{100 + i}.50,0.25,3,4,{time},{maker}",
        "usdm-bookTicker": f"{7 + 3 * i},{100 + i}.1,1.5,{100 + i}.9,2.5,{time},{time + 1}",
    }[kind]


def write(path, lines, ending="\n"):
    path.write_bytes("".join(line + ending for line in lines).encode())
    return path


@pytest.fixture
def quotes(tmp_path):
    return write(
        tmp_path / "BTCUSDT-bookTicker-2024-08-08.csv",
        [HEADERS["usdm-bookTicker"], *(row("usdm-bookTicker", i) for i in range(5))],
    )


@pytest.mark.parametrize("kind", [kind for kind in HEADERS if "rades" in kind])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", [1, 1000])
def test_trades_are_read_with_and_without_header_in_ms_and_us(tmp_path, kind, header, unit):
    rows = [row(kind, i, unit=unit, maker="true" if i % 2 else "false") for i in range(4)]
    path = write(tmp_path / f"BTCUSDT-{kind[5:]}-2024-08-08.csv", [HEADERS[kind]] * header + rows)
    trades = read_trades(path)
    assert trades.price.tolist() == [100.5, 101.5, 102.5, 103.5]
    assert trades.size.tolist() == [0.25] * 4
    assert trades.taker_side.tolist() == [1, -1, 1, -1]  # the buyer was the maker: the taker sold
    assert trades.exchange_ns.tolist() == trades.local_ns.tolist() == [(MS + 100 * i) * 10**6 for i in range(4)]


def test_trades_and_quotes_of_one_market_join_by_time(tmp_path, quotes):
    trades = write(tmp_path / "BTCUSDT-trades-2024-08-08.csv", [row("usdm-trades", i) for i in range(3)])
    tape = read_tape([trades, quotes])
    assert (tape.venue, tape.symbol) == ("binance-usdm", "BTCUSDT")
    assert tape.quotes.bid.tolist() == [100.1, 101.1, 102.1, 103.1, 104.1]
    assert tape.quotes.ask_size.tolist() == [2.5] * 5
    assert (len(tape.trades), tape.report.quotes, tape.report.trades) == (3, 5, 3)
    assert tape.report.lines == 9
    assert tape.report.ignored == {"header": 1}
    assert any("local_ns is the exchange's time" in note for note in tape.report.notes)
    assert repr(read_tape([quotes, trades])) == repr(tape)


def test_a_file_of_trades_alone_is_no_tape_and_says_what_to_do(tmp_path):
    path = write(tmp_path / "BTCUSDT-trades-2024-08-08.csv", [row("usdm-trades", 0)])
    with pytest.raises(TapeError, match=r"no quotes of symbol BTCUSDT.*read_tape\(\[trades, quotes\]\).*read_trades"):
        read_tape(path)
    with pytest.raises(TapeError, match="no quotes in any of these files"):
        read_tape([path])


def test_files_that_are_not_of_one_market_are_refused(tmp_path, quotes):
    other = write(tmp_path / "ETHUSDT-trades-2024-08-08.csv", [row("usdm-trades", 0)])
    with pytest.raises(TapeError, match="must be of one symbol, got ETHUSDT and BTCUSDT"):
        read_tape([other, quotes])
    spot = write(tmp_path / "BTCUSDT-trades-2024-08-09.csv", [row("spot-trades", 0)])
    with pytest.raises(TapeError, match="must be of one venue, got binance-spot and binance-usdm"):
        read_tape([spot, quotes])
    both = [write(tmp_path / f"BTCUSDT-{k}-2024-08-08.csv", [row(f"usdm-{k}", 0)]) for k in ("trades", "aggTrades")]
    with pytest.raises(TapeError, match="each trade would count twice"):
        read_tape([*both, quotes])
    with pytest.raises(TapeError, match="got an empty list"):
        read_tape([])


def test_the_symbol_comes_from_the_name_or_the_caller(tmp_path, quotes):
    bare = tmp_path / "dump.csv"
    bare.write_bytes(quotes.read_bytes())
    with pytest.raises(TapeError, match=r"does not say which market it holds.*pass symbol="):
        read_tape(bare)
    assert read_tape(bare, symbol="solusdt").symbol == "SOLUSDT"
    with pytest.raises(TapeError, match=r"no quotes or trades of symbol 'SOLUSDT'; it holds BTCUSDT"):
        read_tape(quotes, symbol="SOLUSDT")
    coin = write(tmp_path / "BTCUSD_PERP-trades-2024-08-08.csv", [row("usdm-trades", 0)])
    base = write(tmp_path / "BTCUSD-trades-2024-08-08.csv", ["id,price,qty,base_qty,time,is_buyer_maker"])
    for path in (coin, base):
        with pytest.raises(TapeError, match="COIN-M market; its sizes are contracts"):
            read_trades(path)


def test_zip_gzip_and_line_endings_do_not_matter(tmp_path, quotes):
    plain = read_tape(quotes)
    zipped = tmp_path / "any.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(quotes, f"folder/{quotes.name}")
    packed = tmp_path / f"{quotes.name}.gz"
    packed.write_bytes(gzip.compress(quotes.read_bytes()))
    windows = write(tmp_path / "BTCUSDT-bookTicker-w.csv", quotes.read_text().splitlines(), ending="\r\n")
    for path in (zipped, packed, windows):
        assert repr(read_tape(path)) == repr(plain)
        assert read_tape(path).report.lines == 6


def test_a_zip_that_is_damaged_or_holds_something_else_is_refused(tmp_path, quotes):
    path = tmp_path / "x.zip"
    quotes.write_text("\n".join([HEADERS["usdm-bookTicker"], *(row("usdm-bookTicker", i) for i in range(3_000))]))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(quotes, quotes.name)
    blob, rng = path.read_bytes(), random.Random(3)
    for cut in (4, 30, 200, len(blob) // 2, len(blob) - 1):
        path.write_bytes(blob[:cut])
        with pytest.raises(TapeError, match=r"x\.zip: the zip archive is corrupt"):
            read_tape(path)
    for _ in range(20):
        place = rng.randrange(100, len(blob) - 200)
        path.write_bytes(blob[:place] + bytes([blob[place] ^ 0x10]) + blob[place + 1 :])
        with pytest.raises(TapeError, match=r"x\.zip: the zip archive is corrupt"):
            read_tape(path)
    for names in ([], ["a.csv", "b.csv"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        with pytest.raises(TapeError, match=rf"must hold one recorded file, got {len(names)}: "):
            read_tape(path)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("5,nan,1,101,1,1723075200000,1723075200000", "field 'bid' must be finite and above 0, got nan"),
        ("5,100,1,-3,1,1723075200000,1723075200000", "field 'ask' must be finite and above 0, got -3.0"),
        ("5,100,0,101,1,1723075200000,1723075200000", "field 'bid_size'"),
        ("5,1x,1,101,1,1723075200000,1723075200000", "field 'bid' must be a number, got '1x'"),
        ("5,100,1,101,1,1723075200,1723075200", "field 'time' must be a time in ms or µs since 1970, got 1723075200"),
        ("5,100,1,101,1,,1723075200000", "field 'time' must be a whole number, got ''"),
        ("5,100,1,101,1,1723075200000", "7 fields are expected, got 6"),
        ('5,"100,1,101,1,1723075200000,1723075200000', "no line of comma-separated values"),
        ("", "7 fields are expected, got 0"),
    ],
)
def test_a_bad_row_is_counted_with_its_line_and_reason(tmp_path, quotes, bad, reason):
    lines = quotes.read_text().splitlines()
    tape = read_tape(write(quotes, [*lines[:3], bad, *lines[3:]]))
    [(line, why)] = tape.report.bad_lines.first
    assert line == 4
    assert reason in why
    assert len(tape.quotes) == 5


def test_rows_out_of_order_and_missing_numbers_are_kept_and_reported(tmp_path, quotes):
    trades = write(tmp_path / "BTCUSDT-trades-1.csv", [row("usdm-trades", i) for i in (0, 1, 4, 3, 3)])
    report = read_tape([trades, quotes]).report
    assert report.backwards.count == 1
    assert "BTCUSDT-trades-1.csv: 0.1" in report.backwards.first[0][1]
    assert report.lost.count == 1
    assert "2 trade messages before number 11" in report.lost.first[0][1]
    assert report.trades == 5


def test_a_join_is_the_same_in_small_pieces_and_keeps_the_order_of_each_file(tmp_path):
    rng = np.random.default_rng(0)
    files = []
    for kind in ("bookTicker", "trades"):
        for day in range(2):
            at = np.sort(rng.integers(0, 400_000, 9_000)) + 400_000 * day
            rows = [row(f"usdm-{kind}", int(i)) for i in at]
            files.append(write(tmp_path / f"BTCUSDT-{kind}-{day}.csv", rows))
    whole = read_tape(files)
    assert read_tape(files[::-1]).quotes.bid.tolist() == whole.quotes.bid.tolist()
    chunks = read_chunks(files, rows=1_000)
    pieces = list(chunks)
    assert len(pieces) > 10
    for kind in ("quotes", "trades"):
        column = np.concatenate([piece[kind == "trades"].local_ns for piece in pieces])
        np.testing.assert_array_equal(column, getattr(whole, kind).local_ns)
        assert (np.diff(column) >= 0).all()
    assert chunks.report == whole.report
    edges = [max(rows.local_ns[-1] for rows in piece if len(rows)) for piece in pieces]
    starts = [min(rows.local_ns[0] for rows in piece if len(rows)) for piece in pieces]
    assert all(end <= start for end, start in zip(edges, starts[1:], strict=False))


def test_files_of_one_kind_that_overlap_are_merged_by_time(tmp_path):
    parts = [[row("usdm-bookTicker", i) for i in range(start, 100, 2)] for start in (1, 0)]
    files = [write(tmp_path / f"BTCUSDT-bookTicker-{k}.csv", part) for k, part in enumerate(parts)]
    assert read_tape(files).quotes.bid.tolist() == [100.1 + i for i in range(100)]
