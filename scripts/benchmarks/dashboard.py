"""The dashboard under a real browser: how late it is, and what it costs the session that it shows."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import numpy as np

from hftgym import EnvParams
from hftgym.live.dashboard import Dashboard
from hftgym.live.events import Event
from hftgym.live.latency import LatencyMonitor
from hftgym.live.paper import PaperBroker
from hftgym.live.recorded import TapeFeed
from hftgym.live.session import LiveSession
from hftgym.policies import FixedSpreadPolicy
from hftgym.tape import simulate_tape
from scripts.benchmarks.figure import Figure

_PARAMS = EnvParams(tick_s=0.02)
_TICKS = 200  # of one round: 4 s
_ROUNDS = 5  # of each kind
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# Remembers when every new row of the curves was there, and when the browser had drawn it.
_PROBE = """() => {
  const source = Bokeh.documents[0].get_model_by_name("ticks"), now = () => performance.timeOrigin + performance.now();
  window.lags = []; window.drawn = []; window.updates = [];
  let last = now();
  source.streaming.connect(() => {
    const times = Array.from(source.get("time")).filter(time => time > last);
    if (!times.length) return;
    last = times[times.length - 1];
    times.forEach(time => window.lags.push(now() - time));
    window.updates.push(now());
    requestAnimationFrame(() => setTimeout(() => times.forEach(time => window.drawn.push(now() - time)), 0));
  });
}"""


class _Now(TapeFeed):
    """A tape that happens now."""

    async def events(self) -> AsyncIterator[Event]:
        async for event in super().events():
            yield event._replace(received_ns=time.time_ns())


class _Browser(threading.Thread):
    """Headless Chromium looking at a page; playwright has its own event loop, so it has a thread too."""

    def __init__(self, url: str, chromium: str) -> None:
        super().__init__()
        self._url, self._chromium = url, chromium
        self.looking, self.leave, self.found = threading.Event(), threading.Event(), dict[str, Any]()

    def run(self) -> None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=self._chromium, args=list(_FLAGS))
            page = browser.new_page(viewport={"width": 1400, "height": 860})
            page.goto(self._url)
            page.wait_for_function("window.Bokeh && Bokeh.documents.length > 0")
            page.evaluate(_PROBE)
            self.looking.set()
            self.leave.wait()
            self.found = {name: np.array(page.evaluate(f"window.{name}")) for name in ("lags", "drawn", "updates")}
            browser.close()


def dashboard_figures() -> Iterator[Figure]:
    """Yield lag and rate in the browser, and decision latencies with and without the page, in turn.

    First nobody looks at the page: what the session does for it shows alone. Then a browser does, and it, the page's
    process and the session share the machine's cores.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return
    _session([])  # warm up: compile
    latency = LatencyMonitor()
    with Dashboard(lambda _: None, inventory_limit=_PARAMS.inventory_limit, latency=latency, port=0) as page:
        unseen = _in_turn(page, latency)
        browser = _Browser(page.url, chromium)
        browser.start()
        browser.looking.wait()
        seen = _in_turn(page, latency)
        browser.leave.set()
        browser.join()
    lags, drawn, updates = (browser.found[name] for name in ("lags", "drawn", "updates"))
    note = f"p95 {np.percentile(lags, 95):.0f} ms; drawn p50 {np.median(drawn):.0f} ms; {len(lags)} rows"
    yield Figure(
        name="dashboard, lag p50", value=float(np.median(lags)), unit="ms", bar=150.0, lower_is_better=True, note=note
    )
    yield Figure(name="dashboard, updates", value=len(updates) / seen.seconds, unit="/s", bar=10.0)
    for what, turns in (("nobody looking", unseen), ("a browser looking", seen)):
        for i, percent in enumerate((50, 99)):
            with_it, without = np.median(turns.shown_us[:, i]), np.median(turns.alone_us[:, i])
            note = f"medians of {_ROUNDS} rounds: {with_it:.0f} us with the page, {without:.0f} us without"
            name = f"decision p{percent}, {what} / no page"
            yield Figure(name=name, value=float(with_it / without), unit="x", note=note)


class _Turns(NamedTuple):
    """Rounds with and without the page."""

    shown_us: np.ndarray  # (rounds, 2): p50 and p99
    alone_us: np.ndarray
    seconds: float  # that those with it took


def _in_turn(page: Dashboard, latency: LatencyMonitor) -> _Turns:
    """Run sessions without and with the page in turn; `latency` is the one that the page shows."""
    rounds: dict[bool, list[list[int]]] = {False: [], True: []}
    seconds = 0.0
    for shown in (False, True) * _ROUNDS:
        began = time.monotonic()
        found = _session([page] if shown else [])
        seconds += (time.monotonic() - began) * shown
        if shown:
            latency.merge(found)
        rounds[shown].append(found.percentiles((50, 99)))
    return _Turns(np.array(rounds[True]) / 1e3, np.array(rounds[False]) / 1e3, seconds)


def _session(observers: list[Any]) -> LatencyMonitor:
    """Run a session at the pace of the clock, and return its decision latencies."""
    feed = _Now(simulate_tape(_PARAMS, ticks=2 * _TICKS, seed=1))
    session = LiveSession(
        feed, FixedSpreadPolicy(params=_PARAMS), PaperBroker(_PARAMS), params=_PARAMS, observers=observers
    )
    asyncio.run(session.run(_TICKS))
    return session.latency
