import json
import random

import pytest

from hftgym.tape import NO_TIME, TapeError, read_tape
from hftgym.tape.book import Book

REAL = "coinbase_exchange_ws_20210417.txt.gz"
START_NS = 1_618_677_817_020_616_000
TIME = "2021-04-17T16:43:37.075687Z"


def line(message, *, seconds="1618677817.020616", url=""):
    return f"{url}{seconds}: {json.dumps(message, separators=(',', ':'))}"


def snapshot(bids=(("99", "1"),), asks=(("101", "2"),), product="BTC-USD"):
    return {"type": "snapshot", "product_id": product, "asks": list(asks), "bids": list(bids)}


def update(*changes, **fields):
    return {"type": "l2update", "product_id": "BTC-USD", "changes": list(changes), "time": TIME} | fields


def match(number=5, side="sell", **fields):
    data = {"type": "match", "trade_id": number, "side": side, "size": "0.5", "price": "101", "sequence": 9}
    return {**data, "product_id": "BTC-USD", "time": TIME, **fields}


def write(path, messages, **options):
    texts = [m if isinstance(m, str) else line(m, **options) for m in messages]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def test_the_touch_follows_the_levels_and_a_quote_comes_only_when_it_changes(tmp_path):
    messages = [
        snapshot(bids=[("99", "1"), ("98", "4")], asks=[("101", "2"), ("103", "1")]),
        update(["buy", "98.5", "7"]),  # behind the best bid
        update(["buy", "99", "3"]),
        update(["sell", "101", "0"], ["buy", "100", "2.5"]),
        update(["buy", "100", "0.00"], ["buy", "99", "0"]),
    ]
    tape = read_tape(write(tmp_path / "x", messages))
    assert (tape.venue, tape.symbol) == ("coinbase", "BTC-USD")
    quotes = tape.quotes
    assert list(zip(quotes.bid, quotes.bid_size, quotes.ask, quotes.ask_size, strict=True)) == [
        (99, 1, 101, 2),
        (99, 3, 101, 2),
        (100, 2.5, 103, 1),
        (98.5, 7, 103, 1),
    ]
    assert quotes.local_ns.tolist() == [START_NS] * 4
    assert quotes.exchange_ns.tolist() == [NO_TIME] + [1_618_677_817_075_687_000] * 3
    assert tape.report.ignored == {"l2update beyond the touch": 1}


def test_the_side_of_a_match_is_the_makers_so_the_taker_took_the_other(tmp_path):
    messages = [snapshot(), match(5, "sell"), match(6, "buy"), match(4, type="last_match"), {"type": "ticker"}]
    tape = read_tape(write(tmp_path / "x", messages))
    assert tape.trades.taker_side.tolist() == [1, -1]
    assert (tape.trades.price.tolist(), tape.trades.size.tolist()) == ([101, 101], [0.5, 0.5])
    assert tape.report.ignored == {"last_match": 1, "ticker": 1}


def test_missing_matches_show_in_their_numbers_and_in_the_heartbeat(tmp_path):
    heartbeat = {"type": "heartbeat", "sequence": 90, "product_id": "BTC-USD", "time": TIME}
    messages = [
        *(snapshot(), match(4, type="last_match"), match(5), match(8), heartbeat | {"last_trade_id": 8}),
        *(heartbeat | {"last_trade_id": 10}, match(11)),
    ]
    lost = read_tape(write(tmp_path / "x", messages)).report.lost
    assert lost.count == 2
    assert lost.first == (
        (4, "2 match messages before number 8 are missing"),
        (6, "2 match messages up to number 10 are missing"),
    )


def test_the_address_in_front_of_a_line_makes_no_difference(tmp_path):
    plain = write(tmp_path / "plain", [snapshot(), match()])
    addressed = ["wss://ws-feed.pro.coinbase.com <-> 1618677816.8434298"]
    addressed += [line(m, url="wss://ws-feed.pro.coinbase.com <- ") for m in (snapshot(), match())]
    other = read_tape(write(tmp_path / "addressed", addressed))
    assert repr(other) == repr(read_tape(plain))
    assert other.report.ignored == {"connection": 1}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (update(["bid", "99", "1"]), "side must be 'buy' or 'sell', got 'bid'"),
        (update(["buy", "-99", "1"]), "field 'price' must be a decimal in quotes, above 0 and below 1e18"),
        (update(["buy", "100", "1"], ["buy", "nan", "1"]), "field 'price'"),
        (update(["buy", "100", "-1"]), "size must be a decimal in quotes, not negative and below 1e18, got '-1'"),
        (update(["buy", "100", 1]), "size must be a decimal in quotes"),
        (update(["buy", "100"]), "field 'changes' must be a list of [side, price, size]"),
        (update(["buy", "100", "1"], time="yesterday"), "field 'time'"),
        (update(["buy", "100", "1"], time="2021-13-17T16:43:37Z"), "field 'time'"),
        (match(price="inf"), "field 'price'"),
        (match(trade_id="5"), "field 'trade_id' must be a whole number, got '5'"),
        (match(side=None), "side must be 'buy' or 'sell', got nothing"),
        (snapshot(bids=[("99",)]), "field 'bids'"),
        ({"type": "match"}, "field 'product_id' must be a name, got nothing"),
        ({"product_id": "BTC-USD"}, "field 'type'"),
        ('1618677817.02: {"type":"match"', "the line is cut off"),
        ('yesterday: {"type":"match"}', "line must start with a local time"),
        ("", "line must start with a local time"),
        (line(match(), seconds="4611686019"), "local time must be before 2116, got 4611686019 s"),
        (line(match(), seconds="9999999999"), "local time must be before 2116, got 9999999999 s"),
        (match(time="9999-04-17T16:43:37Z"), "field 'time'"),
    ],
)
def test_a_bad_line_changes_nothing_and_says_why(tmp_path, bad, reason):
    tape = read_tape(write(tmp_path / "x", [snapshot(), bad, update(["buy", "99", "2"])]))
    [(number, why)] = tape.report.bad_lines.first
    assert number == 2
    assert reason in why
    assert tape.quotes.bid.tolist() == [99, 99]  # a level of the bad line would show here
    assert len(tape.trades) == 0


def test_an_empty_side_makes_no_quote_and_a_crossed_book_is_kept_and_counted(tmp_path):
    messages = [
        update(["buy", "99", "2"]),
        snapshot(asks=()),
        update(["sell", "98", "1"]),
        update(["sell", "98", "0"], ["sell", "101", "1"]),
    ]
    tape = read_tape(write(tmp_path / "x", messages))
    assert tape.quotes.ask.tolist() == [98, 101]
    assert tape.report.crossed_quotes.count == 1
    names = {"l2update before the first snapshot": 1, "snapshot that leaves a side of the book empty": 1}
    assert tape.report.ignored == names


def test_several_products_need_a_choice(tmp_path):
    path = write(tmp_path / "x", [snapshot(), snapshot(product="ETH-USD"), match(product_id="ETH-USD")])
    with pytest.raises(TapeError, match=r"2 symbols: BTC-USD \(1 quotes, 0 trades\), ETH-USD \(1 quotes, 1 trades\)"):
        read_tape(path)
    tape = read_tape(path, symbol="eth-usd")
    assert (len(tape.quotes), len(tape.trades)) == (1, 1)
    assert tape.report.ignored == {"BTC-USD snapshot": 1}


def test_the_book_agrees_with_a_slow_one_that_sorts(wire):
    rng = random.Random(4)
    book, slow = Book(), {1: {}, -1: {}}
    for _ in range(5_000):
        side, price, size = rng.choice((1, -1)), float(rng.randrange(1, 30)), rng.choice((0.0, 0.0, 1.0, 2.5))
        what = rng.random()
        if what < 0.95:
            book.set(side, price, size)
            slow[side][price] = size
        elif what < 0.98:
            book.drop(side, price)
            slow[side] = {p: s for p, s in slow[side].items() if side * (p - price) < 0}
        else:
            book.replace(side, [(price, 3.0)])
            slow[side] = {price: 3.0}
        bids, asks = ({p: s for p, s in slow[side].items() if s} for side in (1, -1))
        expected = (max(bids), bids[max(bids)], min(asks), asks[min(asks)]) if bids and asks else None
        assert book.touch() == expected


def test_the_real_capture_has_the_counts_that_were_recorded(data_file):
    path = data_file(REAL)
    tape = read_tape(path, symbol="SKL-USD")
    report = tape.report
    assert (report.lines, report.quotes, report.trades) == (9_952, 451, 52)
    assert report.trades + sum(n for name, n in report.ignored.items() if name.endswith(" match")) == 97
    assert report.ignored["ticker"] == 107
    assert report.lines == report.quotes + report.trades + sum(report.ignored.values()) + report.bad_lines.count
    assert [what[-2:] for _, what in report.bad_lines.first] == ["''", "''"]  # two empty lines at the end
    assert report.crossed_quotes.count == report.backwards.count == report.lost.count == 0
    assert 30 < tape.duration_s < 32
    spread_bps = 1e4 * (tape.quotes.ask - tape.quotes.bid) / tape.mid
    assert 12 < sorted(spread_bps)[225] < 13.5
    with pytest.raises(TapeError, match="holds 10 symbols"):
        read_tape(path)


def test_matches_of_the_real_capture_are_on_the_side_that_the_taker_hit(data_file):
    tape = read_tape(data_file(REAL), symbol="SKL-USD")
    before = tape.quotes.local_ns.searchsorted(tape.trades.local_ns) - 1
    paid = (tape.trades.price - tape.mid[before]) * tape.trades.taker_side
    assert (paid > 0).mean() > 0.75
