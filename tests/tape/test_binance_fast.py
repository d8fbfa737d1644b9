import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hftgym.tape import TapeError, read_tape
from hftgym.tape.binance import Capture
from hftgym.tape.builder import TapeBuilder

VALUES = (
    *('"1"', '"61800.20"', '"1e5"', '"1E-3"', '"1_0"', '" 1"', '"+1"', '".5"', '"1."', '"nan"', '"inf"', '"-1"', '"0"'),
    *(
        '"1e999"',
        '"1e18"',
        '""',
        '"x"',
        '"\\u0031"',
        '"BTCUSDT"',
        '"btcusdt"',
        '"trade"',
        '"MARKET"',
        '"NA"',
        "1",
        "1.0",
        "-0",
    ),
    *("1723161256322", "1723161256322000", "1723161256", "99999999999999999999", "01", "1e3", "true", "false", "null"),
    *("{}", "[]", "[[]]", '{"s":"BTCUSDT"}', "NaN", '"\\q"', '"\t"', '"é"', "1" * 400),
)
PIECES = (
    b'"',
    b"{",
    b"}",
    b",",
    b":",
    b"[",
    b"]",
    b" ",
    b"\r",
    b"\n",
    b"\\",
    b"0",
    b"9",
    b"e",
    b"\xff",
    b"\x00",
    b"}{",
)


def samples(wire):
    agg = {"e": "aggTrade", "E": wire.START_MS, "a": 7, "s": "BTCUSDT", "p": "1.5", "q": "2", "f": 1, "l": 2}
    agg |= {"T": wire.START_MS, "m": True}
    return [
        *(make(venue=venue) for make in (wire.quote, wire.trade) for venue in ("binance-usdm", "binance-spot")),
        *(
            wire.depth(),
            wire.quote(symbol="ETHUSDT"),
            wire.trade(X="INSURANCE_FUND"),
            wire.quote(E=wire.START_MS * 1000),
        ),
        *(wire.stream("btcusdt@aggTrade", agg), wire.stream("btcusdt@aggTrade", agg | {"M": True})),
        *(wire.line({"result": None, "id": 1}), wire.stream("btcusdt@depth", {"e": "depthUpdate"})),
        wire.line(json.loads(wire.trade()[20:])["data"]),
    ]


def damaged(line, rng):
    """One line with something changed: bytes, or the value of a field, which may also go or come twice."""
    choice = rng.randrange(5)
    if choice < 2:
        at = rng.randrange(len(line) + 1)
        return line[:at] + rng.choice(PIECES) + line[at + rng.randrange(3) :]
    time, _, text = line.decode().partition(" ")
    message = json.loads(text)
    data = message.get("data", message) if rng.random() < 0.9 else message
    if not data:
        return line
    key = rng.choice(list(data))
    old = f'"{key}":{json.dumps(data[key], separators=(",", ":"))}'
    value = f'"{key}":{rng.choice(VALUES)}'
    new = {2: value, 3: f"{old},{value}", 4: rng.choice([f'"extra":{rng.choice(VALUES)}', f"{value},{old}"])}[choice]
    return f"{time} {text.replace(old, new)}".encode()


def read(lines, *, fast):
    builder = TapeBuilder(Path("x"), "BTCUSDT", expected="")
    capture = Capture(builder)
    try:
        if fast:
            capture.block(lines)
        else:
            for number, line in enumerate(lines, start=1):
                capture.line(line, number)
            builder.advance(len(lines))
        builder.close()
        quotes, trades = builder.take()
        return quotes, trades, builder.summary(needs_quotes=False)
    except TapeError as error:
        return str(error)


def columns(rows):
    return [getattr(rows, name).tolist() for name in type(rows).__dataclass_fields__]


def check_parity(wire, seed, rounds):
    rng = random.Random(seed)
    good = samples(wire)
    outcomes = Counter()
    for _ in range(rounds):
        lines = [rng.choice(good) for _ in range(rng.randrange(4))]
        lines.insert(rng.randrange(len(lines) + 1), damaged(rng.choice(good), rng))
        lines += [wire.quote()] * 4
        lines = [part for line in lines for part in line.split(b"\n")]
        one, other = read(lines, fast=True), read(lines, fast=False)
        outcomes[isinstance(one, str) or one[2].report.bad_lines.count] += 1
        if isinstance(one, str) or isinstance(other, str):
            assert one == other, lines
        else:
            assert [columns(rows) for rows in one[:2]] == [columns(rows) for rows in other[:2]], lines
            assert one[2] == other[2], lines
    return outcomes


def test_the_quick_and_the_careful_way_agree_on_damaged_lines(wire):
    outcomes = check_parity(wire, 0, 600)
    assert min(outcomes[0], outcomes[1]) > 100  # both kinds of lines were tried


@pytest.mark.slow
def test_the_quick_and_the_careful_way_agree_on_many_damaged_lines(wire):
    check_parity(wire, 1, 15_000)


def test_lines_of_the_usual_shapes_do_go_the_quick_way(wire, monkeypatch):
    taken = []
    monkeypatch.setattr(Capture, "line", lambda self, line, number: taken.append(line))
    usual, unusual = samples(wire)[:6] + samples(wire)[7:10], [samples(wire)[6], *samples(wire)[10:]]
    unusual = [line for line in unusual if b"@depth" not in line]
    for line in usual:
        builder = TapeBuilder(Path("x"), None, expected="")
        Capture(builder).block([line] * 3)
    assert taken == []
    for line in unusual:
        Capture(TapeBuilder(Path("x"), None, expected="")).block([line])
    assert taken == unusual


def test_two_messages_in_one_line_are_one_bad_line_on_either_way(wire):
    double = wire.quote() + b" " + wire.quote()[20:]
    one, other = (read([wire.quote(), double, wire.quote()], fast=fast) for fast in (True, False))
    assert one[2] == other[2]
    assert (len(one[0]), [line for line, _ in one[2].report.bad_lines.first]) == (2, [2])


def test_without_msgspec_a_capture_reads_the_same(wire, tmp_path, monkeypatch):
    path = wire.write(tmp_path / "x", samples(wire)[:1] + samples(wire)[5:9])
    tape = read_tape(path, symbol="BTCUSDT")
    monkeypatch.setitem(__import__("sys").modules, "hftgym.tape.binance_fast", None)
    other = read_tape(path, symbol="BTCUSDT")
    assert other.report == tape.report
    assert columns(other.quotes) == columns(tape.quotes)


def agg_trade(wire, number, price="1.5"):
    data = {"e": "aggTrade", "E": wire.START_MS, "a": number, "s": "BTCUSDT", "p": price, "q": "2", "f": 1, "l": 2}
    return wire.stream("btcusdt@aggTrade", {**data, "T": wire.START_MS, "m": number % 2 == 0})


def test_aggregated_trades_are_trades_where_there_are_no_others(wire, tmp_path):
    lines = [wire.quote(), *(agg_trade(wire, n, price=str(n)) for n in (1, 2, 5))]
    tape = read_tape(wire.write(tmp_path / "x", lines))
    assert tape.trades.price.tolist() == [1, 2, 5]
    assert tape.trades.taker_side.tolist() == [1, -1, 1]
    assert tape.report.ignored == {}
    assert [line for line, _ in tape.report.lost.first] == [4]
    assert "2 aggTrade messages before number 5" in tape.report.lost.first[0][1]
    assert any("aggregated" in note for note in tape.report.notes)


@pytest.mark.parametrize("order", [1, -1])
def test_no_trade_is_counted_twice_where_both_streams_are_recorded(wire, tmp_path, order):
    lines = [agg_trade(wire, 1), agg_trade(wire, 2), wire.trade(t=1), wire.trade(t=2), wire.trade(t=3)][::order]
    tape = read_tape(wire.write(tmp_path / "x", [wire.quote(), *lines]))
    assert len(tape.trades) == tape.report.trades == 3
    assert tape.report.ignored == {"aggTrade": 2}
    assert tape.report.lines == 6


def test_missing_trades_show_in_their_numbers(wire, tmp_path):
    numbers = [5, 6, 9, 9, 4, 10, 12]  # 7 and 8, then 11 are missing; what comes twice or late is not
    tape = read_tape(wire.write(tmp_path / "x", [wire.quote(), *(wire.trade(t=n) for n in numbers)]))
    assert [(line, what[:1]) for line, what in tape.report.lost.first] == [(4, "2"), (8, "1")]
    assert len(tape.trades) == 7
    assert np.all(tape.trades.price > 0)
