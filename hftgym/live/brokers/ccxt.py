"""Any exchange that ccxt speaks with. Messages come through ccxt.pro where it can, otherwise orders are asked about."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from hftgym.live.brokers.keys import Keys, find_keys
from hftgym.live.brokers.tasks import end
from hftgym.live.brokers.venue import (
    BusyError,
    Execution,
    Listener,
    LostError,
    Market,
    RejectedError,
    Report,
    Ticket,
    UnknownOrderError,
    VenueError,
    VenueState,
)

try:
    import ccxt as errors
    import ccxt.pro as ccxt_pro
except ImportError as error:
    raise ImportError('orders through ccxt need it: pip install "hftgym[ccxt]"') from error

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
_AGAIN_S = 1.0  # after the messages have broken
# Milliseconds in which an order has to come, where the exchange can refuse later ones: one told unknown after
# `Patience.arrival_s` must never arrive. Binance takes times of a second ahead of its own, so a second less than that.
_VALID_MS = 4_000
_STATES: dict[str, VenueState] = {
    "open": "open",
    "canceled": "cancelled",
    "expired": "cancelled",
    "rejected": "rejected",
}
# What the exchange has understood and refused. Other errors leave open what became of the order.
_REFUSED = (
    errors.InvalidOrder,
    errors.InsufficientFunds,
    errors.BadRequest,
    errors.AuthenticationError,
    errors.OperationRejected,
    errors.ArgumentsRequired,
    errors.NotSupported,
)


def open_exchange(exchange_id: str, *, sandbox: bool = False, url: str | None = None) -> tuple[Any, Keys]:
    """Return a ccxt exchange with the keys of the environment or a keyring, and the keys.

    Args:
        exchange_id: ccxt's name, such as "binance".
        sandbox: The exchange's own test market instead of the real one.
        url: Scheme and host that take the place of the exchange's in all its addresses: a simulator, or a proxy.

    Raises:
        ValueError: ccxt knows no such exchange, or no test market of it.
        LookupError: There are no keys.
    """
    if exchange_id not in ccxt_pro.exchanges:
        raise ValueError(f"exchange_id must be one that ccxt.pro knows, got {exchange_id!r}")
    keys = find_keys(exchange_id)
    settings: dict[str, Any] = {"apiKey": keys.key, "secret": keys.secret, "enableRateLimit": False, "newUpdates": True}
    if exchange_id == "binance":  # else it asks all of Binance's markets for their symbols
        settings["options"] = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    exchange = getattr(ccxt_pro, exchange_id)(settings)
    if "recvWindow" in exchange.options:
        exchange.options["recvWindow"] = _VALID_MS
    exchange.has["fetchCurrencies"] = False  # a signed request for what is not needed
    try:
        exchange.set_sandbox_mode(sandbox)
    except errors.NotSupported:
        raise ValueError(f"ccxt knows no test market of {exchange_id}") from None
    if url is not None:
        exchange.urls["api"] = _elsewhere(exchange.urls["api"], urlsplit(url))
    return exchange, keys


def _elsewhere(address: Any, host: SplitResult) -> Any:
    """Return addresses, or a dictionary of them, with another scheme and host."""
    if isinstance(address, dict):
        return {name: _elsewhere(each, host) for name, each in address.items()}
    scheme = host.scheme.replace("http", "ws") if address.startswith("ws") else host.scheme
    return urlsplit(address)._replace(scheme=scheme, netloc=host.netloc).geturl()


class CcxtVenue:
    """One market of an exchange; see `hftgym.live.brokers.venue.Venue`.

    Fees in the base currency are counted at the price of the trade; in any other currency (an exchange's own coin)
    they cannot be, count as 0 and are logged.

    Args:
        exchange: An exchange of ccxt.pro; `open_exchange` makes one.
        symbol: ccxt's name of the market, such as "BTC/USDT", or the exchange's own, such as "BTCUSDT".
        keys: The exchange's keys, to keep them out of texts.
        requests_per_s: What the exchange allows, with room to spare.
        burst: Requests at once.
    """

    def __init__(self, exchange: Any, symbol: str, *, keys: Keys, requests_per_s: float = 5.0, burst: int = 10) -> None:
        self.name, self.symbol = str(exchange.id), symbol
        self.requests_per_s, self.burst = requests_per_s, burst
        self.market: Market
        exchange.logger.setLevel(logging.INFO)  # at DEBUG ccxt logs the headers of requests, which hold the key
        self._exchange, self._keys = exchange, keys
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: Listener
        self._watched: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"CcxtVenue({self.name} {self.symbol})"

    async def load(self) -> None:
        """Learn the market's steps.

        Raises:
            ValueError: The exchange has no such market, or its contracts are not one unit each.
        """
        markets = await self._asked(self._exchange.load_markets())
        named = [market for name, market in markets.items() if self.symbol in (name, market["id"])]
        if len(named) != 1:
            raise ValueError(f"symbol must be one market of {self.name}, {self.symbol!r} are {len(named)}")
        found = named[0]
        self.symbol = str(found["symbol"])
        self._contract = bool(found.get("contract"))
        if self._contract and (found.get("inverse") or found.get("contractSize") != 1):
            raise ValueError(f"symbol must be spot or a linear contract of one unit, got {self.symbol!r}")
        self._base, self._quote = found["base"], found["settle"] if self._contract else found["quote"]
        limits = found["limits"]
        self.market = Market(
            price_step=self._step(found["precision"]["price"]),
            lot=self._step(found["precision"]["amount"]),
            min_size=limits["amount"]["min"] or 0.0,
            min_notional=limits["cost"]["min"] or 0.0,
        )

    def _step(self, precision: float) -> float:
        # Some exchanges give the step itself, others the number of decimals.
        return float(precision) if self._exchange.precisionMode == errors.TICK_SIZE else 10.0 ** -int(precision)

    async def connect(self, listener: Listener) -> None:
        """Begin to watch orders and own trades, where ccxt can for this exchange."""
        self._listener = listener
        watches = {
            name: (getattr(self._exchange, name), hear)
            for name, key, hear in (
                ("watch_orders", "watchOrders", self._hear_order),
                ("watch_my_trades", "watchMyTrades", self._hear_trade),
            )
            if self._exchange.has.get(key)
        }
        self._watched = dict.fromkeys(watches, True)
        self._tasks = [asyncio.create_task(self._watch(name, *watch)) for name, watch in watches.items()]
        listener.on_connection(up=True)

    async def _watch(
        self, name: str, watch: Callable[[str], Awaitable[list[dict[str, Any]]]], hear: Callable[[dict[str, Any]], None]
    ) -> None:
        while True:
            try:
                for item in await watch(self.symbol):
                    hear(item)
            except Exception as error:  # every kind of broken connection, and messages that cannot be read
                _LOG.warning("%r: %s: %s", self, name, self._keys.hidden(f"{type(error).__name__}: {error}"))
                self._tell(name, up=False)
                await asyncio.sleep(_AGAIN_S)
                # A watch returns with the first message alone; what was missed is asked about now.
                self._tell(name, up=True)

    def _tell(self, name: str, *, up: bool) -> None:
        self._watched[name] = up
        self._listener.on_connection(up=all(self._watched.values()))

    def _hear_order(self, order: dict[str, Any]) -> None:
        if (report := self._report(order)) is not None:
            self._listener.on_report(report)

    def _hear_trade(self, trade: dict[str, Any]) -> None:
        self._listener.on_execution(self._execution(trade))

    async def place(self, ticket: Ticket) -> Report:
        """Send a limit order: post-only, or immediate-or-cancel if it is to take."""
        how = {"timeInForce": "IOC"} if ticket.taking else {"postOnly": True}
        side, params = "buy" if ticket.side > 0 else "sell", {"clientOrderId": ticket.order_id, **how}
        order = await self._asked(
            self._exchange.create_order(self.symbol, "limit", side, ticket.size, ticket.price, params)
        )
        report = self._report({"clientOrderId": ticket.order_id, **_known(order)})
        return report or Report(ticket.order_id, str(order["id"]), "pending", 0.0)

    async def cancel(self, order_id: str, venue_id: str) -> Report | None:
        """Cancel an order."""
        order = await self._asked(self._exchange.cancel_order(venue_id, self.symbol, self._named(order_id, venue_id)))
        # A cancelled order's client id is not always told under its own name.
        report = self._report({**_known(order), "id": venue_id, "clientOrderId": order_id})
        return report if report is not None and report.state != "open" else None

    async def look(self, order_id: str, venue_id: str, since_ns: int) -> tuple[Report | None, Sequence[Execution]]:
        """Return an order, and then its trades."""
        try:
            named = self._named(order_id, venue_id)
            order = await self._asked(self._exchange.fetch_order(venue_id, self.symbol, named))
        except UnknownOrderError:
            return None, ()
        report, venue_id = self._report({**_known(order), "clientOrderId": order_id}), str(order["id"])
        if self._exchange.has.get("fetchOrderTrades"):
            trades = await self._asked(self._exchange.fetch_order_trades(venue_id, self.symbol))
        else:
            trades = await self._asked(self._exchange.fetch_my_trades(self.symbol, since_ns // 1_000_000))
        mine = [self._execution(trade) for trade in trades if str(trade["order"]) == venue_id]
        if report is None:  # ended, and the exchange does not say how much was filled: its trades do
            report = Report(order_id, venue_id, "cancelled", sum(trade.size for trade in mine))
        return report, mine

    async def open_orders(self) -> Sequence[Report]:
        """Return all open orders of the market."""
        orders = await self._asked(self._exchange.fetch_open_orders(self.symbol))
        return [report for order in orders if (report := self._report(order)) is not None]

    async def balance(self) -> tuple[float, float]:
        """Return (cash, units); what orders lock is included."""
        total = (await self._asked(self._exchange.fetch_balance()))["total"]
        if not self._contract:
            return float(total.get(self._quote) or 0.0), float(total.get(self._base) or 0.0)
        positions = await self._asked(self._exchange.fetch_positions([self.symbol]))
        units = sum((1 if each["side"] == "long" else -1) * float(each["contracts"] or 0.0) for each in positions)
        return float(total.get(self._quote) or 0.0), units

    async def close(self) -> None:
        """Disconnect."""
        await end(self._tasks)
        with suppress(Exception):  # ccxt raises what its half-closed connections raise; there is nothing left to lose
            await self._exchange.close()

    @staticmethod
    def _named(order_id: str, venue_id: str) -> dict[str, str]:
        return {} if venue_id else {"clientOrderId": order_id}

    def _report(self, order: dict[str, Any]) -> Report | None:
        """Return ccxt's order as a report; None where it has ended and does not say how much was filled."""
        filled, size = order.get("filled"), float(order.get("amount") or 0.0)
        status = order.get("status") or "open"
        if status != "open" and filled is None:
            return None
        filled = float(filled or 0.0)
        # "closed" is what ccxt calls a filled order, and some exchanges one that ended otherwise too.
        ended: VenueState = "filled" if filled >= size > 0 else "cancelled"
        name, side = str(order.get("clientOrderId") or ""), 1 if order.get("side") == "buy" else -1
        state = _STATES.get(status, ended)
        return Report(name, str(order["id"]), state, filled, side, float(order.get("price") or 0.0), size)

    def _execution(self, trade: dict[str, Any]) -> Execution:
        price, fee = float(trade["price"]), trade.get("fee") or {}
        side, size = 1 if trade["side"] == "buy" else -1, float(trade["amount"])
        cost = self._fee(float(fee.get("cost") or 0.0), currency=fee.get("currency"), price=price)
        return Execution(str(trade["id"]), "", str(trade["order"]), side, price, size, cost)

    def _fee(self, cost: float, *, currency: str | None, price: float) -> float:
        if currency == self._quote or cost == 0.0:
            return cost
        if currency == self._base:
            return cost * price
        _LOG.warning("%r: a fee of %g %s cannot be counted", self, cost, currency)
        return 0.0

    async def _asked(self, request: Awaitable[_Answer]) -> _Answer:
        try:
            return await request
        except errors.BaseError as error:
            # Not chained: ccxt's own text holds the signed request.
            raise self._meant(error) from None

    def _meant(self, error: Exception) -> VenueError:
        text = self._keys.hidden(f"{type(error).__name__}: {error}")
        if isinstance(error, errors.RateLimitExceeded | errors.DDoSProtection):
            return BusyError(text)
        if isinstance(error, errors.OrderNotFound):
            return UnknownOrderError(text)
        return RejectedError(text) if isinstance(error, _REFUSED) else LostError(text)


def _known(order: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in order.items() if value is not None}
