"""One WebSocket connection: bounded in time and in size, and watched; and how long to wait before the next one."""

import asyncio
import random
from dataclasses import dataclass, fields
from typing import Any, Protocol
from urllib.request import getproxies

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
    from websockets.frames import Frame, Opcode
except ImportError as error:
    raise ImportError('a live feed needs websockets: pip install "hftgym[live]"') from error

from hftgym.live.events import FeedCounters

_QUEUED_FRAMES = 4_096  # read ahead before the socket is left alone; the venue then feels that we are slow
_TOO_LARGE = 1009  # RFC 6455, 7.4.1

# What ends a connection, or keeps one from being made, through no fault of the program.
LOSSES = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a connection, all above 0.

    Attributes:
        open_s: To connect and shake hands.
        ping_s: Between two own pings.
        pong_s: Until a ping must have been answered; a socket that is only half open is found by it.
        stale_s: Without a good message until the data count as stale.
        silence_s: Without a good message until the connection is given up; above `stale_s`.
        close_s: To close.
        message_bytes: The largest message that is taken; a book's snapshot has megabytes.
        backoff_s: The wait before the second try to reconnect, doubled with every further one. The first is at once.
        backoff_max_s: The longest wait.
        healthy_s: A connection that lived so long starts the back-off anew.
    """

    open_s: float = 10.0
    ping_s: float = 10.0
    pong_s: float = 10.0
    stale_s: float = 5.0
    silence_s: float = 60.0
    close_s: float = 2.0
    message_bytes: int = 16 * 2**20
    backoff_s: float = 0.5
    backoff_max_s: float = 60.0
    healthy_s: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be finite and above 0, got {value!r}")
        if self.silence_s <= self.stale_s:
            raise ValueError(f"silence_s must be above stale_s ({self.stale_s}), got {self.silence_s}")


class Backoff:
    """How long to wait before a reconnect: nothing, then exponentially longer with jitter, until one has lived.

    With the default limits there are at most 112 tries in any five minutes, whatever becomes of them; Binance allows
    300 per address.

    Args:
        limits: `backoff_s`, `backoff_max_s`, `healthy_s`.
        seed: Of the jitter, a factor between 1/2 and 1; None takes the system's entropy, so that clients spread.
    """

    def __init__(self, limits: Limits, *, seed: int | None = None) -> None:
        self._limits = limits
        self._random = random.Random(seed)
        self._tries = 0

    def after(self, lived_s: float) -> float:
        """Return the seconds to wait after a connection that lived so long, 0 if it was never made."""
        limits = self._limits
        if lived_s >= limits.healthy_s:
            self._tries = 0
        self._tries += 1
        if self._tries == 1:
            return 0.0
        # The exponent is bounded: after weeks without a network 2**tries would overflow a float.
        longest = min(limits.backoff_max_s, limits.backoff_s * 2.0 ** min(self._tries - 2, 60))
        return longest * self._random.uniform(0.5, 1.0)


class TooLargeError(OSError):
    """This side has closed because of a message above `Limits.message_bytes`."""


class RefusedError(OSError):
    """The venue has answered the handshake with something else, such as "too many requests".

    Attributes:
        status: Of HTTP.
        retry_after: Its header, None if there is none.
    """

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"the venue answers {status}")
        self.status, self.retry_after = status, retry_after


class Connection(Protocol):
    """One WebSocket connection."""

    def next_now(self) -> bytes | None:
        """Return the next message if it is known to have come already; None says nothing."""
        ...

    async def recv(self) -> bytes:
        """Return the next message; one of `LOSSES` after the last one of a connection that is lost."""
        ...

    async def send(self, text: str) -> None:
        """Send a text message; one of `LOSSES` if the connection is lost."""
        ...

    async def close(self) -> None:
        """Close within `Limits.close_s`, however the other side behaves."""
        ...


class _CountingConnection(ClientConnection):
    """Counts the venue's pings, which the library answers by itself."""

    counters: FeedCounters

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.counters.pings += 1
        super().process_event(event)


class _UsualConnection:
    """A connection through websockets; see `Connection`."""

    def __init__(self, socket: ClientConnection, limits: Limits) -> None:
        self._socket, self._limits = socket, limits

    def next_now(self) -> bytes | None:
        return None

    async def recv(self) -> bytes:
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == _TOO_LARGE:
                raise TooLargeError(told(error)) from error
            raise

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._socket.close(), self._limits.close_s)
        except TimeoutError:
            self._socket.transport.abort()


async def open_connection(url: str, limits: Limits, *, counters: FeedCounters) -> Connection:
    """Connect and shake hands: through picows where it is installed and no proxy stands between, else websockets.

    Args:
        url: `ws://` or `wss://`.
        limits: Bounds of the connection.
        counters: Where the venue's pings are counted.

    Raises:
        ValueError: `url` is none.
        OSError: Or another of `LOSSES`: there is no connection.
    """
    if not url.startswith(("ws://", "wss://")):
        raise ValueError(f"url must begin with ws:// or wss:// and name a host, got {url!r}")
    if url.startswith("wss:") and getproxies():
        return await open_usual(url, limits, counters=counters)
    try:
        from hftgym.live.fast_connection import open_fast
    except ImportError:
        return await open_usual(url, limits, counters=counters)
    return await open_fast(url, limits, counters=counters)


async def open_usual(url: str, limits: Limits, *, counters: FeedCounters) -> Connection:
    """Connect through websockets; arguments and errors as in `open_connection`."""
    kind = type("Connection", (_CountingConnection,), {"counters": counters})  # the library makes the instance
    try:
        socket = await connect(
            url,
            open_timeout=limits.open_s,
            ping_interval=limits.ping_s,
            ping_timeout=limits.pong_s,
            close_timeout=limits.close_s,
            max_size=limits.message_bytes,
            max_queue=_QUEUED_FRAMES,
            compression=None,  # it costs more time than it saves on a line of today
            proxy=True if url.startswith("wss:") else None,  # plain text stays on the machine
            create_connection=kind,
        )
    except InvalidURI as error:
        raise ValueError(f"url must begin with ws:// or wss:// and name a host, got {url!r}") from error
    except InvalidStatus as error:
        raise RefusedError(error.response.status_code, error.response.headers.get("Retry-After")) from error
    return _UsualConnection(socket, limits)


def told(error: BaseException) -> str:
    """Return why a connection ended, in a line."""
    return f"{type(error).__name__}: {error}"[:200].replace("\n", " ")
