"""The process that serves the dashboard: `python -m hftgym.live.dashboard_server FD SETTINGS`, started by `Dashboard`.

It ends when its session does, however that ends: the socket between them closes.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from typing import Any

# Before bokeh is imported: every script and style comes from this server, whatever the environment says.
os.environ["BOKEH_RESOURCES"] = "server"

try:
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.document import Document
    from bokeh.server.server import BaseServer
    from bokeh.server.tornado import BokehTornado
    from bokeh.server.util import bind_sockets
    from tornado.httpserver import HTTPServer
    from tornado.ioloop import IOLoop
except ImportError as error:  # pragma: no cover (the tests need it themselves)
    raise ImportError('bokeh is not installed: pip install "hftgym[dashboard]"') from error

from hftgym.live.dashboard import HOST
from hftgym.live.dashboard_page import Page
from hftgym.live.frames import History, Lines, decoded

_LINGER_S = 1.0  # between the end of the session and that of the page: time to show it


def main(descriptor: int, settings: dict[str, Any]) -> None:
    """Serve until the session ends."""
    os.nice(5)  # where cores are scarce, the session comes first
    for name in ("bokeh", "tornado"):  # a browser that was closed is nothing to warn of
        logging.getLogger(name).setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the session is asked to stop, and closes the socket
    with socket.socket(fileno=descriptor) as session:
        try:
            asyncio.run(serve(session, **settings))
        except OSError as error:
            tell(session, error=f"port {settings['port']}: {error}")


async def serve(session: socket.socket, *, title: str, inventory_limit: float, port: int, window_s: float) -> None:
    """Serve one page per browser that asks, fed from the session's socket."""
    history = History(window_s=window_s)

    def make(doc: Document) -> None:
        Page(doc, history, title=title, limit=inventory_limit, stop=lambda why: tell(session, stop=why))

    sockets, port = bind_sockets(HOST, port)
    origins = [f"{HOST}:{port}", f"localhost:{port}"]
    application = Application(FunctionHandler(make))
    tornado = BokehTornado({"/": application}, extra_websocket_origins=origins)
    http = HTTPServer(tornado)
    http.add_sockets(sockets)
    server = BaseServer(IOLoop.current(), tornado, http)
    server.start()
    tell(session, port=port)
    await _follow(session, history)
    history.ended = True
    await asyncio.sleep(_LINGER_S)
    server.stop()
    http.stop()


async def _follow(session: socket.socket, history: History) -> None:
    """Put what arrives into the history until the session closes its end."""
    session.setblocking(False)
    lines = Lines(lambda line: history.add(decoded(line)))
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(session, 1 << 18):
            lines.feed(data)
    except ConnectionError:
        return


def tell(session: socket.socket, **said: Any) -> None:
    """Send the session a line."""
    with contextlib.suppress(OSError):  # it has gone: there is nobody to tell
        session.sendall(json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
