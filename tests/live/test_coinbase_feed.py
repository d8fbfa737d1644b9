import asyncio
import contextlib
import json
import random
from itertools import count

import numpy as np
import pytest

from hftgym.live.coinbase import CoinbaseFeed
from hftgym.live.coinbase_advanced import CoinbaseAdvancedFeed
from hftgym.live.events import Quote, Status, Trade
from hftgym.tape import NO_TIME, read_tape
from hftgym.tape.book import Book
from tests.live.feeds import QUICK, capture, dumps, has, kinds, of, play
from tests.servers.coinbase import CoinbaseAdvancedServer, CoinbaseServer, resubscribed
from tests.servers.played import cut, hang, rollover

IN_STEP = ["connected", "resynchronised", "Q"]
TIME, TIME_NS = "2021-04-17T16:43:37.075687Z", 1_618_677_817_075_687_000


def run(scripts, enough, *, server=None, **more):
    server = server or CoinbaseServer(scripts)
    return play(server, lambda s: CoinbaseFeed("btc-usd", url=s.url, limits=QUICK, seed=1, **more), enough)


def snapshot(bid="100.1"):
    return dumps({"type": "snapshot", "product_id": "BTC-USD", "asks": [["100.2", "2"]], "bids": [[bid, "1"]]})


def update(*changes, **more):
    return dumps({"type": "l2update", "product_id": "BTC-USD", "changes": changes, "time": TIME, **more})


def match(number, *, kind="match", **more):
    ids = {"maker_order_id": "a", "taker_order_id": "b", "side": "sell", "size": "0.5", "price": "100.2"}
    told = {"type": kind, "trade_id": number, **ids, "product_id": "BTC-USD", "sequence": 1_000 + number, "time": TIME}
    return dumps({**told, **more})


def heartbeat(last, **more):
    told = {"type": "heartbeat", "sequence": 90, "last_trade_id": last, "product_id": "BTC-USD", "time": TIME}
    return dumps({**told, **more})


def test_the_book_gives_quotes_and_a_match_names_the_maker():
    script = [match(6, kind="last_match"), snapshot(), update(["buy", "100.15", "3"]), update(["buy", "90", "3"])]
    server = CoinbaseServer(
        [[*script, match(7), heartbeat(7), dumps({"type": "new one"}), update(["buy", "100.15", "0"])]]
    )
    events, feed = run(None, has(3, 1), server=server)
    assert kinds(events) == [*IN_STEP, "Q", "T", "Q"]
    assert [q[1:4] for q in of(Quote, events)] == [(NO_TIME, 100.1, 1), (TIME_NS, 100.15, 3), (TIME_NS, 100.1, 1)]
    assert of(Trade, events)[0][1:] == (TIME_NS, 100.2, 0.5, +1)
    assert (feed.counters.ignored, feed.counters.garbage) == (5, 0)
    assert json.loads(server.requests[0])["channels"] == ["level2_batch", "matches", "heartbeat"]


@pytest.mark.parametrize("fault", [cut, hang, rollover], ids=lambda fault: fault.__name__)
def test_after_a_lost_connection_the_book_is_a_new_one(fault):
    events, feed = run([[snapshot(), match(5), fault], [update(["buy", "100.18", "1"]), snapshot("50")]], has(2))
    assert kinds(events) == [*IN_STEP, "T", "disconnected", *IN_STEP]
    assert of(Quote, events)[-1].bid == 50
    assert feed.counters.reconnects == 1


@pytest.mark.parametrize("late", [match(9), heartbeat(8)])
def test_missing_trades_are_a_gap_and_ask_for_a_new_book(late):
    events, feed = run([[snapshot(), match(5), match(6), late], [snapshot()]], has(2))
    assert kinds(events) == [*IN_STEP, "T", "T", "gap", *IN_STEP]
    assert feed.counters.gaps == 2


def test_what_comes_twice_or_late_is_dropped():
    script = [match(5), match(5), match(6), match(4), match(7, sequence=3), heartbeat(6), snapshot()]
    events, feed = run([script], has(1, 2))
    assert kinds(events) == ["connected", "T", "T", "resynchronised", "Q"]
    assert feed.counters.duplicates == 3


def test_an_error_of_the_venue_is_told():
    events, _ = run([[dumps({"type": "error", "message": "Failed to subscribe"})], [snapshot()]], has(1))
    assert kinds(events) == ["connected", "disconnected", *IN_STEP]
    assert "Failed to subscribe" in events[1].text


def test_garbage_is_counted_and_never_becomes_a_price():
    garbage = [
        *(b"", b"[]", b"\xff", b'{"type":5}', snapshot()[:-5], snapshot().replace(b'"100.1"', b"100.1")),
        *(snapshot(bid) for bid in ("nan", "-1", "1e300", "0", " 1")),
        *(update(["buy", price, "1"]) for price in ("NaN", "-5", "1e19", 7, None)),
        *(update(["buy", "100.19", size]) for size in ("NaN", "-5", "1e19", 7, None)),
        *(update(["bid", "100.19", "1"]), update(["buy", "100.19"]), update(["buy", "100.19", "1"], time="now")),
        *(
            match(9, price="-1"),
            match(9, side="BUY"),
            match(9, trade_id="9"),
            match(9, time=None),
            heartbeat(-1),
            heartbeat(None),
        ),
    ]
    events, feed = run([[snapshot(), *garbage, update(["buy", "100.11", "1"]), match(5)]], has(2, 1))
    assert kinds(events) == [*IN_STEP, "Q", "T"]
    assert feed.counters.garbage == len(garbage)


def test_a_capture_means_the_same_live_and_recorded():
    lines, path = capture("coinbase_exchange_ws_20210417.txt.gz")
    tape = read_tape(path, symbol="SKL-USD")
    # Behind the time; what the recorder wrote about itself has an address in front.
    sent = [line.partition(b": ")[2] for line in lines if not line.startswith(b"wss:")]

    def make(server):
        return CoinbaseFeed("SKL-USD", url=server.url)

    events, feed = play(CoinbaseServer([sent]), make, has(len(tape.quotes), len(tape.trades)))
    for kind, rows, columns in (
        (Quote, tape.quotes, ("exchange_ns", "bid", "bid_size", "ask", "ask_size")),
        (Trade, tape.trades, ("exchange_ns", "price", "size", "taker_side")),
    ):
        for column in columns:
            np.testing.assert_array_equal([getattr(e, column) for e in of(kind, events)], getattr(rows, column))
    assert kinds(of(Status, events)) == ["connected", "resynchronised"]
    assert (feed.counters.garbage, feed.counters.duplicates, feed.counters.gaps) == (0, 0, 0)


def envelope(number, channel, *events, **more):
    return dumps(
        {"channel": channel, "client_id": "", "timestamp": TIME, "sequence_num": number, "events": events, **more}
    )


def level2(number, *updates, kind="update", product="BTC-USD"):
    rows = [
        {"side": side, "event_time": TIME, "price_level": price, "new_quantity": size} for side, price, size in updates
    ]
    return envelope(number, "l2_data", {"type": kind, "product_id": product, "updates": rows})


def book(number, bid="100.1"):
    return level2(number, ("bid", bid, "1"), ("offer", "100.2", "2"), kind="snapshot")


def trades(number, *ids, kind="update", **more):
    one = {"product_id": "BTC-USD", "price": "100.2", "size": "0.5", "side": "SELL", "time": TIME, **more}
    return envelope(number, "market_trades", {"type": kind, "trades": [{"trade_id": str(i), **one} for i in ids]})


def beat(number):
    return envelope(number, "heartbeats", {"current_time": TIME, "heartbeat_counter": number})


def run_advanced(scripts, enough, server=None):
    server = server or CoinbaseAdvancedServer(scripts)
    return play(server, lambda s: CoinbaseAdvancedFeed("btc-usd", url=s.url, limits=QUICK, seed=1), enough)


def test_advanced_trade_gives_the_same_events():
    n = count()
    script = [book(next(n)), trades(next(n), 3, 2, kind="snapshot"), beat(next(n)), trades(next(n), 5, 4)]
    script += [level2(next(n), ("bid", "100.15", "3")), level2(next(n), ("bid", "100.15", "0"), ("bid", "99", "1"))]
    server = CoinbaseAdvancedServer([script])
    events, feed = run_advanced(None, has(3, 2), server)
    assert kinds(events) == [*IN_STEP, "T", "T", "Q", "Q"]
    assert [q[1:4] for q in of(Quote, events)] == [(TIME_NS, 100.1, 1), (TIME_NS, 100.15, 3), (TIME_NS, 100.1, 1)]
    assert of(Trade, events)[0][1:] == (TIME_NS, 100.2, 0.5, +1)
    assert feed.counters.ignored == 2


def test_advanced_trade_asks_for_a_new_book_after_a_gap_on_the_same_connection():
    script = [book(0), trades(1, 5), beat(4), level2(5, ("bid", "100.19", "1")), resubscribed]
    script += [level2(6, ("bid", "100.18", "1")), book(7, "50"), trades(8, 7), level2(9, ("bid", "50.1", "1"))]
    server = CoinbaseAdvancedServer([script])
    events, feed = run_advanced(None, has(3, 2), server)
    assert kinds(events) == [*IN_STEP, "T", "gap", "resynchronised", "Q", "T", "Q"]
    assert [q.bid for q in of(Quote, events)] == [100.1, 50, 50.1]
    assert (feed.counters.gaps, feed.counters.reconnects, server.connections) == (2, 0, 1)


def test_advanced_trade_asks_for_a_snapshot_that_has_not_come():
    beats = [beat(n) for n in range(1, 11)]
    events, feed = run_advanced([[level2(0, ("bid", "100.19", "1")), *beats, resubscribed, book(11)]], has(1))
    assert kinds(events) == ["connected", "gap", "resynchronised", "Q"]
    assert feed.counters.reconnects == 0


def test_advanced_trade_connects_anew_where_asking_again_does_not_help():
    beats = [beat(n) for n in (4, 5, 8, 9, 10, 11, 12, 13, 14, 15)]  # a gap meanwhile changes nothing
    events, feed = run_advanced([[book(0), beat(3), resubscribed, *beats], [book(0, "50")]], has(2))
    assert kinds(events) == [*IN_STEP, "gap", "gap", *IN_STEP]
    assert (of(Quote, events)[-1].bid, feed.counters.reconnects) == (50, 1)


def test_advanced_trade_needs_no_new_book_for_missing_trades():
    events, feed = run_advanced([[book(0), trades(1, 5), trades(2, 9, 8), book(3, "100.15")]], has(2, 3))
    assert kinds(events) == [*IN_STEP, "T", "gap", "T", "T", "resynchronised", "Q"]
    assert (feed.counters.gaps, feed.counters.reconnects) == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_advanced_book_is_the_venues_book_whatever_is_lost_doubled_or_damaged(seed):
    rng, true, numbers = random.Random(seed), Book(), count()
    for price in range(90, 100):
        true.set(+1, price, 1.0)
        true.set(-1, price + 20, 1.0)

    async def answer(connection):
        """Take what the client asks for meanwhile, and answer with the true book."""
        with contextlib.suppress(TimeoutError):
            while True:
                asked = json.loads(await asyncio.wait_for(connection.recv(), 0.002))
                if asked["type"] == "subscribe" and asked["channel"] == "level2":
                    await connection.send(whole(), text=True)

    def whole():
        sides = (("bid", true._sides[+1].sizes), ("offer", true._sides[-1].sizes))
        rows = [(name, str(price), str(size)) for name, sizes in sides for price, size in sizes.items()]
        return level2(next(numbers), *rows, kind="snapshot")

    def changed(fault):
        async def step(connection):
            side, size = rng.choice((1, -1)), rng.choice((0, 1.5, 2.5))
            price = rng.randrange(95, 104) if side > 0 else rng.randrange(106, 115)
            true.set(side, price, size)
            message = level2(next(numbers), ("bid" if side > 0 else "offer", str(price), str(size)))
            sent = [] if fault < 0.04 else [message[:-9]] if fault < 0.08 else [message] * (2 if fault < 0.2 else 1)
            for one in sent:
                await connection.send(one, text=True)

        return step

    async def snapshot_first(connection):
        await connection.send(whole(), text=True)

    async def last(connection):
        true.set(+1, 104.5, 1.0)
        await connection.send(level2(next(numbers), ("bid", "104.5", "1")), text=True)

    changes = [step for i in range(200) for step in (changed(rng.random() if i < 150 else 1.0), answer)]
    server = CoinbaseAdvancedServer([[snapshot_first, *changes, *[answer] * 300, last], [snapshot_first, last]])
    events, feed = run_advanced(None, lambda events: 104.5 in [q.bid for q in of(Quote, events)[-1:]], server)
    assert of(Quote, events)[-1][2:] == true.touch()
    assert feed.counters.gaps > 3
    assert feed.counters.reconnects == 0


def test_advanced_trade_drops_what_comes_twice():
    script = [book(0), level2(1, ("bid", "100.15", "3")), level2(1, ("bid", "100.15", "9")), book(0), trades(2, 5, 5)]
    events, feed = run_advanced([script], has(2, 1))
    assert [q.bid_size for q in of(Quote, events)] == [1, 3]
    assert feed.counters.duplicates == 3


def test_advanced_trade_counts_garbage():
    garbage = [
        *(b"{}", envelope(1, "l2_data", 5), envelope("1", "l2_data"), level2(1, ("buy", "1", "1"))),
        *(level2(1, ("bid", price, "1")) for price in ("nan", "-1", "1e300", 5)),
        *(level2(1, ("bid", "100.19", size)) for size in ("nan", "-1", "1e300", 5)),
        *(level2(1, kind="other"), level2(1, product="ETH-USD"), envelope(1, "l2_data", timestamp="now")),
        *(trades(1, "x"), trades(1, 5, side="buy"), trades(1, 5, price="0"), trades(1, 5, product_id="ETH-USD")),
    ]
    events, feed = run_advanced([[book(0), *garbage, level2(1, ("bid", "100.12", "1"))]], has(2))
    assert kinds(events) == [*IN_STEP, "Q"]
    assert feed.counters.garbage == len(garbage)
