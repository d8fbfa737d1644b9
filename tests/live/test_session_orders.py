"""A whole session, its feed and its orders on loopback, while the venue refuses, forgets, holds back and repeats."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from hftgym.live.binance import BinanceFeed
from hftgym.live.brokers.base import VenueBroker
from hftgym.live.brokers.ids import OrderIds
from hftgym.live.journal import SessionJournal, read_session
from hftgym.live.recovery import recover
from hftgym.live.session import LiveSession
from tests.live.faulted import QUICK, Quoting
from tests.live.feeds import quote
from tests.live.test_session import PARAMS
from tests.live.venues import PATIENCE, WORLDS, bench
from tests.servers.binance import BinanceServer

STEP = 0.01
FEES = {"alpaca": 0.0, "ccxt": 0.01, "ib": 0.01}  # of a fill, as the servers tell it


async def pause(_):
    await asyncio.sleep(0.01)


def market():
    """A price that moves, so that quotes move with it, inside the venue's 99 and 101."""
    for number in itertools.count(1):
        yield quote(number, f"{99.4 + number % 50 / 100:.2f}", a=f"{100.1 + number % 50 / 100:.2f}")
        yield pause


async def resting(b, side):
    await b.until(lambda: b.exchange.open(side))
    return b.exchange.open(side)[0]


def knows(b, broker):
    return abs(broker.inventory - b.exchange.units) < 1e-9


async def trouble(b, broker):
    """What the venue does, one after the other; each waits until it has happened."""
    counters = broker.counters
    b.exchange.upset("place", "refuse", "refuse")
    await b.until(lambda: counters.rejected >= 2)
    # Filled in part, nothing is heard of it, cancelled by the next quote, and then it comes: late, twice and backwards.
    b.exchange.held = True
    bid = await resting(b, 1)
    b.exchange.fill(bid, 0.4)
    await b.until(lambda: bid.status != "open")
    b.exchange.release(twice=True, backwards=True)
    await b.until(lambda: knows(b, broker))
    # Filled whole while nothing is heard: the cancel meets an order that the venue does not know as open any more.
    b.exchange.held = True
    ask = await resting(b, -1)
    b.exchange.fill(ask, ask.size)
    asked = len(b.exchange.seen)
    await b.until(lambda: "cancel" in b.exchange.seen[asked:])
    b.exchange.release()
    await b.until(lambda: knows(b, broker))
    # The connection goes while orders rest, and one is filled meanwhile.
    bid = await resting(b, 1)
    await b.drop()
    if bid.status == "open":
        b.exchange.fill(bid, bid.size - bid.filled)
    await b.until(lambda: knows(b, broker) and b._connected())
    await resting(b, 1)


async def play(kind, path):
    snapshots = []
    with SessionJournal(path) as journal:
        async with bench(kind, units=1.0, fee=FEES[kind]) as b, BinanceServer([market()]) as server:
            params = replace(PARAMS, tick_s=0.05, horizon=10**6, inventory_limit=9)
            broker = b.broker = VenueBroker(b.venue(None), ids=OrderIds("faults"), patience=PATIENCE, request_s=2.0)
            feed = BinanceFeed("BTCUSDT", url=server.url, limits=QUICK)
            session = LiveSession(
                feed, Quoting(), broker, params=params, price_step=STEP, journal=journal, observers=[snapshots.append]
            )
            running = asyncio.ensure_future(session.run())
            try:
                async with asyncio.timeout(60):
                    await b.until(lambda: len(snapshots) > 3)
                    await trouble(b, broker)
                    settled = len(snapshots)
                    await b.until(lambda: len(snapshots) > settled + 2)
                    session.stop("over")
                    await running
            finally:
                running.cancel()
            return snapshots, b.exchange


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(WORLDS))
def test_a_session_knows_what_it_holds_whatever_the_venue_does(kind, tmp_path):
    snapshots, exchange = asyncio.run(play(kind, tmp_path / "x"))
    last = snapshots[-1]
    assert last.inventory == pytest.approx(exchange.units)
    assert last.cash == pytest.approx(exchange.cash, abs=1e-6)
    assert exchange.open() == []
    # Observers are told also what becomes known while the broker asks, and at the end.
    fills = [values for record, values in read_session(tmp_path / "x") if record == "fill"]
    traded = [(fill["side"], fill["size"], fill["price"]) for fill in fills]
    made = [(order.side, size, price) for order in exchange.orders for _, price, size, _ in order.trades]
    assert sorted(traded) == sorted(made)
    assert [(fill.side, fill.size, fill.price) for s in snapshots for fill in s.fills] == traded
    assert len(made) >= 3
    left = recover(tmp_path / "x")
    assert (left.cash, left.inventory, left.stop) == (last.cash, last.inventory, "over")
