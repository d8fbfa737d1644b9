import asyncio
import random

import pytest

from hftgym.live.binance import BinanceFeed
from hftgym.live.events import Quote
from hftgym.tape.book import Book
from tests.live.feeds import QUICK, START_MS, depth, dumps, kinds, of, play, snapshot
from tests.servers.binance import BinanceServer
from tests.servers.played import Refused

IN_STEP = ["connected", "resynchronised", "Q"]


def bids(count):
    return lambda events: len(of(Quote, events)) >= count


def prices(events):
    return [q.bid for q in of(Quote, events)]


def test_the_book_begins_where_snapshot_and_updates_meet():
    old = [depth(100, 101, [["100.15", "7"]]), depth(102, 103, [["100.15", "0"]]), depth(104, 105, [["100.13", "1"]])]
    server = BinanceServer([[*old, *nudges(106)]], snapshots=[snapshot(103)])
    events, feed = play(server, make_spot, bids(2))
    assert prices(events)[0] == 100.13  # 100.15 was gone before the snapshot
    assert kinds(events)[:3] == IN_STEP
    assert of(Quote, events)[0].exchange_ns == START_MS * 10**6
    assert feed.counters.gaps == 0
    assert server.asked[0].endswith("/api/v3/depth?symbol=BTCUSDT&limit=1000")


def make_spot(server):
    return BinanceFeed("BTCUSDT", quotes="depth", url=server.url, rest_url=server.rest_url, limits=QUICK, seed=1)


def nudges(start, *, best="100.14"):
    """Updates with pauses, which change nothing until the last brings a better bid."""
    steps = []
    for n in range(start, start + 200):
        steps += [depth(n, n, [["50", str(n)]]), pause]
    return [*steps, depth(start + 200, start + 200, [[best, "1"]])]


async def pause(_):
    await asyncio.sleep(0.002)


def test_a_snapshot_that_is_too_old_is_fetched_again_and_so_is_a_refused_one():
    server = BinanceServer(
        [[depth(100, 101), pause, *nudges(102)]], snapshots=[snapshot(50), Refused(500), snapshot(101)]
    )
    events, feed = play(server, make_spot, bids(1))
    assert kinds(events) == IN_STEP
    assert len(server.asked) == 3
    assert feed.counters.gaps == 0


def test_a_hole_starts_the_book_anew():
    script = [*nudges(100, best="100.12"), *nudges(305, best="91")]
    server = BinanceServer([script], snapshots=[snapshot(150), snapshot(450, "90")])
    events, feed = play(server, make_spot, bids(3))
    assert kinds(events)[:4] == [*IN_STEP, "Q"]
    assert "gap" in kinds(events)
    assert prices(events)[-1] in (90.0, 91.0)
    assert feed.counters.gaps == 4


def test_usdm_updates_name_the_one_before_and_numbers_may_jump():
    script, last = [], 90
    for u in range(100, 2_000, 10):
        script += [depth(u - 3, u, [["100.11", str(u)]], T=START_MS, pu=last), pause]
        last = u
    server = BinanceServer([script], snapshots=[snapshot(112)])

    def make(s):
        return BinanceFeed("BTCUSDT", "usdm", quotes="depth", url=s.url, rest_url=s.rest_url, limits=QUICK, seed=1)

    events, feed = play(server, make, bids(20))
    assert kinds(events)[:3] == IN_STEP
    assert set(kinds(events)[3:]) == {"Q"}
    assert feed.counters.gaps == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_book_is_the_venues_book_whatever_is_lost_doubled_late_or_damaged(seed):
    """A venue with a true book sends it through faults; after the last one the feed shows the true prices."""
    rng = random.Random(seed)
    book, script, number, late = Book(), [], 1_000, None
    for price in range(90, 100):
        book.set(+1, price, 1.0)
        book.set(-1, price + 20, 1.0)
    shots = []

    class Venue(BinanceServer):
        async def _answer(self, reader, writer):
            self.snapshots = [shots[0]]
            await super()._answer(reader, writer)

    def full(last):
        sides = (book._sides[+1].sizes, book._sides[-1].sizes)
        levels = [[[str(p), str(s)] for p, s in side.items()] for side in sides]
        return dumps({"lastUpdateId": last, "bids": levels[0], "asks": levels[1]})

    def shown(shot):
        async def step(_):
            shots[:] = [shot]

        return step

    for i in range(200):
        number += 1
        side, size = rng.choice((1, -1)), rng.choice((0, 1.5, 2.5))
        price = rng.randrange(95, 104) if side > 0 else rng.randrange(106, 115)
        book.set(side, price, size)
        change = [[str(price), str(size)]]
        message = depth(number, number, change if side > 0 else [], change if side < 0 else [])
        fault = rng.random() if i < 100 else 1.0
        sent = [] if fault < 0.05 else [message[:-9]] if fault < 0.1 else [message] * (1 + (fault < 0.2))
        if 0.2 < fault < 0.25:  # behind the next one
            late = message
            sent = []
        elif late is not None:
            sent, late = [*sent, late], None
        script += [shown(full(number)), pause, *sent]
    book.set(+1, 104.5, 1.0)
    script += [depth(number + 1, number + 1, [["104.5", "1"]])]
    events, feed = play(Venue([script]), make_spot, lambda events: 104.5 in prices(events))
    assert of(Quote, events)[-1][2:] == book.touch()
    assert "gap" in kinds(events)
    assert feed.counters.gaps > 0
    assert feed.counters.garbage + feed.counters.duplicates > 0
