import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hftgym.live import feed as feeds
from hftgym.live.binance import BinanceFeed
from hftgym.live.connection import Backoff, Limits
from hftgym.live.events import Quote
from tests.live.feeds import QUICK, kinds, quote
from tests.servers.binance import BinanceServer
from tests.servers.played import cut, hang


def test_the_first_reconnect_is_at_once_and_later_ones_wait_longer_with_jitter():
    limits = Limits(backoff_s=1, backoff_max_s=8, healthy_s=10)
    backoff = Backoff(limits, seed=1)
    waits = [backoff.after(1.0) for _ in range(2_000)]
    assert waits[0] == 0
    for wait, longest in zip(waits[1:], [1, 2, 4] + [8] * 2_000, strict=False):
        assert longest / 2 <= wait <= longest
    assert len(set(waits[4:])) > 1_900
    assert backoff.after(10.0) == 0
    again = Backoff(limits, seed=1)
    assert waits == [again.after(1.0) for _ in range(2_000)]


def test_whatever_becomes_of_connections_there_are_no_more_tries_than_a_venue_allows():
    """The most that anyone can bring about, who chooses how long each connection lives and gets the shortest waits."""
    limits, step_s, window_s = Limits(), 0.25, 300
    waits = [0.0, *(limits.backoff_s * 2.0**n for n in range(20))]
    waits = [min(wait, limits.backoff_max_s) / 2 for wait in waits]
    healthy, steps = round(limits.healthy_s / step_s), round(window_s / step_s)
    # most[t][n]: tries within t steps from one on that was made after n waits; the next one needs another wait, unless
    # this one lives long enough. To live for less only costs time.
    most = np.ones((steps + 1, len(waits)), dtype=int)
    for t in range(steps + 1):
        for n in range(len(waits)):
            longer = min(n + 1, len(waits) - 1)
            wait = round(waits[longer] / step_s)
            most[t, n] = 1 + max(
                most[t - wait, longer] if 0 < wait <= t else 0, most[t - healthy, 0] if healthy <= t else 0
            )
    assert 1 + most.max() == 112  # the very first is followed by one without a wait


@pytest.mark.parametrize("field", ["open_s", "silence_s", "message_bytes", "healthy_s"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_impossible_limits_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be finite and above 0"):
        Limits(**{field: value})


def test_silence_is_longer_than_staleness():
    with pytest.raises(ValueError, match=r"silence_s must be above stale_s \(5\.0\), got 5"):
        Limits(silence_s=5.0)


def test_a_feed_is_read_once():
    async def run():
        async with BinanceServer([[quote(1)]]) as server:
            feed = BinanceFeed("BTCUSDT", url=server.url, limits=QUICK)
            async for _ in feed.events():
                await feed.close()
            with pytest.raises(RuntimeError, match="can be read once"):
                await anext(aiter(feed.events()))

    asyncio.run(run())


def test_a_wrong_address_is_an_error_and_no_loss():
    async def run():
        await anext(aiter(BinanceFeed("BTCUSDT", url="http://127.0.0.1", limits=QUICK).events()))

    with pytest.raises(ValueError, match="url must begin with ws:// or wss://"):
        asyncio.run(run())


def test_where_nobody_listens_it_tries_again_until_it_is_closed():
    async def run():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            feed = BinanceFeed("BTCUSDT", url=f"ws://127.0.0.1:{free.getsockname()[1]}", limits=QUICK, seed=1)
            events = []
            async for event in feed.events():
                events.append(event)
                if len(events) == 4:
                    await feed.close()
            return events, feed

    events, feed = asyncio.run(run())
    assert kinds(events) == ["disconnected"] * 4
    assert feed.counters.reconnects == 0


@pytest.mark.parametrize("missing", ["websockets", "msgspec"])
def test_a_missing_package_is_named_with_what_installs_it(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import hftgym.live; import hftgym.live.binance"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f'a live feed needs {missing}: pip install "hftgym[live]"' in done.stderr


async def reading(feed, events):
    async for event in feed.events():
        events.append(event)


@pytest.mark.parametrize("script", [[quote(1)], [quote(1), hang]], ids=["idle", "half open"])
def test_close_from_elsewhere_ends_the_events_in_bounded_time(script):
    limits = Limits(close_s=0.3)

    async def run():
        async with BinanceServer([script]) as server:
            feed, events = BinanceFeed("BTCUSDT", url=server.url, limits=limits), []
            task = asyncio.create_task(reading(feed, events))
            async with asyncio.timeout(10):
                while not any(type(event) is Quote for event in events):
                    await asyncio.sleep(0.001)
                start = time.monotonic()
                await feed.close()
                await task
            return events, time.monotonic() - start

    events, took_s = asyncio.run(run())
    assert kinds(events) == ["connected", "resynchronised", "Q"]
    assert took_s < 5  # ten times what it may take: the machine may be busy


def test_close_ends_a_long_wait_to_reconnect():
    limits = Limits(backoff_s=3_000, backoff_max_s=3_000)

    async def run():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            feed, events = BinanceFeed("BTCUSDT", url=f"ws://127.0.0.1:{free.getsockname()[1]}", limits=limits), []
            task = asyncio.create_task(reading(feed, events))
            async with asyncio.timeout(10):
                while len(events) < 2:
                    await asyncio.sleep(0.001)
                await feed.close()
                await task

    asyncio.run(run())


def test_whoever_stops_reading_leaves_nothing_behind():
    async def run():
        async with BinanceServer([[quote(1)]]) as server:
            events = BinanceFeed("BTCUSDT", url=server.url, limits=QUICK).events()
            assert (await anext(events)).kind == "connected"
            await events.aclose()
            async with asyncio.timeout(5):
                while server.open:
                    await asyncio.sleep(0.001)

    asyncio.run(run())


@pytest.mark.slow
def test_a_thousand_disconnects_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(feeds, "_REQUESTS_PER_S", 1e6)  # else it takes minutes

    async def run():
        async with BinanceServer([[quote(1), cut]]) as server:
            limits = Limits(backoff_s=1e-6, backoff_max_s=1e-6)
            feed, held = BinanceFeed("BTCUSDT", url=server.url, limits=limits), []
            async for event in feed.events():
                if type(event) is Quote:
                    held.append((len([*Path("/proc/self/fd").iterdir()]), len(asyncio.all_tasks())))
                if len(held) == 1_000:
                    await feed.close()
            return held

    held = asyncio.run(run())
    early, late = max(held[50:200]), max(held[-150:])
    assert late[0] <= early[0] + 5
    assert late[1] <= early[1] + 5
