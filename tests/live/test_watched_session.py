"""A session on a feed that breaks, watched in a real browser, stopped by its button: every part is the real one."""

import asyncio
import itertools
import threading
import time
from urllib.parse import urlsplit

import pytest

from hftgym.live.binance import BinanceFeed
from hftgym.live.dashboard import Dashboard
from hftgym.live.kill import KillSwitch
from hftgym.live.paper import PaperBroker
from hftgym.live.session import LiveSession
from hftgym.params import EnvParams
from hftgym.policies import FixedSpreadPolicy
from tests.live.browser import page_of
from tests.servers.binance import BinanceServer
from tests.servers.played import cut

PARAMS = EnvParams(tick_s=0.05, window=5)
PATIENCE_S = 60.0


async def pause(_):
    await asyncio.sleep(0.02)


def waiting(event):
    """Nothing comes until the event is set."""

    async def wait(_):
        while not event.is_set():
            await asyncio.sleep(0.02)

    return wait


def quoted(until_set):
    """Changes of the best prices, 20 ms apart, until the event is set; then the line is cut."""
    for k in itertools.count():
        if until_set.is_set():
            break
        text = '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%.2f","B":"1","a":"%.2f","A":"1"}}'
        yield (text % (k + 1, 99.99 + k % 3 * 0.01, 100.01 + k % 3 * 0.01)).encode()
        yield pause
    yield cut


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


async def watched(kill, opened, dashboards, *, broken, whole):
    """Run a session until the switch is engaged, and return it."""
    async with BinanceServer(
        [quoted(broken), [waiting(whole), *itertools.islice(quoted(threading.Event()), 20_000)]]
    ) as server:
        observers = []
        feed = BinanceFeed("BTCUSDT", url=server.url, seed=0)
        policy, broker = FixedSpreadPolicy(params=PARAMS), PaperBroker(PARAMS)
        session = LiveSession(feed, policy, broker, params=PARAMS, observers=observers, kill=kill)
        page = Dashboard(
            kill.engage, inventory_limit=10, counters=feed.counters, latency=session.latency, port=0, title="watched"
        )
        with page:
            observers.append(page)
            dashboards.append(page)
            opened.set()
            await session.run()
    return session


@pytest.mark.slow
def test_the_page_lives_through_a_restart_of_the_feed_and_its_button_ends_the_session():
    kill, opened, dashboards, requests, ended = KillSwitch(), threading.Event(), [], [], []
    broken, whole = threading.Event(), threading.Event()
    session = watched(kill, opened, dashboards, broken=broken, whole=whole)
    thread = threading.Thread(target=lambda: ended.append(asyncio.run(session)))
    thread.start()
    try:
        assert opened.wait(PATIENCE_S)
        with page_of(requests=requests) as page:
            page.goto(dashboards[0].url)
            state, tick = page.locator(".state"), page.locator(".tick")
            until(lambda: state.count() and state.inner_text() == "trading")
            broken.set()
            until(lambda: state.inner_text() == "withdrawn")
            whole.set()
            until(lambda: state.inner_text() == "trading")
            before = int(tick.inner_text().replace(",", ""))
            until(lambda: int(tick.inner_text().replace(",", "")) > before + 5)
            until(lambda: page.get_by_text("reconnects").locator("xpath=../td[2]").inner_text() == "1")
            page.get_by_role("button", name="STOP").click()
            until(lambda: kill.engaged)
            thread.join(PATIENCE_S)
    finally:
        kill.engage("the test is over")
        thread.join()
    assert (ended[0].state, ended[0].reason) == ("stopped", "dashboard button")
    assert {urlsplit(address).hostname for address in requests} == {"127.0.0.1"}
