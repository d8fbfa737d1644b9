"""What the tests of feeds share: running one against a server, and small messages."""

import asyncio
import gzip
import itertools
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from hftgym.live.connection import Limits
from hftgym.live.events import Quote, Status, Trade

QUICK = Limits(
    open_s=5, ping_s=0.2, pong_s=0.2, stale_s=5, silence_s=10, close_s=0.5, backoff_s=0.02, backoff_max_s=0.1
)
START_MS = 1_723_161_256_322
LONGEST_S = 20


def capture(name):
    """The lines of a real capture, or a skip."""
    folder = Path(os.environ.get("HFTGYM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    if not (folder / name).is_file():
        pytest.skip(f"real capture {name} not found in {folder} (set $HFTGYM_DATA to its folder)")
    with gzip.open(folder / name) as file:
        return file.read().splitlines(), folder / name


def play(server, make, enough, *, longest_s=LONGEST_S):
    """Run a feed against a server until `enough(events)`; returns the events and the feed."""

    async def run():
        async with server:
            feed, events = make(server), []
            async with asyncio.timeout(longest_s):
                async for event in feed.events():
                    events.append(event)
                    if enough(events):
                        await feed.close()
            return events, feed

    return asyncio.run(run())


def ticking():
    """A clock that goes one second per look."""
    return map((10**18).__add__, itertools.count(0, 10**9)).__next__


def of(kind, events):
    return [event for event in events if type(event) is kind]


def kinds(events):
    """The statuses, and what lies between them as "Q" and "T"."""
    return [event.kind if type(event) is Status else type(event).__name__[0] for event in events]


def has(quotes=0, trades=0):
    """Enough quotes and trades; to be called once per event."""
    seen = Counter()

    def enough(events):
        seen[type(events[-1])] += 1
        return seen[Quote] >= quotes and seen[Trade] >= trades

    return enough


def dumps(message):
    return json.dumps(message, separators=(",", ":")).encode()


def quote(number, bid="100.1", **more):
    """Spot."""
    data = {"u": number, "s": "BTCUSDT", "b": bid, "B": "2.5", "a": "100.2", "A": "3.5"}
    return dumps({"stream": "btcusdt@bookTicker", "data": {**data, **more}})


def usdm_quote(u, **more):
    data = {"e": "bookTicker", "u": u, "s": "BTCUSDT", "b": "100.1", "B": "2.5", "a": "100.2", "A": "3.5"}
    return dumps({"stream": "btcusdt@bookTicker", "data": {**data, "T": START_MS, "E": START_MS, **more}})


def trade(number, price="100.2", **more):
    """Spot."""
    data = {"e": "trade", "E": START_MS, "s": "BTCUSDT", "t": number, "p": price, "q": "0.5", "T": START_MS, "m": False}
    return dumps({"stream": "btcusdt@trade", "data": {**data, "M": True, **more}})


def agg_trade(a, **more):
    data = {"e": "aggTrade", "E": START_MS, "s": "BTCUSDT", "a": a, "p": "100.2", "q": "0.5", "f": 1, "l": 2}
    return dumps({"stream": "btcusdt@aggTrade", "data": {**data, "T": START_MS, "m": True, "M": True, **more}})


def depth(first, last, bids=(), asks=(), **more):
    data = {"e": "depthUpdate", "E": START_MS, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return dumps({"stream": "btcusdt@depth@100ms", "data": {**data, **more}})


def snapshot(last, bid="100.1", ask="100.2"):
    return dumps({"lastUpdateId": last, "bids": [[bid, "1"], ["9", "9"]], "asks": [[ask, "2"], ["101", "9"]]})
