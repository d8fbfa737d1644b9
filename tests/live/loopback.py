"""An exchange and its public feed on 127.0.0.1, in a thread; and the live command as a process that trades there."""

import asyncio
import contextlib
import itertools
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

from hftgym.params import EnvParams
from tests.servers import alpaca, ccxt_exchange
from tests.servers.binance import BinanceServer
from tests.servers.exchange import Exchange

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
COINS = 0.1  # in one unit
FEE = 0.01  # what the server tells of every fill
KEYS = {
    "HFTGYM_BINANCE_KEY": ccxt_exchange.KEY,
    "HFTGYM_BINANCE_SECRET": ccxt_exchange.SECRET,
    "HFTGYM_ALPACA_KEY": alpaca.KEY,
    "HFTGYM_ALPACA_SECRET": alpaca.SECRET,
}
PARAMS = EnvParams(tick_s=0.05, window=5, initial_price=10.0, symbol="BTCUSDT")
_QUOTE = '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"99.99","B":"%d","a":"100.01","A":"1"}}'


async def pause(_):
    await asyncio.sleep(0.01)


def quoted():
    """The best prices, 10 ms apart; only sizes change."""
    for number in itertools.count(1):
        yield (_QUOTE % (number, 1 + number % 3)).encode()
        yield pause


class Loopback:
    """Binance's public feed of one symbol, and an account at Binance (as ccxt speaks with it) or at Alpaca."""

    def __init__(self, broker="ccxt", **account):
        self.broker = broker
        self._served = {"ccxt": ccxt_exchange.binance_server, "alpaca": alpaca.alpaca_server}[broker]
        self.exchange = Exchange(bid=99.99, ask=100.01, fee=FEE if broker == "ccxt" else 0.0, **account)
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    async def _serve(self):
        self._over = asyncio.Event()
        async with BinanceServer([quoted()]) as feed, self._served(self.exchange) as orders:
            self.feed_url, self.url, self._sockets = feed.url, orders.url, orders.sockets
            self._ready.set()
            await self._over.wait()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def do(self, work):
        """Run something where the exchange lives, and return what it returns."""

        async def now():
            return work(self.exchange)

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result(PATIENCE_S)

    def drop(self):
        """End the connections of the user data."""
        asyncio.run_coroutine_threadsafe(self._sockets.drop(), self._loop).result(PATIENCE_S)

    def fill(self, side, size):
        """Fill some of the one order of a side, as soon as it rests."""
        until(lambda: self.do(lambda exchange: exchange.open(side)))

        def one(exchange):
            orders = exchange.open(side)
            if orders:
                exchange.fill(orders[0], size)
            return bool(orders)

        assert self.do(one)

    def resting(self):
        return self.do(lambda exchange: sorted((o.side, o.price, round(o.size - o.filled, 9)) for o in exchange.open()))


def until(holds):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return found


def words(world, folder, *more):
    """The arguments of the command."""
    market = folder / "market.json"
    market.write_text(PARAMS.to_json(), encoding="utf-8")
    usual = ["binance", "BTCUSDT", "fixed-spread", "--feed-url", world.feed_url, "--measure-s", "0.3"]
    return [
        *usual,
        "--market",
        str(market),
        "--unit",
        str(COINS),
        "--journal",
        str(folder / "journal"),
        *map(str, more),
    ]


@contextlib.contextmanager
def command(world, folder, *more, typed=None, terminal=True):
    """The live command in a process; `typed` is entered where it asks for the symbol."""
    own = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | KEYS
    keyboard, stdin = pty.openpty() if terminal else reversed(os.pipe())
    out, err = folder / "out", folder / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "live.py"), *words(world, folder, *more)],
            env=os.environ | own,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
    os.close(stdin)
    try:
        if typed is not None:
            os.write(keyboard, f"{typed}\n".encode())
        yield process
    except AssertionError:
        print(out.read_text(), err.read_text())
        raise
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
