"""The three kinds of brokers, each at a venue of the tests."""

import asyncio
import time
from contextlib import asynccontextmanager

from hftgym.live.brokers.base import VenueBroker
from hftgym.live.brokers.desk import Patience
from hftgym.live.brokers.ids import OrderIds
from hftgym.live.brokers.keys import Keys
from hftgym.live.events import Quote
from tests.servers.exchange import Exchange

PATIENCE = Patience(arrival_s=0.3, confirm_s=0.1, check_s=5.0)


def local(urls, url):
    """Every address of ccxt's tables becomes the server's: nothing can reach a real exchange."""
    return {name: local(each, url) if isinstance(each, dict) else url for name, each in urls.items()}


@asynccontextmanager
async def ccxt_world(exchange):
    import ccxt.pro

    from hftgym.live.brokers.ccxt import CcxtVenue
    from tests.servers.ccxt_exchange import KEY, SECRET, binance_server

    async with binance_server(exchange) as server:

        def venue(key):
            options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
            settings = {"apiKey": key or KEY, "secret": SECRET, "newUpdates": True, "options": options}
            client = ccxt.pro.binance({**settings, "enableRateLimit": False})
            rest, stream = f"{server.url}/api/v3", f"{server.url.replace('http', 'ws')}/ws-api/v3"
            client.urls["api"] = local(client.urls["api"], rest) | {"ws": local(client.urls["api"]["ws"], stream)}
            return CcxtVenue(client, "BTC/USDT", keys=Keys(key or KEY, SECRET), requests_per_s=200, burst=20)

        yield venue, server.sockets.drop, lambda: bool(server.sockets)


@asynccontextmanager
async def alpaca_world(exchange):
    from hftgym.live.brokers.alpaca import AlpacaVenue
    from tests.servers.alpaca import KEY, SECRET, alpaca_server

    class Unhurried(AlpacaVenue):
        requests_per_s, burst = 200.0, 20  # the limit has a test of its own

    async with alpaca_server(exchange) as server:

        def venue(key):
            stream = f"{server.url.replace('http', 'ws')}/stream"
            return Unhurried("BTC/USD", keys=Keys(key or KEY, SECRET), url=server.url, stream_url=stream)

        yield venue, server.sockets.drop, lambda: bool(server.sockets)


@asynccontextmanager
async def ib_world(exchange):
    from hftgym.live.brokers.ib import IbVenue
    from tests.servers.ib_stub import CONTRACT, IbStub

    stub = IbStub(exchange)
    yield lambda _: IbVenue(CONTRACT, ib=stub), stub.drop, stub.isConnected


WORLDS = {"ccxt": ccxt_world, "alpaca": alpaca_world, "ib": ib_world}


class Bench:
    """A venue of the tests, and brokers at it."""

    def __init__(self, exchange, venue, drop, connected):
        self.exchange, self.venue, self.drop, self._connected = exchange, venue, drop, connected
        self.fills, self.broker = [], None

    async def start(self, *, session="tests", number=0, keys=None, **options):
        options = {"patience": PATIENCE, "request_s": 2.0, **options}
        self.broker = VenueBroker(self.venue(keys), ids=OrderIds(session, number), **options)
        holdings = await self.broker.start()
        await self.until(self._connected)
        self.broker.on_event(Quote(0, 0, self.exchange.bid, 1.0, self.exchange.ask, 1.0))
        return holdings

    async def until(self, holds, *, seconds=20.0):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{self.exchange.orders} {self.broker and self.broker.counters}"
            await asyncio.sleep(0.005)

    def quote(self, *wanted):
        from hftgym.live.broker import Wanted

        self.broker.quote(Wanted(*wanted), time.time_ns())

    def take(self):
        self.fills += self.broker.take_fills(time.time_ns())
        return self.fills

    def position(self):
        return round(sum(fill.side * fill.size for fill in self.take()), 9)

    def resting(self):
        """(side, price, size left) of the orders at the venue."""
        return sorted((order.side, order.price, round(order.size - order.filled, 9)) for order in self.exchange.open())

    async def quoted(self, *wanted):
        """Want these quotes and wait until they rest and are known to."""
        self.quote(*wanted)
        bid, ask, bid_size, ask_size = wanted
        want = sorted([(1, bid, bid_size)] * (bid_size > 0) + [(-1, ask, ask_size)] * (ask_size > 0))
        await self.until(lambda: self.resting() == want and self.known())

    def known(self):
        """Whether the broker's table shows the orders that the venue has."""
        mine = self.broker._desk.table.live()
        here = sorted(order.ticket.order_id for order in mine if order.state == "open")
        return here == sorted(order.client_id for order in self.exchange.open())

    def quiet(self):
        return self.broker.in_flight() == (0.0, 0.0)


@asynccontextmanager
async def bench(kind, **account):
    exchange = Exchange(**account)
    async with WORLDS[kind](exchange) as (venue, drop, connected):
        made = Bench(exchange, venue, drop, connected)
        try:
            yield made
        finally:
            if made.broker is not None:
                await made.broker.close()
