"""A clock that jumps while a session runs on a real socket: it neither stands still nor goes back."""

import asyncio
import itertools
import time
from dataclasses import replace

import pytest

from hftgym.live.binance import BinanceFeed
from hftgym.live.journal import SessionJournal
from hftgym.live.paper import PaperBroker
from hftgym.live.recovery import recover
from hftgym.live.session import LiveSession
from tests.live.faulted import QUICK
from tests.live.feeds import quote
from tests.live.test_session import PARAMS, Drawn
from tests.servers.binance import BinanceServer

TICK_S = 0.01
HOUR_NS = 3_600 * 10**9


class Wall:
    """A clock that can be set while it runs."""

    def __init__(self):
        self.ahead_ns = 0

    def __call__(self):
        return 10**18 + time.monotonic_ns() + self.ahead_ns


async def pause(_):
    await asyncio.sleep(0.002)


def market(jumps, wall, snapshots):
    """Quotes without end; after so many ticks the clock is set by so much."""
    left = sorted(jumps.items())
    for number in itertools.count(1):
        yield quote(number, str(100 + number % 7 / 10))
        yield pause
        if left and len(snapshots) >= left[0][0]:
            wall.ahead_ns += left.pop(0)[1]


def ran(jumps, *, ticks, path):
    """Run a session through these jumps; return its snapshots."""
    wall, snapshots = Wall(), []

    async def run(journal):
        async with BinanceServer([market(jumps, wall, snapshots)]) as server:
            session = LiveSession(
                BinanceFeed("BTCUSDT", url=server.url, limits=QUICK, clock=wall),
                Drawn(3),
                PaperBroker(PARAMS),
                params=replace(PARAMS, tick_s=TICK_S),
                journal=journal,
                clock=wall,
                observers=[snapshots.append],
            )
            async with asyncio.timeout(20):
                await session.run(ticks)

    with SessionJournal(path) as journal:
        asyncio.run(run(journal))
    return snapshots


@pytest.mark.slow
@pytest.mark.parametrize("back_ns", [HOUR_NS, 30 * HOUR_NS, 200_000_000])
def test_a_clock_that_is_set_back_stops_nothing(back_ns, tmp_path):
    snapshots = ran({20: -back_ns}, ticks=60, path=tmp_path / "x")
    times = [s.time_ns for s in snapshots]
    assert [b - a for a, b in itertools.pairwise(times)] == [round(TICK_S * 1e9)] * 60
    assert {s.state for s in snapshots} == {"trading"}
    left = recover(tmp_path / "x")
    assert (left.cash, left.inventory, left.ticks) == (snapshots[-1].cash, snapshots[-1].inventory, 61)


@pytest.mark.slow
def test_a_clock_that_is_set_forward_is_a_break_and_back_again_is_none(tmp_path):
    snapshots = ran({20: HOUR_NS, 60: -HOUR_NS}, ticks=60, path=tmp_path / "x")
    times = [s.time_ns for s in snapshots]
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert sum(step > HOUR_NS / 2 for step in steps) == 1
    assert min(steps) > 0
    states = [s.state for s in snapshots]
    assert [state for state, _ in itertools.groupby(states)] == ["trading", "withdrawn", "warming", "trading"]
    assert states.count("warming") == PARAMS.window - 1
    jumped = next(i for i, step in enumerate(steps) if step > HOUR_NS / 2)
    assert "the clock jumped" in snapshots[jumped + 1].reason
    left = recover(tmp_path / "x")
    assert (left.cash, left.inventory) == (snapshots[-1].cash, snapshots[-1].inventory)
