"""A WebSocket connection through picows, which parses frames in compiled code; `hftgym.live.connection` chooses it."""

import asyncio
from collections import deque
from typing import Any

import picows

from hftgym.live.connection import Limits, RefusedError, TooLargeError
from hftgym.live.events import FeedCounters

_QUEUED_MESSAGES = 4_096  # above it the socket is left alone until half of them are read


class FastConnection(picows.WSListener):
    """See `hftgym.live.connection.Connection`.

    Args:
        limits: Bounds of the connection.
        counters: Where the venue's pings are counted.
    """

    def __init__(self, limits: Limits, counters: FeedCounters) -> None:
        self._limits, self._counters = limits, counters
        self._messages: deque[bytes] = deque()
        self._parts: list[bytes] = []  # of a message in fragments
        self._waiting: asyncio.Future[None] | None = None
        self._paused = False
        self._loss: OSError | None = None
        self._transport: picows.WSTransport

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Keep what leads to the socket."""
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Take a frame from the socket."""
        if frame.fin and not self._parts and frame.msg_type in (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY):
            self._take(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.PING:
            self._counters.pings += 1
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self._lose(OSError(f"the venue has closed: {frame.get_close_code()} {frame.get_close_reason()}"))
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type != picows.WSMsgType.PONG:
            self._take_part(frame)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Hear that the socket has gone."""
        del transport
        self._lose(OSError("the connection was lost"))

    def next_now(self) -> bytes | None:
        """Return the next message if it has come already."""
        if not self._messages:
            return None
        if self._paused and len(self._messages) <= _QUEUED_MESSAGES // 2:
            self._paused = False
            self._transport.underlying_transport.resume_reading()
        return self._messages.popleft()

    async def recv(self) -> bytes:
        """Return the next message; `OSError` after the last one of a connection that is lost."""
        while (message := self.next_now()) is None:
            if self._loss is not None:
                raise await self._reason(self._loss)
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return message

    async def send(self, text: str) -> None:
        """Send a text message; `OSError` if the connection is lost."""
        if self._loss is not None:
            raise self._loss
        self._transport.send(picows.WSMsgType.TEXT, text.encode())

    async def close(self) -> None:
        """Close within `Limits.close_s`, however the other side behaves."""
        try:
            async with asyncio.timeout(self._limits.close_s):
                if not self._transport.is_disconnected and not self._transport.is_close_frame_sent:
                    self._transport.send_close(picows.WSCloseCode.OK)
                await self._transport.wait_disconnected()
        except (TimeoutError, picows.WSError, OSError):
            self._transport.disconnect(graceful=False)

    def _take(self, message: bytes) -> None:
        if len(message) > self._limits.message_bytes:  # picows goes on with a frame that it has refused
            return
        self._messages.append(message)
        if len(self._messages) > _QUEUED_MESSAGES and not self._paused:
            self._paused = True
            self._transport.underlying_transport.pause_reading()
        self._wake()

    def _take_part(self, frame: picows.WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        if sum(map(len, self._parts)) > self._limits.message_bytes:
            self._lose(TooLargeError(f"a message has more than {self._limits.message_bytes:,} bytes"))
            self._transport.send_close(picows.WSCloseCode.MESSAGE_TOO_BIG)
            self._transport.disconnect()
        elif frame.fin:
            message, self._parts = b"".join(self._parts), []
            self._take(message)

    def _lose(self, error: OSError) -> None:
        self._loss = self._loss or error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _reason(self, loss: OSError) -> OSError:
        """Return why the connection was lost: picows tells why it would not take a frame."""
        if isinstance(loss, TooLargeError):
            return loss
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._transport.wait_disconnected()
        except picows.WSProtocolError as error:
            return (
                TooLargeError(str(error)) if error.code == picows.WSCloseCode.MESSAGE_TOO_BIG else OSError(str(error))
            )
        except Exception as error:
            return OSError(f"{loss}: {error}") if str(error) else loss
        return loss


async def open_fast(url: str, limits: Limits, *, counters: FeedCounters) -> FastConnection:
    """Connect and shake hands; arguments and errors as in `hftgym.live.connection.open_connection`."""
    try:
        _, listener = await picows.ws_connect(
            lambda: FastConnection(limits, counters),
            url,
            websocket_handshake_timeout=limits.open_s,
            enable_auto_ping=True,
            auto_ping_idle_timeout=limits.ping_s,
            auto_ping_reply_timeout=limits.pong_s,
            enable_auto_pong=False,
            max_frame_size=limits.message_bytes,
        )
    except picows.WSInvalidStatusError as error:
        response: Any = error.response
        raise RefusedError(int(response.status), response.headers.get("Retry-After")) from None
    except picows.WSError as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    assert isinstance(listener, FastConnection)
    return listener
