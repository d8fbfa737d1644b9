"""What all feeds share: connect, subscribe, read, notice silence, reconnect, and tell about it."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from hftgym.live.connection import (
    LOSSES,
    Backoff,
    Connection,
    Limits,
    RefusedError,
    TooLargeError,
    open_connection,
    told,
)
from hftgym.live.events import Event, FeedCounters, Quote, Status, StatusKind
from hftgym.live.rest import note_rest, rest_s

T = TypeVar("T")

_REQUESTS_PER_S = 5.0  # what Binance's spot market takes of one connection; the others take more


class BrokenStreamError(Exception):
    """The stream cannot be trusted any more, or the venue asks us to go: reconnect."""

    def __init__(self, kind: StatusKind, text: str) -> None:
        super().__init__(text)
        self.kind: StatusKind = kind


class LostBookError(Exception):
    """The book cannot be trusted any more, and `Reader.again` asks for a new one on the same connection."""


class Reader(ABC):
    """Turns one venue's messages into events, without any input or output of its own.

    Args:
        counters: Where it is counted; None begins anew.

    Attributes:
        counters: What has been seen, over all connections.
    """

    def __init__(self, counters: FeedCounters | None = None) -> None:
        self.counters = counters or FeedCounters()

    @abstractmethod
    def connected(self) -> None:
        """Forget what held for the connection before."""

    @abstractmethod
    def requests(self) -> Iterable[str]:
        """Return what is sent first on a new connection."""

    @abstractmethod
    def read(self, message: bytes, received_ns: int) -> Iterable[Event]:
        """Read one message; whatever it holds, nothing but `BrokenStreamError` and `LostBookError` is raised.

        Args:
            message: What the venue sent.
            received_ns: The receiver's clock.
        """

    def again(self) -> Iterable[str]:
        """Return what is sent after a `LostBookError`, by readers that raise it."""
        return ()

    def close(self) -> None:  # noqa: B027 - most readers hold nothing
        """End what the reader has begun itself."""


class SocketFeed:
    """A live market through one WebSocket at a time, see `hftgym.live.events.Feed`.

    After every connection, gap or stale time the first quote comes behind a Status "resynchronised"; trades are told as
    they come.

    Args:
        reader: Knows the venue's messages.
        venue: Where.
        symbol: What.
        url: The address.
        limits: Bounds of the connection.
        clock: Gives the times of receipt, ns since 1970.
        seed: Of the jitter of reconnects; None takes the system's entropy.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        venue: str,
        symbol: str,
        url: str,
        limits: Limits | None = None,
        clock: Callable[[], int] = time.time_ns,
        seed: int | None = None,
    ) -> None:
        self.venue = venue
        self.symbol = symbol
        self.counters = reader.counters
        self._reader = reader
        self._url = url
        self._limits = limits or Limits()
        self._clock = clock
        self._backoff = Backoff(self._limits, seed=seed)
        self._closing = asyncio.Event()
        self._connection: Connection | None = None
        self._begun = False
        self._in_step = False
        self._next_request_s = float("-inf")  # time.monotonic()

    async def events(self) -> AsyncIterator[Event]:
        """Yield events in the order of receipt until `close`; connection losses are statuses, not exceptions.

        Raises:
            RuntimeError: It was called before: a feed is read once.
        """
        if self._begun:
            raise RuntimeError("the events of a feed can be read once; make another feed")
        self._begun = True
        opened = 0
        while not self._closing.is_set():
            since, asked_s = None, 0.0
            try:
                opening = open_connection(self._url, self._limits, counters=self.counters)
                connection = self._connection = await self._unless_closing(opening)
                if connection is None:
                    break
                since = time.monotonic()
                self.counters.reconnects += opened > 0
                opened += 1
                # Journals and logs are shown around: the name and the query of a proxy's address may be its password.
                yield self._status("connected", (urlsplit(self._url).hostname or "") + urlsplit(self._url).path)
                await self._subscribe(connection)
                async for event in self._messages(connection):
                    yield event
            except BrokenStreamError as broken:
                yield self._status(broken.kind, str(broken))
            except LOSSES as error:
                self.counters.garbage += isinstance(error, TooLargeError)
                asked_s = self._asked_rest(error)
                if not self._closing.is_set():
                    yield self._status("disconnected", told(error))
            finally:
                await self._drop()
            wait_s = self._backoff.after(0.0 if since is None else time.monotonic() - since)
            await self._unless_closing(asyncio.sleep(max(wait_s, asked_s)))

    async def close(self) -> None:
        """End the connection and `events`, within `Limits.close_s`."""
        self._closing.set()
        await self._drop()

    async def _subscribe(self, connection: Connection) -> None:
        self._in_step = False
        self._reader.connected()
        await self._send(connection, self._reader.requests())

    async def _send(self, connection: Connection, requests: Iterable[str]) -> None:
        """Send requests, over all connections no more a second than any venue takes."""
        for request in requests:
            await asyncio.sleep(self._next_request_s - time.monotonic())
            self._next_request_s = time.monotonic() + 1 / _REQUESTS_PER_S
            await connection.send(request)

    async def _messages(self, connection: Connection) -> AsyncIterator[Event]:
        """Yield what comes on one connection; it ends by an exception alone, unless the feed is closed."""
        limits, counters, now = self._limits, self.counters, asyncio.get_running_loop().time
        good = now()
        stale = False
        while not self._closing.is_set():
            message = connection.next_now()
            if message is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(good + (limits.silence_s if stale else limits.stale_s)):
                        message = await connection.recv()
            if message is not None:
                received_ns = self._clock()
                counters.messages += 1
                dropped = counters.garbage + counters.duplicates
                try:
                    events = self._reader.read(message, received_ns)
                except LostBookError as lost:
                    events = (Status(received_ns, "gap", str(lost)),)
                    await self._send(connection, self._reader.again())
                for event in events:
                    if not self._in_step and type(event) is Quote:
                        self._in_step = True
                        yield Status(received_ns, "resynchronised", f"{self.venue} {self.symbol}")
                    elif type(event) is Status:
                        self._in_step = False
                    yield event
                if counters.garbage + counters.duplicates == dropped:
                    good, stale = now(), False
            silent_s = now() - good
            if silent_s >= limits.silence_s:
                raise BrokenStreamError("disconnected", f"no good message for {silent_s:.3g} s")
            if silent_s >= limits.stale_s and not stale:
                stale, self._in_step = True, False
                yield self._status("stale", f"no good message for {silent_s:.3g} s")

    def _asked_rest(self, error: BaseException) -> float:
        """Return how many seconds the venue asks to be left alone, where it refuses a connection."""
        if not isinstance(error, RefusedError):
            return 0.0
        seconds = rest_s(error.status, error.retry_after)
        if seconds > 0:
            note_rest(self.counters, error.status, seconds)
        return seconds

    def _status(self, kind: StatusKind, text: str) -> Status:
        return Status(self._clock(), kind, text)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._reader.close()
        if connection is not None:
            await connection.close()

    async def _unless_closing(self, job: Awaitable[T]) -> T | None:
        """Await something, but give it up and return None as soon as the feed is closed."""
        task, closing = asyncio.ensure_future(job), asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((task, closing), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            closing.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
