"""From a message's bytes to an order: in one process, and through sockets on loopback."""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import websockets

from hftgym import EnvParams
from hftgym.live.binance import BinanceFeed
from hftgym.live.broker import Fill, Holdings, OpenOrder, Wanted
from hftgym.live.events import Event, FeedCounters
from hftgym.live.risk import RiskGate, RiskLimits
from hftgym.live.session import LiveSession
from hftgym.policies import OnnxPolicy
from scripts.benchmarks.figure import Figure

_AGENT = Path(__file__).parents[2] / "agents/pretrained/default.onnx"
_TICK_NS = 1_000_000
_LIMITS = RiskLimits(max_inventory=10, max_order_size=1, max_loss=1e9, max_orders_per_s=1e6)
_PARAMS = EnvParams(tick_s=_TICK_NS / 1e9, initial_cash=1e6, horizon=1_000_000)


def decision_figures(messages: int = 20_000) -> Iterator[Figure]:
    """Yield how long a message takes to become orders: parsed, settled, observed, decided, limited, handed over."""
    agents = {"onnxruntime": OnnxPolicy(_AGENT), "compiled": OnnxPolicy(_AGENT, backend="compiled")}
    for (name, policy), bars in zip(agents.items(), ((10.0, 20.0), (None, None)), strict=True):
        found = asyncio.run(_in_process(policy, messages))[messages // 10 :]
        for share, bar in zip((50, 99), bars, strict=True):
            value = float(np.percentile(found, share)) / 1e3
            yield Figure(
                name=f"live, bytes to order, {name}, p{share}", value=value, unit="us", bar=bar, lower_is_better=True
            )
    round_trips = asyncio.run(_through_sockets(OnnxPolicy(_AGENT), 3_000))[300:]
    yield Figure(
        name="live, message in to order out through loopback sockets, p50",
        value=statistics.median(round_trips) / 1e3,
        unit="us",
        bar=150.0,
        lower_is_better=True,
        note=f"p99 {np.percentile(round_trips, 99) / 1e3:.0f} us; server and session share one event loop",
    )


class _Orders:
    """A broker that only notes when it was told."""

    latency_s = 0.0

    def __init__(self) -> None:
        self.told_ns: list[int] = []

    async def start(self) -> Holdings:
        return Holdings(cash=_PARAMS.initial_cash, inventory=0.0)

    def on_event(self, event: Event) -> None:
        pass

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        self.told_ns.append(time.perf_counter_ns())

    def take_fills(self, now_ns: int) -> tuple[Fill, ...]:
        return ()

    def in_flight(self) -> tuple[float, float]:
        return 0.0, 0.0

    def open_orders(self) -> tuple[OpenOrder, ...]:
        return ()

    async def cancel_all(self) -> None:
        pass

    async def interrupted(self) -> None:
        await asyncio.Event().wait()

    async def reconcile(self) -> Holdings:
        return await self.start()

    async def close(self) -> None:
        pass


class _Bytes:
    """A feed that parses prepared messages, one tick apart, and notes when each came."""

    venue, symbol, counters = "binance-spot", "BTCUSDT", FeedCounters()

    def __init__(self, messages: int) -> None:
        self._reader = BinanceFeed("BTCUSDT")._reader
        self._messages = [_message(i) for i in range(messages)]
        self.came_ns: list[int] = []

    async def events(self) -> AsyncIterator[Event]:
        for i, message in enumerate(self._messages):
            self.came_ns.append(time.perf_counter_ns())
            for event in self._reader.read(message, 10**18 + i * _TICK_NS + 1):
                yield event

    async def close(self) -> None:
        pass


async def _in_process(policy: OnnxPolicy, messages: int) -> list[int]:
    feed, orders = _Bytes(messages), _Orders()
    session = LiveSession(feed, policy, orders, params=_PARAMS, price_step=0.1, gate=RiskGate(_LIMITS), clock=None)
    await session.run(messages - 10)
    # The decision of tick k falls due when message k + 1 says that its time has come.
    return [told - came for told, came in zip(orders.told_ns, feed.came_ns[1:], strict=False)]


async def _through_sockets(policy: OnnxPolicy, messages: int) -> list[int]:
    """Return the times from a message sent by a server to the order that comes back to another one."""
    sent_ns, back_ns = [], []
    arrived = asyncio.Event()

    async def market(socket: websockets.ServerConnection) -> None:
        await socket.send(_message(0))
        for i in range(1, messages):
            await asyncio.sleep(0.002)
            arrived.clear()
            sent_ns.append(time.perf_counter_ns())
            await socket.send(_message(i))
            await arrived.wait()
        await socket.wait_closed()

    async def venue(socket: websockets.ServerConnection) -> None:
        async for _ in socket:
            back_ns.append(time.perf_counter_ns())
            arrived.set()

    async with websockets.serve(market, "127.0.0.1", 0) as feeding, websockets.serve(venue, "127.0.0.1", 0) as taking:
        ports = [next(iter(server.sockets)).getsockname()[1] for server in (feeding, taking)]
        async with websockets.connect(f"ws://127.0.0.1:{ports[1]}", compression=None) as line:
            ticks = itertools.count()
            feed = BinanceFeed(
                "BTCUSDT", url=f"ws://127.0.0.1:{ports[0]}", clock=lambda: 10**18 + next(ticks) * _TICK_NS
            )
            session = LiveSession(feed, policy, _Line(line), params=_PARAMS, price_step=0.1, clock=None)
            running = asyncio.ensure_future(session.run())
            while len(back_ns) < messages - 1 and not running.done():
                await asyncio.sleep(0.05)
            session.stop("measured")
            await running
    return [back - sent for sent, back in zip(sent_ns, back_ns, strict=False)]


class _Line(_Orders):
    """A broker that sends every quote down a socket at once."""

    def __init__(self, line: websockets.ClientConnection) -> None:
        super().__init__()
        self._line, self._sending = line, set[asyncio.Task[None]]()

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        task = asyncio.ensure_future(self._line.send(json.dumps(wanted)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


def _message(i: int) -> bytes:
    bid = 61_800 + i % 7 * 0.1
    data = {"u": i + 1, "s": "BTCUSDT", "b": f"{bid:.1f}", "B": "2.5", "a": f"{bid + 0.1:.1f}", "A": "3.5"}
    return json.dumps({"stream": "btcusdt@bookTicker", "data": data}, separators=(",", ":")).encode()
