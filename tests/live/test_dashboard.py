"""The dashboard in a real browser, and what it must not do to the session."""

import itertools
import os
import signal
import threading
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from hftgym.live.dashboard import Dashboard
from hftgym.live.events import FeedCounters
from hftgym.live.latency import LatencyMonitor
from tests.live.browser import page_of
from tests.live.watched import bought, snapshot

PATIENCE_S = 60.0
TICK_S = 0.05
_BOKEH = [Subprotocol("bokeh"), Subprotocol("token")]


class Ticking:
    """A session's observer called from a thread, as a session would call it; `state` may be changed meanwhile."""

    def __init__(self, observer):
        self.observer, self.state, self.reason = observer, "trading", ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        for tick in itertools.count():
            mid = 100.0 + 0.01 * tick
            fills = [bought(price=mid - 0.2)] if tick % 10 == 5 and self.state == "trading" else []
            seen = snapshot(
                tick,
                mid=mid,
                state=self.state,
                reason=self.reason,
                fills=fills,
                equity=10_000 + tick,
                spread_capture=1.0,
            )
            self.observer(seen)
            if self._done.wait(TICK_S):
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def until(condition, wait=time.sleep):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        wait(0.02)


def number(page, name):
    return float(page.locator(f".{name}").inner_text().replace(",", "").replace("\N{MINUS SIGN}", "-"))


def rows(page):
    return page.evaluate("Bokeh.documents[0].get_model_by_name('ticks').get_length()")


@pytest.mark.slow
def test_a_browser_sees_it_move_and_stops_the_session():
    requests, stops, counters, latency = [], [], FeedCounters(messages=12_345), LatencyMonitor()
    latency.record_all([5_000] * 98 + [9_000] * 2)
    board = Dashboard(stops.append, title="test <X>", inventory_limit=10, counters=counters, latency=latency, port=0)
    with board, Ticking(board) as session, page_of(requests=requests) as page:
        page.goto(board.url)
        page.locator(".tick").wait_for(timeout=PATIENCE_S * 1e3)
        assert "test <X>" in page.content() or page.title() == "test <X>"
        # It moves: figures, curves and fills.
        first = {name: number(page, name) for name in ("mid", "equity", "tick", "fills", "spread-captured")}
        drawn = rows(page)
        until(lambda: number(page, "fills") > first["fills"] + 1)
        assert all(number(page, name) > value for name, value in first.items())
        assert rows(page) > drawn
        assert page.evaluate("Bokeh.documents[0].get_model_by_name('fills').get_length()") > 1
        for text in ("12,345", "5.0 µs", "9.0 µs"):
            page.get_by_text(text).first.wait_for()
        # The feed breaks and comes back: it is said, and the page goes on by itself.
        session.state, session.reason = "withdrawn", "connection lost"
        counters.reconnects = 1
        until(lambda: "withdrawn" in page.locator(".state").inner_text())
        page.get_by_text("connection lost").wait_for()
        session.state, session.reason = "trading", ""
        until(lambda: page.locator(".state").inner_text() == "trading")
        after = number(page, "tick")
        until(lambda: number(page, "tick") > after + 2)
        # The button.
        assert stops == []
        page.get_by_role("button", name="STOP").click()
        until(lambda: stops)
        session.state = "stopped"
        until(lambda: page.get_by_role("button").inner_text() == "stopped")
        assert page.get_by_role("button").is_disabled()
    assert stops == ["dashboard button"]
    assert board.dropped == 0
    assert len(requests) > 3
    assert {urlsplit(address).hostname for address in requests} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_page_of_another_origin_is_not_connected():
    with Dashboard(print, inventory_limit=1, port=0) as board:
        address = f"ws{board.url.removeprefix('http')}ws"
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, origin=Origin("http://elsewhere.example"), subprotocols=_BOKEH)
        with connect(address, origin=Origin(board.url.rstrip("/")), subprotocols=_BOKEH):
            pass


@pytest.mark.slow
def test_the_session_neither_waits_for_the_page_nor_dies_with_it(caplog):
    with Dashboard(print, inventory_limit=1, port=0) as board:
        os.kill(board._process.pid, signal.SIGSTOP)  # a page that takes nothing
        try:
            for tick in range(5_000):
                board(snapshot(tick, time_ns=10**18 + tick))
        finally:
            os.kill(board._process.pid, signal.SIGCONT)
        assert board.dropped > 1_000
        board._process.kill()
        board._process.wait()
        for tick in range(2_000):
            board(snapshot(tick))
        assert "the dashboard has gone, the session goes on" in caplog.text


@pytest.mark.slow
def test_a_port_that_is_taken_is_said():
    with Dashboard(print, inventory_limit=1, port=0) as board:
        port = urlsplit(board.url).port
        with pytest.raises(OSError, match=f"the dashboard did not start: port {port}"):
            Dashboard(print, inventory_limit=1, port=port).__enter__()
    assert board._process.returncode == 0
