"""The dashboard, as the session sees it: an observer that hands every tick to another process and never waits.

The page is made and served by a process of its own (`hftgym.live.dashboard_server`): Bokeh's work would hold the
interpreter's lock for milliseconds in the middle of decisions. The two talk through a pair of sockets: lines of JSON
one way, "stop" the other way. What the page cannot take in time is dropped, oldest first, and counted.
"""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from hftgym.live.events import FeedCounters
from hftgym.live.frames import COUNTERS, LATENCIES, Lines, encoded
from hftgym.live.latency import LatencyMonitor
from hftgym.live.totals import Totals

if TYPE_CHECKING:
    from hftgym.live.snapshot import Snapshot

HOST = "127.0.0.1"
"""The only address: who reaches the page can stop the session, and nobody is asked for a password."""

_WAITING = 1_000  # frames
_START_S = 60.0
_END_S = 10.0
_LATENCY_EVERY_NS = 1_000_000_000  # percentiles take 0.2 ms

log = logging.getLogger("hftgym.live.dashboard")


class Dashboard:
    """A page on http://127.0.0.1:port that shows a running session and can stop it.

    Used as a context manager around the session, and given to it as an observer. It is reached from this machine alone;
    from elsewhere through `ssh -L 5006:127.0.0.1:5006 machine`, with the same port on both sides.

    Args:
        stop: Called with a reason, from another thread, when the button is pressed: `KillSwitch.engage`.
        title: What the page is called: venue, symbol, and whether orders are real.
        inventory_limit: Units, drawn as two lines.
        counters: Of the feed.
        latency: Of the decisions.
        port: 0 for any that is free.
        window_s: Seconds that the curves show.

    Attributes:
        url: Where the page is.
        dropped: Frames that the page never got.

    Raises:
        ImportError: bokeh is not installed.
        OSError: The port is taken.
    """

    def __init__(
        self,
        stop: Callable[[str], Any],
        *,
        title: str = "hftgym",
        inventory_limit: float,
        counters: FeedCounters | None = None,
        latency: LatencyMonitor | None = None,
        port: int = 5006,
        window_s: float = 60.0,
    ) -> None:
        self._stop = stop
        self._counters = counters or FeedCounters()
        self._latency = latency or LatencyMonitor()
        self._settings = {"title": title, "inventory_limit": inventory_limit, "port": port, "window_s": window_s}
        self._outbox: deque[bytes] = deque(maxlen=_WAITING)
        self._totals = Totals()
        self._rest = b""
        self._gone = False
        self._shown_latency: tuple[list[float], int] = [], 0
        self._latency_at = 0
        self._started = threading.Event()
        self._answer: dict[str, Any] = {}
        self.url = ""
        self.dropped = 0

    def __enter__(self) -> Self:
        """Start the server and wait until the page can be opened."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C is for the trading process, which then has something left to tell the page.
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "hftgym.live.dashboard_server",
                    str(theirs.fileno()),
                    json.dumps(self._settings),
                ],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, name="dashboard", daemon=True)
        self._listener.start()
        self._started.wait(_START_S)
        if "port" not in self._answer:
            self.close()
            raise OSError(f"the dashboard did not start: {self._answer.get('error', 'no answer')}")
        self.url = f"http://{HOST}:{self._answer['port']}/"
        return self

    def __exit__(self, *_: object) -> None:
        """End the server."""
        self.close()

    def __call__(self, snapshot: "Snapshot") -> None:
        """Show a `Snapshot`; never blocks, never raises because of the page."""
        if self._gone:
            return
        self._totals.add(snapshot)
        self.dropped += len(self._outbox) == _WAITING
        latency_us, decisions = self._latencies(snapshot.time_ns)
        counters = [getattr(self._counters, name) for name in COUNTERS]
        self._outbox.append(
            encoded(snapshot, self._totals, counters=counters, latency_us=latency_us, decisions=decisions)
        )
        self._send()

    def close(self) -> None:
        """Tell the page that the session has ended, and end the server; harmless when repeated."""
        self._gone = True
        with contextlib.suppress(OSError):  # it has gone already
            self._socket.shutdown(socket.SHUT_WR)  # the page shows the end for a moment, then its process goes
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._socket.close()

    def _send(self) -> None:
        while self._rest or self._outbox:
            self._rest = self._rest or self._outbox.popleft()
            try:
                sent = self._socket.send(self._rest, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                self._gone = True
                log.warning("the dashboard has gone, the session goes on: %s", error)
                return
            self._rest = self._rest[sent:]

    def _latencies(self, now_ns: int) -> tuple[list[float], int]:
        """Return (percentiles in us, number of decisions), counted again once a second."""
        if abs(now_ns - self._latency_at) >= _LATENCY_EVERY_NS and (count := self._latency.count):
            self._latency_at = now_ns
            self._shown_latency = [ns / 1e3 for ns in self._latency.percentiles(LATENCIES)], count
        return self._shown_latency

    def _listen(self) -> None:
        """Wait for what the page says, in a thread of its own: a session that hangs can be stopped too."""
        lines = Lines(self._hear)
        while data := self._receive():
            lines.feed(data)
        self._started.set()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(4096)
        except OSError:
            return b""

    def _hear(self, line: bytes) -> None:
        said = json.loads(line)
        if "stop" in said:
            log.warning("stop: %s", said["stop"])
            self._stop(said["stop"])
        else:
            self._answer = said
            self._started.set()
