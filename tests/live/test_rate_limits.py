"""A venue that asks to be left alone is left alone, over reconnects too; it is counted, and told in the log."""

import asyncio
import itertools
import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hftgym.live.binance import BinanceFeed
from hftgym.live.events import Quote
from hftgym.live.rest import rest_s
from tests.live.feeds import QUICK, depth, kinds, of, play, quote, snapshot
from tests.live.test_depth_feed import pause
from tests.servers.binance import BinanceServer
from tests.servers.played import Refused, cut

IN_STEP = ["connected", "resynchronised", "Q"]


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        *((429, "7", 7.0), (418, "120", 120.0), (503, "3", 3.0), (429, " 7 ", 7.0), (429, "0", 0.0)),
        *((429, None, 60.0), (418, None, 120.0), (503, None, 0.0), (429, "soon", 60.0), (418, "-5", 120.0)),
        *((418, "9" * 400, 259_200.0), (500, "7", 0.0), (403, "7", 0.0), (200, "7", 0.0), (0, None, 0.0)),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_how_long_an_answer_asks_to_be_left_alone(status, header, seconds):
    assert rest_s(status, header) == seconds


def test_a_date_says_until_when():
    asked = rest_s(429, format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True))
    assert 90 < asked <= 100


def updates():
    """Updates without end, with pauses."""
    for number in itertools.count(100):
        yield depth(number, number, [["100.13", str(number)]])
        yield pause


def watch(server, make, holds):
    """Run a feed until something holds, whether or not it tells anything; return its events and itself."""

    async def run():
        async with server:
            feed, events = make(server), []

            async def read():
                async for event in feed.events():
                    events.append(event)

            reading = asyncio.create_task(read())
            async with asyncio.timeout(20):
                while not holds():
                    await asyncio.sleep(0.005)
                await feed.close()
                await reading
            return events, feed

    return asyncio.run(run())


def make(server):
    return BinanceFeed("BTCUSDT", quotes="depth", url=server.url, rest_url=server.rest_url, limits=QUICK, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 418])
def test_no_snapshot_is_asked_for_while_the_venue_wants_a_rest(status, caplog):
    caplog.set_level(logging.WARNING, logger="hftgym.live")
    stream = updates()
    scripts = [[*itertools.islice(stream, 60), cut], stream]  # it reconnects while it rests
    server = BinanceServer(scripts, snapshots=[Refused(status, "2"), snapshot(10**9)])
    events, feed = watch(server, make, lambda: len(server.asked) >= 2)
    first, second = server.asked_s[:2]
    assert second - first >= 2.0
    assert "disconnected" in kinds(events)
    assert feed.counters.limited == 1
    assert [(r.status, r.rest_s) for r in caplog.records if hasattr(r, "rest_s")] == [(status, 2.0)]


@pytest.mark.slow
def test_without_a_word_how_long_it_is_long():
    server = BinanceServer([updates()], snapshots=[Refused(418)])
    _, feed = watch(server, make, lambda: server.asked and time.monotonic() - server.asked_s[0] > 2)
    assert len(server.asked) == 1
    assert feed.counters.limited == 1


@pytest.mark.slow
def test_a_stream_full_of_holes_asks_for_few_snapshots():
    """Every second update has a hole before it: each book that is whole breaks at once."""
    script = []
    for number in range(100, 2_100, 2):
        script += [depth(number, number, [["100.13", str(number)]]), pause]

    sent = []

    class Venue(BinanceServer):
        async def _answer(self, reader, writer):
            self.snapshots = [snapshot(100 + 2 * (len(sent) - 1))]
            await super()._answer(reader, writer)

        def sends(self, message):
            sent.append(message)
            return super().sends(message)

    server = Venue([script])
    events, _ = watch(server, make, lambda: len(sent) >= 900)
    gaps = kinds(events).count("gap")
    assert gaps > 3
    assert len(server.asked) <= 4 + (server.asked_s[-1] - server.asked_s[0]) / (QUICK.backoff_max_s / 2)


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 418, 503])
def test_a_refused_handshake_is_not_repeated_while_the_venue_wants_a_rest(status):
    server = BinanceServer([[quote(1)]], refused=[Refused(status, "1"), Refused(500)])
    events, feed = play(
        server,
        lambda s: BinanceFeed("BTCUSDT", url=s.url, limits=QUICK, seed=1),
        lambda events: bool(of(Quote, events)),
    )
    assert kinds(events) == ["disconnected", "disconnected", *IN_STEP]
    first, second, third = server.knocked_s
    assert second - first >= 1.0 > third - second
    assert feed.counters.limited == 1
    assert str(status) in events[0].text
