import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.tape import NO_TIME, Quotes, Tape, Trades, read_tape

VENUES = ("binance-usdm", "binance-spot")
USDM, SPOT = "binance_usdm_btcusdt_20240808.gz", "binance_spot_btcusdt_20240808.gz"

positive = st.floats(min_value=1e-8, max_value=1e12)
quote_rows = st.lists(
    st.tuples(st.integers(0, 10**12), positive, positive, positive, positive), min_size=1, max_size=30
)
trade_rows = st.lists(st.tuples(st.integers(0, 10**12), positive, positive, st.booleans()), max_size=30)


@given(quotes=quote_rows, trades=trade_rows, venue=st.sampled_from(VENUES), packed=st.booleans())
@settings(deadline=None, max_examples=60)
def test_rows_written_in_the_wire_format_are_read_back_equal(wire, scratch, quotes, trades, venue, packed):
    lines = [
        wire.quote(venue=venue, local_ns=wire.START_NS + t, b=repr(b), B=repr(bs), a=repr(a), A=repr(s))
        for t, b, bs, a, s in quotes
    ]
    lines += [
        wire.trade(venue=venue, local_ns=wire.START_NS + t, p=repr(p), q=repr(q), m=m, E=wire.START_MS + i)
        for i, (t, p, q, m) in enumerate(trades)
    ]
    tape = read_tape(wire.write(scratch, lines, packed=packed))

    assert (tape.venue, tape.symbol) == (venue, "BTCUSDT")
    local, *values = (np.array(c) for c in zip(*quotes, strict=True))
    np.testing.assert_array_equal(tape.quotes.local_ns, wire.START_NS + local)
    for name, column in zip(("bid", "bid_size", "ask", "ask_size"), values, strict=True):
        np.testing.assert_array_equal(getattr(tape.quotes, name), column)
    event_ns = wire.START_MS * 10**6
    assert set(tape.quotes.exchange_ns) == {event_ns if venue == "binance-usdm" else NO_TIME}
    np.testing.assert_array_equal(tape.trades.exchange_ns, event_ns + 10**6 * np.arange(len(trades)))
    assert tape.trades.local_ns.tolist() == [wire.START_NS + t for t, *_ in trades]
    assert tape.trades.price.tolist() == [p for _, p, _, _ in trades]
    assert tape.trades.size.tolist() == [q for _, _, q, _ in trades]
    assert tape.trades.taker_side.tolist() == [-1 if m else 1 for *_, m in trades]


@given(kinds=st.lists(st.sampled_from(["quote", "trade", "depth", "reply", "fund", "bad", "other"]), max_size=80))
@settings(deadline=None, max_examples=60)
def test_every_line_is_accounted_for(wire, scratch, kinds):
    samples = {
        "quote": wire.quote(),
        "trade": wire.trade(),
        "depth": wire.depth(),
        "reply": wire.line({"result": None, "id": 1}),
        "fund": wire.trade(X="INSURANCE_FUND", p="0", q="0"),
        "bad": wire.quote(b="-1"),
        "other": wire.quote(symbol="ETHUSDT"),
    }
    lines = [wire.quote()] * (1 + kinds.count("bad")) + [samples[kind] for kind in kinds]
    report = read_tape(wire.write(scratch, lines), symbol="BTCUSDT").report

    assert report.lines == len(lines)
    assert report.lines == report.quotes + report.trades + sum(report.ignored.values()) + report.bad_lines.count
    assert report.quotes == 1 + kinds.count("bad") + kinds.count("quote")
    assert report.trades == kinds.count("trade")
    names = {
        "depth": "depth@0ms",
        "reply": "subscription reply",
        "fund": "trade INSURANCE_FUND",
        "other": "ETHUSDT quotes",
    }
    assert report.ignored == {name: kinds.count(kind) for kind, name in names.items() if kind in kinds}
    assert [line for line, _ in report.bad_lines.first] == [
        i for i, line in enumerate(lines, 1) if line == samples["bad"]
    ][:20]


@pytest.mark.parametrize("venue", VENUES)
def test_a_bare_event_reads_as_the_same_event_in_a_combined_stream(wire, tmp_path, venue):
    wrapped = [wire.quote(venue=venue), wire.trade(venue=venue), wire.depth()]
    bare = [line.replace(b'{"stream":"', b"", 1).partition(b',"data":') for line in wrapped]
    bare = [name[:20] + data[:-1] for name, _, data in bare]
    one, other = (read_tape(wire.write(tmp_path / n, lines)) for n, lines in (("w", wrapped), ("b", bare)))

    assert repr(one) == repr(other)
    assert one.quotes.exchange_ns == other.quotes.exchange_ns
    assert other.report.ignored == {"depthUpdate": 1}


def test_depth_is_ignored_alike_whether_it_is_parsed_or_skipped(wire, tmp_path):
    compact = wire.depth()
    lines = [wire.quote(), compact, compact.replace(b'":', b'": '), compact + b"\r"]
    assert read_tape(wire.write(tmp_path / "x", lines)).report.ignored == {"depth@0ms": 3}


def test_event_times_in_microseconds_and_milliseconds_mean_the_same(wire, tmp_path):
    lines = [wire.quote(E=wire.START_MS), wire.quote(E=wire.START_MS * 1000)]
    first, second = read_tape(wire.write(tmp_path / "x", lines)).quotes.exchange_ns
    assert first == second == wire.START_MS * 10**6


def test_the_stream_of_all_symbols_and_lists_of_tickers_are_understood(wire, tmp_path):
    quote = wire.quote().replace(b"btcusdt@bookTicker", b"!bookTicker")
    lines = [quote, wire.stream("!miniTicker@arr", []), wire.stream("btcusdt@kline_1m", {"e": "kline"})]
    report = read_tape(wire.write(tmp_path / "x", lines)).report
    assert report.quotes == 1
    assert report.ignored == {"miniTicker@arr": 1, "kline_1m": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"b": "0.00"}, "field 'b' must be a decimal in quotes, above 0 and below 1e18, got '0.00'"),
        ({"A": "-1"}, "field 'A'"),
        ({"a": "inf"}, "field 'a'"),
        ({"a": "nan"}, "field 'a'"),
        ({"a": "1e999"}, "field 'a'"),
        ({"a": "1e18"}, "field 'a'"),
        ({"a": "six"}, "got 'six'"),
        ({"B": True}, "got True"),
        ({"B": None}, "got nothing"),
        ({"E": "1723161256322"}, "field 'E' must be a time in ms"),
        ({"E": 1723161256}, "got 1723161256"),
        ({"e": "trade"}, "field 'e'"),
        ({"s": "ETHUSDT"}, "field 's' must be 'BTCUSDT' as in the stream's name, got 'ETHUSDT'"),
    ],
)
def test_a_quote_with_an_impossible_field_is_a_bad_line_and_says_why(wire, tmp_path, fields, reason):
    line = wire.stream("btcusdt@bookTicker", _changed(wire.quote(), fields))
    report = read_tape(wire.write(tmp_path / "x", [wire.quote(), wire.quote(), line])).report
    [(number, why)] = report.bad_lines.first
    assert number == 3
    assert reason in why
    assert report.quotes == 2


@pytest.mark.parametrize(
    "fields", [{"m": 1}, {"m": None}, {"p": "0"}, {"q": "0"}, {"E": None}, {"e": "aggTrade"}, {"X": 5}]
)
def test_a_trade_with_an_impossible_field_is_a_bad_line(wire, tmp_path, fields):
    line = wire.stream("btcusdt@trade", _changed(wire.trade(), fields))
    report = read_tape(wire.write(tmp_path / "x", [wire.quote(), line])).report
    assert (report.trades, report.bad_lines.count) == (0, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "local time must be ns since 1970"),
        (b'1723161255088 {"e":"trade"}', "19 digits and a space, got '1723161255088'"),
        (b'1723161255088169167{"e":"trade"}', "local time"),
        (b'9999999999999999999 {"e":"trade"}', "local time"),
        (b"1723161255088169167 [1,2]", "must be an object, got a JSON list"),
        (b'1723161255088169167 {"stream":"btcusdt@trade"}', "field 'data' must be an object, got nothing"),
        (b'1723161255088169167 {"stream":"btcusdt@depth"}', "field 'data' is missing"),
        (b'1723161255088169167 {"stream":7,"data":{}}', "field 'stream' must be a name, got 7"),
        (b'1723161255088169167 {"topic":"x"}', "neither 'stream' nor 'e', but 'topic'"),
        (b'1723161255088169167 {"e":"trade",,}', "broken JSON: "),
        (b'1723161255088169167 {"e":"tra', "the line is cut off: "),
        (b'1723161255088169167 {"e":"\xff"}', "not UTF-8 text at column 27"),
        (b"1723161255088169167 " + b"[" * 100_000, "JSON nested too deeply"),
        (b'1723161255088169167 {"e":' + b"1" * 5_000 + b"}", "broken JSON: "),
    ],
)
def test_a_corrupt_line_inside_a_good_file_is_reported_and_not_fatal(wire, tmp_path, line, reason):
    tape = read_tape(wire.write(tmp_path / "x", [wire.quote(), line, wire.trade(), wire.depth()]))
    [(number, why)] = tape.report.bad_lines.first
    assert number == 2
    assert reason in why
    assert (len(tape.quotes), len(tape.trades)) == (1, 1)


def test_oddities_are_kept_counted_and_placed(wire, tmp_path):
    seconds = [0.0, 1.0, 2.5, 2.0, 2.1]
    bids = ["100", "102", "100", "100", "101"]
    lines = [wire.depth()] + [
        wire.quote(local_ns=wire.START_NS + int(s * 1e9), b=b, a="101") for s, b in zip(seconds, bids, strict=True)
    ]
    tape = read_tape(wire.write(tmp_path / "x", lines))
    report = tape.report

    assert tape.quotes.bid.tolist() == [100, 102, 100, 100, 101]
    assert (report.crossed_quotes.count, [line for line, _ in report.crossed_quotes.first]) == (2, [3, 6])
    assert (report.backwards.count, [line for line, _ in report.backwards.first]) == (1, [5])
    assert (report.gaps.count, [line for line, _ in report.gaps.first]) == (1, [4])  # exactly 1 s is no gap
    assert "1.500 s" in report.gaps.first[0][1]
    assert tape.duration_s == 2.5
    for text in ("6 lines", "5  quotes", "1 depth@0ms", "2  crossed", "line 3: bid 102.0 >= ask 101.0"):
        assert text in str(report)


def test_columns_are_read_only_and_survive_pickling(wire, tmp_path):
    tape = read_tape(wire.write(tmp_path / "x", [wire.quote(), wire.trade()]))
    for rows in (tape.quotes, tape.trades):
        for name in type(rows).__dataclass_fields__:
            with pytest.raises(ValueError, match="read-only"):
                getattr(rows, name)[0] = 1
    copy = pickle.loads(pickle.dumps(tape))
    assert repr(copy) == repr(tape)
    assert copy.report == tape.report


def test_the_types_name_the_column_that_is_wrong(wire, tmp_path):
    tape = read_tape(wire.write(tmp_path / "x", [wire.quote(), wire.trade()]))
    quotes = {name: getattr(tape.quotes, name) for name in Quotes.__dataclass_fields__}
    trades = {name: getattr(tape.trades, name) for name in Trades.__dataclass_fields__}
    with pytest.raises(ValueError, match=r"Quotes.bid must be an array of float64 and shape \(n,\), got int64 \(1,\)"):
        Quotes(**{**quotes, "bid": np.array([1])})
    with pytest.raises(ValueError, match=r"Quotes.ask_size must have 1 rows as exchange_ns has, got 2"):
        Quotes(**{**quotes, "ask_size": np.ones(2)})
    with pytest.raises(ValueError, match=r"Trades.price must be finite and above 0, got nan in row 0"):
        Trades(**{**trades, "price": np.array([np.nan])})
    with pytest.raises(ValueError, match=r"Trades.taker_side must be \+1 or -1, got 0 in row 0"):
        Trades(**{**trades, "taker_side": np.zeros(1, dtype=np.int8)})
    with pytest.raises(ValueError, match=r"Tape.symbol must not be empty"):
        Tape(venue="binance-spot", symbol="", quotes=tape.quotes, trades=tape.trades, report=tape.report)
    mine = np.array([5.0])
    Quotes(**{**quotes, "bid": mine})
    mine[0] = 6.0  # the caller's array stays writeable


@pytest.mark.parametrize(
    ("name", "venue", "quotes", "trades", "tick", "ignored"),
    [
        (USDM, "binance-usdm", 66_089, 21_313, 0.1, {"depth snapshot": 1, "depth@0ms": 6_551}),
        (SPOT, "binance-spot", 28_040, 9_757, 0.01, {"depth snapshot": 1, "depth@100ms": 3_451}),
    ],
)
def test_real_captures_are_complete_and_clean(data_file, name, venue, quotes, trades, tick, ignored):
    tape = read_tape(data_file(name))
    report = tape.report
    assert (tape.venue, tape.symbol) == (venue, "BTCUSDT")
    assert (len(tape.quotes), len(tape.trades)) == (report.quotes, report.trades) == (quotes, trades)
    assert report.ignored == ignored
    assert report.bad_lines.count == report.crossed_quotes.count == report.backwards.count == report.gaps.count == 0
    spread = tape.quotes.ask - tape.quotes.bid
    assert np.median(spread) == pytest.approx(tick)
    assert spread.min() == pytest.approx(tick)
    assert 340 < tape.duration_s < 350
    for rows in (tape.quotes, tape.trades):
        assert (np.diff(rows.local_ns) > 0).all()
        assert (np.diff(rows.exchange_ns) >= 0).all()
    assert ((tape.mid > tape.quotes.bid) & (tape.mid < tape.quotes.ask)).all()


def test_takers_buy_above_the_mid_and_sell_below_it_in_the_real_capture(data_file):
    tape = read_tape(data_file(USDM))
    before = np.searchsorted(tape.quotes.local_ns, tape.trades.local_ns) - 1
    seen = before >= 0
    paid = (tape.trades.price - tape.mid[before])[seen]
    for side in (1, -1):
        chosen = tape.trades.taker_side[seen] == side
        assert (side * paid[chosen] > 0).mean() > 0.75


def _changed(line: bytes, fields: dict) -> dict:
    data = {**json.loads(line[20:])["data"], **fields}
    return {key: value for key, value in data.items() if value is not None}
