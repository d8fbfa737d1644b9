"""How fast a live feed is: messages a second through loopback, lag, memory, and the time to read one message."""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

from hftgym.live import LatencyMonitor, feed
from hftgym.live.binance import BinanceFeed, BinanceReader
from hftgym.live.connection import open_connection, open_usual
from hftgym.live.events import Status
from scripts.benchmarks.figure import Figure

MESSAGES_PER_S = 20_000
SECONDS = 10
_BATCH_S = 0.001  # the server sends what is due so often
_READ = 200_000


def feed_figures(seconds: float = SECONDS) -> Iterator[Figure]:
    """Yield what a feed of 20,000 messages a second does to its client, and the time per message in process."""
    yield from _parse_figures()
    yield from _client_figures()
    sent = int(seconds * MESSAGES_PER_S)
    lag, lost, rate, grown_mb, busy = _through_loopback(sent)
    note = f"{sent:,} messages through loopback, {busy:.0%} of a core"
    yield Figure(name="live feed, messages/s sustained", value=rate, unit="/s", bar=0.99 * MESSAGES_PER_S, note=note)
    yield Figure(name="live feed, messages lost", value=lost, unit="", bar=0, lower_is_better=True)
    for percent in (50, 99, 100):
        value = lag.percentile(percent) / 1e6
        yield Figure(name=f"live feed, lag sent to event p{percent}", value=value, unit="ms", lower_is_better=True)
    yield Figure(name="live feed, memory grown", value=grown_mb, unit="MB", bar=5, lower_is_better=True)


def _client_figures(rounds: int = 3, seconds: float = 2.0) -> Iterator[Figure]:
    """Yield the processor's time per message through each client, measured in turns."""
    clients = {"websockets": open_usual, "picows": open_connection}
    if find_spec("picows") is None:
        del clients["picows"]
    found: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, opened in clients.items():
            with patch.object(feed, "open_connection", opened):
                _, _, rate, _, busy = _through_loopback(int(seconds * MESSAGES_PER_S))
            found[name].append(busy / rate * 1e6)
    for name, times in found.items():
        note = f"median of {rounds} runs in turns, frame to event"
        value = statistics.median(times)
        yield Figure(name=f"live feed, CPU a message, {name}", value=value, unit="µs", lower_is_better=True, note=note)


def _through_loopback(sent: int) -> tuple[LatencyMonitor, int, float, float, float]:
    """Return what `_receive` does of so many messages from a server in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, sent, MESSAGES_PER_S))
    server.start()
    try:
        return asyncio.run(_receive(f"ws://127.0.0.1:{ours.recv()}", sent))
    finally:
        server.terminate()
        server.join()


def _parse_figures() -> Iterator[Figure]:
    """Yield the time from a message's bytes to its event."""
    for kind, message in (("bookTicker", _quote), ("trade", _trade)):
        reader = BinanceReader("BTCUSDT", "usdm", trades="trade")
        messages = [message(number, 1_723_161_255_000) for number in range(1, _READ + 1)]
        monitor, read, clock = LatencyMonitor(), reader.read, time.perf_counter_ns
        for one in messages:
            start = clock()
            read(one, start)
            monitor.record(clock() - start)
        for percent in (50, 99):
            value = monitor.percentile(percent) / 1e3
            yield Figure(name=f"live {kind}, bytes to event p{percent}", value=value, unit="µs", lower_is_better=True)


async def _receive(url: str, count: int) -> tuple[LatencyMonitor, int, float, float, float]:
    """Return lag, events that never came, events a second, growth of memory in MB, share of a core."""
    source, lag, seen = BinanceFeed("BTCUSDT", "usdm", url=url), LatencyMonitor(), 0
    start = cpu = grown = 0.0
    async for event in source.events():
        if not isinstance(event, Status):
            lag.record(max(time.time_ns() - event.exchange_ns, 0))
            seen += 1
            if seen == count // 10:  # buffers and caches have their size
                start, cpu, grown = time.monotonic(), time.process_time(), _memory_mb()
            if seen == count:
                await source.close()
        elif event.kind == "disconnected":
            break
    took_s = time.monotonic() - start
    busy = (time.process_time() - cpu) / took_s
    return lag, count - seen, (seen - count // 10) / took_s, _memory_mb() - grown, busy


def _serve(pipe: Connection, count: int, rate: float) -> None:
    """Send so many messages at so many a second to whoever connects; the time of sending is the exchange's."""
    from websockets.asyncio.server import ServerConnection, serve

    async def play(connection: ServerConnection) -> None:
        await connection.recv()
        start, sent = time.monotonic(), 0
        while sent < count:
            due = min(count, int((time.monotonic() - start) * rate))
            now_us = time.time_ns() // 1_000
            # Whole frames at once: the library's own way is slower than the feed that is to be measured.
            connection.transport.write(b"".join([_frame(number, now_us) for number in range(sent + 1, due + 1)]))
            sent = due
            await asyncio.sleep(_BATCH_S)
        await connection.wait_closed()

    async def run() -> None:
        async with serve(play, "127.0.0.1", 0, compression=None) as server:
            pipe.send(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(run())


def _quote(number: int, time_of: int) -> bytes:
    event = f'{{"e":"bookTicker","u":{number},"s":"BTCUSDT","b":"61800.{number % 100:02}","B":"2.507","a":"61801.30",'
    return f'{{"stream":"btcusdt@bookTicker","data":{event}"A":"2.510","T":{time_of},"E":{time_of}}}}}'.encode()


def _trade(number: int, time_of: int) -> bytes:
    event = f'{{"e":"trade","E":{time_of},"T":{time_of},"s":"BTCUSDT","t":{number},"p":"61800.30","q":"0.006",'
    return f'{{"stream":"btcusdt@trade","data":{event}"X":"MARKET","m":false}}}}'.encode()


def _frame(number: int, time_of: int) -> bytes:
    """Return a text frame (RFC 6455, 5.2): three quotes, then a trade."""
    message = _quote(number, time_of) if number % 4 else _trade(number // 4, time_of)
    return b"\x81\x7e" + len(message).to_bytes(2, "big") + message


def _memory_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096 / 1e6
