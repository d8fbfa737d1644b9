"""A whole session over a real WebSocket through which a venue sends a tape, and what goes wrong on the way."""

import asyncio
from typing import NamedTuple

import numpy as np

from hftgym.live.binance import BinanceFeed
from hftgym.live.connection import Limits
from hftgym.live.events import FeedCounters, Quote, Status, Trade
from hftgym.live.paper import PaperBroker
from hftgym.live.risk import RiskGate, RiskLimits
from hftgym.live.session import LiveSession
from tests.live.feeds import START_MS, trade, usdm_quote
from tests.live.test_session import PARAMS, Drawn
from tests.servers.binance import BinanceServer
from tests.tapes import rows_of

SEED, TICKS, LATENCY_S = 7, 180, 0.013
LIMITS = RiskLimits(
    max_inventory=1.5, max_order_size=1e3, max_loss=1e9, max_orders_per_s=1e3, collar=0.5, max_latency_s=60
)


class Ran(NamedTuple):
    """What a session did."""

    told: list  # events, stamped
    snapshots: list
    seen: list  # observations, one per decision
    counters: FeedCounters

    def shown(self):
        """The snapshots, to the last bit, without the texts of reasons."""
        return [repr(snapshot._replace(reason="")) for snapshot in self.snapshots]


def rows(tape):
    """(ns, event) of each row as the feed is to tell it, in order."""
    found = []
    for time_ns, kind, values in rows_of(tape):
        found.append((Quote if kind == "quote" else Trade)(time_ns, time_ns, *values))
    return found


def messages(events):
    """The events as Binance's USD-M market would send them; the venue's time tells which one it is."""
    found, numbers = [], {Quote: 0, Trade: 0}
    for row, event in enumerate(events):
        numbers[type(event)] += 1
        number, when = numbers[type(event)], {"E": START_MS + row, "T": START_MS + row}
        if isinstance(event, Quote):
            values = dict(zip("bBaA", map(repr, event[2:]), strict=True))
            found.append(usdm_quote(number, **values, **when))
        else:
            found.append(trade(number, repr(event.price), q=repr(event.size), m=event.taker_side < 0, **when))
    return found


class Timed:
    """A feed whose events carry the times of their rows, however long they took; a status, that of the one before."""

    def __init__(self, feed, events):
        self._feed, self._events, self.told = feed, events, []
        self.venue, self.symbol, self.counters = feed.venue, feed.symbol, feed.counters

    async def events(self):
        now = self._events[0].received_ns
        async for event in self._feed.events():
            if isinstance(event, Status):
                event = event._replace(received_ns=now)
            else:
                now = self._events[event.exchange_ns // 10**6 - START_MS].received_ns
                event = event._replace(received_ns=now, exchange_ns=now)
            self.told.append(event)
            yield event

    async def close(self):
        await self._feed.close()


class Told:
    """A feed that tells these events, without any socket."""

    venue, symbol = "binance-usdm", "BTCUSDT"

    def __init__(self, events):
        self._events, self.counters, self.told = events, FeedCounters(), events

    async def events(self):
        for event in self._events:
            yield event

    async def close(self):
        pass


def in_process(events, **more):
    """Run the session on events that are told as they are."""
    return asyncio.run(_run(Told(events), **more))


def through_a_socket(events, connections, *, limits, ping_s=None, **more):
    """Run the session against a server; the n-th connection gets the n-th list of messages and faults."""

    async def run():
        async with BinanceServer(connections, ping_s=ping_s) as server:
            feed = BinanceFeed("BTCUSDT", "usdm", url=server.url, limits=limits, seed=1)
            return await _run(Timed(feed, events), **more)

    return asyncio.run(run())


class Quoting:
    """Quotes on both sides, always the same."""

    def __init__(self):
        self.seen = []

    def predict(self, observation, state=None, **_):
        self.seen.append(observation)
        return np.zeros(2), state


async def _run(feed, *, journal=None, broker=PaperBroker, policy=None):
    snapshots, policy = [], policy or Drawn(SEED)
    session = LiveSession(
        feed,
        policy,
        broker(PARAMS, latency_s=LATENCY_S),
        params=PARAMS,
        price_step=0.1,
        gate=RiskGate(LIMITS),
        journal=journal,
        clock=None,
        observers=[snapshots.append],
    )
    async with asyncio.timeout(60):
        await session.run(TICKS)
    return Ran(feed.told, snapshots, policy.seen, feed.counters)


QUICK = Limits(
    open_s=5, ping_s=0.5, pong_s=0.5, stale_s=8, silence_s=16, close_s=0.5, message_bytes=5_000, backoff_s=0.02
)
