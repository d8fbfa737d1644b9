"""A WebSocket server on 127.0.0.1 that plays scripts: the n-th connection gets the n-th, later ones the last."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

# What a script is made of: a text frame, or something that goes wrong.
Fault = Callable[[ServerConnection], Awaitable[None]]
Step = bytes | Fault


class Refused(NamedTuple):
    """An answer of HTTP that is none."""

    status: int
    retry_after: str | None = None

    def headers(self):
        return {} if self.retry_after is None else {"Retry-After": self.retry_after}


class PlayedServer:
    """A venue that plays what it is told to once a client has subscribed; subclasses speak the venue's protocol.

    Args:
        scripts: Messages and faults; after its script a connection stays open and silent.
        ping_s: Between two ping frames, which the client must answer within as much time.
        refused: How the first handshakes are refused.
    """

    def __init__(
        self, scripts: Sequence[Iterable[Step]], *, ping_s: float | None = None, refused: Iterable[Refused] = ()
    ) -> None:
        self.scripts = list(scripts)
        self._refused = list(refused)
        self.knocked_s: list[float] = []  # when handshakes began, time.monotonic()
        self.connections = 0
        self.requests: list[str] = []
        self._ping_s = ping_s
        self.open: list[ServerConnection] = []

    async def __aenter__(self):
        self._server: Server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            ping_interval=self._ping_s,
            ping_timeout=self._ping_s,
            close_timeout=0.2,
            compression=None,
            process_request=self._admit,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self.open):
            connection.transport.abort()
        async with asyncio.timeout(5):
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self.path}"

    path = "/"

    async def subscribe(self, connection: ServerConnection) -> None:
        """Take the client's subscription and answer it."""
        raise NotImplementedError

    def sends(self, message: bytes) -> bool:
        """Whether a message is of a channel that was subscribed to."""
        return True

    def _admit(self, connection, _):
        self.knocked_s.append(time.monotonic())
        if not self._refused:
            return None
        refused = self._refused.pop(0)
        response = connection.respond(HTTPStatus(refused.status), "")
        response.headers.update(refused.headers())
        return response

    async def _serve(self, connection: ServerConnection) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self.open.append(connection)
        with contextlib.suppress(ConnectionClosed, OSError):
            async with asyncio.timeout(5):  # as the venues do, which close what does not subscribe
                await self.subscribe(connection)
            for step in script:
                if callable(step):
                    await step(connection)
                elif self.sends(step):
                    await connection.send(step, text=True)
            await connection.wait_closed()
        await connection.wait_closed()
        self.open.remove(connection)


async def cut(connection: ServerConnection) -> None:
    """Drop the line in the middle of a message: a text frame of 100 bytes, of which 10 come."""
    connection.transport.write(b'\x81\x64{"stream":')
    connection.transport.close()
    await connection.wait_closed()


async def cut_in_a_fragment(connection: ServerConnection) -> None:
    """Drop the line within a message of several frames: the first is whole, of the second 10 of 100 bytes come."""
    connection.transport.write(b'\x01\x0a{"stream":' + b'\x00\x64"btcusdt@b')
    connection.transport.close()
    await connection.wait_closed()


def in_fragments(message: bytes, size: int) -> Fault:
    """Send a message in frames of so many bytes."""

    async def fault(connection: ServerConnection) -> None:
        await connection.send([message[i : i + size].decode() for i in range(0, len(message), size)])

    return fault


async def hang(connection: ServerConnection) -> None:
    """Leave the socket half open: nothing is read any more, so that no ping is answered."""
    connection.transport.pause_reading()
    await connection.wait_closed()


async def rollover(connection: ServerConnection) -> None:
    """Close as the venue does after 24 hours."""
    await connection.close(1001, "24 hours")


async def ping(connection: ServerConnection) -> None:
    """Ping with a payload and wait for the same payload."""
    await (await connection.ping(b"1723161255088"))


def silent(seconds: float) -> Fault:
    """Send nothing for a while, and answer pings."""

    async def fault(connection: ServerConnection) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(connection.wait_closed(), seconds)

    return fault
