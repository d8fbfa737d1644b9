"""Binance's streams and its snapshots of the book, on loopback."""

import asyncio
import json
import re
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from tests.servers.played import PlayedServer, Refused, Step

_STREAM = re.compile(rb'\{"stream":"([^"]*)"')
SHUTDOWN = b'{"e":"serverShutdown","E":1723161256322}'


class BinanceServer(PlayedServer):
    """Plays captured lines without their times, of the streams that were subscribed to.

    Args:
        scripts: See the base class.
        snapshots: Bodies of GET /api/v3/depth, or refusals, one after the other, the last for ever.
        refuse: Answers subscriptions with an error.
        more: See the base class.
    """

    path = "/stream"

    def __init__(
        self,
        scripts: Sequence[Iterable[Step]],
        *,
        snapshots: Sequence[bytes | Refused] = (),
        refuse: int = 0,
        **more: Any,
    ) -> None:
        super().__init__(scripts, **more)
        self.snapshots = list(snapshots)
        self.asked: list[str] = []  # the snapshots asked for
        self.asked_s: list[float] = []  # and when, time.monotonic()
        self._refuse = refuse
        self._streams: set[str] = set()

    async def __aenter__(self):
        self._http = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return await super().__aenter__()

    async def __aexit__(self, *args: object) -> None:
        self._http.close()
        await self._http.wait_closed()
        await super().__aexit__(*args)

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._http.sockets[0].getsockname()[1]}/api/v3/depth"

    async def subscribe(self, connection) -> None:
        request = await connection.recv()
        self.requests.append(request)
        asked = json.loads(request)
        assert asked["method"] == "SUBSCRIBE"
        assert all(stream == stream.lower() or "@" in stream for stream in asked["params"])
        if self._refuse:
            self._refuse -= 1
            await connection.send(json.dumps({"code": 2, "msg": "Invalid request: no such stream", "id": asked["id"]}))
            await connection.wait_closed()
        self._streams = set(asked["params"])
        await connection.send(json.dumps({"result": None, "id": asked["id"]}, separators=(",", ":")))

    def sends(self, message: bytes) -> bool:
        found = _STREAM.match(message)
        return not found or found[1].decode(errors="replace") in self._streams

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ")[1].decode())
        body = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        self.asked_s.append(time.monotonic())
        status, headers = HTTPStatus.OK, {}
        if isinstance(body, Refused):
            status, headers, body = HTTPStatus(body.status), body.headers(), b'{"code":-1003}'
        headers |= {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
        start = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        start += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"{start}\r\n".encode() + body)
        await writer.drain()
        writer.close()
