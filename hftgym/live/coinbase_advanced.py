"""Coinbase Advanced Trade, live: the book and the trades of one product from `level2` and `market_trades`.

Every message of a connection has the next `sequence_num`. After a hole the book is subscribed to anew on the same
connection, which brings a snapshot; where none comes, or the numbers do not go on, the connection is made anew.
The book's messages call their channel `l2_data`. `heartbeats` keep quiet channels open and tell that the stream lives.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from hftgym.live.connection import Limits
from hftgym.live.events import Event, Quote, Status, Trade
from hftgym.live.feed import BrokenStreamError, LostBookError, Reader, SocketFeed
from hftgym.live.numbers import Numbers
from hftgym.tape.book import Book, Touch
from hftgym.tape.coinbase_messages import count_of, exchange_ns, size_of
from hftgym.tape.messages import BadLineError, name, parse_object, positive, shown

VENUE = "coinbase-advanced"
_URL = "wss://advanced-trade-ws.coinbase.com"
_BOOK_SIDES = {"bid": +1, "offer": -1}
# The side is the maker's. The page of this channel only calls it the trade's side; that of the same trades on Coinbase
# Exchange says "the side field indicates the maker order side" (docs.cdp.coinbase.com/exchange/websocket-feed/channels,
# match), and so read it, of this venue, NautilusTrader (`coinbase_side_to_aggressor`) and bbgo (pull request 2509).
_TAKER_SIDES = {"BUY": -1, "SELL": +1}
_PATIENCE = 10  # heartbeats, one a second, that a snapshot may take
_Update = tuple[int, float, float]


class CoinbaseAdvancedReader(Reader):
    """Reads one product's messages.

    Args:
        product: Such as "BTC-USD".
    """

    def __init__(self, product: str) -> None:
        super().__init__()
        self._product = product
        self.connected()

    def connected(self) -> None:
        """See the base class."""
        self._messages = Numbers("Advanced Trade", self.counters)
        self._trades = Numbers("market_trades", self.counters)
        self._forget()
        self._asked_again = False

    def requests(self) -> Iterable[str]:
        """See the base class: one channel per request, as the venue wants it."""
        own = {"type": "subscribe", "product_ids": [self._product]}
        return (
            *(json.dumps({**own, "channel": channel}) for channel in ("level2", "market_trades")),
            json.dumps({"type": "subscribe", "channel": "heartbeats"}),
        )

    def again(self) -> Iterable[str]:
        """See the base class: the documentation knows no other way to a new snapshot."""
        book = {"product_ids": [self._product], "channel": "level2"}
        return tuple(json.dumps({"type": kind, **book}) for kind in ("unsubscribe", "subscribe"))

    def _forget(self) -> None:
        self._book: Book | None = None
        self._touch: Touch | None = None
        self._waited = 0  # heartbeats without a book

    def _lost(self, text: str) -> Exception:
        """Forget the book, and return what says so: the first time it is asked for again, then the connection ends."""
        if self._asked_again:
            return BrokenStreamError("gap", text)
        self._forget()
        self._asked_again = True
        return LostBookError(text)

    def read(self, message: bytes, received_ns: int) -> Iterable[Event]:
        """See the base class."""
        try:
            return self._read(parse_object(message, 0), received_ns)
        except BadLineError:
            self.counters.garbage += 1
            return ()

    def _read(self, message: dict[str, Any], received_ns: int) -> Iterable[Event]:
        if message.get("type") == "error":
            raise BrokenStreamError("disconnected", f"the venue refuses: {json.dumps(message)[:120]}")
        channel, number = name(message.get("channel"), "channel"), count_of(message, "sequence_num")
        if missing := self._messages.missing(number):
            self.counters.gaps += missing
            self._trades = Numbers("market_trades", self.counters)  # those that are missing have been counted
            if self._book is not None:  # else one is on its way, or will be missed soon
                self._messages.is_new(number)
                raise self._lost(f"{missing:,} messages before sequence_num {number} are missing")
        events = _objects(message, "events")
        if channel == "l2_data":
            found = self._level_changes(events), exchange_ns(message.get("timestamp"))
            return self._levels(*found, received_ns) if self._messages.is_new(number) else ()
        if channel == "market_trades":
            trades = self._found_trades(events, received_ns)
            return self._new_trades(trades, received_ns) if self._messages.is_new(number) else ()
        is_new = self._messages.is_new(number)
        self.counters.ignored += is_new
        if channel == "heartbeats" and is_new and self._book is None:
            self._waited += 1
            if self._waited >= _PATIENCE:
                raise self._lost(f"no snapshot of the book came within {self._waited} heartbeats")
        return ()

    def _level_changes(self, events: list[dict[str, Any]]) -> list[tuple[bool, list[_Update]]]:
        """Check everything before anything is changed: (is it a snapshot, its changes) per event."""
        found = []
        for event in events:
            self._check_product(event)
            kind = event.get("type")
            if kind not in ("snapshot", "update"):
                raise BadLineError(f"field 'type' must be 'snapshot' or 'update', got {shown(kind)}")
            updates = [
                (
                    _side(update, _BOOK_SIDES),
                    positive(update.get("price_level"), "price_level"),
                    size_of(update.get("new_quantity")),
                )
                for update in _objects(event, "updates")
            ]
            found.append((kind == "snapshot", updates))
        return found

    def _levels(self, changes: list[tuple[bool, list[_Update]]], time_ns: int, received_ns: int) -> Iterable[Event]:
        for is_snapshot, updates in changes:
            if is_snapshot:
                self._book, self._touch, self._asked_again = Book(), None, False
            if self._book:
                for update in updates:
                    self._book.set(*update)
        touch = self._book.touch() if self._book else None
        if touch is None or touch == self._touch:
            self.counters.ignored += 1
            return ()
        self._touch = touch
        self.counters.quotes += 1
        return (Quote(received_ns, time_ns, *touch),)

    def _found_trades(self, events: list[dict[str, Any]], received_ns: int) -> list[tuple[int, bool, Trade]]:
        """Return (number, is it older than the connection, trade) by number: the venue sends the newest first."""
        found = []
        for event in events:
            for trade in _objects(event, "trades"):
                self._check_product(trade)
                price, size = (positive(trade.get(key), key) for key in ("price", "size"))
                made = Trade(received_ns, exchange_ns(trade.get("time")), price, size, _side(trade, _TAKER_SIDES))
                found.append((_trade_number(trade), event.get("type") == "snapshot", made))
        return sorted(found, key=lambda row: row[0])

    def _new_trades(self, trades: list[tuple[int, bool, Trade]], received_ns: int) -> Iterable[Event]:
        new, lost = [], 0
        for number, is_old, trade in trades:
            missing = 0 if is_old else self._trades.missing(number)
            if self._trades.is_new(number) and not is_old:
                new.append(trade)
                lost += missing
        self.counters.trades += len(new)
        self.counters.ignored += not new
        self.counters.gaps += lost
        return (Status(received_ns, "gap", f"{lost:,} trades are missing"), *new) if lost else new

    def _check_product(self, event: dict[str, Any]) -> None:
        if event.get("product_id") != self._product:
            raise BadLineError(f"field 'product_id' must be {self._product!r}, got {shown(event.get('product_id'))}")


class CoinbaseAdvancedFeed(SocketFeed):
    """A product of Coinbase Advanced Trade, live and without an account.

    Args:
        product: Such as "BTC-USD".
        url: The WebSocket's address; None takes the venue's.
        limits: Bounds of the connection.
        clock: Gives the times of receipt, ns since 1970.
        seed: Of the jitter of reconnects.
    """

    def __init__(
        self,
        product: str,
        *,
        url: str | None = None,
        limits: Limits | None = None,
        clock: Callable[[], int] = time.time_ns,
        seed: int | None = None,
    ) -> None:
        product, reader = product.upper(), CoinbaseAdvancedReader(product.upper())
        super().__init__(reader, venue=VENUE, symbol=product, url=url or _URL, limits=limits, clock=clock, seed=seed)


def _objects(message: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = message.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadLineError(f"field {key!r} must be a list of objects, got {shown(found)}")
    return found


def _side(message: dict[str, Any], sides: dict[str, int]) -> int:
    side = message.get("side")
    if not isinstance(side, str) or side not in sides:
        raise BadLineError(f"field 'side' must be one of {', '.join(sides)}, got {shown(side)}")
    return sides[side]


def _trade_number(trade: dict[str, Any]) -> int:
    """Return the number of a trade, which the venue sends as text."""
    text = trade.get("trade_id")
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadLineError(f"field 'trade_id' must be digits in quotes, got {shown(text)}")
    return int(text)
