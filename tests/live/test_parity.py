"""The same tape through the replay and through a real WebSocket: identical to the last bit."""

import asyncio
import itertools

import numpy as np
import pytest

from hftgym.backtest import backtest
from hftgym.live.binance import BinanceFeed
from hftgym.live.connection import Limits
from hftgym.live.events import Quote, Trade
from hftgym.live.paper import PaperBroker
from hftgym.live.session import LiveSession
from hftgym.policies import ZScorePolicy
from hftgym.tape import calibrate, read_tape
from tests.live.feeds import START_MS, capture, dumps
from tests.live.test_session import PARAMS, Drawn
from tests.servers.binance import BinanceServer
from tests.tapes import random_tape, rows_of


class Stamped:
    """A feed whose quotes and trades carry the times at which a tape received them."""

    def __init__(self, feed, tape):
        self._feed, self._tape = feed, tape
        self.venue, self.symbol, self.counters = feed.venue, feed.symbol, feed.counters

    async def events(self):
        times = {Quote: iter(self._tape.quotes.local_ns.tolist()), Trade: iter(self._tape.trades.local_ns.tolist())}
        now = int(self._tape.quotes.local_ns[0])
        async for event in self._feed.events():
            now = next(times[type(event)]) if type(event) in times else now
            yield event._replace(received_ns=now)

    async def close(self):
        await self._feed.close()


class Seen:
    """Plays a policy and keeps what it saw and did."""

    def __init__(self, policy):
        self.policy, self.observations, self.actions = policy, [], []

    def predict(self, observation, **more):
        action, state = self.policy.predict(observation, **more)
        self.observations.append(observation)
        self.actions.append(np.array(action))
        return action, state


def messages(tape):
    """A tape as Binance's spot market would send it."""
    numbers = {"quote": itertools.count(1), "trade": itertools.count(1)}
    for _, kind, values in rows_of(tape):
        number = next(numbers[kind])
        if kind == "quote":
            bid, bid_size, ask, ask_size = map(repr, values)
            data = {"u": number, "s": "BTCUSDT", "b": bid, "B": bid_size, "a": ask, "A": ask_size}
            yield dumps({"stream": "btcusdt@bookTicker", "data": data})
        else:
            price, size, taker = values
            data = {"e": "trade", "E": START_MS, "s": "BTCUSDT", "t": number, "p": repr(price), "q": repr(size)}
            yield dumps({"stream": "btcusdt@trade", "data": {**data, "T": START_MS, "m": taker < 0, "M": True}})


def through_a_socket(lines, tape, policy, *, market, params, latency_s, price_step):
    """Run a session against a server that sends these messages; return its snapshots."""
    snapshots = []

    async def run():
        async with BinanceServer([lines]) as server:
            feed = Stamped(BinanceFeed("btcusdt", market, url=server.url, limits=Limits()), tape)
            session = LiveSession(
                feed,
                policy,
                PaperBroker(params, latency_s=latency_s),
                params=params,
                price_step=price_step,
                clock=None,
                observers=[snapshots.append],
            )
            async with asyncio.timeout(100):
                await session.run(params.horizon - 1)

    asyncio.run(run())
    return snapshots


def assert_equal(tape, lines, policies, **how):
    recorded, live = (Seen(policy) for policy in policies)
    params, latency_s, step = how["params"], how["latency_s"], how["price_step"]
    expected = backtest(recorded, tape, params, latency_s=latency_s, price_step=step)
    snapshots = through_a_socket(lines, tape, live, **how)
    n = len(snapshots)
    assert n == params.horizon
    assert np.array_equal(live.observations, recorded.observations[:n])
    assert np.array_equal(live.actions, recorded.actions[:n])
    for name in ("mid", "inventory", "cash", "equity"):
        assert np.array_equal([getattr(s, name) for s in snapshots], getattr(expected, name)[:n]), name
    fills = [(f.time_ns, f.side, f.price, f.size, f.fee) for s in snapshots for f in s.fills]
    log = expected.fills
    assert fills == list(zip(log.time_ns, log.side, log.price, log.size, log.fee, strict=True))[: len(fills)]
    assert len(fills) > 20


def test_a_drawn_tape():
    tape = random_tape(7)
    policies = Drawn(7), Drawn(7)
    how = {"params": PARAMS, "latency_s": 0.013, "price_step": 0.1}
    assert_equal(tape, list(messages(tape)), policies, market="spot", **how)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("market", "name"),
    [("spot", "binance_spot_btcusdt_20240808.gz"), ("usdm", "binance_usdm_btcusdt_20240808.gz")],
)
def test_a_recorded_tape(market, name):
    lines, path = capture(name)
    tape = read_tape(path)
    how = {"params": calibrate(tape), "latency_s": 0.01, "price_step": tape.price_step}
    assert_equal(tape, [line[20:] for line in lines], (ZScorePolicy(), ZScorePolicy()), market=market, **how)
