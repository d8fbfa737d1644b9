"""Alpaca through alpaca-py: orders by REST, the account's `trade_updates` by WebSocket.

Alpaca has no post-only orders. A quote that would take by the best prices known here is not sent, but one that the
market has come to while it was on its way may take.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from hftgym.live.brokers.keys import Keys
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
    from alpaca.common.exceptions import APIError
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
    from alpaca.trading.requests import GetOrdersRequest, LimitOrderRequest
    from alpaca.trading.stream import TradingStream
    from requests import RequestException
except ImportError as error:
    raise ImportError('orders through Alpaca need alpaca-py: pip install "hftgym[alpaca]"') from error

_Answer = TypeVar("_Answer")
_WAIT_S = 1.0  # for a thread; what is sent later could arrive when the desk has given it up (`Patience.arrival_s`)
_REST_S = 3.0  # after a 429, as alpaca-py itself waits
_PAGE = 100  # the most that Alpaca gives of activities and more than a market's open orders
_ENDED: dict[str, VenueState] = {
    "filled": "filled",
    "canceled": "cancelled",
    "expired": "cancelled",
    "replaced": "cancelled",
    "rejected": "rejected",
}
_SOCKET = {"ping_interval": 10, "ping_timeout": 180, "max_queue": 1024}  # alpaca-py's own
_QUIET = logging.getLogger(f"{__name__}.stream")
_QUIET.setLevel(logging.INFO)  # at DEBUG websockets logs what is sent, the keys among it
_STOCK_STEP, _STOCK_LOT = 0.01, 1.0  # limit orders for stocks are in whole shares


class _Client(TradingClient):
    """Requests that end, and are sent once: what is to be tried again is for the broker's core to decide."""

    timeout_s = 5.0

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> dict[str, Any]:
        del retry
        return super()._one_request(method, url, {**opts, "timeout": self.timeout_s}, retry=0)


class _Stream(TradingStream):
    """Tells when messages begin and when they break; alpaca-py reconnects by itself."""

    on_connection: Callable[[bool], None]

    async def _start_ws(self) -> None:
        await super()._start_ws()
        self.on_connection(True)

    async def close(self) -> None:
        self.on_connection(False)
        await super().close()


class AlpacaVenue:
    """One market of an Alpaca account; see `hftgym.live.brokers.venue.Venue`.

    Args:
        symbol: Alpaca's name, such as "BTC/USD" or "AAPL".
        keys: `hftgym.live.brokers.keys.find_keys("alpaca")`.
        paper: Alpaca's own paper account instead of the real one.
        fee_bps: What a fill costs; Alpaca does not tell it with the fill. Crypto: see its fee tiers; stocks: 0.
        url: Address of the REST interface, if another one.
        stream_url: Address of the stream, if another one.
    """

    name = "alpaca"
    requests_per_s, burst = 190 / 60, 10  # 200 in any minute

    def __init__(
        self,
        symbol: str,
        *,
        keys: Keys,
        paper: bool = True,
        fee_bps: float = 0.0,
        url: str | None = None,
        stream_url: str | None = None,
    ) -> None:
        self.symbol, self.market = symbol, Market(price_step=_STOCK_STEP, lot=_STOCK_LOT)
        self._keys, self._fee = keys, fee_bps / 1e4
        self._client = _Client(keys.key, keys.secret, paper=paper, raw_data=True, url_override=url)
        self._stream = _Stream(
            keys.key,
            keys.secret,
            paper=paper,
            raw_data=True,
            url_override=stream_url or "",
            websocket_params={**_SOCKET, "logger": _QUIET},
        )
        self._listener: Listener
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"AlpacaVenue({self.symbol})"

    async def load(self) -> None:
        """Learn the market's steps."""
        asset = await self._asked(self._client.get_asset, quote(self.symbol, safe=""))
        self.market = Market(
            price_step=float(asset.get("price_increment") or _STOCK_STEP),
            lot=float(asset.get("min_trade_increment") or _STOCK_LOT),
            min_size=float(asset.get("min_order_size") or 0.0),
        )

    async def connect(self, listener: Listener) -> None:
        """Listen to the account's trade updates."""
        self._listener, begun = listener, asyncio.Event()

        def tell(up: bool) -> None:
            if up:
                begun.set()
            listener.on_connection(up=up)

        self._stream.on_connection = tell
        self._stream.subscribe_trade_updates(self._hear)
        self._task = asyncio.create_task(self._stream._run_forever())
        try:
            async with asyncio.timeout(2 * _Client.timeout_s):
                await begun.wait()
        except TimeoutError:
            raise LostError("Alpaca's stream of trade updates has not begun") from None

    async def _hear(self, message: dict[str, Any]) -> None:
        data = message["data"]
        order = data["order"]
        if _plain(order["symbol"]) != _plain(self.symbol):
            return
        if data["event"] in ("fill", "partial_fill"):
            self._listener.on_execution(
                self._execution(order["id"], order["client_order_id"], order["side"], data, filled=order["filled_qty"])
            )
        self._listener.on_report(_report(order))

    async def place(self, ticket: Ticket) -> Report:
        """Send a limit order; one that is to take is immediate-or-cancel."""
        request = LimitOrderRequest(
            symbol=self.symbol,
            qty=ticket.size,
            side=OrderSide.BUY if ticket.side > 0 else OrderSide.SELL,
            time_in_force=TimeInForce.IOC if ticket.taking else TimeInForce.GTC,
            limit_price=ticket.price,
            client_order_id=ticket.order_id,
        )
        return _report(await self._asked(self._client.submit_order, request))

    async def cancel(self, order_id: str, venue_id: str) -> Report | None:
        """Cancel an order; the stream tells when it is."""
        if not venue_id:
            raise UnknownOrderError(f"{order_id} has no number of Alpaca yet")
        try:
            await self._asked(self._client.cancel_order_by_id, venue_id)
        except RejectedError as error:  # 422: it cannot be cancelled any more
            raise UnknownOrderError(str(error)) from None
        return None

    async def look(self, order_id: str, venue_id: str, since_ns: int) -> tuple[Report | None, Sequence[Execution]]:
        """Return an order, and then its fills from the account's activities."""
        try:
            order = await self._asked(self._client.get_order_by_client_id, order_id)
        except UnknownOrderError:
            return None, ()
        report = _report(order)
        if report.filled == 0:
            return report, ()
        fills = [fill for fill in await self._activities(since_ns) if fill["order_id"] == report.venue_id]
        return report, [
            self._execution(report.venue_id, order_id, fill["side"], fill, filled=fill["cum_qty"]) for fill in fills
        ]

    async def _activities(self, since_ns: int) -> list[dict[str, Any]]:
        since = datetime.fromtimestamp(since_ns / 1e9, tz=UTC).isoformat()
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"after": since, "direction": "asc", "page_size": _PAGE}
        while True:
            page: Any = await self._asked(self._client.get, "/account/activities/FILL", asked)
            found += page
            if len(page) < _PAGE:
                return found
            asked["page_token"] = page[-1]["id"]

    async def open_orders(self) -> Sequence[Report]:
        """Return all open orders of the market."""
        wanted = GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=_PAGE, symbols=[self.symbol])
        orders: Any = await self._asked(self._client.get_orders, wanted)
        return [_report(order) for order in orders]

    async def balance(self) -> tuple[float, float]:
        """Return (cash, units)."""
        account: Any = await self._asked(self._client.get_account)
        positions: Any = await self._asked(self._client.get_all_positions)
        # Positions in crypto are told without the stroke.
        units = [float(each["qty"]) for each in positions if _plain(each["symbol"]) == _plain(self.symbol)]
        return float(account["cash"]), sum(units)

    async def close(self) -> None:
        """Disconnect."""
        if self._task is not None:
            await end([self._task])
        if hasattr(self._stream, "on_connection"):
            await self._stream.close()

    def _execution(self, venue_id: str, order_id: str, side: str, fill: dict[str, Any], *, filled: str) -> Execution:
        price, size = float(fill["price"]), float(fill["qty"])
        # Stream and activities number fills differently; what was filled so far is the same in both.
        name = f"{venue_id}@{float(filled):.9f}"
        # Activities also say "sell_short".
        return Execution(name, order_id, venue_id, 1 if side == "buy" else -1, price, size, price * size * self._fee)

    async def _asked(self, function: Callable[..., _Answer], *arguments: Any) -> Any:
        asked_s = time.monotonic()

        def ask() -> _Answer:
            if time.monotonic() - asked_s > _WAIT_S:
                raise LostError(f"no thread was free for {_WAIT_S:g} s: it was not sent")
            return function(*arguments)

        try:
            return await asyncio.to_thread(ask)
        except APIError as error:
            raise self._meant(error) from None  # not chained: requests keeps the headers, and so the keys
        except RequestException as error:
            raise LostError(self._keys.hidden(type(error).__name__)) from None

    def _meant(self, error: APIError) -> VenueError:
        status, text = error.status_code or 0, self._keys.hidden(error)
        if status == 429:
            return BusyError(text, retry_s=_REST_S)
        if status == 404:
            return UnknownOrderError(text)
        return LostError(text) if status >= 500 else RejectedError(text)


def _plain(symbol: str) -> str:
    return symbol.replace("/", "")


def _report(order: dict[str, Any]) -> Report:
    # All other states can still be filled.
    state, side = _ENDED.get(order["status"], "open"), 1 if order["side"] == "buy" else -1
    price, size, filled = (float(order[key] or 0.0) for key in ("limit_price", "qty", "filled_qty"))
    return Report(order["client_order_id"], order["id"], state, filled, side, price, size)
