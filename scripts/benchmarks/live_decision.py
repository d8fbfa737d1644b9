"""From a message's bytes to an order: in one process, and through sockets on loopback."""

import asyncio
import itertools
import json
import statistics
import time
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
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
_ROUNDS = 9
_BARS = 10.0, 20.0  # us, p50 and p99
_PAUSE_S = 0.002
_AIMS = {"onnxruntime": (6.5, 7.3), "compiled": (1.5, 2.0)}
_PARAMS = EnvParams(tick_s=_TICK_NS / 1e9, initial_cash=1e6, horizon=1_000_000)


def decision_figures(messages: int = 3_000) -> Iterator[Figure]:
    """Yield how long a message takes to become a decision (parsed, settled, observed, decided) and, limited, orders."""
    agents = {"onnxruntime": OnnxPolicy(_AGENT), "compiled": OnnxPolicy(_AGENT, backend="compiled")}
    prepared = [_message(i) for i in range(messages)]
    yield from _back_to_back(agents, prepared)
    paused = asyncio.run(_in_process(agents["onnxruntime"], prepared[:1_000], pause_s=_PAUSE_S))
    for what, times_ns in zip(("decision", "order"), paused, strict=True):
        yield Figure(
            name=f"live, bytes to {what} after a pause of 2 ms, onnxruntime, p50",
            value=float(np.median(times_ns)) / 1e3,
            unit="us",
            note=f"p99 {np.percentile(times_ns, 99) / 1e3:.0f} us; others have used the core and its caches",
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


def _back_to_back(agents: Mapping[str, OnnxPolicy], messages: Sequence[bytes]) -> Iterator[Figure]:
    """Yield the times to a decision and to orders, two stamps of one session, without pauses between messages.

    Agents take turns, round after round, and so does the control, which sums 256 KiB twice: its p99 is what the machine
    does to anything of a tick's length. A figure is the median of the rounds' percentiles. (What is left in a p99: the
    kernel's timer, and after it one to three ticks that find the caches used by others. No garbage is collected.)
    """
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for _ in range(_ROUNDS + 1):
        for name, policy in agents.items():
            for what, times_ns in zip(("decision", "order"), asyncio.run(_in_process(policy, messages)), strict=True):
                found.setdefault((what, name), []).append(np.percentile(times_ns, (50, 99)) / 1e3)
        found.setdefault(("control", ""), []).append(np.percentile(_control(len(messages)), (50, 99)) / 1e3)
    rounds = {key: np.array(values[1:]) for key, values in found.items()}  # the first one warms up
    control = "; the control's p50 {:.0f}, p99 {:.0f}".format(*np.median(rounds.pop(("control", "")), axis=0))
    for (what, name), values in rounds.items():
        for i, percent in enumerate((50, 99)):
            aim = f"; aim {_AIMS[name][i]:g}" if what == "decision" else ""
            yield Figure(
                name=f"live, bytes to {what}, {name}, p{percent}",
                value=float(np.median(values[:, i])),
                unit="us",
                bar=_BARS[i] if (what, name) == ("decision", "onnxruntime") else None,
                lower_is_better=True,
                note=f"{_ROUNDS} runs: {values[:, i].min():.1f} to {values[:, i].max():.1f}{aim}{control if i else ''}",
            )


class _Stamps:
    """Times, in memory that is in use already: a list that grows would wait for new pages, often enough for a p99."""

    def __init__(self, count: int) -> None:
        self.ns, self.count = array("q", [1]) * count, 0

    def note(self) -> None:
        """Note the time."""
        self.ns[self.count] = time.perf_counter_ns()
        self.count += 1


class _Stamped:
    """A policy that notes when it has decided."""

    def __init__(self, policy: OnnxPolicy, count: int) -> None:
        self._act, self.reset = policy.act, policy.reset
        self.decided = _Stamps(count)

    def act(self, observation: np.ndarray) -> np.ndarray:
        action = self._act(observation)
        self.decided.note()
        return action


class _Orders:
    """A broker that only notes when it was told."""

    latency_s = 0.0

    def __init__(self, count: int = 0) -> None:
        self.told = _Stamps(count)

    async def start(self) -> Holdings:
        return Holdings(cash=_PARAMS.initial_cash, inventory=0.0)

    def on_event(self, event: Event) -> None:
        pass

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        self.told.note()

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

    def __init__(self, messages: Sequence[bytes], pause_s: float) -> None:
        self._reader = BinanceFeed("BTCUSDT")._reader
        self._messages, self._pause_s = messages, pause_s
        self.came_ns = array("q", [1]) * len(messages)

    async def events(self) -> AsyncIterator[Event]:
        for i, message in enumerate(self._messages):
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            self.came_ns[i] = time.perf_counter_ns()
            for event in self._reader.read(message, 10**18 + i * _TICK_NS + 1):
                yield event

    async def close(self) -> None:
        pass


async def _in_process(
    policy: OnnxPolicy, messages: Sequence[bytes], *, pause_s: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times from a message to the decision that it makes due, and to the orders; ns."""
    feed, stamped, orders = _Bytes(messages, pause_s), _Stamped(policy, len(messages)), _Orders(len(messages))
    session = LiveSession(feed, stamped, orders, params=_PARAMS, price_step=0.1, gate=RiskGate(_LIMITS), clock=None)
    await session.run()
    count = orders.told.count
    assert count == stamped.decided.count == len(messages)
    # The decision of tick k falls due when message k + 1 says that its time has come.
    came = np.array(feed.came_ns)[1:]
    skipped = len(came) // 10  # the first ones find nothing in the caches
    decided, told = (np.array(stamps.ns)[:-1] - came for stamps in (stamped.decided, orders.told))
    return decided[skipped:], told[skipped:]


def _control(count: int) -> np.ndarray:
    """Return how long it takes, in ns, to add up as much memory as a tick goes through."""
    numbers, found = np.ones(1 << 15), np.ones(count)
    for i in range(count):
        began = time.perf_counter_ns()
        numbers.sum()
        numbers.sum()
        found[i] = time.perf_counter_ns() - began
    return found


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
